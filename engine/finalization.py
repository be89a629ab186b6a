"""Final invoices: a billing period's invoice is made once, when its grace period has ended, and kept with the customer.

Later usage of that period is counted in windows only, later changes of prices do not reach it, and what it drew from each segment
stays drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.catalog import Contract
from engine.frames import NEVER_HOUR
from engine.invoices.codec import INVOICE_PREFIX, as_stored, decode_invoices, encode_invoice, invoice_field
from engine.invoices.items import Invoice
from engine.periods import period_at


class FinalInvoices:
    """Those of one customer; read from the stored state when somebody first asks for them."""

    __slots__ = ("_invoices", "_stored")

    def __init__(self, state: Mapping[str, str]) -> None:
        self._stored = {name: text for name, text in state.items() if name.startswith(INVOICE_PREFIX)}
        self._invoices: tuple[Invoice, ...] | None = None

    def all(self) -> tuple[Invoice, ...]:
        if self._invoices is None:
            self._invoices = tuple(decode_invoices(self._stored))
            self._stored = {}
        return self._invoices

    def add(self, invoices: Iterable[Invoice]) -> dict[str, str]:
        """Keeps new ones; the fields to store."""
        made = list(invoices)
        self._invoices = (*self.all(), *(as_stored(invoice) for invoice in made))
        return {invoice_field(invoice): encode_invoice(invoice) for invoice in made}


def next_end(contracts: Iterable[Contract], after_hour: int) -> int:
    """The first end of a billing period after an hour; NEVER_HOUR if there is none."""
    periods = (
        period_at(contract.schedule, contract.starting_hour, contract.ending_hour, max(after_hour, contract.starting_hour))
        for contract in contracts
    )
    return min((period.ending_hour for period in periods if period is not None), default=NEVER_HOUR)
