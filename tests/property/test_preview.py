"""A preview is what the events would have come to: against a customer that really gets them, and against their usage alone."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.alerts.stored import STATE_PREFIX
from engine.catalog import Catalog, CustomerConfig
from engine.compiled import CompiledCatalog
from engine.effects import StoredCustomer
from engine.invoices.codec import decode_invoices
from engine.invoices.statement import Statement, statement
from engine.invoices.usage import HourlyUsage, usage_of_store
from engine.metering.windows import WindowStore
from engine.numbers import exact
from engine.preview import EventRejected, previewed
from engine.settings import EngineSettings
from tests.property.test_statement import BOUNDED, customers, distinct, priced, usage_of
from tests.strategies import NOW_US, Step, alerts, streams
from tests.support.stored_customer import Driver

SETTINGS = EngineSettings(grace_hours=24)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def stated(config: CustomerConfig, catalog: Catalog, usage: HourlyUsage, stored: StoredCustomer, now_us: int) -> Statement:
    finalized = decode_invoices(stored.state)
    return statement(config, CompiledCatalog(catalog), usage, now_us=now_us, grace_hours=24, finalized=finalized)


def read(stored: StoredCustomer, catalog: Catalog) -> HourlyUsage:
    windows = WindowStore()
    windows.load(stored.windows, CompiledCatalog(catalog).aggregations)
    return usage_of_store(windows, {})


@BOUNDED
@given(customers(), priced(), streams().map(distinct), st.integers(0, 14), st.data())
def test_a_preview_is_what_the_events_come_to(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], cut: int, data: st.DataObject
) -> None:
    catalog = replace(catalog, alerts=(data.draw(alerts("a0", sorted(catalog.metrics))),))
    driver = Driver(config, catalog, NOW_US, SETTINGS)
    for step in steps[:cut]:
        driver.event(step.event, step.now_us)
    driver.collect()
    now_us = steps[-1].now_us
    before = driver.store.read()
    kept = deepcopy(before)
    events = [step.event for step in steps[cut:]]
    driver.advance(now_us)
    finalized = driver.store.read()
    rejected = next((place for place, event in enumerate(events) if driver.event(event, now_us) is not None), None)
    driver.collect()

    for alone in (False, True):
        if rejected is not None:
            with pytest.raises(EventRejected) as refused:
                previewed(config, catalog, before, events, SETTINGS, now_us, alone=alone)
            assert refused.value.place == rejected
            continue
        after = previewed(config, catalog, before, events, SETTINGS, now_us, alone=alone)
        assert before == kept, "nothing of it is kept"
        assert not any(name.startswith(STATE_PREFIX) for name in after.state)
        assert decode_invoices(after.state) == decode_invoices(finalized.state)
        real = driver.store.read()
        usage = usage_of(CompiledCatalog(catalog), events) if alone else read(real, catalog)
        expected = stated(config, catalog, usage, finalized, now_us)
        assert stated(config, catalog, read(after, catalog), after, now_us) == expected
