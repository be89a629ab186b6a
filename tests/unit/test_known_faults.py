"""Faults that other billing engines have, as a customer would meet them. tests/mutants puts each back in, and these must fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.catalog import (
    Aggregation,
    Alert,
    AlertType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    Product,
    Rate,
    RateCard,
    RateType,
)
from engine.effects import Notification, UsageEvent
from engine.numbers import exact
from tests.support.stored_customer import Driver

HOUR_US = 3_600_000_000
START_HOUR = 490_000
WEEK_HOURS = 7 * 24
NOW_US = (START_HOUR + 1) * HOUR_US
SPEND, USAGE = AlertType.SPEND_THRESHOLD, AlertType.USAGE_THRESHOLD

both = pytest.mark.parametrize("type", [SPEND, USAGE], ids=["spend", "usage"])  # a unit costs one cent: the same numbers

Told = tuple[str, str, str | None]
"""(threshold, "reached" or "resolved", the transaction that did it)."""


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def alert(threshold: str, created_version: int = 1, type: AlertType = SPEND) -> Alert:
    return Alert(f"at {threshold}", type, f"at {threshold}", Decimal(threshold), created_version, metric_id="units")


def catalog(thresholds: Sequence[str], price: str = "1", type: AlertType = SPEND) -> Catalog:
    """One product at a flat price for each unit, and alerts for all customers."""
    rate = Rate("product", RateType.FLAT, START_HOUR, price=Decimal(price))
    return Catalog(
        revision=1,
        metrics={"units": BillableMetric("units", "units", Aggregation.SUM, "units")},
        products={"product": Product("product", "product", "units")},
        rate_cards={"card": RateCard("card", (rate,))},
        alerts=tuple(alert(threshold, type=type) for threshold in thresholds),
    )


class Customer:
    """One customer with a weekly contract. Each event is written at once unless ``batch`` says otherwise."""

    def __init__(self, *thresholds: str, type: AlertType = SPEND) -> None:
        schedule = BillingSchedule(Frequency.WEEKLY, START_HOUR * HOUR_US)
        config = CustomerConfig("acme", 1, (Contract("contract", "card", START_HOUR, None, schedule),))
        self.driver = Driver(config, catalog(thresholds, type=type), NOW_US)

    def use(self, *units: str, hour: int = START_HOUR + 1) -> list[Told]:
        """One event for each quantity, named by it; all in one batch. Returns what was told."""
        for number, quantity in enumerate(units):
            name = f"{quantity} #{number}"
            event = UsageEvent(name, "use", hour * HOUR_US, hour, {"units": quantity}, "topic", 0, number, 0)
            assert self.driver.event(event, max(self.driver.now_us, hour * HOUR_US)) is None
        return told(self.driver.collect())


def told(notifications: Sequence[Notification]) -> list[Told]:
    return [
        (str(n.threshold), n.type.rsplit("_", 1)[1], n.evidence.transaction_id if n.evidence else None) for n in notifications
    ]


@both
def test_exactly_at_the_threshold_is_reached(type: AlertType) -> None:
    customer = Customer("10", type=type)
    assert customer.use("9.999999999") == []
    assert customer.use("0.000000001") == [("10", "reached", "0.000000001 #0")]


@both
def test_a_fall_to_exactly_the_threshold_is_not_a_recovery(type: AlertType) -> None:
    customer = Customer("10", type=type)
    customer.use("12")
    assert customer.use("-2") == []
    assert customer.use("-0.000000001") == [("10", "resolved", "-0.000000001 #0")]


def test_every_threshold_that_one_event_crosses_is_told_lowest_first() -> None:
    customer = Customer("80", "50", "100")
    assert [threshold for threshold, _, _ in customer.use("101")] == ["50", "80", "100"]


def test_a_change_of_price_does_not_tell_again_what_still_holds() -> None:
    """Each threshold is compared with its own state, not with whichever was told last."""
    customer = Customer("50", "75")
    assert [threshold for threshold, _, _ in customer.use("80")] == ["50", "75"]
    dearer = replace(catalog(["50", "75"], price="1.1"), revision=2)
    assert told(customer.driver.reconfigure(catalog=dearer)) == []


def test_a_threshold_that_recovered_alone_is_told_alone() -> None:
    customer = Customer("50", "75")
    customer.use("80")
    assert customer.use("-20") == [("75", "resolved", "-20 #0")]
    assert customer.use("20") == [("75", "reached", "20 #0")]


def test_a_value_that_swings_above_the_line_is_told_once() -> None:
    """Until it has recovered: below the line, by the alert's own rule."""
    customer = Customer("10")
    assert customer.use("12") == [("10", "reached", "12 #0")]
    assert customer.use("3", "-5", "4", "-4", "1") == []
    assert customer.use("-1.5", "1") == [("10", "resolved", "-1.5 #0"), ("10", "reached", "1 #1")]


def test_what_one_metric_costs_in_two_products_is_added_up() -> None:
    customer = Customer("10")
    one = catalog(["10"])
    rates = (*one.rate_cards["card"].rates, Rate("other", RateType.FLAT, START_HOUR, price=Decimal(1)))
    products = {**one.products, "other": Product("other", "other", "units")}
    customer.driver.reconfigure(catalog=replace(one, revision=2, products=products, rate_cards={"card": RateCard("card", rates)}))
    assert customer.use("4.5") == []
    assert customer.use("0.5") == [("10", "reached", "0.5 #0")]


def test_a_new_period_starts_at_nothing_and_alarms_again() -> None:
    customer = Customer("10")
    customer.use("15")
    next_week = START_HOUR + WEEK_HOURS
    assert told(customer.driver.advance(next_week * HOUR_US)) == [("10", "resolved", None)]
    assert customer.use("9", hour=next_week) == []
    assert customer.use("1", hour=next_week) == [("10", "reached", "1 #0")]


def test_a_new_alert_meets_customers_who_are_already_past_it() -> None:
    """At once, without any usage."""
    customer = Customer("100")
    customer.use("20")
    wider = replace(catalog(["100"]), revision=2)
    wider = replace(wider, alerts=(*wider.alerts, alert("15", created_version=2)))
    assert told(customer.driver.reconfigure(catalog=wider)) == [("15", "reached", None)]


def test_an_alarm_that_rose_and_fell_within_one_batch_shows() -> None:
    customer = Customer("10")
    assert customer.use("8", "3", "-5", "1") == [("10", "reached", "3 #1"), ("10", "resolved", "-5 #2")]


@both
def test_in_a_batch_the_event_that_crossed_is_named(type: AlertType) -> None:
    customer = Customer("10", "20", type=type)
    assert customer.use("9", "2", "5", "5", "1") == [("10", "reached", "2 #1"), ("20", "reached", "5 #3")]


@both
def test_ten_tenths_are_one(type: AlertType) -> None:
    """In binary they are a little less: 0.9999999999999999."""
    customer = Customer("1", type=type)
    assert customer.use(*["0.1"] * 9) == []
    assert customer.use("0.1") == [("1", "reached", "0.1 #0")]


@both
def test_a_tenth_and_two_tenths_are_not_more_than_three(type: AlertType) -> None:
    """In binary they are: 0.30000000000000004."""
    customer = Customer("0.30000000000000001", type=type)
    assert customer.use("0.1", "0.2") == []


@both
def test_money_keeps_every_digit_of_a_large_sum(type: AlertType) -> None:
    """A double holds about 16 digits: 12345678901234567 becomes ...568."""
    customer = Customer("12345678901234568", type=type)
    assert customer.use("12345678901234567") == []
