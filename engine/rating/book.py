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
from types import MappingProxyType
from typing import NamedTuple

from engine.catalog import Override, Product, ProductType, Rate, RateCard, RateTarget
from engine.numbers import exact
from engine.periods import Period
from engine.rating.overrides import applies, by_state, concerns, is_by_presentation, priced_stretches
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


class _Terms(NamedTuple):
    """How overrides are chosen, and of which of a rate's prices."""

    explicit: bool
    target: RateTarget


_LISTED = _Terms(explicit=False, target=RateTarget.LIST_RATE)


class _ByPresentation:
    """The prices of a product that has overrides for presentation values: for each choice of overrides a timeline, made when it
    is first asked for."""

    __slots__ = ("_overrides", "_product", "_rows", "_terms", "_timelines")

    def __init__(
        self,
        product: Product,
        rows: Mapping[tuple[str, ...], Sequence[Rate]],
        overrides: Sequence[Override],
        terms: _Terms,
    ) -> None:
        self._product = product
        self._rows = rows
        self._overrides = overrides
        self._terms = terms
        self._timelines: dict[tuple[tuple[str, ...], tuple[tuple[str, int], ...]], _Timeline] = {}

    @property
    def changes(self) -> set[int]:
        parts: list[Rate | Override] = [*self._overrides, *(rate for rates in self._rows.values() for rate in rates)]
        return {hour for part in parts for hour in (part.starting_hour, part.ending_hour) if hour is not None}

    @property
    def credit_types(self) -> set[str]:
        return {each.overwrite_rate.credit_type_id for each in self._overrides if each.overwrite_rate is not None}

    def timeline(self, pricing_values: tuple[str, ...], presentation_values: tuple[str | None, ...]) -> _Timeline | None:
        rates = self._rows.get(pricing_values)
        if rates is None:
            return None
        chosen = [
            each
            for each in self._overrides
            if applies(each, self._product, pricing_values, presentation_values=presentation_values)
        ]
        key = pricing_values, tuple((each.id, each.starting_hour) for each in chosen)
        found = self._timelines.get(key)
        if found is None:
            with exact():
                found = self._timelines[key] = _timeline(rates, chosen, self._terms)
        return found


