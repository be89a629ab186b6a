"""Draw-down: what balances pay of the lines of an invoice.

Lines are taken in the order usage, subscriptions, conversions; earlier start; higher unit price; name; and each line takes from
the balances in their order (engine.balances.matching). As that order is the same for every line, going balance by balance
gives the same.

A line is paid by a segment that holds all of its hours, so lines are cut at the ends of segments before. A line may be paid by
several balances, each a part of it; no part is paid twice. A line of a negative amount (a correction) is owed to the customer as
it is: it is not paid, and fills no balance up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from engine.balances.matching import Precedence, UsageKey, covers
from engine.catalog import Balance, Segment
from engine.numbers import ZERO


class Rank(IntEnum):
    """Which kind of line is drawn first. A conversion is one of custom units."""

    USAGE = 0
    SUBSCRIPTION = 1
    COMPOSITE = 2
    CONVERSION = 3


class DrawLine(NamedTuple):
    """``amount`` in units of ``credit_type_id``; hours half-open."""

    usage: UsageKey
    credit_type_id: str
    starting_hour: int
    ending_hour: int
    unit_price: Decimal
    name: str
    amount: Decimal
    rank: Rank = Rank.USAGE


@dataclass(slots=True)
class Pool:
    """One segment of a balance, and what is left in it; ``draw_down`` takes from ``left``."""

    balance: Balance
    segment: Segment
    order: Precedence
    left: Decimal


class Applied(NamedTuple):
    """``line``: the position among the lines given. ``amount`` > 0, in the line's credit type."""

    line: int
    balance: Balance
    segment_id: str
    amount: Decimal


def draw_down(lines: Sequence[DrawLine], pools: Sequence[Pool]) -> list[Applied]:
    """What is paid, in the order in which it is; of lines that are equal in all that orders them, the first given goes first."""
    applied: list[Applied] = []
    in_order = sorted(pools, key=lambda pool: pool.order)
    for index in sorted(range(len(lines)), key=lambda index: _line_order(lines[index])):
        line = lines[index]
        unpaid = line.amount
        for pool in in_order:
            if unpaid <= 0:
                break
            if pool.left > 0 and may_pay(pool, line):
                amount = min(unpaid, pool.left)
                pool.left -= amount
                unpaid -= amount
                applied.append(Applied(index, pool.balance, pool.segment.id, amount))
    return applied


def may_pay(pool: Pool, line: DrawLine) -> bool:
    """Whether credit type, hours and applicability fit."""
    return (
        pool.balance.credit_type_id == line.credit_type_id
        and pool.segment.starting_hour <= line.starting_hour
        and line.ending_hour <= pool.segment.ending_hour
        and covers(pool.balance, line.usage)
    )


def _line_order(line: DrawLine) -> tuple[int, int, Decimal, str]:
    return line.rank, line.starting_hour, ZERO - line.unit_price, line.name
