"""The balances that recurring commits and credits make, against a recomputation by the calendar that shares no code with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.balances.recurring import balances_at, balances_until
from engine.catalog import (
    Allocation,
    AmountRounding,
    Balance,
    BalanceType,
    BillingSchedule,
    Collection,
    Contract,
    CustomerConfig,
    Frequency,
    ProrationRounding,
    QuantityStep,
    RecurringBalance,
    RecurringTerms,
    Subscription,
    SubscriptionLink,
)
from engine.numbers import exact
from tests.support.recomputed_recurring import HOUR_US, boundaries, made

FIRST = int(datetime(2024, 1, 31, 5, tzinfo=UTC).timestamp()) // 3600  # a leap year's longest month, not at midnight
LONGEST = {"DAILY": 9 * 24, "WEEKLY": 60 * 24, "MONTHLY": 200 * 24, "QUARTERLY": 500 * 24, "ANNUAL": 1500 * 24}

prices = st.sampled_from([Decimal(text) for text in ("0", "1", "31", "3000", "0.07", "99.99")])
roundings = st.one_of(st.none(), st.builds(AmountRounding, st.sampled_from(ProrationRounding), st.integers(-2, 3)))


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def customers(draw: st.DrawFn) -> CustomerConfig:
    frequency = draw(st.sampled_from(Frequency))
    span = LONGEST[frequency]
    hours = st.integers(FIRST, FIRST + span)
    start = draw(st.one_of(st.just(FIRST), hours))
    anchor = draw(st.sampled_from([start, FIRST, FIRST - 24 * 17]))
    edits = sorted(draw(st.lists(hours, max_size=2, unique=True)))
    terms = tuple(
        RecurringTerms(
            after_us=after * HOUR_US,
            unit_price=draw(prices),
            quantity=draw(st.sampled_from([Decimal(1), Decimal("2.5")])),
            invoice_unit_price=draw(st.one_of(st.none(), prices)),
            invoice_quantity=draw(st.sampled_from([Decimal(1), Decimal(3)])),
            ending_hour=draw(st.one_of(st.none(), st.none(), hours)),
        )
        for after in (0, *edits)
    )
    changes = sorted(draw(st.lists(hours, max_size=5, unique=True)))
    steps = tuple(QuantityStep(at, Decimal(draw(st.integers(0, 9)))) for at in changes) or (QuantityStep(FIRST, Decimal(2)),)
    schedule = BillingSchedule(frequency, anchor * HOUR_US)
    seats = Subscription("seats", "plan", schedule, Collection.ADVANCE, steps[0].hour, quantity_steps=steps)
    link = draw(st.one_of(st.none(), st.builds(SubscriptionLink, st.just("seats"), st.just(Allocation.POOLED), st.booleans())))
    recurring = RecurringBalance(
        child=Balance("recurring", BalanceType.PREPAID, "fixed", (), contract_id="c"),
        schedule=schedule,
        starting_hour=start,
        terms=terms,
        duration_periods=draw(st.sampled_from([1, 1, 2, 3])),
        prorates_first=draw(st.booleans()),
        prorates_last=draw(st.booleans()),
        access_rounding=draw(roundings),
        invoice_rounding=draw(roundings),
        link=link,
    )
    starting = draw(st.sampled_from([FIRST, FIRST - 24 * 40, FIRST + 24 * 9]))
    ending = draw(st.one_of(st.none(), st.integers(starting + 1, starting + span)))
    contract = Contract("c", None, starting, ending, schedule, subscriptions=(seats,), recurring=(recurring,))
    return CustomerConfig("customer", 1, (contract,))


@settings(max_examples=250, deadline=None)
@given(customers(), st.integers(0, 100))
def test_they_are_those_of_the_calendar(config: CustomerConfig, percent: int) -> None:
    (contract,) = config.contracts
    (recurring,) = contract.recurring
    until = FIRST + LONGEST[recurring.schedule.frequency] * percent // 100
    expected = made(recurring, contract, until)
    seen = balances_until(config, until)
    assert len(seen) == len(expected)
    for balance, segments in zip(seen, expected, strict=True):
        assert [(each.starting_hour, each.ending_hour, Fraction(each.amount)) for each in balance.segments] == [
            (each.start, each.end, each.amount) for each in segments
        ]
        charges = [each.charge for each in segments if each.charge is not None]
        assert [
            (each.timestamp_us, Fraction(each.unit_price) * Fraction(each.quantity)) for each in balance.invoice_items
        ] == charges
        assert balance.cost_basis_free == (not any(amount for _, amount in charges))
    ids = [balance.id for balance in seen] + [segment.id for balance in seen for segment in balance.segments]
    assert len(ids) == len(set(ids))


@settings(max_examples=100, deadline=None)
@given(customers(), st.integers(-5, 100))
def test_they_appear_one_period_ahead(config: CustomerConfig, percent: int) -> None:
    (contract,) = config.contracts
    (recurring,) = contract.recurring
    now = FIRST + LONGEST[recurring.schedule.frequency] * percent // 100
    ends = boundaries(recurring.schedule, now, now)[1]
    begun = [segments[0].start for segments in made(recurring, contract, ends + 1)]
    assert [balance.segments[0].starting_hour for balance in balances_at(config, now * HOUR_US)] == begun
