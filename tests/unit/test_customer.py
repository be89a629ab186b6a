"""The aggregate, rule by rule: crossings, evidence, creation, periods, grace, resets, archiving, folding."""

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
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    Operation,
    Product,
    QuantityConversion,
    QuantityRounding,
    Rate,
    RateCard,
    RateType,
    RoundingMethod,
    Tier,
)
from engine.customer import EngineSettings
from engine.effects import Evidence, Notification, UsageEvent
from engine.metering.codec import decode_day
from engine.metering.matching import GROUP_VALUE_CHARACTERS_MAX
from engine.metering.queries import UsageWindows, decode_folded, usage_total
from engine.metering.series import SeriesKey
from engine.numbers import exact
from tests.support.stored_customer import Driver

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START = 490_896  # 2026-01-01T00:00Z, in hours
START_US = START * HOUR_US
FEBRUARY_US = START_US + 31 * DAY_US


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def usage_alert(alert_id: str, threshold: str, **parts: object) -> Alert:
    created = parts.pop("created_version", 1)
    return Alert(
        alert_id,
        AlertType.USAGE_THRESHOLD,
        alert_id,
        Decimal(threshold),
        created,
        metric_id="tokens",
        **parts,  # type: ignore[arg-type]
    )


def spend_alert(alert_id: str, threshold: str, **parts: object) -> Alert:
    created = parts.pop("created_version", 1)
    return Alert(alert_id, AlertType.SPEND_THRESHOLD, alert_id, Decimal(threshold), created, **parts)  # type: ignore[arg-type]


TOKENS = BillableMetric("tokens", "tokens", Aggregation.SUM, "n", group_keys=(("region",), ("region", "model")))
CONTRACT = Contract("contract", "card", START, None, BillingSchedule(Frequency.MONTHLY, START_US))
CUSTOMER = CustomerConfig("customer", 1, (CONTRACT,))


def catalog(*alerts: Alert, revision: int = 1, price: str = "2", **parts: object) -> Catalog:
    product = Product("product", "product", "tokens", **parts)  # type: ignore[arg-type]
    return Catalog(
        revision=revision,
        metrics={"tokens": TOKENS},
        products={"product": product},
        rate_cards={"card": RateCard("card", (Rate("product", RateType.FLAT, 0, price=Decimal(price)),))},
        alerts=alerts,
    )


def driver(*alerts: Alert, **parts: object) -> Driver:
    return Driver(CUSTOMER, catalog(*alerts, **parts), START_US, EngineSettings())  # type: ignore[arg-type]


def event(number: int, at_us: int, n: object, **properties: object) -> UsageEvent:
    return UsageEvent(
        f"t{number}", "call", at_us, at_us // HOUR_US, {"n": n, **properties}, "usage-events", 3, number, at_us // 1000 + 5
    )


def use(rig: Driver, n: object, at_us: int | None = None, now_us: int | None = None, **properties: object) -> list[Notification]:
    """One event, and what is notified for it. It arrives when it happens unless ``now_us`` says otherwise."""
    at_us = rig.now_us if at_us is None else at_us
    number = rig.evaluations + len(rig.notifications)
    assert rig.event(event(number, at_us, n, **properties), max(at_us, rig.now_us) if now_us is None else now_us) is None
    return rig.collect()


def said(notifications: list[Notification]) -> list[tuple[str, str, str]]:
    """(alert, reached or resolved, triggered by)."""
    return [(each.alert_id, each.type.rsplit("_", 1)[1], str(each.triggered_by)) for each in notifications]


# --- crossing a line ------------------------------------------------------------------------------------------------------


def test_nothing_measured_is_ok() -> None:
    rig = driver(usage_alert("a", "1"), spend_alert("b", "0.01"))
    assert rig.notifications == []


