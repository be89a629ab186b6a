"""Draw-down: what balances pay of the lines of an invoice.

Lines are taken in the order usage, subscriptions, composites, conversions; earlier start; higher unit price; name; and each line
takes from the balances in their order (engine.balances.matching). As that order is the same for every line, going balance by
balance gives the same.

A line is paid by a segment that holds all of its hours, so lines are cut at the ends of segments before. A line may be paid by
several balances, each a part of it; no part is paid twice. A line of a negative amount (a correction) is owed to the customer as
it is: it is not paid, and fills no balance up.

How a balance pays:

    SPEND at the line's price    money: as much as it has of what is not paid yet
    SPEND at a price of its own  units, each at that price (a commit rate, an override for this commit); the rest keeps the line's
    QUANTITY                     units of usage, free ones included: what they cost is covered, and their number is drawn

Where units and money meet, a division may not come out even: then the units are rounded down to 18 digits. Money is exact, and
whoever takes the last units of a line takes it whole: not a trace of it is left to pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from engine.balances.matching import Precedence, UsageKey, may_draw
from engine.catalog import AccessType, Balance, Segment
from engine.numbers import ZERO
from engine.rounding import PLACES, quotient, shortest


class LineKind(IntEnum):
    """In the order in which they are drawn."""

    USAGE = 0
    SUBSCRIPTION = 1
    COMPOSITE = 2
    CONVERSION = 3


class DrawLine(NamedTuple):
    """``amount`` in units of ``credit_type_id``: ``units`` x ``unit_price``; hours half-open. ``prices``: by balance id, the
    price of a unit for balances that draw at a price of their own."""

    usage: UsageKey
    credit_type_id: str
    starting_hour: int
    ending_hour: int
    unit_price: Decimal
    name: str
    amount: Decimal
    units: Decimal = ZERO
    kind: LineKind = LineKind.USAGE
    prices: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(slots=True)
class Pool:
    """One segment of a balance, and what is left in it; ``draw_down`` takes from ``left``."""

    balance: Balance
    segment: Segment
    order: Precedence
    left: Decimal


class PoolsInOrder:
    """Pools as they pay. Those of single seats are kept apart, so that a line is held against those of its own seats only: there
    may be a thousand seats."""

    __slots__ = ("_by_seat", "_shared")

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._shared: list[Pool] = []
        self._by_seat: dict[tuple[str, str | None], list[Pool]] = {}
        for pool in sorted(pools, key=lambda pool: pool.order):
            seat = pool.balance.seat
            (self._shared if seat is None else self._by_seat.setdefault(seat, [])).append(pool)

    def of(self, usage: UsageKey) -> Sequence[Pool]:
        """All pools but those of other seats."""
        if not self._by_seat:
            return self._shared
        values = {*usage.pricing_group_values, *usage.presentation_group_values}
        own = [pool for value in values for pool in self._by_seat.get(value, ())]
        return sorted([*self._shared, *own], key=lambda pool: pool.order) if own else self._shared


class Applied(NamedTuple):
    """``line``: the position among the lines given. ``amount`` (>= 0, in the line's credit type): what is paid of it.
    ``units``: how many units that is, for a balance that draws units or at a price of its own. ``unit_price``: that price."""

    line: int
    balance: Balance
    segment_id: str
    amount: Decimal
    units: Decimal | None = None
    unit_price: Decimal | None = None


class Drawn(NamedTuple):
    """``applied``: in the order in which it is paid. ``unpaid``: by line, the money that nobody has paid."""

    applied: list[Applied]
    unpaid: list[Decimal]


def draw_down(lines: Sequence[DrawLine], pools: Sequence[Pool]) -> Drawn:
    """Of lines that are equal in all that orders them, the first given goes first."""
    drawn = Drawn([], [line.amount for line in lines])
    in_order = PoolsInOrder(pools)
    for index in sorted(range(len(lines)), key=lambda index: _line_order(lines[index])):
        line = lines[index]
        rest = _Rest(line.amount, line.units)
        for pool in in_order.of(line.usage):
            if rest.is_paid():
                break
            if pool.left > 0 and may_pay(pool, line):
                paid = _pay(index, line, rest, pool)
                if paid is not None:
                    drawn.applied.append(paid)
        drawn.unpaid[index] = rest.money
    return drawn


def may_pay(pool: Pool, line: DrawLine) -> bool:
    """Whether credit type, hours and applicability fit. Only usage has units that a QUANTITY balance holds."""
    if line.kind is LineKind.COMPOSITE and pool.balance.access_type is AccessType.QUANTITY:
        return False  # a charge on spend has no units
    return (
        pool.segment.starting_hour <= line.starting_hour
        and line.ending_hour <= pool.segment.ending_hour
        and (line.kind is LineKind.USAGE or pool.balance.access_type is AccessType.SPEND)
        and may_draw(pool.balance, line.usage, line.credit_type_id)
        and (line.kind is LineKind.USAGE or pool.balance.access_type is AccessType.SPEND)
    )


@dataclass(slots=True)
class _Rest:
    """What is still to be paid of a line: ``money`` at the line's price, for ``units``."""

    money: Decimal
    units: Decimal

    def is_paid(self) -> bool:
        return self.money < 0 or (self.money == 0 and self.units <= 0)


def _pay(index: int, line: DrawLine, rest: _Rest, pool: Pool) -> Applied | None:
    """Lets one segment pay what it can; None if there is nothing for it."""
    own_price = line.prices.get(pool.balance.id)
    if pool.balance.access_type is AccessType.QUANTITY:
        if rest.units <= 0:
            return None
        units = min(rest.units, pool.left)
        value = _take_units(rest, units, line.unit_price)
        pool.left -= units
        return Applied(index, pool.balance, pool.segment.id, value, units)
    if own_price is None:
        if rest.money <= 0:
            return None
        value = min(rest.money, pool.left)
        pool.left -= value
        rest.money -= value
        rest.units = _whole_units(rest.money, line.unit_price)
        return Applied(index, pool.balance, pool.segment.id, value)
    if rest.units <= 0:
        return None
    cost = rest.units * own_price
    units = rest.units if cost <= pool.left else min(rest.units, _whole_units(pool.left, own_price))
    cost = min(cost, pool.left)
    _take_units(rest, units, line.unit_price)
    pool.left -= cost
    return Applied(index, pool.balance, pool.segment.id, cost, units, own_price)


def _take_units(rest: _Rest, units: Decimal, unit_price: Decimal) -> Decimal:
    """Takes units off what is still to be paid; what they would cost."""
    value = rest.money if units == rest.units else units * unit_price
    rest.units -= units
    rest.money -= value
    return value


def _whole_units(money: Decimal, unit_price: Decimal) -> Decimal:
    """How many units the money is for, rounded down to 18 fraction digits."""
    if not money or not unit_price:
        return ZERO
    return shortest(quotient(money, unit_price, PLACES, ROUND_DOWN))


def _line_order(line: DrawLine) -> tuple[LineKind, int, Decimal, str]:
    return line.kind, line.starting_hour, ZERO - line.unit_price, line.name
