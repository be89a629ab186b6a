"""Recurring commits and credits: their periods, proration, terms, and what a subscription's quantity makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from engine.balances.ledger import balance_statement
from engine.balances.recurring import balances_ahead, balances_at, balances_until, with_children
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
    ManualEntry,
    ProrationRounding,
    QuantityStep,
    RecurringBalance,
    RecurringTerms,
    SeatStep,
    Subscription,
    SubscriptionLink,
)
from engine.numbers import exact
from engine.periods import HOUR_US

FOREVER = 10**6


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def hour(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 3600


def day(at: int) -> str:
    return datetime.fromtimestamp(at * 3600, UTC).isoformat()[:13].removesuffix("T00")


def schedule(frequency: Frequency, anchor: str) -> BillingSchedule:
    return BillingSchedule(frequency, hour(anchor) * HOUR_US)


MONTHS = schedule(Frequency.MONTHLY, "2025-01-01")


def monthly_credit(amount: int, start: str = "2025-01-01", **more: object) -> RecurringBalance:
    fields: dict[str, object] = {"schedule": MONTHS, "terms": (RecurringTerms(0, Decimal(amount)),), **more}
    child = Balance("r", BalanceType.CREDIT, "fixed", (), contract_id="c")
    return RecurringBalance(child, starting_hour=hour(start), **fields)  # type: ignore[arg-type]


def customer(
    recurring: RecurringBalance,
    start: str = "2025-01-01",
    end: str | None = None,
    subscription: Subscription | None = None,
    balances: tuple[Balance, ...] = (),
) -> CustomerConfig:
    contract = Contract(
        "c",
        None,
        hour(start),
        None if end is None else hour(end),
        MONTHS,
        recurring=(recurring,),
        subscriptions=() if subscription is None else (subscription,),
    )
    return CustomerConfig("x", 1, (contract,), balances=balances)


def seen(balances: tuple[Balance, ...]) -> list[tuple[str, str, str]]:
    """(start, end, amount) of all segments."""
    return [
        (day(segment.starting_hour), day(segment.ending_hour), f"{segment.amount:.4f}".rstrip("0").rstrip("."))
        for balance in balances
        for segment in balance.segments
    ]


def test_a_free_plan_gives_ten_dollars_each_month() -> None:
    """The guide's example: $10 of credits a month, granted from before the contract starts."""
    config = customer(monthly_credit(1000, "2024-12-01"))
    assert seen(balances_until(config, hour("2025-03-02"))) == [
        ("2025-01-01", "2025-02-01", "1000"),
        ("2025-02-01", "2025-03-01", "1000"),
        ("2025-03-01", "2025-04-01", "1000"),
    ]


def test_an_upgrade_on_the_21st_grants_and_charges_eleven_days_of_january() -> None:
    """The guide's example: $30 a month for $20, from January 21st on, lasting two periods: about $10, at a cost basis of 0.67."""
    terms = (RecurringTerms(0, Decimal(3000), invoice_unit_price=Decimal(2000)),)
    config = customer(monthly_credit(0, "2024-12-01", terms=terms, duration_periods=2), "2025-01-21")
    first, second = balances_until(config, hour("2025-02-02"))
    assert seen((first, second)) == [("2025-01-21", "2025-03-01", "1064.5161"), ("2025-02-01", "2025-04-01", "3000")]
    assert first.segments[0].amount == Decimal("1064.516129032258064516")
    (charge,) = first.invoice_items
    assert (charge.timestamp_us, charge.quantity) == (hour("2025-01-21") * HOUR_US, 1)
    assert charge.unit_price == Decimal("709.677419354838709677")
    assert Fraction("0.665") < Fraction(charge.unit_price) / Fraction(first.segments[0].amount) < Fraction("0.675")
    assert not first.cost_basis_free


def test_children_appear_one_period_ahead_and_keep_their_ids() -> None:
    config = customer(monthly_credit(1000, "2025-02-01"), "2025-01-01")
    assert seen(balances_at(config, hour("2024-12-31T23") * HOUR_US)) == []
    january = balances_at(config, hour("2025-01-01") * HOUR_US)
    assert seen(january) == [("2025-02-01", "2025-03-01", "1000")]
    february = balances_at(config, hour("2025-02-01") * HOUR_US)
    assert [day(each.segments[0].starting_hour) for each in february] == ["2025-02-01", "2025-03-01"]
    assert february[0] == january[0]
    assert len({each.id for each in february} | {each.segments[0].id for each in february}) == 4
    assert {each.recurring_id for each in february} == {"r"}