def test_a_threshold_of_nothing_waits_for_usage() -> None:
    """At creation, at the start of a period, after a restart: nothing measured is ok. Usage of 0 is usage."""
    rig = driver(usage_alert("a", "0"), spend_alert("b", "0"))
    assert rig.notifications == []
    assert said(use(rig, 0)) == [("a", "reached", "usage"), ("b", "reached", "usage")]
    assert use(rig, 1) == []
    rig.reload()
    assert rig.collect() == []
    assert said(rig.advance(FEBRUARY_US)) == [("a", "resolved", "period_reset"), ("b", "resolved", "period_reset")]
    rig.reload()
    assert rig.collect() == []
    assert said(use(rig, 1)) == [("a", "reached", "usage"), ("b", "reached", "usage")]


def test_usage_without_cost_reaches_a_spend_of_nothing() -> None:
    rounded = QuantityRounding(RoundingMethod.ROUND_DOWN, 0)
    rig = driver(spend_alert("b", "0"), rounding=rounded)
    assert said(use(rig, "0.5")) == [("b", "reached", "usage")]


def test_a_group_that_another_alert_names_is_not_measured_by_that() -> None:
    rig = driver(
        spend_alert("each", "0", group_values=(("region", None),)), spend_alert("eu", "5", group_values=(("region", "eu"),))
    )
    assert rig.notifications == []
    (told,) = use(rig, 1, region="us")
    assert (told.alert_id, told.group_values) == ("each", (("region", "us"),))


def test_exactly_at_the_threshold_is_reached() -> None:
    rig = driver(usage_alert("a", "10"), spend_alert("b", "20"))
    assert use(rig, "9.999999999999999999") == []
    assert said(use(rig, "0.000000000000000001")) == [("a", "reached", "usage"), ("b", "reached", "usage")]


def test_tenths_add_up_exactly() -> None:
    """In binary floats 0.1 + 0.2 is above 0.3: it would cross here a line that it must not cross."""
    rig = driver(usage_alert("a", "0.30000000000000001"))
    use(rig, "0.1")
    assert use(rig, "0.2") == []


def test_an_alarm_is_told_once_and_again_after_recovery() -> None:
    rig = driver(usage_alert("a", "10"))
    assert said(use(rig, 10)) == [("a", "reached", "usage")]
    assert use(rig, 10) == []
    assert said(use(rig, -11)) == [("a", "resolved", "usage")]
    assert said(use(rig, 1)) == [("a", "reached", "usage")]
    assert [each.sequence for each in rig.notifications] == [1, 2, 3]
    assert len({each.id for each in rig.notifications}) == 3


def test_every_threshold_that_an_event_crosses_is_told_lowest_first() -> None:
    rig = driver(
        usage_alert("c", "8"), usage_alert("b", "5"), usage_alert("a", "5"), spend_alert("d", "6"), usage_alert("e", "11")
    )
    assert [each.alert_id for each in use(rig, 10)] == ["a", "b", "d", "c"]


def test_a_crossing_and_its_recovery_in_one_batch_are_both_told() -> None:
    rig = driver(usage_alert("a", "10"))
    for number, n in enumerate((9, 2, -5, 1)):
        rig.event(event(number, START_US, n))
    notifications = rig.collect()
    assert said(notifications) == [("a", "reached", "usage"), ("a", "resolved", "usage")]
    assert [each.evidence.transaction_id for each in notifications if each.evidence] == ["t1", "t2"]
    assert [(each.previous_value, each.value) for each in notifications] == [(9, 11), (11, 6)]


def test_a_notification_explains_itself() -> None:
    rig = driver(spend_alert("a", "10"))
    use(rig, 4)
    [told] = use(rig, 2, at_us=START_US + 7, now_us=START_US + 99)
    assert told.type == "alerts.spend_threshold_reached"
    assert (told.customer_id, told.alert_id, told.threshold, told.sequence) == ("customer", "a", 10, 1)
    assert (told.previous_value, told.value) == (8, 12)
    assert (told.period_starting_us, told.period_ending_us) == (START_US, FEBRUARY_US)
    assert told.measure == {"current_spend": 12, "credit_type_id": USD_CENTS}
    at_ms = START_US // 1000 + 5
    assert told.evidence == Evidence("t2", "usage-events", 3, 2, START_US + 7, at_ms, START_US + 99)


