"""A line item and what balances pay of it, as the items of an invoice.

    one line ──► for each balance that draws at a price of its own: the units that it took, at that price, and its payment
             └─► the rest at the line's price, and the payments of all other balances

Over time, balances with a price of their own take the earliest units, in the order in which they pay; of the rest each payer
pays the earliest amounts that those before it have left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from engine.balances.draw import Applied
from engine.catalog import Balance, BalanceType
from engine.invoices.items import Increment, ItemType, LineItem
from engine.numbers import ZERO
from engine.rounding import PLACES, quotient

_APPLIED_NAMES = {
    BalanceType.PREPAID: "Prepaid commit applied",
    BalanceType.POSTPAID: "Postpaid commit applied",
    BalanceType.CREDIT: "Credit applied",
}


class Paid(NamedTuple):
    """An item, and the APPLIED items of what paid for it."""

    item: LineItem
    applied: list[LineItem]


def paid_parts(item: LineItem, applied: Sequence[Applied], unpaid: Decimal) -> Iterator[Paid]:
    """``applied``: what pays for the item, in that order. ``unpaid``: what of it nobody has paid."""
    own = [each for each in applied if each.unit_price is not None]
    listed = [each for each in applied if each.unit_price is None]
    item = replace(item, draw_prices=())
    if not own:
        yield _at_line_price(item, listed)
        return
    low, rest = ZERO, item.increments
    for each in own:
        assert each.units is not None
        assert each.unit_price is not None
        taken = _taken(item.increments, low, low + each.units)
        low += each.units
        rest = _less(rest, taken, item.unit_price or ZERO)
        part = replace(
            item,
            unit_price=each.unit_price,
            quantity=each.units,
            total=each.amount,
            increments=_adding_up([(hour, units, units * each.unit_price) for hour, units in taken], each.amount),
        )
        yield _at_line_price(part, [each])
    assert item.quantity is not None
    quantity = item.quantity - low
    total = sum((each.amount for each in listed), unpaid)
    if quantity or total:
        increments = _adding_up([(hour, units, amount) for hour, units, amount in rest], total)
        yield _at_line_price(replace(item, quantity=quantity, total=total, increments=increments), listed)


def _at_line_price(item: LineItem, applied: Sequence[Applied]) -> Paid:
    """The first payer gets the item's earliest amounts, and so on. One that draws at a price of 0 pays nothing."""
    items: list[LineItem] = []
    low, low_units = ZERO, ZERO
    for each in applied:
        units = each.units if each.unit_price is None else None
        if units is None and not each.amount:
            continue
        high = low + each.amount
        if units is None:
            shares = _share(item.increments, low, high)
        else:
            shares = _unit_share(item, low, high, low_units, units)
            low_units += units
        items.append(
            replace(
                item,
                type=ItemType.APPLIED,
                name=_APPLIED_NAMES[each.balance.type],
                total=ZERO - each.amount,
                quantity=units,
                unit_price=None,
                balance_id=each.balance.id,
                balance_type=_pays_as(each.balance),
                segment_id=each.segment_id,
                increments=shares,
            )
        )
        low = high
    if len(applied) == 1 and (applied[0].amount == item.total if applied[0].units is None else applied[0].units == item.quantity):
        payer = applied[0]
        item = replace(item, balance_id=payer.balance.id, balance_type=_pays_as(payer.balance), segment_id=payer.segment_id)
    return Paid(item, items)


def _pays_as(balance: Balance) -> BalanceType:
    """What a postpaid commit covers is owed later; not what was rolled over of one whose true-up has been billed."""
    rolled = balance.rolled_over
    return BalanceType.PREPAID if rolled is not None and rolled.already_paid else balance.type


def _share(increments: Sequence[Increment], low: Decimal, high: Decimal) -> tuple[Increment, ...]:
    """How the part of an item's amount between ``low`` and ``high`` came up hour by hour, as a payment (below zero).

    Where the running amount falls, the payment falls with it; the last one in time leaves exactly ``high - low`` paid."""
    parts = _parts([(hour, amount) for hour, _, amount in increments], low, high)
    return tuple(Increment(hour, ZERO, ZERO - amount) for hour, amount in parts)


def _unit_share(item: LineItem, low: Decimal, high: Decimal, low_units: Decimal, units: Decimal) -> tuple[Increment, ...]:
    """The same with the number of units paid for; of a free item its earliest units."""
    if not item.unit_price:
        taken = _taken(item.increments, low_units, low_units + units)
        return tuple(Increment(hour, count, ZERO) for hour, count in taken)
    shares = _share(item.increments, low, high)
    paid = counted = ZERO
    found: list[Increment] = []
    for index, (hour, _, amount) in enumerate(shares):
        paid -= amount
        count = units if index == len(shares) - 1 else quotient(paid, item.unit_price, PLACES, ROUND_DOWN)
        found.append(Increment(hour, count - counted, amount))
        counted = count
    return tuple(found)


def _taken(increments: Sequence[Increment], low: Decimal, high: Decimal) -> list[tuple[int, Decimal]]:
    """How the units of an item between ``low`` and ``high`` came up hour by hour."""
    return _parts([(hour, units) for hour, units, _ in increments], low, high)


def _parts(steps: Sequence[tuple[int, Decimal]], low: Decimal, high: Decimal) -> list[tuple[int, Decimal]]:
    """The part between ``low`` and ``high`` of a running sum, by hour."""
    found: list[tuple[int, Decimal]] = []
    running = before = ZERO
    for hour, step in steps:
        running += step
        now = min(max(running, low), high) - low
        if now != before:
            found.append((hour, now - before))
        before = now
    return found


def _less(increments: Sequence[Increment], taken: Sequence[tuple[int, Decimal]], unit_price: Decimal) -> tuple[Increment, ...]:
    """What is left of an item hour by hour when these units are taken off, at the item's price."""
    by_hour = dict(taken)
    left = ((hour, units - by_hour.get(hour, ZERO)) for hour, units, _ in increments)
    return tuple(Increment(hour, units, units * unit_price) for hour, units in left)


def _adding_up(steps: Sequence[tuple[int, Decimal, Decimal]], total: Decimal) -> tuple[Increment, ...]:
    """These increments, with the last one's amount such that all of them give ``total`` (see engine.balances.draw: where a
    division did not come out even, units are rounded)."""
    increments = [Increment(*step) for step in steps]
    rest = total - sum((increment.amount for increment in increments), ZERO)
    if rest and increments:
        increments[-1] = increments[-1]._replace(amount=increments[-1].amount + rest)
    return tuple(each for each in increments if each.quantity or each.amount)