def test_what_begins_next_is_known_long_before() -> None:
    config = customer(monthly_credit(1000, "2026-01-01"))
    assert [day(each.segments[0].starting_hour) for each in balances_ahead(config, 0)] == ["2026-01-01", "2026-02-01"]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        (Frequency.DAILY, ["2025-01-31", "2025-02-01", "2025-02-02"]),
        (Frequency.WEEKLY, ["2025-01-31", "2025-02-07", "2025-02-14"]),
        (Frequency.MONTHLY, ["2025-01-31", "2025-02-28", "2025-03-31"]),
        (Frequency.QUARTERLY, ["2025-01-31", "2025-04-30", "2025-07-31"]),
        (Frequency.ANNUAL, ["2025-01-31", "2026-01-31", "2027-01-31"]),
    ],
)
def test_a_frequency_counts_from_the_start_so_that_the_first_period_is_whole(frequency: Frequency, expected: list[str]) -> None:
    recurring = monthly_credit(700, "2025-01-31", schedule=schedule(frequency, "2025-01-31"))
    found = balances_until(customer(recurring), FOREVER)[:3]
    assert [day(each.segments[0].starting_hour) for each in found] == expected
    assert [each.segments[0].amount for each in found] == [700, 700, 700]


@pytest.mark.parametrize(
    ("first", "last", "amounts"),
    [(True, True, [17, 31, 9]), (True, False, [17, 31, 31]), (False, True, [31, 31, 9]), (False, False, [31, 31, 31])],
)
def test_the_first_and_the_last_period_grant_their_share(first: bool, last: bool, amounts: list[int]) -> None:
    """A cent a day in July and August."""
    recurring = monthly_credit(31, "2025-07-15", prorates_first=first, prorates_last=last)
    config = customer(recurring, "2025-07-01", "2025-09-10")
    found = balances_until(config, FOREVER)
    days = [31, 31, 30]  # July, August, September
    exact_amounts = [Decimal(amount) if amount == 31 else Decimal(31) * amount / days[i] for i, amount in enumerate(amounts)]
    assert [each.segments[0].amount for each in found] == exact_amounts
    assert [day(each.segments[0].ending_hour) for each in found] == ["2025-08-01", "2025-09-01", "2025-09-10"]


def test_one_period_that_is_cut_short_at_both_ends() -> None:
    found = balances_until(customer(monthly_credit(31, "2025-01-11"), "2025-01-01", "2025-01-21"), FOREVER)
    assert seen(found) == [("2025-01-11", "2025-01-21", "10")]


@pytest.mark.parametrize(
    ("method", "places", "amount"),
    [
        (ProrationRounding.HALF_UP, -2, "1100"),
        (ProrationRounding.FLOOR, -2, "1000"),
        (ProrationRounding.CEILING, 0, "1065"),
        (ProrationRounding.FLOOR, 2, "1064.51"),
    ],
)
def test_a_prorated_amount_is_rounded_as_configured(method: ProrationRounding, places: int, amount: str) -> None:
    recurring = monthly_credit(3000, "2025-01-21", access_rounding=AmountRounding(method, places))
    first, second = balances_until(customer(recurring), hour("2025-02-02"))
    assert str(first.segments[0].amount) == amount
    assert second.segments[0].amount == 3000


def test_new_terms_reach_the_children_that_begin_after_them() -> None:
    """The guide's example: from 50 to 70 credits a month at the same price."""
    terms = (
        RecurringTerms(0, Decimal(50), invoice_unit_price=Decimal(3000)),
        RecurringTerms(hour("2025-02-01") * HOUR_US, Decimal(70), invoice_unit_price=Decimal(3000)),
    )
    found = balances_until(customer(monthly_credit(0, terms=terms)), hour("2025-03-02"))
    assert [each.segments[0].amount for each in found] == [50, 50, 70]
    assert {each.invoice_items[0].unit_price for each in found} == {3000}


def test_an_end_stops_what_has_not_begun_and_leaves_what_has() -> None:
    now_us = hour("2025-02-10") * HOUR_US
    terms = (RecurringTerms(0, Decimal(28)), RecurringTerms(now_us, Decimal(28), ending_hour=hour("2025-02-10")))
    assert seen(balances_until(customer(monthly_credit(0, terms=terms)), FOREVER)) == [
        ("2025-01-01", "2025-02-01", "28"),
        ("2025-02-01", "2025-03-01", "28"),
    ]
    planned = (RecurringTerms(0, Decimal(28), ending_hour=hour("2025-02-11")),)
    assert seen(balances_until(customer(monthly_credit(0, terms=planned)), FOREVER))[1] == ("2025-02-01", "2025-02-11", "10")


