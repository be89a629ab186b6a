"""Alerts over several contracts: against a recomputation that shares no code, and what must never be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.alerts.status import read_status
from engine.catalog import (
    Alert,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Frequency,
    RateCard,
)
from engine.customer import EngineSettings
from engine.effects import Notification
from engine.numbers import exact
from tests.property.test_customer_recomputed import told
from tests.strategies import HOUR_US, NOW_US, Step, alerts, catalogs, rates, streams
from tests.support.recomputed import Told
from tests.support.recomputed_contracts import ContractsOracle
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW_HOUR = NOW_US // HOUR_US
DAY = 24


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def hours_near(*more: int) -> st.SearchStrategy[int]:
    return st.sampled_from([*more, -30, -12, -1, 0, 5, 30, 31, 60, 200]).map(lambda offset: NOW_HOUR + offset)


@st.composite
def contracts(draw: st.DrawFn, number: int) -> Contract:
    """It begins, ends and rolls at any hour before, near or after the first event."""
    start = draw(hours_near(-40 * DAY, -40 * DAY, -20 * DAY, -8 * DAY))
    ends = [hour for hour in (draw(hours_near(-3 * DAY, 8 * DAY)), None, None, None) if hour is None or hour > start]
    anchor = draw(st.one_of(st.just(start), hours_near(-45 * DAY, 3 * DAY, 6 * DAY)))
    return Contract(
        id=f"c{number}",
        rate_card_id=draw(st.sampled_from(["card", "card", "other", None])),
        starting_hour=start,
        ending_hour=draw(st.sampled_from(ends)),
        schedule=BillingSchedule(draw(st.sampled_from([Frequency.WEEKLY, Frequency.WEEKLY, *Frequency])), anchor * HOUR_US),
        custom_fields=draw(st.sampled_from([(), (("team", "red"),), (("team", "red"),), (("team", "blue"),)])),
    )


class Case(NamedTuple):
    config: CustomerConfig
    catalog: Catalog
    grace_hours: int


filters = st.sampled_from(
    [(), (), (CustomFieldFilter(Entity.CONTRACT, "team", "red"),), (CustomFieldFilter(Entity.CONTRACT, "x", "y"),)]
)


@st.composite
def watching(draw: st.DrawFn, alert_id: str, metric_ids: list[str]) -> Alert:
    made = draw(alerts(alert_id, metric_ids))
    return replace(made, custom_field_filters=draw(filters) if made.metric_id is None else ())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    catalog = draw(catalogs())
    other = [row for product in catalog.products.values() for row in draw(rates(product))]
    catalog = replace(
        catalog,
        rate_cards={**catalog.rate_cards, "other": RateCard("other", tuple(other))},
        alerts=tuple(draw(watching(f"a{number}", list(catalog.metrics))) for number in range(draw(st.integers(1, 5)))),
    )
    config = CustomerConfig("customer", 1, tuple(draw(contracts(number)) for number in range(draw(st.integers(1, 4)))))
    return Case(config, catalog, draw(st.sampled_from([24, 24, 0, 48, 10 * DAY])))


late_streams = st.builds(
    lambda steps, shifts: [
        Step(
            step.event._replace(
                timestamp_us=step.event.timestamp_us - shift * HOUR_US,
                hour=(step.event.timestamp_us - shift * HOUR_US) // HOUR_US,
            ),
            step.now_us,
        )
        for step, shift in zip(steps, shifts, strict=False)
    ],
    streams(),
    st.lists(st.sampled_from([0, 0, 0, 0, 8, 30, 100, 170]), min_size=14, max_size=14),
)


def by_state(notifications: list[Notification]) -> dict[tuple[str, tuple[str, ...]], list[Told]]:
    found: dict[tuple[str, tuple[str, ...]], list[Told]] = {}
    for each in map(told, notifications):
        found.setdefault((each.alert_id, each.group), []).append(each)
    return found


def check(notifications: list[Notification]) -> None:
    """What must never be told."""
    assert len({each.id for each in notifications}) == len(notifications)
    crossed = set()
    for each in notifications:
        if each.type.endswith("_resolved"):
            nothing_measured = each.value == 0 >= each.threshold
            assert each.value < each.threshold or nothing_measured, "resolved, and past the line"
        elif each.evidence is not None:
            crossing = each.alert_id, each.group_values, each.evidence.transaction_id
            assert crossing not in crossed, "one crossing, two ids"
            crossed.add(crossing)


@BOUNDED
@given(case=cases(), steps=late_streams, data=st.data())
def test_every_step_gives_what_recomputing_everything_gives(case: Case, steps: list[Step], data: st.DataObject) -> None:
    config, catalog, grace_hours = case
    oracle = ContractsOracle(catalog, config.contracts, grace_hours, NOW_US)
    driver = Driver(config, catalog, NOW_US, EngineSettings(grace_hours=grace_hours))
    for event, now_us in [*steps, (None, steps[-1].now_us + 16 * DAY * HOUR_US)]:
        match data.draw(st.sampled_from(["", "", "", "reload", "timer", "alert", "reset"])):
            case "reload":
                driver.reload()
            case "timer":
                time_us = data.draw(st.integers(driver.now_us, now_us))
                oracle.pass_time(time_us)
                driver.advance(time_us)
            case "alert":
                number = len(driver.catalog.alerts)
                drawn = data.draw(watching(f"n{number}", list(catalog.metrics)))
                known = driver.catalog
                new = replace(drawn, created_version=known.revision + 1, evaluate_on_create=data.draw(st.booleans()))
                oracle.introduce(new)
                driver.reconfigure(catalog=replace(known, revision=known.revision + 1, alerts=(*known.alerts, new)))
            case "reset":
                alert = data.draw(st.sampled_from(driver.catalog.alerts))
                oracle.reset(alert)
                driver.aggregate.reset(alert.id, driver.now_us)
        if event is None:
            oracle.pass_time(now_us)
            driver.advance(now_us)
        else:
            oracle.step(event, now_us)
            assert driver.event(event, now_us) is None
        driver.collect()
        for alert in driver.catalog.alerts:
            assert driver.aggregate.measured(alert.id) == oracle.measured(alert)
            status = read_status(driver.store.state, alert, now_us).status
            assert (status == "in_alarm") == oracle.in_alarm(alert)
        assert by_state(driver.notifications) == oracle.told
    check(driver.notifications)


@BOUNDED
@given(case=cases(), steps=late_streams, data=st.data())
def test_batches_reloads_and_timers_cannot_be_seen(case: Case, steps: list[Step], data: st.DataObject) -> None:
    config, catalog, grace_hours = case
    whole, cut = (Driver(config, catalog, NOW_US, EngineSettings(grace_hours=grace_hours)) for _ in range(2))
    place = 0
    while place < len(steps):
        size = data.draw(st.integers(1, 4))
        batch, place = steps[place : place + size], place + size
        now_us, events = batch[-1].now_us, [event for event, _ in batch]
        while cut.timer_us is not None and cut.timer_us <= now_us:
            cut.advance(cut.timer_us)
        for event in events:
            assert whole.event(event, now_us) is None
        cut.now_us = now_us
        assert cut.aggregate.apply_all(events, events.__getitem__, now_us) == {}
        cut.collect()
        if data.draw(st.booleans()):
            cut.reload()
    end_us = steps[-1].now_us + 16 * DAY * HOUR_US
    while cut.timer_us is not None and cut.timer_us <= end_us:
        cut.advance(cut.timer_us)
    for driver in (whole, cut):
        driver.advance(end_us)
    assert cut.notifications == whole.notifications
    assert cut.store == whole.store


@BOUNDED
@given(case=cases(), steps=late_streams, data=st.data())
def test_no_change_of_contracts_tells_twice_or_falsely(case: Case, steps: list[Step], data: st.DataObject) -> None:
    """Contracts come (backdated ones, too), end, get another cycle or other fields, are archived, seen in memory or at loading;
    what runs is in alarm exactly while it is past its line."""
    config, catalog, grace_hours = case
    here, there = (Driver(config, catalog, NOW_US, EngineSettings(grace_hours=grace_hours)) for _ in range(2))
    for event, now_us in steps:
        if data.draw(st.integers(0, 2)) == 0:
            kept = [each for each in here.customer.contracts if data.draw(st.integers(0, 3))]
            changed = [replace(data.draw(contracts(0)), id=each.id) if data.draw(st.booleans()) else each for each in kept]
            added = [data.draw(contracts(10 + here.customer.version))] if data.draw(st.booleans()) else []
            customer = replace(here.customer, version=here.customer.version + 1, contracts=(*changed, *added))
            here.reconfigure(customer=customer)
            there.collect()
            there.customer = customer
            there.reload()
        for driver in (here, there):
            assert driver.event(event, now_us) is None
            driver.collect()
            for alert in catalog.alerts:
                if driver.aggregate._live.calendar(alert).closed:
                    continue  # the last status stays
                value = max(live_values(driver, alert), default=Decimal("-Infinity"))
                if read_status(driver.store.state, alert, now_us).status == "in_alarm":
                    assert value >= alert.threshold
                elif alert.threshold > 0:
                    assert value < alert.threshold
    check(here.notifications)
    check(there.notifications)


def live_values(driver: Driver, alert: Alert) -> list[Decimal]:
    """What the alert measures in what runs now, by group."""
    live = driver.aggregate._live
    span = live.calendar(alert).current.span
    return [value for (period, _), value in driver.aggregate.measured(alert.id).items() if period == span]
