"""How many values of a group key are kept apart for one customer: what is beyond is counted together, as ``OTHER``.

A group key may turn out to hold a request id; each of its values would take memory, time to load, and a place in every window.
So of each declared compound group key of a metric at most ``group_values_max`` combinations of values are kept apart: those that
came first among the days whose hours are kept (they make room when these days are folded). That is read from the stored windows
themselves, so batches, reloads and replays decide alike. Any other combination has its values replaced by ``OTHER``, but for

- values that the configuration names (a rate, an override, a usage filter, a balance, a seat, an alert): money and alerts depend
  on which they are. All other values of a pricing group key have no price, together or apart.
- keys that a product shows on its invoices and for which its price does not simply add up (tiers, rounding, MAX, LATEST, UNIQUE):
  counted together these values would cost something else. They are kept apart, whatever their number.
- an absent value, which stays absent.

So totals and money are the same with any bound. What was counted as ``OTHER`` stays so, even if a value is named later.

No value of an event can be taken for ``OTHER``: one that reads so, followed by any number of apostrophes, gets one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from engine.catalog import (
    Aggregation,
    Alert,
    Balance,
    Catalog,
    Contract,
    CustomerConfig,
    Operation,
    OverrideType,
    Product,
    RateType,
    Specifier,
)
from engine.metering.matching import MetricMatcher
from engine.metering.series import OTHER, GroupValues, SeriesKey, dimension_name, series_field

Named = frozenset[tuple[str, str]]
"""(group key, value) pairs."""

_SUMS = frozenset({Aggregation.SUM, Aggregation.COUNT})


class GroupValueBound:
    """``apart``: of each key that ``dimension_name`` gives, how many combinations are kept apart now. ``known``: whether there is
    a series of that name. ``named``, ``kept``: asked for when the bound is first reached."""

    __slots__ = ("_alerts", "_apart", "_catalog", "_customer", "_kept", "_known", "_limit", "_named")

    def __init__(
        self,
        limit: int,
        known: Mapping[str, object],
        apart: Mapping[str, int],
        catalog: Catalog,
        customer: CustomerConfig,
        alerts: Iterable[Alert],
    ) -> None:
        self._limit = limit
        self._known = known
        self._apart = apart
        self._catalog = catalog
        self._customer = customer
        self._alerts = alerts
        self._named: Named | None = None
        self._kept: dict[str, frozenset[str]] = {}

    def values(self, matcher: MetricMatcher, dimension: int, given: GroupValues) -> GroupValues:
        """The values under which those of an event are counted."""
        own = tuple([_own(value) for value in given])
        metric_id = matcher.metric.id
        if self._apart.get(dimension_name(metric_id, dimension), 0) < self._limit:
            return own
        if series_field(SeriesKey(metric_id, dimension, own)) in self._known:
            return own
        if self._named is None:
            self._named = named_values(self._catalog, self._customer, self._alerts)
        named, kept = self._named, self._kept_names(matcher)
        names = matcher.dimensions[dimension]
        return tuple(
            value if value is None or name in kept or (name, value) in named else OTHER
            for name, value in zip(names, own, strict=True)
        )

    def _kept_names(self, matcher: MetricMatcher) -> frozenset[str]:
        metric_id = matcher.metric.id
        kept = self._kept.get(metric_id)
        if kept is None:
            kept = self._kept[metric_id] = frozenset(
                name
                for product in self._catalog.products.values()
                if product.metric_id == metric_id and not _adds_up(product, matcher.aggregation, self._catalog, self._customer)
                for name in product.presentation_group_key
            )
        return kept


def _own(value: str | None) -> str | None:
    """An event's value as it is kept: never ``OTHER``, and no two alike."""
    return value + "'" if value is not None and value.startswith(OTHER) and value.rstrip("'") == OTHER else value


def _adds_up(product: Product, aggregation: Aggregation, catalog: Catalog, customer: CustomerConfig) -> bool:
    """Whether two lines of a product cost together what each costs by itself."""
    conversion = product.conversion
    if aggregation not in _SUMS or product.rounding is not None:
        return False
    if conversion is not None and conversion.operation is not Operation.MULTIPLY:
        return False  # a quotient may be rounded to its last digit
    rates = (rate for card in catalog.rate_cards.values() for rate in card.rates if rate.product_id == product.id)
    if any(rate.rate_type is not RateType.FLAT or (rate.commit_rate and rate.commit_rate.tiers) for rate in rates):
        return False
    overrides = (each for contract in _contracts(customer) for each in contract.overrides)
    return not any(
        each.type is OverrideType.TIERED or (each.overwrite_rate is not None and each.overwrite_rate.tiers) for each in overrides
    )


def named_values(catalog: Catalog, customer: CustomerConfig, alerts: Iterable[Alert]) -> Named:
    """All that the configuration says about single values of group keys."""
    rates = (rate.pricing_group_values for card in catalog.rate_cards.values() for rate in card.rates)
    return frozenset(
        chain(*rates, *map(_of_contract, _contracts(customer)), *map(_of_balance, customer.balances), _of_alerts(alerts))
    )


def _contracts(customer: CustomerConfig) -> Iterator[Contract]:
    return chain(customer.contracts, customer.archived_contracts)


def _of_contract(contract: Contract) -> Iterator[tuple[str, str]]:
    for override in contract.overrides:
        yield from _of_specifiers(override.specifiers)
    for condition in contract.usage_filters:
        yield from ((condition.group_key, value) for value in condition.group_values)
    for subscription in contract.subscriptions:
        if subscription.seat_group_key is not None:
            yield from ((subscription.seat_group_key, step.seat_id) for step in subscription.seat_steps)
    for recurring in contract.recurring:
        yield from _of_balance(recurring.child)


def _of_balance(balance: Balance) -> Iterator[tuple[str, str]]:
    yield from _of_specifiers(balance.specifiers)
    if balance.seat is not None:
        yield balance.seat


def _of_specifiers(specifiers: Iterable[Specifier]) -> Iterator[tuple[str, str]]:
    for each in specifiers:
        yield from each.pricing_group_values
        yield from each.presentation_group_values


def _of_alerts(alerts: Iterable[Alert]) -> Iterator[tuple[str, str]]:
    for alert in alerts:
        pairs = (*alert.group_values, *(() if alert.seat_filter is None else (alert.seat_filter,)))
        yield from ((name, value) for name, value in pairs if value is not None)
