"""Seats: who has one when, what their balances pay, and alerts on them.

One customer with a monthly contract from January 2026; calls cost 1 cent each and are shown by user; storage has no users. Each
of the three users has 100 cents unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.alerts.status import read_status
from engine.balances.seats import Assigned, assigned_spans, drawn_apart, seats_at
from engine.catalog import (
    USD_CENTS,
    Aggregation,
    Alert,
    AlertType,
    Allocation,
    Balance,
    BalanceType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Collection,
    Contract,
    CustomerConfig,
    Frequency,
    Product,
    Rate,
    RateCard,
    RateType,
    RecurringBalance,
    RecurringTerms,
    SeatStep,
    Segment,
    Subscription,
    SubscriptionLink,
)
from engine.compiled import CompiledCatalog
from engine.effects import Notification, UsageEvent
from engine.frames import NEVER_HOUR
from engine.invoices.items import ItemType
from engine.invoices.statement import Statement, statement
from engine.invoices.usage import usage_of_store
from engine.numbers import exact
from tests.support.stored_customer import Driver

HOUR_US = 3_600_000_000
START = 490_896  # 2026-01-01T00:00Z, in hours
START_US = START * HOUR_US
FEBRUARY = START + 31 * 24
YEAR = START + 365 * 24
SCHEDULE = BillingSchedule(Frequency.MONTHLY, START_US)
USERS = ("ann", "bob", "cyn")

CATALOG = Catalog(
    revision=1,
    metrics={
        "calls": BillableMetric("calls", "calls", Aggregation.SUM, "calls", group_keys=(("user",),)),
        "storage": BillableMetric("storage", "storage", Aggregation.SUM, "storage", group_keys=(("user",),)),
    },
    products={
        "calls": Product("calls", "calls", "calls", presentation_group_key=("user",)),
        "storage": Product("storage", "storage", "storage"),
    },
    rate_cards={"card": RateCard("card", tuple(Rate(name, RateType.FLAT, 0, price=Decimal(1)) for name in ("calls", "storage")))},
)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def seats(*steps: SeatStep, ending_hour: int | None = None) -> Subscription:
    steps = steps or tuple(SeatStep(START, user, assigned=True) for user in USERS)
    return Subscription("seats", "fee", SCHEDULE, Collection.ADVANCE, START, ending_hour, seat_group_key="user", seat_steps=steps)


def contract(*steps: SeatStep) -> Contract:
    return Contract("contract", "card", START, None, SCHEDULE, subscriptions=(seats(*steps),))


def own(user: str, amount: str = "100", ending: int = YEAR, **parts: object) -> Balance:
    segment = Segment(f"{user}-1", START, ending, Decimal(amount))
    return Balance(user, BalanceType.CREDIT, "fee", (segment,), seat=("user", user), **parts)  # type: ignore[arg-type]


def shared(balance_id: str = "shared", amount: str = "100", **parts: object) -> Balance:
    return Balance(balance_id, BalanceType.CREDIT, "fee", (Segment("shared-1", START, YEAR, Decimal(amount)),), **parts)  # type: ignore[arg-type]


def alert(threshold: str, user: str | None = None, kind: AlertType = AlertType.SEAT_BALANCE, **parts: object) -> Alert:
    seat_filter = ("user", user) if kind is AlertType.SEAT_BALANCE else None
    return Alert("a", kind, "a", Decimal(threshold), 1, seat_filter=seat_filter, **parts)  # type: ignore[arg-type]


def rig(*alerts: Alert, balances: tuple[Balance, ...] | None = None, steps: tuple[SeatStep, ...] = ()) -> Driver:
    balances = tuple(own(user) for user in USERS) if balances is None else balances
    config = CustomerConfig("customer", 1, (contract(*steps),), balances=balances)
    return Driver(config, replace(CATALOG, alerts=alerts), START_US)


def use(driver: Driver, user: str | None, amount: str, metric: str = "calls") -> list[Notification]:
    number = driver.aggregate._serial
    properties = {metric: amount} if user is None else {metric: amount, "user": user}
    event = UsageEvent(f"t{number}", "use", driver.now_us, driver.now_us // HOUR_US, properties, "usage-events", 0, number, 0)
    assert driver.event(event) is None
    return driver.collect()


def said(notifications: list[Notification]) -> list[tuple[str, object, int, int]]:
    """(reached or resolved, the seat, value before, value)."""
    return [
        (
            each.type.rsplit("_", 1)[1],
            each.measure["seat_filter"]["value"],  # type: ignore[index]
            int(each.previous_value),
            int(each.value),
        )
        for each in notifications
    ]


def standing(driver: Driver) -> Statement:
    return statement(
        driver.customer,
        CompiledCatalog(driver.catalog),
        usage_of_store(*driver.aggregate._usage),
        now_us=driver.now_us,
        grace_hours=24,
    )


def left(driver: Driver) -> dict[str, int]:
    return {each.balance.id: int(each.remaining) for each in standing(driver).balances}


# --- who has a seat -------------------------------------------------------------------------------------------------------


def test_a_seat_is_assigned_removed_and_assigned_again() -> None:
    steps = (
        SeatStep(START, "ann", assigned=True),
        SeatStep(START + 5, "bob", assigned=True),
        SeatStep(START + 5, "ann", assigned=True),  # has it already
        SeatStep(START + 9, "ann", assigned=False),
        SeatStep(START + 9, "zoe", assigned=False),  # never had one
        SeatStep(START + 20, "ann", assigned=True),
    )
    assert list(assigned_spans(seats(*steps), contract())) == [
        Assigned("ann", START, START + 9),
        Assigned("bob", START + 5, NEVER_HOUR),
        Assigned("ann", START + 20, NEVER_HOUR),
    ]
    whole = (contract(*steps),)
    assert [seats_at(whole, "user", START + hour) for hour in (-1, 0, 5, 9, 20)] == [
        frozenset(),
        {"ann"},
        {"ann", "bob"},
        {"bob"},
        {"ann", "bob"},
    ]
    assert seats_at(whole, "team", START + 5) == frozenset()


def test_seats_end_with_their_subscription_and_with_the_contract() -> None:
    steps = (SeatStep(START, "ann", assigned=True), SeatStep(START + 50, "bob", assigned=True))
    ended = seats(*steps, ending_hour=START + 30)
    assert list(assigned_spans(ended, contract())) == [Assigned("ann", START, START + 30)]
    assert list(assigned_spans(ended, replace(contract(), ending_hour=START + 7))) == [Assigned("ann", START, START + 7)]


# --- draw-down ------------------------------------------------------------------------------------------------------------


def test_a_seat_pays_for_its_own_usage_alone() -> None:
    driver = rig()
    for user, amount in [("ann", "30"), ("bob", "120"), ("zoe", "5"), (None, "7")]:
        use(driver, user, amount)
    use(driver, "ann", "11", "storage")  # the product does not tell users apart
    assert left(driver) == {"ann": 70, "bob": 0, "cyn": 100}
    (draft,) = standing(driver).drafts
    assert draft.total == 20 + 5 + 7 + 11
    paid = {(item.balance_id, item.presentation_group_values) for item in draft.line_items if item.type is ItemType.APPLIED}
    assert paid == {("ann", (("user", "ann"),)), ("bob", (("user", "bob"),))}


def test_a_seat_in_the_pricing_group_key() -> None:
    products = {**CATALOG.products, "calls": Product("calls", "calls", "calls", pricing_group_key=("user",))}
    rates = tuple(
        Rate("calls", RateType.FLAT, 0, price=Decimal(price), pricing_group_values=(("user", user),))
        for user, price in [("ann", 1), ("bob", 2)]
    )
    driver = rig()
    driver.reconfigure(catalog=replace(CATALOG, revision=2, products=products, rate_cards={"card": RateCard("card", rates)}))
    use(driver, "ann", "10")
    use(driver, "bob", "10")
    assert left(driver) == {"ann": 90, "bob": 80, "cyn": 100}


@pytest.mark.parametrize(
    ("parts", "first"),
    [
        ({}, "ann"),  # a seat is a restriction by group values, and goes before what is open to everything
        ({"priority": Decimal(-1)}, "shared"),
        ({"priority": Decimal(1)}, "ann"),
        ({"cost_basis_free": False}, "ann"),
        ({"applicable_product_ids": frozenset({"calls"})}, "shared"),  # fewer applicable products
    ],
)
def test_where_a_seat_stands_in_the_order(parts: dict[str, object], first: str) -> None:
    driver = rig(balances=(shared(**parts), own("ann")))
    use(driver, "ann", "60")
    assert left(driver) == {"ann": 100, "shared": 100, first: 40}
    assert drawn_apart(driver.customer.balances, CATALOG.products) == ({USD_CENTS} if first == "ann" else set())


def test_balances_of_seats_told_apart_by_two_keys_are_not_drawn_apart() -> None:
    team = replace(own("red"), seat=("team", "red"))
    assert drawn_apart((own("ann"), own("bob")), CATALOG.products)
    assert not drawn_apart((own("ann"), team), CATALOG.products)
    assert not drawn_apart((shared(),), CATALOG.products)


# --- alerts ---------------------------------------------------------------------------------------------------------------


def test_every_seat_has_a_state_of_its_own() -> None:
    driver = rig(alert("25"))
    assert use(driver, "ann", "74") == []
    assert use(driver, "bob", "74") == []
    assert said(use(driver, "ann", "1")) == [("reached", "ann", 26, 25)]
    assert use(driver, "ann", "1") == []
    assert said(use(driver, "bob", "60")) == [("reached", "bob", 26, 0)]
    assert said(use(driver, "ann", "-10")) == [("resolved", "ann", 24, 34)]
    assert said(use(driver, "ann", "9")) == [("reached", "ann", 34, 25)]
    assert use(driver, "zoe", "500") == []  # has no seat
    assert use(driver, None, "500") == []
    assert [each.sequence for each in driver.notifications] == [1, 1, 2, 3]
    assert driver.notifications[0].measure == {
        "credit_type_id": USD_CENTS,
        "remaining_balance": Decimal(25),
        "seat_filter": {"seat_group_key": "user", "seat_group_value": "ann", "value": "ann"},
    }
    assert len({each.id for each in driver.notifications}) == 4
    statuses = [read_status(driver.store.state, alert("25"), driver.now_us, value=user).status for user in (*USERS, None)]
    assert statuses == ["in_alarm", "in_alarm", "ok", "in_alarm"]


def test_an_alert_on_one_seat_looks_at_no_other() -> None:
    driver = rig(alert("25", "bob"))
    assert use(driver, "ann", "100") == []
    assert said(use(driver, "bob", "75")) == [("reached", "bob", 100, 25)]


def test_what_all_balances_of_a_seat_have_is_added_up() -> None:
    later = replace(own("more", "40"), seat=("user", "ann"), type=BalanceType.PREPAID)
    driver = rig(alert("25"), balances=(own("ann"), later))
    assert use(driver, "ann", "114") == []
    assert said(use(driver, "ann", "1")) == [("reached", "ann", 26, 25)]


def test_seats_are_outside_of_all_other_balance_alerts() -> None:
    kinds = [AlertType.CREDIT_BALANCE, AlertType.TOTAL_PERCENTAGE, AlertType.CREDIT_SEGMENT_DAYS]
    alerts = tuple(replace(alert("50", kind=kind), id=kind.value) for kind in kinds)
    driver = rig(*alerts)
    for user in USERS:
        use(driver, user, "100")
    driver.advance((YEAR - 1) * HOUR_US)
    assert driver.notifications == []
    both = rig(*alerts, balances=(own("ann"), shared()))
    use(both, "ann", "100")
    assert both.notifications == []
    assert [str(each.value) for each in use(both, "ann", "50")] == ["50", "50"]  # of the shared one alone


def test_a_removed_seat_is_resolved_and_an_assigned_one_is_met() -> None:
    steps = (
        SeatStep(START, "ann", assigned=True),
        SeatStep(START + 10, "ann", assigned=False),
        SeatStep(START + 10, "bob", assigned=True),
    )
    driver = rig(alert("25"), balances=(own("ann", ending=START + 10), own("bob", "20")), steps=steps)
    assert said(use(driver, "ann", "80")) == [("reached", "ann", 100, 20)]
    assert driver.timer_us == (START + 10) * HOUR_US
    assert said(driver.advance((START + 10) * HOUR_US)) == [("resolved", "ann", 20, 0), ("reached", "bob", 20, 20)]
    assert [each.triggered_by for each in driver.notifications] == ["usage", "time", "time"]


def test_a_seat_whose_credit_has_run_out_by_time_has_nothing_left() -> None:
    driver = rig(alert("0"), balances=(own("ann", ending=START + 10),))
    assert said(driver.advance((START + 10) * HOUR_US)) == [("reached", "ann", 100, 0)]


def test_reset_tells_each_seat_again() -> None:
    driver = rig(alert("25"))
    use(driver, "ann", "80")
    use(driver, "bob", "90")
    driver.aggregate.reset("a", driver.now_us)
    assert [(each[0], each[1], each[3]) for each in said(driver.collect())] == [("reached", "ann", 20), ("reached", "bob", 10)]


def test_spend_of_other_seats_asks_for_no_statement() -> None:
    """The others' events leave a seat's headroom alone; without seats drawn apart the first of them would use it up."""
    users = tuple(f"user{number}" for number in range(40))
    steps = tuple(SeatStep(START, user, assigned=True) for user in users)
    driver = rig(alert("25"), balances=tuple(own(user) for user in users), steps=steps)
    use(driver, "user0", "74")  # one cent above its line
    before = driver.evaluations
    for number in range(1, 40):
        use(driver, f"user{number}", "74")
    assert driver.evaluations == before
    assert said(use(driver, "user0", "1")) == [("reached", "user0", 26, 25)]
    assert driver.evaluations > before


def test_recurring_credits_give_each_seat_its_share() -> None:
    """Alerts meet the shares of each period, at its very start, and those of a seat that is assigned within one."""
    link = SubscriptionLink("seats", Allocation.INDIVIDUAL, is_prorated=False)
    child = Balance("r", BalanceType.CREDIT, "fee", (), contract_id="contract")
    recurring = RecurringBalance(child, SCHEDULE, START, (RecurringTerms(0, Decimal(100)),), link=link)
    steps = (SeatStep(START, "ann", assigned=True), SeatStep(START + 48, "bob", assigned=True))
    config = CustomerConfig("customer", 1, (replace(contract(*steps), recurring=(recurring,)),))
    total = replace(alert("50", kind=AlertType.TOTAL_BALANCE), id="total")
    driver = Driver(config, replace(CATALOG, alerts=(alert("25"), total)), START_US)
    assert said(use(driver, "ann", "80")) == [("reached", "ann", 100, 20)]
    assert use(driver, "bob", "30") == []
    assert driver.advance((START + 48) * HOUR_US) == []
    assert said(use(driver, "bob", "45")) == []  # what he used before he had a seat is paid by nobody
    assert said(use(driver, "bob", "30")) == [("reached", "bob", 55, 25)]
    assert driver.timer_us == FEBRUARY * HOUR_US
    assert said(driver.advance(FEBRUARY * HOUR_US)) == [("resolved", "ann", 20, 100), ("resolved", "bob", 25, 100)]
