"""Invoices, balances and ledgers with subscriptions and recurring commits and credits, against a recomputation that shares no
code with them; and alerts on them, which no headroom hides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.balances.recurring import with_children
from engine.catalog import (
    USD_CENTS,
    Allocation,
    AmountRounding,
    Balance,
    BalanceType,
    BillingSchedule,
    Catalog,
    Collection,
    Contract,
    CustomerConfig,
    Frequency,
    Product,
    ProductType,
    ProrationRounding,
    QuantityStep,
    Rate,
    RateTarget,
    RateType,
    RecurringBalance,
    RecurringTerms,
    Subscription,
    SubscriptionLink,
)
from engine.customer import EngineSettings
from engine.numbers import exact
from tests.property.test_balance_alerts import alarmed, configurations, past_their_line
from tests.property.test_statement import BOUNDARY, WEEK, Books, assert_agree, assert_same, customers, distinct, priced
from tests.strategies import HOUR_US, NOW_US, Step, streams
from tests.support.recomputed_invoice import Accounts
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FAR = BOUNDARY + 14 * WEEK  # later than anything that a test looks at

frequencies = st.sampled_from([Frequency.WEEKLY, Frequency.WEEKLY, Frequency.MONTHLY])
amounts = st.sampled_from([Decimal(text) for text in ("0", "0.5", "3", "7", "40")])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def subscriptions(draw: st.DrawFn, contract: Contract, around: int) -> Subscription:
    start = max(draw(st.sampled_from([0, around - 2 * WEEK, around - 30, around + 5])), contract.starting_hour)
    changes = draw(st.lists(st.integers(around - 90, around + 60).filter(lambda hour: hour > start), max_size=3, unique=True))
    frequency = draw(frequencies)
    return Subscription(
        id=f"{contract.id}-plan",
        product_id="plan",
        billing=BillingSchedule(frequency, draw(st.sampled_from([contract.schedule.anchor_us, (around - 20) * HOUR_US]))),
        collection=draw(st.sampled_from(Collection)),
        starting_hour=start,
        ending_hour=draw(st.sampled_from([None, None, around + 20])),
        quantity_steps=tuple(QuantityStep(hour, Decimal(draw(st.integers(0, 4)))) for hour in [start, *sorted(changes)]),
        is_prorated=draw(st.booleans()),
        bill_immediately=draw(st.booleans()),
        rounding=draw(st.sampled_from([None, None, AmountRounding(ProrationRounding.CEILING, 1)])),
    )


@st.composite
def recurring(draw: st.DrawFn, contract: Contract, around: int) -> RecurringBalance:
    frequency = draw(frequencies)
    start = draw(st.sampled_from([contract.starting_hour, around - 3 * WEEK, around - 30]))
    kind = draw(st.sampled_from([BalanceType.CREDIT, BalanceType.PREPAID]))
    linked = draw(st.booleans()) and bool(contract.subscriptions)
    link = SubscriptionLink(f"{contract.id}-plan", Allocation.POOLED, draw(st.booleans())) if linked else None
    edited = RecurringTerms((around - 10) * HOUR_US, draw(amounts), ending_hour=draw(st.sampled_from([None, around + 30])))
    return RecurringBalance(
        child=Balance(
            f"{contract.id}-grant",
            kind,
            "fixed",
            (),
            credit_type_id=draw(st.sampled_from([USD_CENTS, USD_CENTS, "credits"])),
            priority=Decimal(draw(st.sampled_from([0, 1]))),
            contract_id=contract.id,
            applicable_product_ids=draw(st.sampled_from([frozenset(), frozenset(), frozenset({"plan"}), frozenset({"p0"})])),
            created_us=1,
        ),
        schedule=BillingSchedule(frequency, draw(st.sampled_from([start, around - 100])) * HOUR_US),
        starting_hour=start,
        terms=(RecurringTerms(0, draw(amounts), invoice_unit_price=draw(st.sampled_from([None, Decimal(2)]))), edited)[
            : draw(st.sampled_from([1, 1, 2]))
        ],
        duration_periods=draw(st.sampled_from([1, 1, 2])),
        prorates_first=draw(st.booleans()),
        link=link,
    )


@st.composite
def subscribed(draw: st.DrawFn, config: CustomerConfig, catalog: Catalog, around: int) -> tuple[CustomerConfig, Catalog]:
    """The same with subscriptions, what recurs, and rates for them; without commit rates and overrides for commits, which have
    tests of their own."""
    listed = tuple(replace(each, rate_type=RateTarget.LIST_RATE) for each in config.balances)
    contracts = []
    for contract in config.contracts:
        ordinary = tuple(each for each in contract.overrides if not each.for_commits)
        plans = (draw(subscriptions(contract, around)),) if draw(st.integers(0, 3)) else ()
        made = replace(contract, overrides=ordinary, subscriptions=plans)
        contracts.append(replace(made, recurring=(draw(recurring(made, around)),) if draw(st.integers(0, 3)) else ()))
    rates = tuple(
        Rate(
            "plan",
            RateType.FLAT,
            start,
            price=price,
            credit_type_id=draw(st.sampled_from([USD_CENTS, USD_CENTS, "credits"])),
            billing_frequency=frequency,
            entitled=draw(st.sampled_from([True, True, True, False])),
        )
        for frequency in (Frequency.WEEKLY, Frequency.MONTHLY)
        for start, price in ((0, Decimal(5)), (around - 30, Decimal("7.3")))
    )
    card = catalog.rate_cards["card"]
    tags = frozenset(draw(st.sets(st.just("compute"))))
    plan = Product("plan", "plan", type=ProductType.SUBSCRIPTION, tags=tags)
    return replace(config, contracts=tuple(contracts), balances=listed), replace(
        catalog,
        products={**catalog.products, "plan": plan},
        rate_cards={"card": replace(card, rates=(*card.rates, *rates))},
    )


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams(8), grace_hours=st.sampled_from([24, 0, 48]), data=st.data())
def test_invoices_and_ledgers_are_what_recomputing_everything_gives(
    catalog: Catalog, config: CustomerConfig, steps: list[Step], grace_hours: int, data: st.DataObject
) -> None:
    config, catalog = data.draw(subscribed(config, catalog, BOUNDARY))
    books, accounts = Books(catalog, config, grace_hours), Accounts(catalog, with_children(config, FAR), grace_hours)
    steps = distinct(steps)
    moments = [step.now_us for step in steps] + [steps[-1].now_us + hours * HOUR_US for hours in (40, 500)]
    for number, now_us in enumerate(moments):
        made = books.finalize(now_us)
        before = len(accounts.final)
        accounts.finalize(now_us // HOUR_US)
        for invoice, bill in zip(made, accounts.final[before:], strict=True):
            assert_same(invoice, bill)
        if number < len(steps):
            books.events.append(steps[number].event)
            accounts.events.append(steps[number].event)
        if number % 3 == 0 or number >= len(steps) - 1:
            assert_agree(books.look(now_us), accounts, now_us)


@BOUNDED
@given(configuration=configurations(), steps=streams(), grace_hours=st.sampled_from([24, 0, 48]), data=st.data())
def test_headroom_hides_nothing(
    configuration: tuple[CustomerConfig, Catalog], steps: list[Step], grace_hours: int, data: st.DataObject
) -> None:
    config, catalog = data.draw(subscribed(*configuration, NOW_US // HOUR_US))
    driver = Driver(config, catalog, NOW_US, EngineSettings(grace_hours=grace_hours))
    for event, now_us in steps:
        driver.event(event, now_us)
        driver.collect()
        if driver.aggregate._live.closed:
            return
        assert alarmed(driver) == past_their_line(driver)


@BOUNDED
@given(configuration=configurations(), steps=streams(size_max=6), data=st.data())
def test_timers_alone_bring_what_time_brings(
    configuration: tuple[CustomerConfig, Catalog], steps: list[Step], data: st.DataObject
) -> None:
    config, catalog = data.draw(subscribed(*configuration, NOW_US // HOUR_US))
    timed, watched = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    end_us = steps[-1].now_us + 9 * 24 * HOUR_US
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
