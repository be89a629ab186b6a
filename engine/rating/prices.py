"""A rate row as a ladder of prices.

    price │      ┌─────────
          │──────┘             cost(x) = area under the ladder from 0 to x
          └──────┼─────────► quantity of the line so far in its billing period
                 tier edge (belongs to the tier below it: lower bound exclusive, upper inclusive)

FLAT is a ladder of one open tier. Below zero (more corrections than usage) the first tier's price goes on, so what a correction
gives back is what the same usage would have cost there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal

from engine.catalog import Rate, RateType
from engine.numbers import ZERO


class RateError(ValueError):
    """A rate or product that cannot be priced; the text names the rule."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Prices per unit, in units of ``credit_type_id``. Compare with ``==``: equal ladders charge the same.

    ``edges``: the upper ends of all tiers but the last; ``starts``, ``prices``: one entry for each tier;
    ``costs``: the cost of everything below each tier's start; ``highest``, ``lowest``: the extremes of the prices from that
    tier on (the suffix that a growing quantity can still reach).
    """

    rate_type: RateType
    credit_type_id: str
    edges: tuple[Decimal, ...]
    starts: tuple[Decimal, ...]
    prices: tuple[Decimal, ...]
    costs: tuple[Decimal, ...]
    highest: tuple[Decimal, ...]
    lowest: tuple[Decimal, ...]

    @staticmethod
    def of(rate: Rate) -> Ladder:
        """Raises RateError unless a TIERED rate has at least one tier, sizes above zero, and exactly the last tier open."""
        if rate.rate_type is RateType.FLAT:
            return _ladder(rate, (), (rate.price,))
        sizes = tuple(tier.size for tier in rate.tiers[:-1])
        if not rate.tiers or rate.tiers[-1].size is not None:
            raise RateError("the last tier has no size")
        edges: list[Decimal] = []
        for size in sizes:
            if size is None or size <= 0:
                raise RateError("every tier but the last has a size above 0")
            edges.append(edges[-1] + size if edges else size)
        return _ladder(rate, tuple(edges), tuple(tier.price for tier in rate.tiers))

    def cost(self, quantity: Decimal) -> Decimal:
        """The cost of the first ``quantity`` units; negative quantities at the first tier's price."""
        tier = bisect_left(self.edges, quantity) if self.edges else 0
        return self.costs[tier] + (quantity - self.starts[tier]) * self.prices[tier]

    def cost_between(self, position: Decimal, quantity: Decimal) -> Decimal:
        """The cost of ``quantity`` units (of either sign) after the first ``position`` ones."""
        if not self.edges:
            return quantity * self.prices[0]
        return self.cost(position + quantity) - self.cost(position) if position else self.cost(quantity)

    def tier_after(self, position: Decimal) -> int:
        """The index of the tier in which the next unit after ``position`` lies."""
        return bisect_right(self.edges, position)


def _ladder(rate: Rate, edges: tuple[Decimal, ...], prices: tuple[Decimal, ...]) -> Ladder:
    starts = (ZERO, *edges)
    costs = [ZERO]
    for start, edge, price in zip(starts, edges, prices, strict=False):
        costs.append(costs[-1] + (edge - start) * price)
    highest, lowest = [prices[-1]], [prices[-1]]
    for price in reversed(prices[:-1]):
        highest.append(max(price, highest[-1]))
        lowest.append(min(price, lowest[-1]))
    return Ladder(
        rate_type=rate.rate_type,
        credit_type_id=rate.credit_type_id,
        edges=edges,
        starts=starts,
        prices=prices,
        costs=tuple(costs),
        highest=tuple(reversed(highest)),
        lowest=tuple(reversed(lowest)),
    )