def test_a_child_that_was_changed_by_itself_is_taken_as_it_is() -> None:
    recurring = monthly_credit(1000)
    january = balances_until(customer(recurring), hour("2025-01-02"))[0]
    changed = replace(january, archived=True)
    found = balances_until(customer(recurring, balances=(changed,)), hour("2025-02-02"))
    assert [(each.id, each.archived) for each in found] == [(january.id, True), (found[1].id, False)]


def test_a_manual_entry_counts_on_its_own_child() -> None:
    recurring = monthly_credit(1000)
    segment = balances_until(customer(recurring), hour("2025-02-02"))[1].segments[0]
    entry = ManualEntry(segment.id, Decimal(-300), segment.starting_hour * HOUR_US, "by hand")
    child = replace(recurring.child, manual_entries=(entry,))
    found = balances_until(customer(replace(recurring, child=child)), hour("2025-03-02"))
    assert [each.manual_entries for each in found] == [(), (entry,), ()]


# --- linked to a subscription -------------------------------------------------------------------------------------------


def seats(*steps: tuple[str, int]) -> Subscription:
    found = tuple(QuantityStep(hour(at), Decimal(quantity)) for at, quantity in steps)
    return Subscription("s", "p", MONTHS, Collection.ADVANCE, found[0].hour, quantity_steps=found)


def pooled(amount: int, *, is_prorated: bool) -> RecurringBalance:
    return monthly_credit(amount, link=SubscriptionLink("s", Allocation.POOLED, is_prorated))


def test_a_hundred_seats_of_fifty_credits_are_a_pool_of_five_thousand() -> None:
    config = customer(pooled(50, is_prorated=True), subscription=seats(("2025-01-01", 100)))
    assert seen(balances_until(config, hour("2025-01-02"))) == [("2025-01-01", "2025-02-01", "5000")]


@pytest.mark.parametrize(("is_prorated", "increases"), [(True, ["110", "20"]), (False, ["310", "310"])])
def test_more_seats_add_to_the_pool_at_once_and_fewer_count_from_the_next_period(is_prorated: bool, increases: list[str]) -> None:
    subscription = seats(
        ("2025-01-01", 100), ("2025-01-10", 50), ("2025-01-21", 110), ("2025-01-25", 105), ("2025-01-30", 120), ("2025-02-15", 60)
    )
    config = customer(pooled(31, is_prorated=is_prorated), subscription=subscription)
    assert seen(balances_until(config, hour("2025-03-02"))) == [
        ("2025-01-01", "2025-02-01", "3100"),
        ("2025-01-21", "2025-02-01", increases[0]),
        ("2025-01-30", "2025-02-01", increases[1]),
        ("2025-02-01", "2025-03-01", "3720"),
        ("2025-03-01", "2025-04-01", "1860"),
    ]


def test_an_increase_is_an_entry_of_its_own_kind() -> None:
    config = customer(pooled(31, is_prorated=True), subscription=seats(("2025-01-01", 10), ("2025-01-21", 11)))
    child = with_children(config, hour("2025-01-02")).balances[0]
    for now, types, left in [
        ("2025-01-20T23", ["CREDIT_SEGMENT_START"], 310),
        ("2025-01-21T00", ["CREDIT_SEGMENT_START", "CREDIT_SEAT_BASED_ADJUSTMENT"], 321),
    ]:
        statement = balance_statement(child, [], {}, [], hour(now) * HOUR_US)
        assert [entry.type for entry in statement.ledger] == types
        assert statement.remaining == left == sum(entry.amount for entry in statement.ledger)


def test_a_subscription_that_begins_later_adds_from_its_start_on_and_its_end_takes_nothing() -> None:
    ended = replace(seats(("2025-01-21", 10)), ending_hour=hour("2025-02-10"))
    config = customer(pooled(31, is_prorated=True), subscription=ended)
    assert seen(balances_until(config, hour("2025-03-02"))) == [
        ("2025-01-01", "2025-02-01", "0"),
        ("2025-01-21", "2025-02-01", "110"),
        ("2025-02-01", "2025-03-01", "310"),
        ("2025-03-01", "2025-04-01", "310"),
    ]


