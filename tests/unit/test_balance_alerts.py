"""Alerts on balances, segments and invoices, rule by rule.

One customer with a monthly contract from January 2026 at 1 cent a unit; a balance of 100 cents unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.alerts.status import read_status
from engine.catalog import (
    USD_CENTS,
    Aggregation,
    Alert,
    AlertType,
    Balance,
    BalanceType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Frequency,
    ManualEntry,
    Product,
    Rate,
    RateCard,
    RateType,
    Segment,
    Tier,
)
from engine.effects import Notification, UsageEvent
from engine.invoices.codec import decode_invoices
from engine.numbers import decimal_text, exact
from tests.support.stored_customer import Driver

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START = 490_896  # 2026-01-01T00:00Z, in hours
START_US = START * HOUR_US
FEBRUARY = START + 31 * 24
YEAR = START + 365 * 24

CONTRACT = Contract(
    "contract", "card", START, None, BillingSchedule(Frequency.MONTHLY, START_US), custom_fields=(("team", "red"),)
)
EVERY_BALANCE = (BalanceType.PREPAID, BalanceType.POSTPAID, BalanceType.CREDIT)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def balance(
    balance_id: str = "b", kind: BalanceType = BalanceType.PREPAID, amount: str = "100", ending: int = YEAR, **parts: object
) -> Balance:
    segment = Segment(f"{balance_id}-1", START, ending, Decimal(amount))
    return Balance(balance_id, kind, "fee", **{"segments": (segment,), **parts})  # type: ignore[arg-type]


def alert(kind: AlertType, threshold: str, alert_id: str = "a", **parts: object) -> Alert:
    created = parts.pop("created_version", 1)
    return Alert(alert_id, kind, alert_id, Decimal(threshold), created, **parts)  # type: ignore[arg-type]


def catalog(*alerts: Alert, revision: int = 1) -> Catalog:
    return Catalog(
        revision=revision,
        metrics={"units": BillableMetric("units", "units", Aggregation.SUM, "n")},
        products={"product": Product("product", "product", "units")},
        rate_cards={"card": RateCard("card", (Rate("product", RateType.FLAT, 0, price=Decimal(1)),))},
        alerts=alerts,
    )


def config(*balances: Balance, alerts: tuple[Alert, ...] = (), version: int = 1) -> CustomerConfig:
    return CustomerConfig("customer", version, (CONTRACT,), alerts, balances=balances)


def rig(*balances: Balance, alerts: tuple[Alert, ...]) -> Driver:
    return Driver(config(*balances), catalog(*alerts), START_US)


def use(driver: Driver, n: str, at_us: int | None = None, now_us: int | None = None) -> list[Notification]:
    at_us = driver.now_us if at_us is None else at_us
    number = driver.aggregate._serial
    event = UsageEvent(f"t{number}", "call", at_us, at_us // HOUR_US, {"n": n}, "usage-events", 3, number, at_us // 1000 + 5)
    assert driver.event(event, max(at_us, driver.now_us) if now_us is None else now_us) is None
    return driver.collect()


def said(notifications: list[Notification]) -> list[tuple[str, str, str, str]]:
    """(reached or resolved, value before, value, triggered by)."""
    return [
        (
            each.type.rsplit("_", 1)[1],
            decimal_text(each.previous_value),
            decimal_text(each.value),
            str(each.triggered_by),
        )
        for each in notifications
    ]


# --- each type: below, exactly at, above, back, again ---------------------------------------------------------------------

AMOUNTS = [AlertType.CREDIT_BALANCE, AlertType.COMMIT_BALANCE, AlertType.TOTAL_BALANCE]
PERCENTAGES = [AlertType.CREDIT_PERCENTAGE, AlertType.COMMIT_PERCENTAGE, AlertType.TOTAL_PERCENTAGE]
KINDS = {
    AlertType.CREDIT_BALANCE: BalanceType.CREDIT,
    AlertType.COMMIT_BALANCE: BalanceType.PREPAID,
    AlertType.TOTAL_BALANCE: BalanceType.POSTPAID,
    AlertType.CREDIT_PERCENTAGE: BalanceType.CREDIT,
    AlertType.COMMIT_PERCENTAGE: BalanceType.POSTPAID,
    AlertType.TOTAL_PERCENTAGE: BalanceType.PREPAID,
}


@pytest.mark.parametrize("own", [True, False], ids=["one customer", "all customers"])
@pytest.mark.parametrize("kind", [*AMOUNTS, *PERCENTAGES])
def test_what_is_left_falls_to_the_line_and_rises_from_it(kind: AlertType, *, own: bool) -> None:
    """The threshold is 25 of 100, so that an amount and a percentage are the same number."""
    watching = alert(kind, "25", customer_id="customer" if own else None)
    alerts = {"alerts": (watching,)} if own else {}
    driver = Driver(config(balance(kind=KINDS[kind]), **alerts), catalog(*(() if own else (watching,))), START_US)
    assert driver.notifications == []
    assert use(driver, "74.999999999999999999") == []
    assert said(use(driver, "0.000000000000000001")) == [("reached", "25.000000000000000001", "25", "usage")]
    assert use(driver, "1") == []  # further below: nothing
    assert said(use(driver, "-2")) == [("resolved", "24", "26", "usage")]
    assert said(use(driver, "100")) == [("reached", "26", "0", "usage")]
    assert use(driver, "100") == []
    assert [each.sequence for each in driver.notifications] == [1, 2, 3]
    assert len({each.id for each in driver.notifications}) == 3


@pytest.mark.parametrize("own", [True, False], ids=["one customer", "all customers"])
def test_an_invoice_total_rises_to_the_line_and_falls_from_it(*, own: bool) -> None:
    watching = alert(AlertType.INVOICE_TOTAL, "25", customer_id="customer" if own else None)
    alerts = {"alerts": (watching,)} if own else {}
    driver = Driver(config(balance(amount="10"), **alerts), catalog(*(() if own else (watching,))), START_US)
    assert use(driver, "34.9") == []  # 10 are paid by the commit
    reached = use(driver, "0.1")
    assert said(reached) == [("reached", "24.9", "25", "usage")]
    assert reached[0].type == "alerts.invoice_total_reached"
    assert reached[0].measure["invoice_total"] == 25
    assert use(driver, "1") == []
    assert said(use(driver, "-2")) == [("resolved", "26", "24", "usage")]
    assert said(use(driver, "1")) == [("reached", "24", "25", "usage")]


@pytest.mark.parametrize("own", [True, False], ids=["one customer", "all customers"])
@pytest.mark.parametrize(
    ("kind", "paid"),
    [(AlertType.COMMIT_SEGMENT_DAYS, BalanceType.PREPAID), (AlertType.CREDIT_SEGMENT_DAYS, BalanceType.CREDIT)],
)
def test_days_left_are_told_at_the_very_instant(kind: AlertType, paid: BalanceType, *, own: bool) -> None:
    watching = alert(kind, "2.5", customer_id="customer" if own else None)
    ending = START + 10 * 24
    alerts = {"alerts": (watching,)} if own else {}
    driver = Driver(config(balance(kind=paid, ending=ending), **alerts), catalog(*(() if own else (watching,))), START_US)
    reached_us = ending * HOUR_US - 5 * DAY_US // 2
    assert driver.timer_us == reached_us
    assert driver.advance(reached_us - 1) == []
    reached = driver.advance(reached_us)
    assert [(each.type, each.timestamp_us, each.value) for each in reached] == [
        (f"alerts.{kind.value}", reached_us, Decimal("2.5"))
    ]
    assert reached[0].measure == {
        "remaining_days": Decimal("2.5"),
        "credit_id" if paid is BalanceType.CREDIT else "commit_id": "b",
        "segment_id": "b-1",
        "segment_ending_before_us": ending * HOUR_US,
    }
    assert driver.advance(ending * HOUR_US - 1) == []
    assert [each.triggered_by for each in driver.advance(ending * HOUR_US)] == ["time"]  # over: resolved
    assert driver.advance((ending + 1000) * HOUR_US) == []


def test_each_segment_has_days_of_its_own() -> None:
    segments = (Segment("one", START, START + 240, Decimal(5)), Segment("two", START + 240, START + 480, Decimal(5)))
    driver = rig(balance(segments=segments), alerts=(alert(AlertType.COMMIT_SEGMENT_DAYS, "1"),))
    driver.advance((START + 479) * HOUR_US)
    told = [
        (each.type.rsplit("_", 1)[1], each.measure["segment_id"], each.timestamp_us // HOUR_US - START)
        for each in driver.notifications
    ]
    assert told == [("reached", "one", 216), ("resolved", "one", 240), ("reached", "two", 456)]
    assert read_status(driver.store.state, alert(AlertType.COMMIT_SEGMENT_DAYS, "1"), driver.now_us).status == "in_alarm"


# --- zero, nothing, and what counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AlertType.COMMIT_BALANCE, AlertType.COMMIT_PERCENTAGE])
def test_threshold_zero_is_reached_exactly_at_zero(kind: AlertType) -> None:
    driver = rig(balance(), alerts=(alert(kind, "0"),))
    assert use(driver, "99.99") == []
    assert said(use(driver, "0.01")) == [("reached", "0.01", "0", "usage")]


@pytest.mark.parametrize("kind", [*AMOUNTS, *PERCENTAGES])
def test_without_a_balance_all_is_well(kind: AlertType) -> None:
    driver = rig(alerts=(alert(kind, "25"),))
    assert use(driver, "1000") == []
    future = Segment("later", START + 48, YEAR, Decimal(100))
    driver = rig(balance(kind=KINDS[kind], segments=(future,)), alerts=(alert(kind, "25"),))
    assert driver.notifications == []


def test_a_segment_counts_from_its_start_to_its_end() -> None:
    segments = (Segment("one", START, START + 24, Decimal(30)), Segment("two", START + 48, START + 72, Decimal(50)))
    driver = rig(balance(segments=segments), alerts=(alert(AlertType.COMMIT_BALANCE, "0"),))
    driver.advance((START + 100) * HOUR_US)
    assert said(driver.notifications) == [
        ("reached", "30", "0", "time"),
        ("resolved", "0", "50", "time"),
        ("reached", "50", "0", "time"),
    ]
    assert [each.timestamp_us // HOUR_US - START for each in driver.notifications] == [24, 48, 72]


def test_only_the_alerts_own_balances_count() -> None:
    balances = (
        balance("credit", BalanceType.CREDIT, "10"),
        balance("other", amount="1000", credit_type_id="tokens"),
        balance("archived", amount="1000", archived=True),
        balance("prepaid", amount="20", applicable_product_ids=frozenset({"another"})),
    )
    alerts = (
        alert(AlertType.CREDIT_BALANCE, "5", "credits"),
        alert(AlertType.COMMIT_BALANCE, "19", "commits"),
        alert(AlertType.TOTAL_BALANCE, "25", "both"),
    )
    driver = rig(*balances, alerts=alerts)
    told = use(driver, "5")
    assert [(each.alert_id, each.value) for each in told] == [("credits", 5), ("both", 25)]
    assert told[0].measure == {"credit_type_id": USD_CENTS, "remaining_balance": 5, "credit_id": "credit"}
    assert told[1].measure == {"credit_type_id": USD_CENTS, "remaining_balance": 25}


def test_a_percentage_is_of_what_was_granted_and_never_rounded_to_its_line() -> None:
    driver = rig(balance(amount="3"), alerts=(alert(AlertType.COMMIT_PERCENTAGE, "33.333333333333333333"),))
    assert use(driver, "2") == []  # a third is a little more than that
    told = use(driver, "0.000000000000000001")
    assert said(told)[0][0] == "reached"
    assert told[0].measure == {
        "credit_type_id": USD_CENTS,
        "remaining_balance": Decimal("0.999999999999999999"),
        "remaining_percentage": Decimal("33.333333333333333300"),
        "granted": 3,
        "commit_id": "b",
    }


FILTERS = [
    (CustomFieldFilter(Entity.COMMIT, "tier", "gold"), {"gold", "mine"}),
    (CustomFieldFilter(Entity.CREDIT, "tier", "gold"), {"credit"}),
    (CustomFieldFilter(Entity.CREDIT_OR_COMMIT, "tier", "gold"), {"gold", "mine", "credit"}),
    (CustomFieldFilter(Entity.CONTRACT, "team", "red"), {"mine", "plain"}),
    (CustomFieldFilter(Entity.CONTRACT, "team", "blue"), set()),
]


@pytest.mark.parametrize(("one", "counted"), FILTERS)
def test_custom_field_filters(one: CustomFieldFilter, counted: set[str]) -> None:
    gold = (("tier", "gold"),)
    balances = {
        "gold": balance("gold", amount="1", custom_fields=gold),
        "credit": balance("credit", BalanceType.CREDIT, "2", custom_fields=gold),
        "mine": balance("mine", amount="4", custom_fields=gold, contract_id="contract"),
        "plain": balance("plain", amount="8", contract_id="contract"),
    }
    amounts = {"gold": 1, "credit": 2, "mine": 4, "plain": 8}
    driver = rig(*balances.values(), alerts=(alert(AlertType.TOTAL_BALANCE, "100", custom_field_filters=(one,)),))
    assert [each.value for each in driver.notifications] == ([sum(amounts[name] for name in counted)] if counted else [])
    both = (one, CustomFieldFilter(Entity.CONTRACT, "team", "red"))
    driver = rig(*balances.values(), alerts=(alert(AlertType.TOTAL_BALANCE, "100", custom_field_filters=both),))
    left = counted & {"mine", "plain"}
    assert [each.value for each in driver.notifications] == ([sum(amounts[name] for name in left)] if left else [])


# --- changes of configuration ---------------------------------------------------------------------------------------------


def test_recovery_by_a_new_balance_or_a_manual_entry_resolves_and_arms_again() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.TOTAL_BALANCE, "10"),))
    assert said(use(driver, "90")) == [("reached", "100", "10", "usage")]
    credit = balance("c", BalanceType.CREDIT, "5")
    told = driver.reconfigure(customer=config(balance(), credit, version=2))
    assert said(told) == [("resolved", "10", "15", "balance_change")]
    assert said(use(driver, "5")) == [("reached", "15", "10", "usage")]
    topped_up = replace(balance(), manual_entries=(ManualEntry("b-1", Decimal(7), START_US, "goodwill"),))
    told = driver.reconfigure(customer=config(topped_up, credit, version=3))
    assert said(told) == [("resolved", "10", "17", "balance_change")]
    assert said(use(driver, "7")) == [("reached", "17", "10", "usage")]


def test_creation_and_what_is_held_silently() -> None:
    loud = alert(AlertType.COMMIT_BALANCE, "50", "loud", created_version=2)
    quiet = alert(AlertType.COMMIT_BALANCE, "50", "quiet", created_version=2, evaluate_on_create=False)
    driver = rig(balance(), alerts=())
    use(driver, "60")
    told = driver.reconfigure(catalog=catalog(loud, quiet, revision=2))
    assert [(each.alert_id, str(each.triggered_by)) for each in told] == [("loud", "creation")]
    assert read_status(driver.store.state, quiet, driver.now_us).status == "in_alarm"
    use(driver, "-20")
    assert [each.alert_id for each in use(driver, "30")] == ["loud", "quiet"]


def test_reset_tells_a_breach_again() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.COMMIT_BALANCE, "50"),))
    use(driver, "60")
    driver.aggregate.reset("a", driver.now_us)
    assert said(driver.collect()) == [("reached", "40", "40", "reset")]


def test_an_archived_balance_is_no_longer_measured() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.COMMIT_BALANCE, "50"),))
    use(driver, "60")
    told = driver.reconfigure(customer=config(balance(archived=True), version=2))
    assert said(told) == [("resolved", "40", "0", "balance_change")]


def test_an_archived_customer_keeps_its_status() -> None:
    watching = alert(AlertType.COMMIT_BALANCE, "50")
    driver = rig(balance(), alerts=(watching,))
    use(driver, "40")
    entry = ManualEntry("b-1", Decimal(-10), START_US, "correction")
    last = replace(config(replace(balance(), manual_entries=(entry,)), version=2), archived=True)
    assert said(driver.reconfigure(customer=last)) == [("reached", "60", "50", "balance_change")]  # evaluated once more
    assert driver.timer_us is not None  # windows fold
    assert driver.advance((YEAR + 24) * HOUR_US) == []
    assert read_status(driver.store.state, watching, driver.now_us).status == "in_alarm"


def test_time_that_passed_unseen_is_lived_through_first() -> None:
    """Loaded late, under a configuration that has changed since: the segment's end is still told as an instant of time."""
    driver = rig(balance(ending=START + 48), alerts=(alert(AlertType.COMMIT_BALANCE, "0"),))
    driver.now_us = (START + 60) * HOUR_US
    driver.customer = config(balance(ending=START + 48), version=2)
    driver.reload()
    told = driver.collect()
    assert [(str(each.triggered_by), each.timestamp_us // HOUR_US - START) for each in told] == [("time", 48)]


def test_after_the_last_contract_the_status_stays_until_another_begins() -> None:
    ended = replace(CONTRACT, ending_hour=START + 48)
    driver = Driver(
        CustomerConfig("customer", 1, (ended,), balances=(balance(),)), catalog(alert(AlertType.COMMIT_BALANCE, "50")), START_US
    )
    use(driver, "60")
    driver.advance((START + 100) * HOUR_US)
    assert [each.value for each in driver.notifications] == [40]
    second = Contract("second", "card", START + 120, None, CONTRACT.schedule)
    balances = (balance(), balance("c", amount="30"))
    assert driver.reconfigure(customer=CustomerConfig("customer", 2, (ended,), balances=balances)) == []
    assert driver.reconfigure(customer=CustomerConfig("customer", 3, (ended, second), balances=balances)) == []
    assert said(driver.advance((START + 120) * HOUR_US)) == [("resolved", "70", "70", "time")]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(("day", "standing"), [(1, set()), (5, {"left", "spend"})])
def test_an_end_in_the_past_is_evaluated_once(day: int, standing: set[str], *, loaded: bool) -> None:
    """Usage of day 2; on day 15 the contract is said to have ended before or after that. No grace period is left."""
    alerts = (alert(AlertType.COMMIT_BALANCE, "50", "left"), alert(AlertType.SPEND_THRESHOLD, "50", "spend"))
    driver = rig(balance(), alerts=alerts)
    driver.advance(START_US + 2 * DAY_US)
    use(driver, "60")
    driver.advance(START_US + 15 * DAY_US)
    ended = replace(config(balance(), version=2), contracts=(replace(CONTRACT, ending_hour=START + day * 24),))
    if loaded:
        driver.customer = ended
        driver.reload()
        driver.collect()
    else:
        driver.reconfigure(customer=ended)
    resolved = {each.alert_id: each for each in driver.notifications if each.type.endswith("_resolved")}
    assert resolved.keys() == {"left", "spend"} - standing
    if "spend" in resolved and not loaded:
        assert (resolved["spend"].previous_value, resolved["spend"].value) == (60, 0)
    for _ in range(2):
        seen = {each.id for each in alerts if read_status(driver.store.state, each, driver.now_us).status == "in_alarm"}
        assert seen == standing
        assert use(driver, "100", at_us=START_US + DAY_US // 2, now_us=driver.now_us) == []
        assert driver.advance(driver.now_us + 20 * DAY_US) == []
        driver.reload()


@pytest.mark.parametrize("loaded", [False, True])
def test_a_draft_invoice_keeps_its_alarm_when_its_contract_gets_another_end(*, loaded: bool) -> None:
    watching = alert(AlertType.INVOICE_TOTAL, "25")
    driver = rig(balance(amount="10"), alerts=(watching,))
    (reached,) = use(driver, "40")
    ended = replace(config(balance(amount="10"), version=2), contracts=(replace(CONTRACT, ending_hour=START + 240),))
    if loaded:
        driver.customer = ended
        driver.reload()
        assert driver.collect() == []
    else:
        assert driver.reconfigure(customer=ended) == []
    (resolved,) = use(driver, "-10")
    assert (resolved.previous_value, resolved.value, resolved.sequence) == (30, 20, 2)
    assert resolved.measure["invoice_id"] == reached.measure["invoice_id"]
    assert resolved.period_ending_us == (START + 240) * HOUR_US
    assert use(driver, "100") != []
    back = replace(config(balance(amount="200"), version=3))
    assert said(driver.reconfigure(customer=back)) == [("resolved", "120", "0", "contract_change")]  # longer, and all paid


# --- periods and finalization ---------------------------------------------------------------------------------------------


def test_a_final_invoice_keeps_what_it_drew() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.COMMIT_BALANCE, "30"),))
    use(driver, "60")
    driver.advance((FEBRUARY + 24) * HOUR_US)  # the end of grace
    assert [(invoice.period, invoice.total) for invoice in decode_invoices(driver.store.state)] == [((START, FEBRUARY), 0)]
    assert driver.notifications == []
    late_us = START_US + DAY_US
    assert use(driver, "1000", at_us=late_us, now_us=driver.now_us) == []  # counted in windows only
    driver.reload()
    assert said(use(driver, "10")) == [("reached", "40", "30", "usage")]


