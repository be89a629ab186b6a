"""Invoices that were voided: they stay to be seen, but nothing is owed for them, and what they drew is given back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from engine.catalog import CustomerConfig
from engine.invoices.items import Invoice, InvoiceStatus


def with_voids(config: CustomerConfig, finalized: Iterable[Invoice]) -> tuple[Invoice, ...]:
    """Final invoices with the status that they have under a configuration."""
    voided = {invoice_id for invoice_id, _ in config.voided}
    contracts = {contract.id for contract in config.archived_contracts if contract.voids_invoices}
    if not voided and not contracts:
        return tuple(finalized)
    return tuple(
        replace(each, status=InvoiceStatus.VOID) if each.id in voided or each.contract_id in contracts else each
        for each in finalized
    )
