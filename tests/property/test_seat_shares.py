"""Seats hour by hour: who has one, how many there are, and what each is granted, against a simulation that shares no code."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.balances.recurring import balances_until, quantity_at, with_children
from engine.balances.seats import seats_at
from engine.catalog import (
    Allocation,
    Balance,
    BalanceType,
    BillingSchedule,
    Contract,
    CustomerConfig,
    Frequency,
    RecurringBalance,
    RecurringTerms,
    SubscriptionLink,
)
from engine.numbers import exact
from engine.periods import HOUR_US
from schemas.documents import instant_text
from schemas.recurring_documents import subscription_of
from schemas.seats import SeatUpdates, quantities_of, with_seat_updates

START = 490_896  # 2026-01-01T00:00Z, in hours
WEEK = 7 * 24
END = START + 5 * WEEK
NAMES = ["ann", "bob", "cyn", "dan"]


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def text(hour: int) -> str:
    return instant_text(hour * HOUR_US)


hours = st.integers(0, 4 * WEEK).map(lambda hour: START + hour)
named = st.builds(
    lambda hour, seat_ids: {"starting_at": text(hour), "seat_ids": seat_ids},
    hours,
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
)
counted = st.builds(lambda hour, quantity: {"starting_at": text(hour), "quantity": quantity}, hours, st.integers(1, 3))
requests = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "add_seat_ids": st.lists(named, max_size=2),
            "remove_seat_ids": st.lists(named, max_size=2),
            "add_unassigned_seats": st.lists(counted, max_size=1),
            "remove_unassigned_seats": st.lists(counted, max_size=1),
        },
    ),
    max_size=5,
)


def subscription_document(asked: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The document, and the requests that are not refused."""
    seats: dict[str, Any] = {"group_key": "user", "changes": []}
    taken = []
    for request in asked:
        try:
            body = SeatUpdates.model_validate(request)
        except ValueError:  # adds and removes a seat at the same time
            continue
        seats = with_seat_updates(seats, body, lambda name, at: None)
        taken.append(request)
    return {
        "id": "seats",
        "product_id": "plan",
        "billing_frequency": "WEEKLY",
        "anchor_date": text(START),
        "collection_schedule": "ADVANCE",
        "starting_at": text(START),
        "ending_before": None,
        "proration": {"is_prorated": True, "invoice_behavior": "BILL_IMMEDIATELY"},
        "quantities": quantities_of(seats, text(START)),
        "seats": seats,
        "name": None,
        "custom_fields": {},
        "created_at": text(START),
    }, taken


def simulated(taken: list[dict[str, Any]]) -> Iterator[tuple[int, list[str], int]]:
    """(hour, who has a seat, how many seats nobody has), for each hour."""
    have: list[str] = []
    free = 0
    for hour in range(START, END):
        for request in taken:
            for kind in ("add_seat_ids", "remove_seat_ids", "add_unassigned_seats", "remove_unassigned_seats"):
                for entry in request.get(kind, ()):
                    if entry["starting_at"] != text(hour):
                        continue
                    for seat_id in entry.get("seat_ids", ()):
                        if kind == "add_seat_ids" and seat_id not in have:
                            have.append(seat_id)
                            free -= 1 if free else 0
                        if kind == "remove_seat_ids" and seat_id in have:
                            have.remove(seat_id)
                    if kind == "add_unassigned_seats":
                        free += entry["quantity"]
                    if kind == "remove_unassigned_seats":
                        free = max(0, free - entry["quantity"])
        yield hour, sorted(have), free


@settings(max_examples=60, deadline=None)
@given(asked=requests)
def test_seats_and_quantity_follow_the_changes_in_the_order_of_their_time(asked: list[dict[str, Any]]) -> None:
    document, taken = subscription_document(asked)
    subscription = subscription_of(document)
    contract = Contract("c", None, START, None, subscription.billing, subscriptions=(subscription,))
    for hour, have, free in simulated(taken):
        if hour % 6 and not any(text(hour) in str(each) for each in taken):
            continue
        assert seats_at((contract,), "user", hour) == frozenset(have)
        assert quantity_at(subscription.quantity_steps, hour) == len(have) + free


@settings(max_examples=60, deadline=None)
@given(
    asked=requests,
    is_prorated=st.booleans(),
    weeks=st.sampled_from([1, 2]),
    offset=st.sampled_from([0, 30]),
    ending=st.sampled_from([None, START + 3 * WEEK + 50]),
    from_hour=hours,
)
def test_shares_are_what_each_seat_is_granted_week_by_week(
    asked: list[dict[str, Any]], is_prorated: bool, weeks: int, offset: int, ending: int | None, from_hour: int
) -> None:
    """``offset``: the first week is cut short by so many hours; ``ending``: so is the last."""
    document, taken = subscription_document(asked)
    subscription = subscription_of(document)
    schedule = BillingSchedule(Frequency.WEEKLY, START * HOUR_US)
    recurring = RecurringBalance(
        Balance("r", BalanceType.CREDIT, "fee", (), contract_id="c"),
        schedule,
        START + offset,
        (RecurringTerms(0, Decimal(WEEK)),),
        duration_periods=weeks,
        link=SubscriptionLink("seats", Allocation.INDIVIDUAL, is_prorated),
    )
    contract = Contract("c", None, START, ending, schedule, subscriptions=(subscription,), recurring=(recurring,))
    config = CustomerConfig("x", 1, (contract,))
    last = END if ending is None else ending
    has = {(hour, seat_id) for hour, have, _ in simulated(taken) for seat_id in have if hour < last}

    wanted: dict[tuple[str, int], tuple[int, int, Fraction]] = {}
    for week in range(START, min(START + 4 * WEEK, last), WEEK):
        first, end = max(week, START + offset), min(week + WEEK, last)
        for seat_id in NAMES:
            mine = [hour for hour in range(first, end) if (hour, seat_id) in has]
            if not mine:
                continue
            access = min(week + weeks * WEEK, last)
            until = mine[-1] + 1
            while until < access and (until, seat_id) in has:
                until += 1
            granted = end - mine[0] if mine[0] == first or is_prorated else WEEK
            wanted[seat_id, week] = mine[0], until, Fraction(granted)
    made = balances_until(config, START + 4 * WEEK)
    found = {}
    for balance in made:
        (segment,) = balance.segments
        assert balance.seat is not None
        assert balance.share_of is not None
        week = START + (segment.starting_hour - START) // WEEK * WEEK
        found[balance.seat[1], week] = segment.starting_hour, segment.ending_hour, Fraction(segment.amount)
        assert segment.seat_increase == (segment.starting_hour > max(week, START + offset))
    assert found == wanted
    assert len(found) == len(made)

    kept = {balance.id for balance in with_children(config, START + 4 * WEEK, from_hour).balances}
    latest = {balance.seat: balance.id for balance in made}  # the last one of each stays
    going_on = {balance.id for balance in made if balance.segments[0].ending_hour > from_hour}
    assert going_on | set(latest.values()) <= kept <= {balance.id for balance in made}