def test_ids_stay_what_they_are() -> None:
    """A replay after an upgrade must give the ids that were given before it."""
    rig = driver(usage_alert("a", "1"))
    assert [each.id for each in use(rig, 1)] == ["7010bdfb-b6fb-5363-8f53-e06acc2ec210"]


def test_usage_is_measured_before_conversion() -> None:
    rig = driver(usage_alert("a", "1000"), spend_alert("b", "3"), conversion=QuantityConversion(Decimal(1000), Operation.DIVIDE))
    assert [each.alert_id for each in use(rig, 1000)] == ["a"]
    [told] = use(rig, 500)
    assert (told.alert_id, told.value) == ("b", 3)


def test_all_metrics_of_an_event_are_in_before_alerts_are_looked_at() -> None:
    calls = BillableMetric("calls", "calls", Aggregation.COUNT)
    base = catalog(spend_alert("a", "12"))
    products = {**base.products, "per call": Product("per call", "per call", "calls")}
    rates = (*base.rate_cards["card"].rates, Rate("per call", RateType.FLAT, 0, price=Decimal(2)))
    both = replace(
        base, metrics={**base.metrics, "calls": calls}, products=products, rate_cards={"card": RateCard("card", rates)}
    )
    rig = Driver(CUSTOMER, both, START_US)
    [told] = use(rig, 5)
    assert (told.previous_value, told.value) == (0, 12)


def _two_metrics() -> Driver:
    second = replace(TOKENS, id="zz", aggregation_key="other")
    base = catalog(usage_alert("a", "1"))
    return Driver(CUSTOMER, replace(base, metrics={**base.metrics, "zz": second}), START_US)


def _total(rig: Driver, metric_id: str) -> Decimal | None:
    usage = UsageWindows({day: decode_day(fields) for day, fields in rig.store.windows.items()})
    return usage_total(replace(TOKENS, id=metric_id), usage, 0, 2**40)


def test_an_event_that_no_metric_can_read_changes_nothing() -> None:
    rig = _two_metrics()
    before = rig.store
    rejection = rig.event(event(1, START_US, "few", other="many"))
    assert rejection is not None
    assert (rejection.reason, rejection.missed) == ("property_not_a_number", ())
    assert rig.collect() == []
    assert rig.store == before
    assert rig.store.windows == {}


def test_an_event_that_one_metric_cannot_read_counts_for_the_others_and_later_for_that_one() -> None:
    rig = _two_metrics()
    odd = event(1, START_US, 5, other="many")
    rejection = rig.event(odd)
    assert rejection is not None
    assert (rejection.reason, rejection.missed) == ("property_not_a_number", ("zz",))
    assert "other" in rejection.detail
    assert [told.value for told in rig.collect()] == [5]
    assert (_total(rig, TOKENS.id), _total(rig, "zz")) == (5, None)
    assert rig.event(odd._replace(properties={"n": 5, "other": 7}, only=frozenset({"zz"}))) is None
    rig.collect()
    assert (_total(rig, TOKENS.id), _total(rig, "zz")) == (5, 7)


def test_a_group_value_beyond_the_bound_is_missed_by_the_metric_that_groups_by_it() -> None:
    grouped = replace(TOKENS, id="zz", group_keys=(("model",),))
    base = catalog(usage_alert("a", "1"))
    plain = replace(TOKENS, group_keys=())
    rig = Driver(CUSTOMER, replace(base, metrics={TOKENS.id: plain, "zz": grouped}), START_US)
    long = "x" * GROUP_VALUE_CHARACTERS_MAX
    assert rig.event(event(1, START_US, 1, model=long)) is None
    for number, value in enumerate([long + "x", "a\0b"]):
        rejection = rig.event(event(2 + number, START_US, 1, model=value))
        assert rejection is not None
        assert (rejection.reason, rejection.missed) == ("property_not_a_group", ("zz",))
    rig.collect()
    assert (_total(rig, TOKENS.id), _total(rig, "zz")) == (3, 1)


