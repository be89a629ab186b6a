"""Filters of alerts against plain readings of their rules: specifiers and keys on balances, a contract's fields on spend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.alerts.kinds import AMOUNTS, PERCENTAGES
from engine.balances.ledger import BalanceStatement
from engine.catalog import (
    Alert,
    AlertType,
    Balance,
    Catalog,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
)
from engine.compiled import compile_catalog
from engine.invoices.statement import statement
from engine.invoices.usage import usage_of_store
from engine.numbers import exact
from engine.standing import figures
from tests.property.test_balance_alerts import configurations, fields
from tests.strategies import HOUR_US, NOW_US, Step, catalogs, customers, streams
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def fields_seen(wanted: CustomFieldFilter, balance: Balance, contracts: dict[str, Contract]) -> dict[str, str]:
    """The custom fields that a filter looks at on a balance."""
    match wanted.entity, balance.type == "CREDIT":
        case Entity.CONTRACT, _:
            return dict(contracts[balance.contract_id].custom_fields) if balance.contract_id in contracts else {}
        case (Entity.COMMIT, True) | (Entity.CREDIT, False):
            return {}
    return dict(balance.custom_fields)


def all_hold(wanted: Sequence[CustomFieldFilter], balance: Balance, contracts: dict[str, Contract]) -> bool:
    """Filters on the other kind of balance say nothing about this one, unless none is about its own kind."""
    own, other = (Entity.CREDIT, Entity.COMMIT) if balance.type == "CREDIT" else (Entity.COMMIT, Entity.CREDIT)
    if any(each.entity == own for each in wanted):
        wanted = [each for each in wanted if each.entity != other]
    seen = [(each, fields_seen(each, balance, contracts)) for each in wanted]
    return all(each.key in fields and each.value in (None, fields[each.key]) for each, fields in seen)


def counted(alert: Alert, balance: Balance, contracts: dict[str, Contract]) -> bool:
    """The balance's kind and unit, every filter, and any specifier: its whole inclusion and no whole exclusion; those of single
    seats are apart."""
    if balance.seat is not None:
        return False
    kind = "CREDIT" if "_credit_" in alert.type and "_and_commit_" not in alert.type else "COMMIT"
    if "_and_commit_" not in alert.type and (balance.type == "CREDIT") != (kind == "CREDIT"):
        return False
    in_units = alert.access_type == "QUANTITY"
    if balance.access_type != alert.access_type or (not in_units and balance.credit_type_id != alert.credit_type_id):
        return False
    if not all_hold(alert.custom_field_filters, balance, contracts):
        return False
    for specifier in alert.specifiers:
        included = all_hold(specifier.include, balance, contracts)
        if included and not any(all_hold(entry, balance, contracts) for entry in specifier.exclude):
            return True
    return not alert.specifiers


def left(alert: Alert, counted: list[BalanceStatement], now_us: int) -> tuple[Decimal, bool] | None:
    """(balance or percentage, past the line) of some balances; None before any of their segments has begun."""
    begun = [each for each in counted if any(part.segment.starting_hour * HOUR_US <= now_us for part in each.segments)]
    if not begun:
        return None
    amount = sum((each.remaining for each in begun), Decimal(0))
    if alert.type in AMOUNTS:
        return amount, amount <= alert.threshold
    granted = sum((each.granted for each in begun), Decimal(0))
    return amount, amount * 100 <= alert.threshold * granted


@BOUNDED
@given(configuration=configurations(), steps=streams(size_max=8))
def test_what_is_counted_by_specifiers_and_keys(configuration: tuple[CustomerConfig, Catalog], steps: list[Step]) -> None:
    config, catalog = configuration
    driver = Driver(config, catalog, NOW_US)
    for event, now_us in steps:
        driver.event(event, now_us)
    now_us = driver.now_us
    usage = usage_of_store(*driver.aggregate._usage)
    made = statement(config, compile_catalog(catalog), usage, now_us=now_us, grace_hours=10_000, finalized=())
    contracts = {each.id: each for each in config.contracts}
    watching = [alert for alert in catalog.alerts if alert.type in AMOUNTS | PERCENTAGES]
    found = figures(watching, config, made, now_us, 10_000)
    for alert in watching:
        wanted: dict[tuple[str, ...], tuple[Decimal, bool]] = {}
        let_in = [each for each in made.balances if counted(alert, each.balance, contracts)]
        keys = [each for specifier in alert.specifiers for each in specifier.include if each.value is None]
        groups: dict[tuple[str, ...], list[BalanceStatement]] = {} if keys else {(): let_in}
        for each in let_in if keys else ():
            groups.setdefault((fields_seen(keys[0], each.balance, contracts)[keys[0].key],), []).append(each)
        for group, members in groups.items():
            amount = left(alert, members, now_us)
            if amount is not None:
                wanted[group] = amount
        seen = {each.group: (each.measure["remaining_balance"], each.past) for each in found.values() if each.alert is alert}
        if keys:
            whole = seen.pop((), None)
            assert (whole is not None) == bool(wanted)
            assert whole is None or (whole[1] == any(past for _, past in wanted.values()) and whole in wanted.values())
        assert seen == wanted


@st.composite
def marked(draw: st.DrawFn) -> CustomerConfig:
    config = draw(customers())
    return replace(config, contracts=tuple(replace(each, custom_fields=draw(fields)) for each in config.contracts))


@BOUNDED
@given(
    config=marked(),
    catalog=catalogs(),
    steps=streams(),
    wanted=st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["red", "blue"]), min_size=1),
    data=st.data(),
)
def test_filtered_spend_is_that_of_the_matching_contracts(
    config: CustomerConfig, catalog: Catalog, steps: list[Step], wanted: dict[str, str], data: st.DataObject
) -> None:
    """It is what an unfiltered alert measures where there are no other contracts: in value, in periods, in what is told. (Without
    any that match, it has the periods of all, and nothing is billed in them.)"""
    filters = tuple(CustomFieldFilter(Entity.CONTRACT, *each) for each in wanted.items())
    spend = [each for each in catalog.alerts if each.type is AlertType.SPEND_THRESHOLD]
    filtered = replace(catalog, alerts=tuple(replace(each, custom_field_filters=filters) for each in spend))
    beside = replace(filtered, alerts=(*filtered.alerts, *(replace(each, id=f"{each.id}'") for each in spend)))
    matching = tuple(each for each in config.contracts if wanted.items() <= dict(each.custom_fields).items())
    bare = matching or tuple(replace(each, rate_card_id=None) for each in config.contracts)
    seen, plain = (
        Driver(config, beside, NOW_US),
        Driver(replace(config, contracts=bare), replace(catalog, alerts=tuple(spend)), NOW_US),
    )
    for event, now_us in steps:
        for driver in (seen, plain):
            driver.event(event, now_us)
            if data.draw(st.booleans()):
                driver.reload()
        for alert in spend:
            assert seen.aggregate.measured(alert.id) == plain.aggregate.measured(alert.id)
    seen.collect()
    plain.collect()
    assert [each for each in seen.notifications if not each.alert_id.endswith("'")] == plain.notifications