class RateBook:
    """One rate card and the products that it prices. Immutable; compile again when either changes.

    Pricing values are the values of the product's ``pricing_group_key``, in its order; () for a product without one.
    """

    __slots__ = ("_by_presentation", "_products", "_rows", "_timelines")

    def __init__(
        self,
        products: Mapping[str, tuple[Product, ...]],
        timelines: Mapping[str, Mapping[tuple[str, ...], _Timeline]],
        rows: Rows,
        by_presentation: Mapping[str, _ByPresentation] = MappingProxyType({}),
    ) -> None:
        self._products = products
        self._rows = rows
        self._timelines = timelines
        self._by_presentation = by_presentation

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

    def overridden(self, overrides: Sequence[Override], *, explicit: bool, target: RateTarget = RateTarget.LIST_RATE) -> RateBook:
        """The book of a contract with these overrides; ``explicit``: it chooses multipliers by their priority; ``target``: as for
        engine.rating.overrides.priced_stretches.

        What no override touches is shared with this book. Raises RateError for an override that cannot be priced.
        """
        timelines = dict(self._timelines)
        by_presentation: dict[str, _ByPresentation] = {}
        terms = _Terms(explicit, target)
        with exact():
            for product in (product for group in self._products.values() for product in group):
                rows = self._rows[product.id]
                concerned = [override for override in by_state(overrides, product) if concerns(override, product)]
                if not concerned and (target is RateTarget.LIST_RATE or not _has_commit_rates(rows)):
                    continue
                timelines[product.id] = {
                    values: _timeline(rates, [each for each in concerned if applies(each, product, values)], terms)
                    for values, rates in rows.items()
                }
                if any(map(is_by_presentation, concerned)):
                    by_presentation[product.id] = _ByPresentation(product, rows, concerned, terms)
        return RateBook(self._products, timelines, self._rows, by_presentation)

    def products_of(self, metric_id: str) -> tuple[Product, ...]:
        """The products with rates on this card that measure a metric."""
        return self._products.get(metric_id, ())

    @property
    def credit_types(self) -> frozenset[str]:
        """In what this card prices anything."""
        listed = (
            stretch.ladder.credit_type_id
            for by_values in self._timelines.values()
            for timeline in by_values.values()
            for stretch in timeline.stretches
        )
        return frozenset(listed).union(*(each.credit_types for each in self._by_presentation.values()))

    def metric_ids(self) -> tuple[str, ...]:
        """The metrics whose usage this card prices."""
        return tuple(self._products)

    def priced_values(self, product_id: str) -> tuple[tuple[str, ...], ...]:
        """Every combination of pricing values for which the product has rates."""
        return tuple(self._timelines.get(product_id, ()))

    def changes(self, product_id: str, period: Period) -> set[int]:
        """The hours within the period, its bounds included, at which any price of the product may change."""
        found = {
            hour
            for values in self.priced_values(product_id)
            for part in self.slices(product_id, values, period)
            for hour in (part.starting_hour, part.ending_hour)
        }
        own = self._by_presentation.get(product_id)
        more = () if own is None else own.changes
        return found.union(hour for hour in more if period.starting_hour <= hour <= period.ending_hour)

    def slices(
        self,
        product_id: str,
        pricing_values: tuple[str, ...],
        period: Period,
        presentation_values: tuple[str | None, ...] = (),
    ) -> tuple[Slice, ...]:
        """The billed stretches of the period, oldest first; () if nothing of it is billed. Each is to be measured by itself.
        ``presentation_values``: of the line, in the order of the product's key."""
        timeline = self._timeline(product_id, pricing_values, presentation_values)
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

    def ladder_at(
        self, product_id: str, pricing_values: tuple[str, ...], hour: int, presentation_values: tuple[str | None, ...] = ()
    ) -> Ladder | None:
        """The prices that hold in an hour; None = not billed."""
        timeline = self._timeline(product_id, pricing_values, presentation_values)
        if timeline is None:
            return None
        index = bisect_right(timeline.starts, hour) - 1
        if index < 0:
            return None
        _, end, ladder = timeline.stretches[index]
        return ladder if end is None or hour < end else None

    def _timeline(
        self, product_id: str, pricing_values: tuple[str, ...], presentation_values: tuple[str | None, ...]
    ) -> _Timeline | None:
        own = self._by_presentation.get(product_id) if presentation_values else None
        if own is not None:
            return own.timeline(pricing_values, presentation_values)
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


def _has_commit_rates(rows: Mapping[tuple[str, ...], Sequence[Rate]]) -> bool:
    return any(rate.commit_rate is not None for rates in rows.values() for rate in rates)


def _timeline(rates: Sequence[Rate], overrides: Sequence[Override] = (), terms: _Terms = _LISTED) -> _Timeline:
    """Let the latest added row and the winning override decide each piece of time, join equal neighbours."""
    ladders = {id(rate): Ladder.of(rate) for rate in rates}  # of all rows: one that never wins must be priceable, too
    stretches: list[_Stretch] = []
    for start, end, _, charged, entitled in priced_stretches(rates, overrides, explicit=terms.explicit, target=terms.target):
        if not entitled:
            continue
        ladder = ladders.get(id(charged)) or Ladder.of(charged)
        last = stretches[-1] if stretches else None
        if last is not None and last.ending_hour == start and last.ladder == ladder:
            stretches[-1] = last._replace(ending_hour=end)
        else:
            stretches.append(_Stretch(start, end, ladder))
    return _Timeline(tuple(stretch.starting_hour for stretch in stretches), tuple(stretches))