def test_declining_tiers_are_rated_again_only_at_their_edges() -> None:
    tiers = tuple(Tier(Decimal(100) if n < 9 else None, Decimal(10 - n)) for n in range(10))
    base = catalog(spend_alert("a", "5500"))
    tiered = replace(base, rate_cards={"card": RateCard("card", (Rate("product", RateType.TIERED, 0, tiers=tiers),))})
    rig = Driver(CUSTOMER, tiered, START_US)
    evaluated = rig.evaluations
    told = [note for _ in range(1_200) for note in use(rig, 1)]
    assert [(each.previous_value, each.value) for each in told] == [(5499, 5500)]
    assert rig.evaluations - evaluated == 1


# --- groups ---------------------------------------------------------------------------------------------------------------


def test_every_value_of_a_key_has_a_state_of_its_own() -> None:
    rig = driver(spend_alert("a", "10", group_values=(("region", None),)))
    assert use(rig, 4, region="eu") == []
    assert use(rig, 4, region="us") == []
    [told] = use(rig, 1, region="eu")
    assert (told.group_values, told.value, told.sequence) == ((("region", "eu"),), 10, 1)
    [told] = use(rig, 1, region="us")
    assert (told.group_values, told.value, told.sequence) == ((("region", "us"),), 10, 1)
    assert use(rig, 100) == [], "usage without the key belongs to no group"
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us, (("region", "eu"),)).status == "in_alarm"
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us, (("region", "jp"),)).status == "ok"


def test_one_value_and_several_keys_are_anded() -> None:
    rig = driver(
        spend_alert("eu", "10", group_values=(("region", "eu"),)),
        spend_alert("eu x", "10", group_values=(("region", "eu"), ("model", "x"))),
        spend_alert("any x", "10", group_values=(("model", "x"), ("region", None))),
    )
    assert use(rig, 50, region="us", model="y") == []
    assert [each.alert_id for each in use(rig, 5, region="us", model="x")] == ["any x"]
    assert [each.alert_id for each in use(rig, 4, region="eu", model="x")] == []
    assert [each.alert_id for each in use(rig, 1, region="eu", model="y")] == ["eu"]
    told = use(rig, 1, region="eu", model="x")
    assert [(each.alert_id, each.group_values) for each in told] == [
        ("any x", (("model", "x"), ("region", "eu"))),
        ("eu x", (("region", "eu"), ("model", "x"))),
    ]


def test_a_key_that_no_declared_group_key_holds_counts_nothing() -> None:
    rig = driver(spend_alert("a", "1", group_values=(("zone", None),)))
    assert use(rig, 100, zone="z") == []


def test_grouped_spend_is_rated_on_the_subset_alone() -> None:
    """Ten units free for each group, not for all of them together."""
    tiers = (Tier(Decimal(10), Decimal(0)), Tier(None, Decimal(1)))
    base = catalog(spend_alert("all", "5"), spend_alert("each", "5", group_values=(("region", None),)))
    rig = Driver(
        CUSTOMER,
        replace(base, rate_cards={"card": RateCard("card", (Rate("product", RateType.TIERED, 0, tiers=tiers),))}),
        START_US,
    )
    assert use(rig, 8, region="eu") == []
    assert [each.alert_id for each in use(rig, 8, region="us")] == ["all"]
    assert [each.alert_id for each in use(rig, 7, region="eu")] == ["each"]


def test_spend_in_another_credit_type_does_not_count() -> None:
    rig = driver(spend_alert("a", "1", credit_type_id="credits"))
    assert use(rig, 100) == []


# --- creation and configuration -----------------------------------------------------------------------------------------


def test_a_new_alert_looks_at_customers_already_past_it() -> None:
    rig = driver()
    use(rig, 50)
    told = rig.reconfigure(
        catalog=catalog(usage_alert("a", "10", created_version=2), usage_alert("b", "60", created_version=2), revision=2)
    )
    assert said(told) == [("a", "reached", "creation")]
    assert told[0].evidence is None
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).evaluated_version == 2
    assert said(use(rig, 10)) == [("b", "reached", "usage")]


