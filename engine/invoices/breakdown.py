"""An invoice by hours or by days: the same invoice, reduced to what each window of time added to its items."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from engine.invoices.items import Invoice


class WindowSize(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"


class Breakdown(NamedTuple):
    """``invoice``: the items and total of the window [starting_hour, ending_hour) alone; id, period and status are the whole's."""

    starting_hour: int
    ending_hour: int
    invoice: Invoice


def breakdowns(invoice: Invoice, window: WindowSize, from_hour: int, until_hour: int) -> list[Breakdown]:
    """Windows that share an hour with [from_hour, until_hour) and with the period and in which something was added, oldest first.
    Days are UTC days. Raises ValueError for hours of an invoice of which only days are kept (see engine.invoices.codec)."""
    raise NotImplementedError
