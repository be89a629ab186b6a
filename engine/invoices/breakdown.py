"""An invoice by hours or by days: the same invoice, reduced to what each window of time added to its items.

An item's increments say when it came about, so over all windows each item adds up to exactly what it is on the invoice:
- Tiers fill up in the order of time; a window shows its units in the tier that they fell in.
- A maximum, a number of distinct texts and a last reading count where their running value moves, by as much as it moves.
- Rounded quantities count where the rounded running quantity moves.
- What paid for an item follows it: the first payer pays the earliest amounts. Where a correction lowers an item, its payment is
  lowered with it, so that a window may show a payment above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from engine.invoices.items import Increment, Invoice, LineItem, invoice_total
from engine.numbers import ZERO


class WindowSize(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"


_HOURS = {WindowSize.HOUR: 1, WindowSize.DAY: 24}


class Breakdown(NamedTuple):
    """``invoice``: items and total of the window [starting_hour, ending_hour) alone; id, period and status are the whole's."""

    starting_hour: int
    ending_hour: int
    invoice: Invoice


def breakdowns(invoice: Invoice, window: WindowSize, from_hour: int, until_hour: int) -> list[Breakdown]:
    """The windows that begin in [from_hour, until_hour) and in which something was added, oldest first. Days are UTC days.
    Raises ValueError for the hours of an invoice of which only days are kept (see engine.invoices.codec)."""
    if window is WindowSize.HOUR and invoice.by_days:
        raise ValueError("of a finalized invoice only days are kept")
    hours = _HOURS[window]
    starts = {increment.hour - increment.hour % hours for item in invoice.line_items for increment in item.increments}
    found: list[Breakdown] = []
    for start in sorted(start for start in starts if from_hour <= start < until_hour):
        items = tuple(part for item in invoice.line_items if (part := _part(item, start, start + hours)) is not None)
        total = invoice_total(invoice.credit_type_id, items)
        found.append(Breakdown(start, start + hours, replace(invoice, line_items=items, total=total)))
    return found


def by_days(increments: Sequence[Increment]) -> tuple[Increment, ...]:
    """One increment for each UTC day, at its first hour."""
    days: dict[int, Increment] = {}
    for hour, quantity, amount in increments:
        start = hour - hour % 24
        day = days.get(start, Increment(start, ZERO, ZERO))
        days[start] = Increment(start, day.quantity + quantity, day.amount + amount)
    return tuple(days.values())


def _part(item: LineItem, starting_hour: int, ending_hour: int) -> LineItem | None:
    """What a window added to an item; None if nothing."""
    inside = tuple(increment for increment in item.increments if starting_hour <= increment.hour < ending_hour)
    if not inside:
        return None
    quantity = None if item.quantity is None else sum((increment.quantity for increment in inside), ZERO)
    return replace(item, quantity=quantity, total=sum((increment.amount for increment in inside), ZERO), increments=inside)
