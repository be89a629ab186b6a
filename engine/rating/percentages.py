"""What a COMPOSITE product charges of spend: which percentages hold when, and a minimum.

Rows are chosen as those of usage are: of several that cover an hour, the latest added; one with ``entitled`` false charges
nothing. A contract's overrides change what the product's spend is made of, and leave its percentages alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from engine.catalog import Product, ProductType, Rate, RateCard, RateType
from engine.periods import Period
from engine.rounding import product, rounded_to, shortest


class Composite(NamedTuple):
    """``rates``: its rows on a rate card, in the order in which they were added."""

    product: Product
    rates: tuple[Rate, ...]

    def slices(self, period: Period) -> Iterator[tuple[Period, Rate]]:
        """The stretches of a billing period in which one row holds, oldest first."""
        inner = {hour for rate in self.rates for hour in (rate.starting_hour, rate.ending_hour) if hour is not None}
        edges = sorted({*period, *(hour for hour in inner if period.starting_hour < hour < period.ending_hour)})
        last: tuple[Period, Rate] | None = None
        for start, end in pairwise(edges):
            rate = self._rate_at(start)
            if last is not None and last[1] is rate:
                last = Period(last[0].starting_hour, end), last[1]
                continue
            if last is not None:
                yield last
            last = None if rate is None else (Period(start, end), rate)
        if last is not None:
            yield last

    def _rate_at(self, hour: int) -> Rate | None:
        covering = [
            rate for rate in self.rates if rate.starting_hour <= hour and (rate.ending_hour is None or hour < rate.ending_hour)
        ]
        return covering[-1] if covering and covering[-1].entitled else None


def composites_of(rate_card: RateCard, products: Mapping[str, Product]) -> tuple[Composite, ...]:
    """Those that take in no other composite first, then by name."""
    rows: dict[str, list[Rate]] = {}
    for rate in rate_card.rates:
        product = products.get(rate.product_id)
        if product is not None and product.type is ProductType.COMPOSITE:
            rows.setdefault(product.id, []).append(rate)
    found = [Composite(products[product_id], tuple(rates)) for product_id, rates in rows.items()]
    return tuple(sorted(found, key=lambda each: (each.product.include_composite_spend, each.product.name, each.product.id)))


class Bracket(NamedTuple):
    """The part of the spend of a billing period from ``start`` on up to ``end`` (None = open), of which ``fraction`` is charged.
    The first reaches below zero."""

    level: int
    start: Decimal
    end: Decimal | None
    fraction: Decimal

    def part(self, spend: Decimal) -> Decimal:
        """How much of the first ``spend`` lies in it."""
        top = spend if self.end is None else min(spend, self.end)
        return top if self.level == 1 else max(top - self.start, Decimal(0))

    def charge(self, spend: Decimal) -> Decimal:
        """What it charges of the first ``spend``; rounded half-even to 18 digits after the point."""
        share = product(self.part(spend), self.fraction)
        rounded = rounded_to(share)
        return share if rounded is share else shortest(rounded)


def brackets(rate: Rate) -> list[Bracket]:
    if rate.rate_type is RateType.PERCENTAGE:
        return [Bracket(1, Decimal(0), None, rate.price)]
    found: list[Bracket] = []
    start = Decimal(0)
    for level, tier in enumerate(rate.tiers, 1):
        end = None if tier.size is None else start + tier.size
        found.append(Bracket(level, start, end, tier.price))
        start = start if end is None else end
    return found
