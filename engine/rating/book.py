"""A rate card compiled: for each product and combination of pricing values, which ladder of prices holds when.

Rules:
- A row belongs to the combination of pricing values that equals its own in all keys of the product's pricing group key.
  A row with other keys than these, or a combination without rows, prices nothing.
- Of several rows that cover an hour, the latest added wins.
- An hour that no row covers, or whose winning row has ``entitled`` false, is not billed.
- A contract's overrides change what its card's rows charge (engine.rating.overrides).
- Neighbouring rows that charge the same are one: only a *change* of price splits a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.catalog import Override, Product, ProductType, Rate, RateCard
from engine.numbers import exact
from engine.periods import Period
from engine.rating.overrides import applies, concerns, priced_stretches
from engine.rating.prices import Ladder, RateError


class Slice(NamedTuple):
    """A stretch of a billing period in which one ladder holds. Hours since the epoch, half-open."""

    starting_hour: int
    ending_hour: int
    ladder: Ladder


class _Stretch(NamedTuple):
    starting_hour: int
    ending_hour: int | None  # None = open
    ladder: Ladder


class _Timeline(NamedTuple):
    """Stretches that do not overlap, oldest first, and their starts for bisection."""

    starts: tuple[int, ...]
    stretches: tuple[_Stretch, ...]


Rows = Mapping[str, Mapping[tuple[str, ...], Sequence[Rate]]]
"""A card's rows by product id and pricing values, in the order in which they were added."""


class RateBook:
    """One rate card and the products that it prices. Immutable; compile again when either changes.

    Pricing values are the values of the product's ``pricing_group_key``, in its order; () for a product without one.
    """

    __slots__ = ("_products", "_rows", "_timelines")

    def __init__(
        self,
        products: Mapping[str, tuple[Product, ...]],
        timelines: Mapping[str, Mapping[tuple[str, ...], _Timeline]],
        rows: Rows,
    ) -> None:
        self._products = products
        self._rows = rows
        self._timelines = timelines

    @staticmethod
    def compile(rate_card: RateCard, products: Mapping[str, Product]) -> RateBook:
        """Raises RateError for a row that cannot be priced. Rows of products that are not in ``products`` are left out."""
        rows = card_rows(rate_card, products)
        by_metric: dict[str, tuple[Product, ...]] = {}
        for product_id in rows:
            product = products[product_id]
            _check_conversion(product)
            by_metric[product.metric_id] = (*by_metric.get(product.metric_id, ()), product)
        with exact():  # the ladders' costs; a caller that only reads a catalog need not have activated it
            timelines = {
                product_id: {values: _timeline(rates) for values, rates in by_values.items()}
                for product_id, by_values in rows.items()
            }
        return RateBook(by_metric, timelines, rows)

    def overridden(self, overrides: Sequence[Override], *, explicit: bool) -> RateBook:
        """The book of a contract with these overrides; ``explicit``: it chooses multipliers by their priority.

        What no override touches is shared with this book. Raises RateError for an override that cannot be priced.
        """
        timelines = dict(self._timelines)
        with exact():
            for product in (product for group in self._products.values() for product in group):
                concerned = [override for override in overrides if concerns(override, product)]
                if not concerned:
                    continue
                changed = {
                    values: _timeline(rates, [each for each in concerned if applies(each, product, values)], explicit=explicit)
                    for values, rates in self._rows[product.id].items()
                }
                timelines[product.id] = changed
        return RateBook(self._products, timelines, self._rows)

    def products_of(self, metric_id: str) -> tuple[Product, ...]:
        """The products with rates on this card that measure a metric."""
        return self._products.get(metric_id, ())

    @property
    def credit_types(self) -> frozenset[str]:
        """In what this card prices anything."""
        return frozenset(
            stretch.ladder.credit_type_id
            for by_values in self._timelines.values()
            for timeline in by_values.values()
            for stretch in timeline.stretches
        )

    def metric_ids(self) -> tuple[str, ...]:
        """The metrics whose usage this card prices."""
        return tuple(self._products)

    def priced_values(self, product_id: str) -> tuple[tuple[str, ...], ...]:
        """Every combination of pricing values for which the product has rates."""
        return tuple(self._timelines.get(product_id, ()))

    def slices(self, product_id: str, pricing_values: tuple[str, ...], period: Period) -> tuple[Slice, ...]:
        """The billed stretches of the period, oldest first; () if nothing of it is billed. Each is to be measured by itself."""
        timeline = self._timeline(product_id, pricing_values)
        if timeline is None:
            return ()
        first = max(bisect_right(timeline.starts, period.starting_hour) - 1, 0)
        found: list[Slice] = []
        for start, end, ladder in timeline.stretches[first:]:
            if start >= period.ending_hour:
                break
            starting = max(start, period.starting_hour)
            ending = period.ending_hour if end is None else min(end, period.ending_hour)
            if starting < ending:
                found.append(Slice(starting, ending, ladder))
        return tuple(found)

    def ladder_at(self, product_id: str, pricing_values: tuple[str, ...], hour: int) -> Ladder | None:
        """The prices that hold in an hour; None = not billed."""
        timeline = self._timeline(product_id, pricing_values)
        if timeline is None:
            return None
        index = bisect_right(timeline.starts, hour) - 1
        if index < 0:
            return None
        _, end, ladder = timeline.stretches[index]
        return ladder if end is None or hour < end else None

    def _timeline(self, product_id: str, pricing_values: tuple[str, ...]) -> _Timeline | None:
        by_values = self._timelines.get(product_id)
        return None if by_values is None else by_values.get(pricing_values)


def _pricing_values(product: Product, rate: Rate) -> tuple[str, ...] | None:
    """The row's values in the order of the product's key; None if the row's keys are not exactly the product's."""
    values = dict(rate.pricing_group_values)
    if len(values) != len(product.pricing_group_key) or not all(key in values for key in product.pricing_group_key):
        return None
    return tuple(values[key] for key in product.pricing_group_key)


def _check_conversion(product: Product) -> None:
    if product.conversion is not None and product.conversion.factor <= 0:
        raise RateError("a conversion factor is above 0")


def card_rows(rate_card: RateCard, products: Mapping[str, Product]) -> dict[str, dict[tuple[str, ...], list[Rate]]]:
    """The card's rows that price usage: those of the USAGE ``products`` whose keys are exactly their pricing group key."""
    rows: dict[str, dict[tuple[str, ...], list[Rate]]] = {}
    for rate in rate_card.rates:
        product = products.get(rate.product_id)
        if product is None or product.type is not ProductType.USAGE:
            continue
        values = _pricing_values(product, rate)
        if values is not None:
            rows.setdefault(product.id, {}).setdefault(values, []).append(rate)
    return rows


def _timeline(rates: Sequence[Rate], overrides: Sequence[Override] = (), *, explicit: bool = False) -> _Timeline:
    """Let the latest added row and the winning override decide each piece of time, join equal neighbours."""
    ladders = {id(rate): Ladder.of(rate) for rate in rates}  # of all rows: one that never wins must be priceable, too
    stretches: list[_Stretch] = []
    for start, end, _, charged, entitled in priced_stretches(rates, overrides, explicit=explicit):
        if not entitled:
            continue
        ladder = ladders.get(id(charged)) or Ladder.of(charged)
        last = stretches[-1] if stretches else None
        if last is not None and last.ending_hour == start and last.ladder == ladder:
            stretches[-1] = last._replace(ending_hour=end)
        else:
            stretches.append(_Stretch(start, end, ladder))
    return _Timeline(tuple(stretch.starting_hour for stretch in stretches), tuple(stretches))