# --- a share for each seat ----------------------------------------------------------------------------------------------


def assigned(*steps: tuple[str, str, bool]) -> Subscription:
    found = tuple(SeatStep(hour(at), seat_id, has) for at, seat_id, has in steps)
    return Subscription("s", "p", MONTHS, Collection.ADVANCE, found[0].hour, seat_group_key="user", seat_steps=found)


def individual(amount: int, *, is_prorated: bool = True, **more: object) -> RecurringBalance:
    return monthly_credit(amount, link=SubscriptionLink("s", Allocation.INDIVIDUAL, is_prorated), **more)


def shares(balances: tuple[Balance, ...]) -> list[tuple[str, str, str, str]]:
    """(seat id, start, end, amount)."""
    return [(each.seat[1], *row) for each in balances if each.seat is not None for row in seen((each,))]


@pytest.mark.parametrize(("is_prorated", "later"), [(True, "110"), (False, "310")])
def test_each_seat_has_a_share_while_it_is_assigned(is_prorated: bool, later: str) -> None:
    subscription = assigned(
        ("2025-01-01", "ann", True), ("2025-01-01", "bob", True), ("2025-01-21", "cyn", True), ("2025-02-10", "bob", False)
    )
    config = customer(individual(310, is_prorated=is_prorated), subscription=subscription)
    found = balances_until(config, hour("2025-03-02"))
    assert shares(found) == [
        ("ann", "2025-01-01", "2025-02-01", "310"),
        ("bob", "2025-01-01", "2025-02-01", "310"),
        ("cyn", "2025-01-21", "2025-02-01", later),
        ("ann", "2025-02-01", "2025-03-01", "310"),
        ("bob", "2025-02-01", "2025-02-10", "310"),
        ("cyn", "2025-02-01", "2025-03-01", "310"),
        ("ann", "2025-03-01", "2025-04-01", "310"),
        ("cyn", "2025-03-01", "2025-04-01", "310"),
    ]
    assert len({each.id for each in found}) == len(found)
    assert [len({each.share_of for each in found[first:last]}) for first, last in [(0, 3), (3, 6), (6, 8)]] == [1, 1, 1]
    assert len({each.share_of for each in found}) == 3
    assert found[0].segments[0].id == found[1].segments[0].id != found[2].segments[0].id
    assert [each.segments[0].seat_increase for each in found[:3]] == [False, False, True]


def test_a_seat_that_comes_back_within_a_period_is_granted_nothing_more() -> None:
    subscription = assigned(
        ("2025-01-01", "ann", True), ("2025-01-10", "ann", False), ("2025-01-20", "ann", True), ("2025-02-05", "ann", False)
    )
    found = balances_until(customer(individual(310), subscription=subscription), hour("2025-03-02"))
    assert shares(found) == [("ann", "2025-01-01", "2025-02-01", "310"), ("ann", "2025-02-01", "2025-02-05", "310")]


def test_a_seat_that_is_removed_later_loses_what_is_open_for_several_periods() -> None:
    subscription = assigned(("2025-01-01", "ann", True), ("2025-02-05", "ann", False))
    found = balances_until(customer(individual(10, duration_periods=3), subscription=subscription), hour("2025-01-02"))
    assert shares(found) == [("ann", "2025-01-01", "2025-02-05", "10")]


def test_without_assigned_seats_nobody_has_a_share() -> None:
    unassigned = replace(assigned(("2025-01-01", "ann", True)), seat_steps=())
    assert balances_until(customer(individual(10), subscription=unassigned), hour("2025-03-02")) == ()
    assert balances_until(customer(individual(10), subscription=None), hour("2025-03-02")) == ()


def test_an_entry_by_hand_is_of_one_seat() -> None:
    subscription = assigned(("2025-01-01", "ann", True), ("2025-01-01", "bob", True))
    recurring = individual(10)
    segment = balances_until(customer(recurring, subscription=subscription), hour("2025-01-02"))[0].segments[0]
    entry = ManualEntry(segment.id, Decimal(3), hour("2025-01-02") * HOUR_US, "more", seat_id="bob")
    child = replace(recurring.child, manual_entries=(entry,))
    found = balances_until(customer(replace(recurring, child=child), subscription=subscription), hour("2025-02-02"))
    assert [each.manual_entries for each in found] == [(), (entry,), (), ()]
