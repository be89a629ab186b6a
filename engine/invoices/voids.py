"""Invoices that were voided: they stay to be seen, but nothing is owed for them, and what they drew is given back.

A voided invoice may be made again, from prices, balances and charges as they are then, under another id. A USAGE one is made of
the usage of its billing period (up to the contract's end, if that was moved), is final at once, and draws on what final invoices
have left; it is made once, like all final invoices. A SCHEDULED one is what its charges are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.catalog import Contract, CustomerConfig
from engine.invoices.items import Invoice, InvoiceStatus, regenerated_id
from engine.periods import Period


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


def to_make_again(config: CustomerConfig, finalized: Sequence[Invoice]) -> list[tuple[str, Contract, Period]]:
    """The USAGE invoices that are still to be made in the place of voided ones: new id, contract, hours."""
    if not config.regenerated:
        return []
    known = {invoice.id: invoice for invoice in finalized}
    contracts = {contract.id: contract for contract in config.contracts}
    found: list[tuple[str, Contract, Period]] = []
    for invoice_id in config.regenerated:
        invoice, new_id = known.get(invoice_id), regenerated_id(invoice_id)
        contract = None if invoice is None else contracts.get(invoice.contract_id)
        if invoice is not None and contract is not None and new_id not in known:
            found.append((new_id, contract, until_end(invoice.period, contract)))
    return [each for each in found if each[2].starting_hour < each[2].ending_hour]


def until_end(period: Period, contract: Contract) -> Period:
    """The hours of a billing period that are the contract's still."""
    ending = period.ending_hour if contract.ending_hour is None else min(period.ending_hour, contract.ending_hour)
    return Period(period.starting_hour, ending)
