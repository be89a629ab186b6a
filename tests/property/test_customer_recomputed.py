"""The aggregate against a recomputation from the raw events that shares no code with it, and against itself cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import Catalog, CustomerConfig
from engine.customer import EngineSettings
from engine.effects import Notification, UsageEvent
from engine.numbers import ZERO, exact
from tests.strategies import FIRST_HOUR, HOUR_US, NOW_US, Step, catalogs, customer, customers, one_product, streams, successors
from tests.support.recomputed import Oracle, Told
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def told(notification: Notification) -> Told:
    return Told(
        kind=notification.type.rsplit("_", 1)[1],
        alert_id=notification.alert_id,
        period=(notification.period_starting_us // HOUR_US, notification.period_ending_us // HOUR_US),
        group=tuple(value for _, value in notification.group_values),
        previous=Fraction(notification.previous_value),
        value=Fraction(notification.value),
        triggered_by=str(notification.triggered_by),
        transaction_id=notification.evidence.transaction_id if notification.evidence else None,
    )


@BOUNDED
@given(catalog=catalogs(), steps=streams(), grace_hours=st.sampled_from([24, 0, 48]))
def test_every_event_gives_what_recomputing_everything_gives(catalog: Catalog, steps: list[Step], grace_hours: int) -> None:
    oracle = Oracle(catalog, FIRST_HOUR, grace_hours, NOW_US)
    driver = Driver(customer(), catalog, NOW_US, EngineSettings(grace_hours=grace_hours))
    for event, now_us in steps:
        oracle.step(event, now_us)
        assert driver.event(event, now_us) is None
        driver.collect()
        for alert in catalog.alerts:
            assert driver.aggregate.measured(alert.id) == oracle.measured(alert)
        assert [told(notification) for notification in driver.notifications] == oracle.told
    oracle.pass_time(steps[-1].now_us + 16 * 24 * HOUR_US)
    driver.advance(steps[-1].now_us + 16 * 24 * HOUR_US)
    assert [told(notification) for notification in driver.notifications] == oracle.told


@BOUNDED
@given(
    catalog=one_product(),
    deltas=st.lists(st.sampled_from(["1", "2", "3", "4.5", "-1", "-4", "0.25", "1E-36", "1E-38"]), max_size=12),
)
def test_spend_is_exact_up_and_down_the_tiers(catalog: Catalog, deltas: list[str]) -> None:
    """Amounts as small as are allowed: divided by 8 they do not come out even within 38 places."""
    oracle, driver = Oracle(catalog, FIRST_HOUR, 24, NOW_US), Driver(customer(), catalog, NOW_US)
    for number, amount in enumerate(deltas):
        event = UsageEvent(f"t{number}", "call", NOW_US, NOW_US // HOUR_US, {"amount": amount}, "t", 0, number, 0)
        oracle.step(event, NOW_US)
        driver.event(event)
        assert driver.aggregate.measured("a") == oracle.measured(catalog.alerts[0])


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams(), cuts=st.data())
def test_batches_and_reloads_cannot_be_seen(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], cuts: st.DataObject
) -> None:
    whole, cut = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    successor = cuts.draw(successors(catalog))
    changed_at = cuts.draw(st.integers(0, len(steps)))
    for number, (event, now_us) in enumerate(steps):
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
    assert len({notification.id for notification in whole.notifications}) == len(whole.notifications)
    assert cut.store == whole.store


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams())
def test_timers_alone_bring_what_time_brings(config: CustomerConfig, catalog: Catalog, steps: list[Step]) -> None:
    """Waking a customer only when its timer says so gives the same as looking at it every hour."""
    timed, watched = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    end_us = steps[-1].now_us + 20 * 24 * HOUR_US
    for event, now_us in [*steps, (None, end_us)]:
        while timed.timer_us is not None and timed.timer_us <= now_us:
            timed.advance(timed.timer_us)
        for hour in range(watched.now_us // HOUR_US + 1, now_us // HOUR_US + 1):
            watched.advance(hour * HOUR_US)
        if event is not None:
            for driver in (timed, watched):
                driver.event(event, now_us)
                driver.collect()
    assert timed.notifications == watched.notifications


@BOUNDED
@given(config=customers(), catalog=catalogs(), steps=streams(), data=st.data())
def test_a_change_seen_at_loading_is_a_change_seen_in_memory(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], data: st.DataObject
) -> None:
    """Only the value before the change is not known after loading."""
    here, there = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    for event, now_us in steps:
        here.event(event, now_us)
        there.event(event, now_us)
    successor = data.draw(successors(catalog))
    here.reconfigure(catalog=successor)
    there.collect()
    there.catalog = successor
    there.reload()
    there.collect()
    assert [replace(each, previous_value=ZERO) for each in there.notifications] == [
        replace(each, previous_value=ZERO) for each in here.notifications
    ]
    here.collect()
    assert there.store == here.store
