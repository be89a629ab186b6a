"""The engine alone against the oracle, on the real trace, for any split into batches and any time of forgetting: no services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest

from engine import numbers
from engine.catalog import (
    Aggregation,
    Alert,
    AlertType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    Product,
    PropertyFilter,
    Rate,
    RateCard,
    RateType,
    Tier,
)
from engine.customer import CustomerAggregate, EngineSettings
from engine.effects import Delta, Notification, StoredCustomer, UsageEvent
from tests.support import scenario
from tests.support.oracle import Crossing, Threshold, crossings
from tests.support.trace import Row

HOUR_US = 3_600_000_000
MONTH_START = datetime(2023, 11, 1, tzinfo=UTC)
SETTINGS = EngineSettings()


def micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


MONTH_HOUR = micros(MONTH_START) // HOUR_US


@pytest.fixture(autouse=True)
def _exact_numbers() -> None:
    numbers.activate()


def catalog(alerts: Sequence[Alert]) -> Catalog:
    def metric(name: str) -> BillableMetric:
        if name == "requests":
            return BillableMetric(name, name, Aggregation.COUNT)
        return BillableMetric(name, name, Aggregation.SUM, name, property_filters=(PropertyFilter(name, exists=True),))

    tiers = tuple(Tier(size, price) for size, price in scenario.INPUT_TIERS)
    rates = (
        Rate("input_tokens", RateType.TIERED, MONTH_HOUR, tiers=tiers),
        Rate("output_tokens", RateType.FLAT, MONTH_HOUR, price=scenario.OUTPUT_PRICE),
    )
    return Catalog(
        revision=1,
        metrics={name: metric(name) for name in ("input_tokens", "output_tokens", "requests")},
        products={name: Product(name, name, name) for name in ("input_tokens", "output_tokens")},
        rate_cards={"tokens": RateCard("tokens", rates)},
        alerts=tuple(alert for alert in alerts if alert.customer_id is None),
    )


def alert(threshold: Threshold) -> Alert:
    value = Decimal(threshold.value.numerator) / Decimal(threshold.value.denominator)
    kind = AlertType.SPEND_THRESHOLD if threshold.metric is None else AlertType.USAGE_THRESHOLD
    return Alert(threshold.name, kind, threshold.name, value, 1, customer_id=threshold.customer, metric_id=threshold.metric)


class Customers:
    """Aggregates over a store that is a dict: what ``collect`` gives is all that outlives ``forget``."""

    def __init__(self, alerts: Sequence[Alert], shared: Catalog, names: Sequence[str], now_us: int) -> None:
        schedule = BillingSchedule(Frequency.MONTHLY, micros(MONTH_START))
        contract = Contract("contract", "tokens", MONTH_HOUR, None, schedule)
        self._configs = {
            name: CustomerConfig(name, 1, (contract,), tuple(a for a in alerts if a.customer_id == name)) for name in names
        }
        self._shared = shared
        self._now_us = now_us
        self._stored = dict.fromkeys(names, StoredCustomer())
        self._loaded: dict[str, CustomerAggregate] = {}

    def __getitem__(self, name: str) -> CustomerAggregate:
        aggregate = self._loaded.get(name)
        if aggregate is None:
            aggregate = CustomerAggregate(self._configs[name], self._shared, self._stored[name], SETTINGS, self._now_us)
            self._loaded[name] = aggregate
        return aggregate

    def commit(self) -> Iterator[Notification]:
        for name, aggregate in self._loaded.items():
            delta = aggregate.collect()
            self._stored[name] = stored_after(self._stored[name], delta)
            yield from delta.notifications

    def forget(self) -> None:
        self._loaded.clear()


def stored_after(before: StoredCustomer, delta: Delta) -> StoredCustomer:
    state = {field: value for field, value in before.state.items() if field not in delta.state_deleted} | delta.state_set
    windows = {day: fields for day, fields in before.windows.items() if day not in delta.windows_deleted}
    for day, fields in delta.windows_set.items():
        windows[day] = {**windows.get(day, {}), **fields}
    return replace(before, state=state, windows=windows)


def splits(rows: Sequence[Row], size: int | None, random: Random) -> Iterator[range]:
    """Ranges of row numbers; ``size`` None = of random length."""
    start = 0
    while start < len(rows):
        end = min(len(rows), start + (size or random.randrange(1, 1000)))
        yield range(start, end)
        start = end


@pytest.mark.trace
@pytest.mark.parametrize(("size", "forget"), [(1, False), (7, True), (500, True), (None, True)])
def test_the_engine_agrees_with_the_oracle(trace_rows: list[Row], size: int | None, forget: bool) -> None:
    names = [f"customer-{n}" for n in range(scenario.CUSTOMERS)]
    events = scenario.oracle_events(trace_rows, names)
    thresholds = scenario.thresholds(events, seed=7)
    alerts = [alert(threshold) for threshold in thresholds]
    now_us = micros(trace_rows[-1].at)
    customers = Customers(alerts, catalog(alerts), names, now_us)
    found: list[Notification] = []
    for batch in splits(trace_rows, size, Random(7)):
        for n in batch:
            row = trace_rows[n]
            at_us = micros(row.at)
            properties = {"input_tokens": str(row.input_tokens), "output_tokens": row.output_tokens}
            usage = UsageEvent(f"row-{n}", "completion", at_us, at_us // HOUR_US, properties, "topic", 0, n, at_us // 1000)
            assert customers[names[n % len(names)]].apply(usage, now_us) is None
        found += customers.commit()
        if forget:
            customers.forget()
    told = [Crossing(n.alert_name, n.customer_id, n.evidence.transaction_id) for n in found if n.evidence is not None]
    assert len(told) == len(found) == len({notification.id for notification in found})
    expected = crossings(events, scenario.products(), thresholds)
    assert (set(told) - expected, expected - set(told)) == (set(), set()), "(extra, missing)"
    assert len(told) == len(expected)