def test_grace_ends_for_an_invoice_in_alarm() -> None:
    watching = alert(AlertType.INVOICE_TOTAL, "50")
    driver = rig(alerts=(watching,))
    reached = use(driver, "60")
    assert driver.advance(FEBRUARY * HOUR_US) == []  # still a draft
    assert read_status(driver.store.state, watching, driver.now_us).status == "in_alarm"
    assert said(use(driver, "55")) == [("reached", "0", "55", "usage")]  # February's own invoice
    resolved = driver.advance((FEBRUARY + 24) * HOUR_US)
    assert said(resolved) == [("resolved", "60", "0", "period_reset")]
    assert resolved[0].measure["invoice_id"] == reached[0].measure["invoice_id"]


def test_an_invoice_becomes_final_in_the_gap_between_two_contracts_too() -> None:
    """Its grace period ends at no end of a frame: the next contract began while it ran."""
    first = replace(CONTRACT, ending_hour=START + 48)
    second = Contract("second", "card", START + 60, None, BillingSchedule(Frequency.MONTHLY, START_US))
    driver = Driver(CustomerConfig("customer", 1, (first, second)), catalog(), START_US)
    use(driver, "5")
    while driver.timer_us is not None and driver.timer_us <= (START + 100) * HOUR_US:
        at_us = driver.timer_us
        driver.advance(at_us)
        assert driver.timer_us is None or driver.timer_us > at_us  # else the worker would wake it for ever
        if at_us == (START + 48 + 24) * HOUR_US:
            break
    assert [(invoice.contract_id, invoice.total) for invoice in decode_invoices(driver.store.state)] == [("contract", 5)]
    assert driver.now_us == (START + 48 + 24) * HOUR_US


