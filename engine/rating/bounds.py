"""How far the spend of a line can move when its raw quantities do: the prices of headroom.

For each slice of a line a ``Bounds`` holds linear bounds. Beginning at the quantities for which they were computed, after any
additions of total ``grown >= 0`` and any corrections of total ``shrunk >= 0`` to a slice, in any order and any number of steps,

    the line's spend has risen by at most   grown * up.rise + up.rise_slack + shrunk * down.rise + down.rise_slack
    and has fallen by at most               the same with ``fall``

summed over the slices that were touched. A slack counts once for a slice, however many steps there are, and only if a step of
its direction happened. Bounds may be pessimistic, never optimistic. All of them are >= 0. Prices may have any sign: with a
negative price, spend falls while the quantity grows.

Why they hold. Spend is a function of the slices' billed quantities alone, so the way to the end may be chosen: first all slices
that end higher than they began, then all that end lower. On the first leg every tier counter only grows, so only the tiers from
its present position on can be reached; on the second leg any tier can. On either, one billed unit more in slice j

- adds to slice j a price that is reachable at its end, and
- shifts the slices after it along their ladders: each changes by a price reachable at its end minus one reachable at its start.

A billed quantity moves no further than the converted quantity does, plus what rounding adds at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_UP, Context, Decimal
from typing import NamedTuple

from engine.catalog import Operation, Product, QuantityConversion, RoundingMethod
from engine.numbers import ZERO
from engine.rating.book import Slice
from engine.rating.prices import Ladder
from engine.rating.quantities import QUOTIENT_UNIT, converted, rounded, rounding_unit

# 1 / factor seldom ends, and a bound need not be sharp: twelve digits, rounded up, leave room for the products that follow.
_RECIPROCALS = Context(prec=12, rounding=ROUND_UP)
_ONE = Decimal(1)
_HALF = Decimal("0.5")


class Reach(NamedTuple):
    """How far spend can move for each unit of raw quantity, and once for the slice. In the credit type asked for; all >= 0."""

    rise: Decimal
    rise_slack: Decimal
    fall: Decimal
    fall_slack: Decimal


class Bounds(NamedTuple):
    """``up``: when raw quantity is added; ``down``: when it is taken back."""

    up: Reach
    down: Reach


class _Range(NamedTuple):
    """The extremes of what one more billed unit can add to spend."""

    lowest: Decimal
    highest: Decimal

    def plus(self, other: _Range) -> _Range:
        return _Range(self.lowest + other.lowest, self.highest + other.highest)


class _Step(NamedTuple):
    """What matters of one slice: its ladder (None = in another credit type), the tiers in which it starts and ends now, and
    how much rounding can add to a move of its billed quantity."""

    ladder: Ladder | None
    start_tier: int
    end_tier: int
    up_slack: Decimal
    down_slack: Decimal


_NOTHING = _Range(ZERO, ZERO)
_UNMOVED = Reach(ZERO, ZERO, ZERO, ZERO)


def line_bounds(
    product: Product, slices: Sequence[Slice], raw_quantities: Sequence[Decimal], credit_type_id: str
) -> tuple[Bounds, ...]:
    """The bounds of each slice of a line that now has these raw quantities (zeros for a line without usage)."""
    steps: list[_Step] = []
    end = ZERO
    for piece, raw in zip(slices, raw_quantities, strict=True):
        billed, up_slack, down_slack = _billed_and_slacks(product, raw)
        start, end = end, end + billed
        ladder = piece.ladder
        if ladder.credit_type_id == credit_type_id:
            steps.append(_Step(ladder, ladder.tier_after(start), ladder.tier_after(end), up_slack, down_slack))
        else:
            steps.append(_Step(None, 0, 0, up_slack, down_slack))
    return _bounds(product, steps)


def bounds_anywhere(product: Product, slices: Sequence[Slice], credit_type_id: str) -> tuple[Bounds, ...]:
    """Bounds of each slice that hold from any quantities, for any line with these slices: wider, but computed once for all."""
    slack = _slack_anywhere(product)
    steps = [
        _Step(piece.ladder if piece.ladder.credit_type_id == credit_type_id else None, 0, 0, slack, slack) for piece in slices
    ]
    return _bounds(product, steps)


def widest(bounds: Iterable[Bounds]) -> Bounds:
    """Bounds that hold for steps in any one of the slices or lines: the greatest of each number; zeros for none."""
    up = down = _UNMOVED
    for one in bounds:
        up = Reach(*map(max, up, one.up))
        down = Reach(*map(max, down, one.down))
    return Bounds(up, down)


def _bounds(product: Product, steps: Sequence[_Step]) -> tuple[Bounds, ...]:
    per_raw_unit = _billed_per_raw_unit(product.conversion)
    found: list[Bounds] = []
    later_up = later_down = _NOTHING  # what a unit changes in the slices after this one
    for ladder, start_tier, end_tier, up_slack, down_slack in reversed(steps):
        up, down = later_up, later_down
        if ladder is not None:
            up, down = up.plus(_reachable(ladder, end_tier)), down.plus(_reachable(ladder, 0))
            if ladder.edges:
                later_up = later_up.plus(_shift(ladder, start_tier, end_tier))
                later_down = later_down.plus(_shift(ladder, 0, 0))
        found.append(
            Bounds(
                up=_reach(per_raw_unit, up_slack, rise=up.highest, fall=-up.lowest),
                down=_reach(per_raw_unit, down_slack, rise=-down.lowest, fall=down.highest),
            )
        )
    return tuple(reversed(found))


def _reachable(ladder: Ladder, tier: int) -> _Range:
    """The prices from a tier on."""
    return _Range(ladder.lowest[tier], ladder.highest[tier])


def _shift(ladder: Ladder, start_tier: int, end_tier: int) -> _Range:
    """What one unit before a slice changes in it: a price that its end can reach, minus one that its start can."""
    start, end = _reachable(ladder, start_tier), _reachable(ladder, end_tier)
    return _Range(end.lowest - start.highest, end.highest - start.lowest)


def _reach(per_raw_unit: Decimal, slack: Decimal, *, rise: Decimal, fall: Decimal) -> Reach:
    rise, fall = max(rise, ZERO), max(fall, ZERO)
    return Reach(rise * per_raw_unit, rise * slack, fall * per_raw_unit, fall * slack)


def _billed_per_raw_unit(conversion: QuantityConversion | None) -> Decimal:
    if conversion is None:
        return _ONE
    return conversion.factor if conversion.operation is Operation.MULTIPLY else _RECIPROCALS.divide(_ONE, conversion.factor)


def _billed_and_slacks(product: Product, raw: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """The billed quantity, and how much further than in proportion it can move up and down because of rounding.

    The converted quantity is at most half a QUOTIENT_UNIT from the exact quotient, here and where it will be; and the rounded
    quantity there is at most ``above`` more or ``below`` less than the converted one.
    """
    quantity = converted(product.conversion, raw)
    dividing = product.conversion is not None and product.conversion.operation is Operation.DIVIDE
    slack = QUOTIENT_UNIT if dividing else ZERO
    if product.rounding is None:
        return quantity, slack, slack
    billed = rounded(product.rounding, quantity)
    above = below = rounding_unit(product.rounding)
    if product.rounding.method is RoundingMethod.ROUND_HALF_UP:
        above = below = above * _HALF
    elif product.rounding.method is RoundingMethod.ROUND_DOWN and raw >= 0:
        above = ZERO  # towards zero is downwards for all that more usage can reach
    return billed, slack + quantity + above - billed, slack + billed + below - quantity


def _slack_anywhere(product: Product) -> Decimal:
    """The most that rounding can add to a move of the billed quantity, wherever it begins and ends."""
    dividing = product.conversion is not None and product.conversion.operation is Operation.DIVIDE
    slack = QUOTIENT_UNIT if dividing else ZERO
    if product.rounding is None:
        return slack
    unit = rounding_unit(product.rounding)
    # away from zero, a move across zero is stretched at both of its ends
    return slack + unit + unit if product.rounding.method is RoundingMethod.ROUND_UP else slack + unit