def test_evaluate_on_create_false_holds_silently_and_is_armed_again_by_recovery() -> None:
    rig = driver()
    use(rig, 50)
    quiet = catalog(usage_alert("a", "10", created_version=2, evaluate_on_create=False), revision=2)
    assert rig.reconfigure(catalog=quiet) == []
    assert read_status(rig.store.state, quiet.alerts[0], rig.now_us).status == "in_alarm"
    rig.reload()
    assert use(rig, 1) == []
    assert use(rig, -45) == [], "the recovery of what was never told is not told"
    [told] = use(rig, 10)
    assert (told.triggered_by, told.sequence) == ("usage", 1)


def test_evaluate_on_create_false_alarms_as_usual_for_those_below() -> None:
    rig = driver(usage_alert("a", "10", evaluate_on_create=False))
    assert said(use(rig, 10)) == [("a", "reached", "usage")]


def test_a_change_of_rates_re_rates_the_open_period_at_once() -> None:
    alert = spend_alert("a", "50")
    rig = driver(alert)
    use(rig, 20)
    [told] = rig.reconfigure(catalog=catalog(alert, revision=2, price="3"))
    assert said([told]) == [("a", "reached", "contract_change")]
    assert (told.previous_value, told.value) == (40, 60)
    assert said(rig.reconfigure(catalog=catalog(alert, revision=3, price="1"))) == [("a", "resolved", "contract_change")]


def test_an_alarm_goes_with_its_period_when_a_contract_changes_the_span() -> None:
    rig = driver(usage_alert("a", "10"))
    rig.customer = CustomerConfig("customer", 1)
    rig.reconfigure(customer=CustomerConfig("customer", 2))
    assert said(use(rig, 10, START_US + DAY_US)) == [("a", "reached", "usage")]
    assert (
        rig.reconfigure(
            customer=replace(
                CUSTOMER, version=3, contracts=(replace(CONTRACT, schedule=BillingSchedule(Frequency.ANNUAL, START_US)),)
            )
        )
        == []
    )
    assert said(use(rig, -1)) == [("a", "resolved", "usage")]


def test_an_alarm_is_not_told_again_for_the_span_that_a_second_contract_widens() -> None:
    """The first contract's month alone stays live as a period of its own until the grace period is over."""
    rig = driver(usage_alert("a", "10"))
    assert said(use(rig, 10, START_US + 14 * DAY_US + HOUR_US)) == [("a", "reached", "usage")]
    year = replace(CONTRACT, id="year", starting_hour=START + 14 * 24, schedule=BillingSchedule(Frequency.ANNUAL, START_US))
    assert rig.reconfigure(customer=replace(CUSTOMER, version=2, contracts=(CONTRACT, year))) == []
    assert rig.advance(START_US + 16 * DAY_US) == []
    assert said(use(rig, -1)) == [("a", "resolved", "usage")]


def test_an_archived_alert_leaves_no_state() -> None:
    rig = driver(usage_alert("a", "10"))
    use(rig, 10)
    assert rig.reconfigure(catalog=catalog(revision=2)) == []
    assert not [name for name in rig.store.state if name.startswith("s|")]


def test_how_often_an_archived_alert_was_told_is_forgotten_with_it() -> None:
    rig = driver(usage_alert("gone", "1"), usage_alert("stays", "1"))
    assert len(use(rig, 5)) == 2
    assert {name for name in rig.store.state if name.startswith("q|")} == {"q|gone|", "q|stays|"}
    rig.reconfigure(catalog=catalog(usage_alert("stays", "1"), revision=2))
    assert {name for name in rig.store.state if name.startswith("q|")} == {"q|stays|"}
    rig.reload()
    rig.aggregate.reset("stays", rig.now_us)
    (again,) = rig.collect()
    assert again.sequence == 2


def test_a_reset_tells_a_breach_that_still_holds_again() -> None:
    rig = driver(usage_alert("a", "10"), usage_alert("b", "10"))
    first = {each.id for each in use(rig, 10)}
    rig.aggregate.reset("a", rig.now_us)
    told = rig.collect()
    assert said(told) == [("a", "reached", "reset")]
    assert told[0].id not in first
    rig.aggregate.reset("unknown", rig.now_us)
    assert rig.collect() == []


