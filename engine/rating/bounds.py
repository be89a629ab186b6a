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

from engine.catalog import Operation, Product, RoundingMethod
from engine.numbers import ZERO
from engine.rating.book import Slice
from engine.rating.prices import Ladder
from engine.rating.quantities import QUOTIENT_UNIT, converted, rounded, rounding_unit

# 1 / factor seldom ends. A bound is rounded up, to a few digits more than any quantity has.
_RECIPROCALS = Context(prec=40, rounding=ROUND_UP)


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


def line_bounds(
    product: Product, slices: Sequence[Slice], raw_quantities: Sequence[Decimal], credit_type_id: str
) -> tuple[Bounds, ...]:
    """The bounds of each slice of a line that now has these raw quantities (zeros for a line that has no usage yet)."""
    raise NotImplementedError


def widest(bounds: Iterable[Bounds]) -> Bounds:
    """Bounds that hold for a step in any one of the slices (or lines): the greatest of each number; zeros for none."""
    raise NotImplementedError