def test_usage_of_a_period_in_grace_still_draws() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.COMMIT_BALANCE, "30"),))
    use(driver, "50")
    driver.advance((FEBRUARY + 2) * HOUR_US)
    assert use(driver, "10") == []
    assert said(use(driver, "10", at_us=(FEBRUARY - 1) * HOUR_US)) == [("reached", "40", "30", "usage")]


@pytest.mark.parametrize("types", [None, frozenset({"USAGE"}), frozenset({"SCHEDULED"})])
def test_invoice_types(types: frozenset[str] | None) -> None:
    driver = rig(alerts=(alert(AlertType.INVOICE_TOTAL, "5", invoice_types=types),))
    assert len(use(driver, "6")) == (0 if types == {"SCHEDULED"} else 1)


# --- cost -----------------------------------------------------------------------------------------------------------------


def test_events_within_the_headroom_make_no_statement() -> None:
    driver = rig(balance(amount="1000"), alerts=tuple(alert(AlertType.COMMIT_BALANCE, str(n), f"a{n}") for n in range(0, 900, 9)))
    driver.collect()
    before = driver.evaluations
    for _ in range(50):
        use(driver, "1")
    assert driver.evaluations == before
    assert [each.alert_id for each in use(driver, "59")] == ["a891"]
    assert driver.evaluations > before


def test_past_the_last_line_nothing_is_looked_at() -> None:
    driver = rig(balance(), alerts=(alert(AlertType.COMMIT_BALANCE, "0"),))
    use(driver, "100")
    before = driver.evaluations
    for _ in range(20):
        use(driver, "10")
    assert driver.evaluations == before


def test_a_tier_that_pays_the_customer_hides_no_spend_of_another_tier() -> None:
    """100 units at 2 cents, then 100 at -2: the line comes to nothing, and its first tier has used the commit up."""
    watching = alert(AlertType.COMMIT_BALANCE, "0")
    tiers = (Tier(Decimal(100), Decimal(2)), Tier(Decimal(100), Decimal(-2)), Tier(None, Decimal(1)))
    plain = catalog(watching)
    card = RateCard("card", (Rate("product", RateType.TIERED, 0, tiers=tiers),))
    driver = Driver(config(balance(amount="150")), replace(plain, rate_cards={"card": card}), START_US)
    assert said(use(driver, "200")) == [("reached", "150", "0", "usage")]
