"""Group values beyond the bound are counted together: money and totals stay, and neither batches nor reloads can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import Aggregation, Catalog, CustomerConfig
from engine.customer import EngineSettings
from engine.metering.codec import decode_day
from engine.metering.series import OTHER, TOTAL, SeriesKey
from engine.numbers import exact
from tests import strategies
from tests.strategies import HOUR_US, NOW_US, Step, catalogs, customers, streams, successors
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FOLDING_DAYS = 34


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@pytest.fixture(autouse=True, scope="module")
def _many_values() -> Iterator[None]:
    """Of each group key more values than the bounds of these tests, those that look like the one for the others among them."""
    few = strategies.texts
    strategies.texts = st.sampled_from(["eu", "us", 7, None, OTHER, OTHER + "'", "a", "b", "c", "d", ""])
    yield
    strategies.texts = few


def bounded(limit: int) -> EngineSettings:
    return EngineSettings(group_values_max=limit, windows_hourly_days=FOLDING_DAYS)


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams(), limit=st.integers(1, 3), cuts=st.data())
def test_batches_and_reloads_cannot_be_seen(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], limit: int, cuts: st.DataObject
) -> None:
    whole, cut = Driver(config, catalog, NOW_US, bounded(limit)), Driver(config, catalog, NOW_US, bounded(limit))
    successor = cuts.draw(successors(catalog))
    changed_at = cuts.draw(st.integers(0, len(steps)))
    for number, (event, now_us) in enumerate(with_a_gap(steps, cuts.draw(st.integers(0, 2 * len(steps))))):
        if number == changed_at:
            whole.reconfigure(catalog=successor)
            cut.reconfigure(catalog=successor)
        whole.event(event, now_us)
        cut.event(event, now_us)
        action = cuts.draw(st.sampled_from(["nothing", "collect", "reload"]))
        if action == "collect":
            cut.collect()
        elif action == "reload":
            cut.reload()
    whole.collect()
    cut.collect()
    assert cut.notifications == whole.notifications
    assert cut.store == whole.store


def with_a_gap(steps: list[Step], at: int) -> list[Step]:
    """So long that the days before it are folded, and their values make room for others."""
    gap_us = (FOLDING_DAYS + 9) * 24 * HOUR_US
    moved = []
    for event, now_us in steps[at:]:
        timestamp_us = event.timestamp_us + gap_us
        later = event._replace(timestamp_us=timestamp_us, hour=timestamp_us // HOUR_US, appended_at_ms=(now_us + gap_us) // 1000)
        moved.append(Step(later, now_us + gap_us))
    return [*steps[:at], *moved]


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams(), limit=st.integers(1, 3))
def test_money_totals_and_what_is_named_are_as_without_a_bound(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], limit: int
) -> None:
    """Compared: every figure of alerts that do not split by all values of a key, and all windows but those of single values."""
    apart, together = Driver(config, catalog, NOW_US, bounded(10_000)), Driver(config, catalog, NOW_US, bounded(limit))
    comparable = [alert for alert in catalog.alerts if all(value is not None for _, value in alert.group_values)]
    for event, now_us in steps:
        assert apart.event(event, now_us) == together.event(event, now_us)
        apart.collect()
        together.collect()
        for alert in comparable:
            assert together.aggregate.measured(alert.id) == apart.aggregate.measured(alert.id)
    ids = {alert.id for alert in comparable}
    assert [each for each in together.notifications if each.alert_id in ids] == [
        each for each in apart.notifications if each.alert_id in ids
    ]
    assert sums(together, catalog) == sums(apart, catalog)


def sums(driver: Driver, catalog: Catalog) -> dict[tuple[str, int, int], Decimal]:
    """Of each metric that adds up: by day its total, and the sum over each group key, which is the same."""
    found: dict[tuple[str, int, int], Decimal] = {}
    for day, fields in driver.store.windows.items():
        for key, hours in decode_day(fields).items():
            if catalog.metrics[key.metric_id].aggregation in (Aggregation.SUM, Aggregation.COUNT):
                place = (key.metric_id, key.dimension, day)
                found[place] = found.get(place, Decimal(0)) + sum(map(Decimal, map(str, hours.values())), Decimal(0))
    for (metric_id, _, day), amount in found.items():
        assert amount == found[metric_id, TOTAL, day]
    return found


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams(), limit=st.integers(1, 3))
def test_no_more_are_kept_apart_than_the_bound_says(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], limit: int
) -> None:
    """But for those that the configuration names, and where a product's price does not add up."""
    driver = Driver(config, catalog, NOW_US, bounded(limit))
    for event, now_us in steps:
        driver.event(event, now_us)
    driver.collect()
    named = {("region", "eu"), ("region", "7"), ("model", "x")}
    shown = {product.metric_id for product in catalog.products.values() if product.presentation_group_key}
    unnamed: dict[tuple[str, int], set[SeriesKey]] = {}
    for day, fields in driver.store.windows.items():
        for key in decode_day(fields):
            if key.dimension == TOTAL or key.metric_id in shown:
                continue
            names = catalog.metrics[key.metric_id].group_keys[key.dimension]
            pairs = zip(names, key.values, strict=True)
            if any(value is not None and value != OTHER and (name, value) not in named for name, value in pairs):
                unnamed.setdefault((key.metric_id, key.dimension), set()).add(key)
        assert day in driver.store.windows
    assert all(len(keys) <= limit for keys in unnamed.values())
