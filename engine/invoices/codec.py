"""The stored text of a finalized invoice, a field of the customer's state: ``i|<contract>|<start>-<end>`` and JSON.

Decimals are strings. Increments are kept by UTC day, not by hour.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.invoices.items import Invoice

INVOICE_PREFIX = "i|"


def invoice_field(invoice: Invoice) -> str:
    """The field's name."""
    raise NotImplementedError


def encode_invoice(invoice: Invoice) -> str:
    """The field's text."""
    raise NotImplementedError


def decode_invoice(text: str) -> Invoice:
    """Reads ``encode_invoice`` back; by days."""
    raise NotImplementedError


def decode_invoices(state: Mapping[str, str]) -> list[Invoice]:
    """All invoices in a customer's state, in the order in which they drew."""
    raise NotImplementedError
