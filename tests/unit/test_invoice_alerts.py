"""Alerts on the totals of single invoices, SCHEDULED ones included, and of all invoices of a month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.catalog import Alert, AlertType, BalanceType, Contract, CustomerConfig, UsageFilter
from engine.effects import Notification, UsageEvent
from engine.invoices.scheduled import dues, invoice_id_of
from engine.numbers import activate
from tests.support.stored_customer import Driver
from tests.unit.test_invoices_scheduled import CATALOG, CONTRACT, charge, commit, config, hour, item, us

BOTH = [AlertType.INVOICE_TOTAL, AlertType.MONTH_TOTAL]


@pytest.fixture(autouse=True)
def _exact() -> None:
    activate()


def alert(kind: AlertType = AlertType.INVOICE_TOTAL, threshold: str = "100", **more: object) -> Alert:
    return replace(Alert("alert", kind, "total", Decimal(threshold), 1), **more)


def event(number: int, at: str, units: str) -> UsageEvent:
    return UsageEvent(f"e{number}", "call", us(at), hour(at), {"units": units}, "t", 0, number, 0)


def driving(watching: Alert, customer: CustomerConfig, now: str) -> Driver:
    metric = replace(CATALOG.metrics["m"], aggregation_key="units")
    catalog = replace(CATALOG, alerts=(watching,), metrics={"m": metric})
    driver = Driver(customer, catalog, us("2025-12-01"))
    driver.advance(us(now))
    return driver


def told(notifications: Sequence[Notification]) -> list[tuple[str, int, int, str]]:
    return [
        (each.type.rpartition("_")[2], int(each.previous_value), int(each.value), each.triggered_by) for each in notifications
    ]


def charging(*dates: str, amount: str = "100", **more: object) -> Contract:
    items = tuple(item(date, date, amount) for date in dates)
    return replace(CONTRACT, scheduled_charges=(charge(*items),), **more)


def test_a_scheduled_invoice_is_noticed_when_its_billing_period_begins() -> None:
    driver = driving(alert(), config(charging("2026-02-15", "2026-02-20", "2026-03-01")), "2026-01-31T23:59:59")
    assert driver.notifications == []
    assert driver.timer_us == us("2026-02-01")
    made = driver.advance(us("2026-02-01"))
    assert told(made) == [("reached", 100, 100, "invoice_generation")] * 2
    assert [each.measure["invoice_type"] for each in made] == ["SCHEDULED", "SCHEDULED"]
    assert driver.advance(us("2026-02-28")) == []  # final meanwhile
    assert told(driver.advance(us("2026-03-01"))) == [("reached", 100, 100, "invoice_generation")]
    gone = driver.advance(us("2026-03-02"))  # February's grace is over
    assert told(gone) == [("resolved", 100, 0, "period_reset")] * 2
    assert {each.measure["invoice_type"] for each in gone} == {"SCHEDULED"}
    assert {each.measure["invoice_id"] for each in gone} == {each.measure["invoice_id"] for each in made}


def test_one_that_is_final_at_once_is_noticed() -> None:
    driver = driving(alert(), config(), "2026-01-10")
    made = driver.reconfigure(replace(config(charging("2026-01-01", "2026-01-10")), version=2))
    assert told(made) == [("reached", 100, 100, "contract_change")] * 2


@pytest.mark.parametrize(("types", "count"), [(None, 2), ({"USAGE"}, 1), ({"SCHEDULED"}, 1), ({"USAGE_CONSOLIDATED"}, 0)])
def test_types_of_invoices(types: set[str] | None, count: int) -> None:
    watching = alert(invoice_types=None if types is None else frozenset(types))
    driver = driving(watching, config(charging("2026-01-20")), "2026-01-10")
    driver.event(event(1, "2026-01-10", "100"))
    driver.collect()
    assert len(driver.notifications) == count


def test_a_true_up_falls_with_what_the_commit_pays() -> None:
    postpaid = commit(BalanceType.POSTPAID, item("t", "2026-03-01"))
    watching = alert(threshold="900", invoice_types=frozenset({"SCHEDULED"}))
    driver = driving(watching, config(CONTRACT, postpaid), "2026-03-01")
    assert told(driver.notifications) == [("reached", 1000, 1000, "invoice_generation")]
    driver.event(event(1, "2026-02-10", "100"))
    assert driver.collect() == []  # 900 is at the line still
    driver.event(event(2, "2026-02-10", "0.5"))
    assert told(driver.collect()) == [("resolved", 900, 899, "usage")]


def test_a_month_adds_up_what_ends_or_is_charged_in_it() -> None:
    weekly = replace(CONTRACT, id="weekly", usage_filters=(UsageFilter("none", frozenset({"x"}), 0),))
    customer = config(charging("2026-01-20", "2026-02-01", amount="40"))
    customer = replace(customer, contracts=(*customer.contracts, weekly))
    driver = driving(alert(AlertType.MONTH_TOTAL), customer, "2026-01-10")
    driver.event(event(1, "2026-01-10", "59"))
    assert driver.collect() == []
    driver.event(event(2, "2026-01-10", "1"))
    assert told(driver.collect()) == [("reached", 99, 100, "usage")]
    assert driver.notifications[0].period_starting_us == us("2026-01-01")
    assert driver.notifications[0].period_ending_us == us("2026-02-01")
    assert driver.advance(us("2026-02-01T23:00:00")) == []  # its grace goes on; February is at 40
    assert told(driver.advance(us("2026-02-02"))) == [("resolved", 100, 0, "period_reset")]


def test_each_month_has_a_state_of_its_own() -> None:
    driver = driving(alert(AlertType.MONTH_TOTAL), config(charging("2026-01-05", "2026-02-05", "2026-04-05")), "2026-01-01")
    assert told(driver.notifications) == [("reached", 100, 100, "invoice_generation")]
    assert told(driver.advance(us("2026-02-01"))) == [("reached", 100, 100, "invoice_generation")]
    assert told(driver.advance(us("2026-02-02"))) == [("resolved", 100, 0, "period_reset")]
    assert told(driver.advance(us("2026-03-15"))) == [("resolved", 100, 0, "period_reset")]
    assert told(driver.advance(us("2026-04-01"))) == [("reached", 100, 100, "invoice_generation")]


def test_a_final_usage_invoice_stays_in_its_month() -> None:
    contract = replace(CONTRACT, schedule=replace(CONTRACT.schedule, anchor_us=us("2026-01-10")))
    driver = driving(alert(AlertType.MONTH_TOTAL, "150"), config(contract), "2026-01-05")
    driver.event(event(1, "2026-01-05", "100"))  # its period ends on January 10
    driver.advance(us("2026-01-20"))
    driver.reload()
    driver.event(event(2, "2026-01-20", "500"))  # this one's ends in February
    assert driver.collect() == []
    charged = replace(contract, scheduled_charges=(charge(item("a", "2026-01-31", "50")),))
    late = driver.reconfigure(replace(driver.customer, version=2, contracts=(charged,)))
    assert told(late) == [("reached", 100, 150, "contract_change")]


@pytest.mark.parametrize("kind", BOTH)
def test_nothing_is_owed_for_a_void_invoice(kind: AlertType) -> None:
    driver = driving(alert(kind), config(charging("2026-01-05")), "2026-01-10")
    assert len(driver.notifications) == 1
    (due,) = dues(driver.customer)
    voided = replace(driver.customer, version=2, voided=((invoice_id_of(due), us("2026-01-10")),))
    assert told(driver.reconfigure(voided)) == [("resolved", 100, 0, "contract_change")]
    assert driver.advance(us("2026-03-10")) == []