def test_an_archived_customer_is_evaluated_once_more_and_then_keeps_its_status() -> None:
    rig = driver(usage_alert("a", "10"))
    use(rig, 10)
    assert rig.reconfigure(customer=replace(CUSTOMER, version=2, archived=True)) == []
    assert use(rig, -10) == []
    assert rig.advance(FEBRUARY_US + 10 * DAY_US) == []
    rig.reload()
    assert use(rig, 100) == []
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).status == "in_alarm"
    assert rig.store.windows.keys() == {START // 24 + 41}, "days are folded all the same"


# --- time -----------------------------------------------------------------------------------------------------------------


def test_a_new_period_resolves_and_begins_at_nothing() -> None:
    rig = driver(usage_alert("a", "10"))
    use(rig, 12)
    assert rig.timer_us == START_US + DAY_US, "the end of grace of the month before"
    assert rig.advance(START_US + DAY_US) == []
    assert rig.timer_us == FEBRUARY_US
    assert rig.advance(FEBRUARY_US - 1) == []
    [told] = rig.advance(FEBRUARY_US)
    assert said([told]) == [("a", "resolved", "period_reset")]
    assert (told.previous_value, told.value) == (12, 0)
    assert (told.period_starting_us, told.period_ending_us) == (START_US, FEBRUARY_US)
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).status == "ok"
    assert use(rig, 9) == []
    [told] = use(rig, 1)
    assert (told.previous_value, told.value, told.period_starting_us, told.sequence) == (9, 10, FEBRUARY_US, 3)


def test_the_first_event_after_a_period_ends_it_too() -> None:
    rig = driver(usage_alert("a", "10"))
    use(rig, 12)
    assert said(use(rig, 10, FEBRUARY_US + 5)) == [("a", "resolved", "period_reset"), ("a", "reached", "usage")]


def test_a_late_event_can_raise_an_alarm_of_the_period_before() -> None:
    rig = driver(usage_alert("a", "10"), usage_alert("b", "20"))
    use(rig, 12)
    rig.advance(FEBRUARY_US)
    [told] = use(rig, 8, at_us=FEBRUARY_US - 1)
    assert (told.alert_id, told.value, told.period_ending_us) == ("b", 20, FEBRUARY_US)
    assert use(rig, -15, at_us=FEBRUARY_US - 1)[0].alert_id == "b"
    assert [each.alert_id for each in use(rig, 15, at_us=FEBRUARY_US - 1)] == ["b"], "a has lapsed and stays silent"
    assert rig.timer_us == FEBRUARY_US + DAY_US
    assert said(rig.advance(FEBRUARY_US + DAY_US)) == [("b", "resolved", "period_reset")]
    assert not [name for name in rig.store.state if name.startswith("s|")]


def test_an_old_alarm_that_the_current_period_has_overtaken_ends_without_a_word() -> None:
    rig = driver(usage_alert("a", "10"))
    use(rig, 5)
    rig.advance(FEBRUARY_US)
    use(rig, 11)
    [told] = use(rig, 6, at_us=FEBRUARY_US - 1)
    assert (told.value, told.period_ending_us, told.sequence) == (11, FEBRUARY_US, 2)
    assert rig.advance(FEBRUARY_US + DAY_US) == [], "not resolved: the current period is in alarm"
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).status == "in_alarm"
    assert said(use(rig, -5)) == [("a", "resolved", "usage")]


def test_an_alarm_ahead_overtakes_that_of_the_period_which_ends() -> None:
    rig = driver(usage_alert("a", "10"))
    rig.advance(FEBRUARY_US - HOUR_US)
    use(rig, 12, now_us=rig.now_us)
    use(rig, 11, at_us=FEBRUARY_US + 1, now_us=rig.now_us)
    assert rig.advance(FEBRUARY_US) == []
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).status == "in_alarm"


def test_an_event_for_a_final_period_counts_in_windows_only() -> None:
    rig = driver(usage_alert("a", "10"))
    rig.advance(FEBRUARY_US + DAY_US - 1)
    use(rig, 5, at_us=FEBRUARY_US - 1)
    assert rig.after_finalization == 0
    rig.advance(FEBRUARY_US + DAY_US)
    assert use(rig, 50, at_us=FEBRUARY_US - 1) == []
    assert rig.after_finalization == 1
    assert rig.store.windows[FEBRUARY_US // DAY_US - 1]["tokens"] == "23:55"


def ending(at_us: int, *more: Contract) -> CustomerConfig:
    return CustomerConfig("customer", 2, (replace(CONTRACT, ending_hour=at_us // HOUR_US), *more))


def test_after_the_last_contract_ends_the_last_status_stays() -> None:
    end_us = START_US + 10 * DAY_US
    rig = driver(usage_alert("a", "10"), spend_alert("b", "30"))
    rig.reconfigure(ending(end_us))
    use(rig, 12)
    assert rig.advance(end_us) == []
    [told] = use(rig, 3, at_us=end_us - 1)
    assert (told.alert_id, told.value, told.period_ending_us) == ("b", 30, end_us), "late, but within grace"
    use(rig, 100, at_us=end_us + 1)
    assert rig.after_finalization == 0
    assert rig.advance(end_us + DAY_US) == []
    assert use(rig, -15, at_us=end_us - 1) == [], "the invoice is final"
    assert rig.after_finalization == 1
    for _ in range(2):
        assert rig.advance(end_us + 40 * DAY_US) == []
        assert [read_status(rig.store.state, alert, rig.now_us).status for alert in rig.catalog.alerts] == ["in_alarm"] * 2
        assert rig.timer_us is None or rig.timer_us > rig.now_us
        rig.reload()


def test_a_contract_after_a_gap_begins_afresh() -> None:
    end_us = START_US + 10 * DAY_US
    renewed = replace(CONTRACT, id="renewed", starting_hour=(end_us + 3 * DAY_US) // HOUR_US)
    rig = driver(usage_alert("a", "10"))
    rig.reconfigure(ending(end_us, renewed))
    use(rig, 12)
    assert rig.advance(end_us + 2 * DAY_US) == []
    assert rig.timer_us == end_us + 3 * DAY_US
    assert said(rig.advance(end_us + 3 * DAY_US)) == [("a", "resolved", "period_reset")]
    assert said(use(rig, 10)) == [("a", "reached", "usage")]


def test_an_event_ahead_counts_in_the_period_that_it_falls_in() -> None:
    rig = driver(usage_alert("a", "10"))
    rig.advance(FEBRUARY_US - HOUR_US)
    assert use(rig, 9, now_us=rig.now_us) == []
    [told] = use(rig, 10, at_us=FEBRUARY_US + 1, now_us=rig.now_us)
    assert (told.value, told.period_starting_us) == (10, FEBRUARY_US)
    assert rig.advance(FEBRUARY_US) == []
    assert read_status(rig.store.state, rig.catalog.alerts[0], rig.now_us).status == "in_alarm"


def test_without_alerts_nothing_is_evaluated() -> None:
    rig = driver()
    use(rig, 5)
    use(rig, 5, FEBRUARY_US + 50 * DAY_US)
    assert rig.evaluations == 0


def test_spend_of_several_contracts_is_summed_over_the_period_of_each() -> None:
    yearly = replace(CONTRACT, id="year", schedule=BillingSchedule(Frequency.ANNUAL, START_US))
    rig = Driver(replace(CUSTOMER, contracts=(CONTRACT, yearly)), catalog(spend_alert("a", "40")), START_US)
    [told] = use(rig, 10)
    assert (told.value, told.period_ending_us) == (40, START_US + 365 * DAY_US)
    [told] = rig.advance(FEBRUARY_US)
    assert said([told]) == [("a", "resolved", "period_reset")], "the monthly contract begins at nothing, the year goes on"
    assert (told.previous_value, told.value) == (40, 20)
    [told] = use(rig, 5)
    assert (told.previous_value, told.value) == (20, 40)


def test_resolved_notifications_can_be_off() -> None:
    rig = Driver(CUSTOMER, catalog(usage_alert("a", "10")), START_US, EngineSettings(resolved_notifications=False))
    assert [each.sequence for n in (10, -5, 5) for each in use(rig, n)] == [1, 2]


def test_hours_become_days_and_days_are_dropped() -> None:
    rig = driver()
    use(rig, 5)
    use(rig, 6, START_US + 3 * HOUR_US)
    assert rig.timer_us == FEBRUARY_US + DAY_US  # the invoice of January becomes final
    rig.advance(rig.timer_us)
    assert rig.timer_us == START_US + 36 * DAY_US
    rig.advance(START_US + 36 * DAY_US)
    assert rig.store.windows == {}
    assert decode_folded(rig.store.folded["2026-01"])[SeriesKey("tokens")] == {START // 24: Decimal(11)}
    rejection = rig.event(event(9, START_US, 1))
    assert rejection is not None
    assert rejection.reason == "timestamp_too_old"
    rig.reload()
    rig.advance(START_US + 500 * DAY_US)
    use(rig, 1)
    rig.advance(rig.now_us + 40 * DAY_US)
    assert rig.store.folded.keys() == {"2027-05"}


def test_days_of_a_live_billing_period_are_not_folded() -> None:
    yearly = replace(CUSTOMER, contracts=(replace(CONTRACT, schedule=BillingSchedule(Frequency.ANNUAL, START_US)),))
    rig = Driver(yearly, catalog(), START_US)
    use(rig, 5)
    rig.advance(START_US + 365 * DAY_US)
    assert rig.store.windows != {}
    rig.advance(START_US + 366 * DAY_US)
    assert rig.store.windows == {}


def test_latest_is_billed_from_the_last_reading_even_if_its_day_was_folded() -> None:
    base = catalog(spend_alert("a", "20"))
    meter = replace(base, metrics={"tokens": replace(TOKENS, aggregation=Aggregation.LATEST)})
    rig = Driver(CUSTOMER, meter, START_US)
    use(rig, 100)
    rig.advance(START_US + 100 * DAY_US)
    assert rig.store.windows == {}
    rig.reload()
    rig.notifications.clear()
    assert use(rig, 109) == []
    [told] = use(rig, 110)
    assert (told.previous_value, told.value) == (18, 20)


def test_usage_that_a_change_prices_elsewhere_leaves_nothing_measured() -> None:
    """At a threshold of 0 the value alone does not tell: it is 0, but nothing is measured any more."""
    rig = driver(spend_alert("a", "0"))
    assert said(use(rig, 1)) == [("a", "reached", "usage")]
    rates = (Rate("product", RateType.FLAT, 0, credit_type_id="credits", price=Decimal(2)),)
    moved = replace(rig.catalog, revision=2, rate_cards={"card": RateCard("card", rates)})
    assert said(rig.reconfigure(catalog=moved)) == [("a", "resolved", "contract_change")]
    rig.reload()
    assert rig.collect() == []


def test_a_notification_has_the_names_as_of_its_evaluation() -> None:
    customer = replace(CUSTOMER, name="Acme", aliases=("acme", "acme-2"))
    rig = Driver(customer, catalog(usage_alert("a", "5", uniqueness_key="budget-1"), spend_alert("b", "8")), START_US)
    usage, spend = use(rig, 5)
    assert (usage.customer_name, usage.customer_aliases) == ("Acme", ("acme", "acme-2"))
    assert (usage.uniqueness_key, usage.metric_name) == ("budget-1", "tokens")
    assert (spend.uniqueness_key, spend.metric_name) == (None, None)
    rig.reconfigure(replace(customer, version=2, name="Acme Inc"))
    assert {each.customer_name for each in use(rig, 0, at_us=rig.now_us)} <= {"Acme Inc"}
    [renamed] = rig.advance(FEBRUARY_US)[:1]
    assert renamed.customer_name == "Acme Inc"
