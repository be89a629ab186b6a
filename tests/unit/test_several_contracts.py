"""Alerts over several contracts: what is added up, what a boundary of one of them tells, and late usage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.alerts.status import read_status
from engine.catalog import (
    Alert,
    BillingSchedule,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Frequency,
    Rate,
    RateCard,
    RateType,
)
from engine.customer import EngineSettings
from engine.effects import Notification
from engine.numbers import exact
from engine.periods import Period
from tests.support.stored_customer import Driver
from tests.unit.test_customer import DAY_US, FEBRUARY_US, HOUR_US, START, START_US, catalog, said, spend_alert, usage_alert, use

FEBRUARY = FEBRUARY_US // HOUR_US
RED = (("team", "red"),)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def contract(contract_id: str, frequency: Frequency = Frequency.MONTHLY, anchor_hour: int = START, **parts: object) -> Contract:
    values: dict[str, object] = {"rate_card_id": "card", "starting_hour": START, "ending_hour": None, **parts}
    return Contract(id=contract_id, schedule=BillingSchedule(frequency, anchor_hour * HOUR_US), **values)  # type: ignore[arg-type]


def rig(*alerts: Alert, contracts: tuple[Contract, ...], grace_hours: int = 24) -> Driver:
    """Each unit costs 2 on the card, and nothing on the free one."""
    known = catalog(*alerts)
    free = RateCard("free", (Rate("product", RateType.FLAT, 0, price=Decimal(0)),))
    known = replace(known, rate_cards={**known.rate_cards, "free": free})
    return Driver(CustomerConfig("customer", 1, contracts), known, START_US, EngineSettings(grace_hours=grace_hours))


def status(driver: Driver, alert_id: str = "a") -> str:
    alert = next(each for each in driver.catalog.alerts if each.id == alert_id)
    return read_status(driver.store.state, alert, driver.now_us).status


def period(told: Notification) -> Period:
    return Period(told.period_starting_us // HOUR_US, told.period_ending_us // HOUR_US)


def red(alert_id: str, threshold: str, **parts: object) -> Alert:
    return spend_alert(alert_id, threshold, custom_field_filters=(CustomFieldFilter(Entity.CONTRACT, "team", "red"),), **parts)


YEAR = contract("year", Frequency.ANNUAL, custom_fields=RED)
OTHERS = {
    "its month ends": contract("b", rate_card_id="free", anchor_hour=START + 24 * 14),
    "it begins": contract("b", rate_card_id="free", starting_hour=START + 24 * 10),
    "it ends": contract("b", rate_card_id="free", ending_hour=START + 24 * 10),
    "its weeks roll": contract("b", Frequency.WEEKLY, rate_card_id="free"),
    "it comes and goes": contract("b", rate_card_id="free", starting_hour=START + 24 * 10, ending_hour=START + 24 * 12),
}


@pytest.mark.parametrize("grace_hours", [0, 24, 240])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("hold", [False, True])
def test_a_boundary_of_another_contract_tells_nothing_of_what_stays_past_the_line(
    grace_hours: int, other: Contract, hold: bool
) -> None:
    """Spend, filtered spend, a group's spend and usage: told, or held because it was met past the line."""
    alerts = (
        spend_alert("a", "50"),
        red("f", "50"),
        spend_alert("g", "50", group_values=(("region", None),)),
        usage_alert("u", "25"),
    )
    alerts = tuple(replace(each, created_version=2, evaluate_on_create=not hold) for each in alerts)
    driver = rig(contracts=(YEAR, other), grace_hours=grace_hours)
    use(driver, 35, START_US + DAY_US, region="eu")
    told = driver.reconfigure(catalog=replace(driver.catalog, revision=2, alerts=alerts))
    assert len(told) == (0 if hold else 4)
    for day in range(2, 100):
        assert driver.advance(START_US + day * DAY_US) == []
        driver.reload()
    assert {status(driver, each.id) for each in alerts} == {"in_alarm"}


@pytest.mark.parametrize("grace_hours", [0, 24])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_month_is_told_once_however_the_span_of_all_changes_beside_it(grace_hours: int, other: Contract) -> None:
    """Seventy were spent against fifty; periods of the other one reach past the month's end."""
    driver = rig(
        spend_alert("a", "50"), red("f", "50"), contracts=(contract("own", custom_fields=RED), other), grace_hours=grace_hours
    )
    told = use(driver, 35, START_US + DAY_US)
    assert [(each.value, period(each)) for each in told if each.alert_id == "f"] == [(70, Period(START, FEBRUARY))]
    for day in range(2, 31):
        assert driver.advance(START_US + day * DAY_US) == []
        driver.reload()
    told = driver.advance(FEBRUARY_US)
    assert sorted(said(told)) == [("a", "resolved", "period_reset"), ("f", "resolved", "period_reset")]
    assert [(each.previous_value, each.value) for each in told] == [(70, 0)] * 2
    assert said(use(driver, 25, FEBRUARY_US + DAY_US // 2)) == [("a", "reached", "usage"), ("f", "reached", "usage")]


def test_a_part_that_begins_again_resolves_what_is_below_the_line_without_it() -> None:
    driver = rig(spend_alert("a", "50"), contracts=(contract("month"), YEAR))
    [told] = use(driver, 14, START_US + DAY_US)
    assert (told.value, period(told)) == (56, Period(START, START + 365 * 24)), "it counts in both"
    [told] = driver.advance(FEBRUARY_US)
    assert said([told]) == [("a", "resolved", "period_reset")]
    assert (told.previous_value, told.value, period(told)) == (56, 28, Period(START, START + 365 * 24))
    [told] = use(driver, 6, FEBRUARY_US + DAY_US)
    assert (told.previous_value, told.value, told.sequence) == (28, 52, 3)


def test_a_finished_period_is_never_added_to_one_that_runs() -> None:
    """104 = what runs of one contract and the finished month of the other: no sum of anything."""
    driver = rig(spend_alert("a", "100"), contracts=(contract("early"), contract("late", anchor_hour=START + 24 * 14)))
    assert use(driver, 20, START_US + 10 * DAY_US) == [], "40 in each"
    assert driver.advance(START_US + 14 * DAY_US) == []
    assert use(driver, 12, START_US + 14 * DAY_US + 1) == [], "64 in the month that runs, 24 in the new one, 40 in the finished"
    [told] = use(driver, 3, START_US + 14 * DAY_US + 2)
    assert (told.value, period(told)) == (100, Period(START, START + 24 * 45))


def test_the_period_told_is_that_of_the_contract_in_which_the_event_counts() -> None:
    """The other one bills in another credit type."""
    credits = RateCard("credits", (Rate("product", RateType.FLAT, 0, "credits", price=Decimal(1)),))
    driver = rig(contracts=(contract("month"), contract("year", Frequency.ANNUAL, rate_card_id="credits")))
    alerts = (spend_alert("cents", "20"), spend_alert("units", "10", credit_type_id="credits"), usage_alert("usage", "10"))
    cards = {**driver.catalog.rate_cards, "credits": credits}
    driver.reconfigure(catalog=replace(driver.catalog, revision=2, rate_cards=cards, alerts=alerts))
    found = {each.alert_id: period(each) for each in use(driver, 10, START_US + DAY_US)}
    year = Period(START, START + 365 * 24)
    assert found == {"cents": Period(START, FEBRUARY), "units": year, "usage": year}


def test_a_crossing_is_told_once_where_a_contract_has_begun_within_the_grace_period() -> None:
    alerts = (spend_alert("a", "50"), usage_alert("u", "25"), spend_alert("g", "50", group_values=(("region", None),)))
    driver = rig(*alerts, contracts=(contract("a"), contract("b", starting_hour=START + 24 * 10, anchor_hour=START + 24 * 10)))
    told = use(driver, 25, START_US + 10 * DAY_US + HOUR_US, region="eu")
    assert sorted(said(told)) == [("a", "reached", "usage"), ("g", "reached", "usage"), ("u", "reached", "usage")]


MONTH_AND_YEAR = (contract("month"), contract("year", Frequency.ANNUAL, rate_card_id="free"))


def test_late_usage_of_a_finished_period_is_told_of_that_period() -> None:
    driver = rig(spend_alert("a", "50"), contracts=MONTH_AND_YEAR)
    assert use(driver, 20, START_US + DAY_US) == []
    assert driver.advance(FEBRUARY_US) == []
    assert use(driver, 10, FEBRUARY_US + HOUR_US) == []
    [told] = use(driver, 6, at_us=FEBRUARY_US - 1)
    assert (told.value, period(told)) == (52, Period(START, FEBRUARY))
    assert status(driver) == "ok", "what runs is at 20"
    [told] = driver.advance(FEBRUARY_US + DAY_US)
    assert said([told]) == [("a", "resolved", "period_reset")]
    assert told.value == 20
    assert not [name for name in driver.store.state if name.startswith("s|")]


def test_late_usage_is_silent_in_a_finished_period_while_the_alert_is_in_alarm() -> None:
    driver = rig(spend_alert("a", "50"), contracts=MONTH_AND_YEAR)
    use(driver, 20, START_US + DAY_US)
    assert said(use(driver, 26, FEBRUARY_US + HOUR_US)) == [("a", "reached", "usage")]
    assert use(driver, 6, at_us=FEBRUARY_US - 1) == []
    assert driver.advance(FEBRUARY_US + DAY_US) == []
    assert status(driver) == "in_alarm"


def test_an_event_that_counts_in_a_finished_and_in_a_running_period_is_told_once_and_of_what_runs() -> None:
    driver = rig(spend_alert("a", "100"), contracts=(contract("month"), YEAR))
    assert use(driver, 24, START_US + DAY_US) == [], "48 + 48"
    assert driver.advance(FEBRUARY_US) == []
    assert use(driver, 12, FEBRUARY_US + HOUR_US) == [], "24 + 72"
    [told] = use(driver, 2, at_us=FEBRUARY_US - 1)
    assert (told.value, period(told)) == (100, Period(START, START + 365 * 24)), "24 + 76, beside 52 + 52 in what is closed"
    assert said(use(driver, -2, at_us=FEBRUARY_US - 1)) == [("a", "resolved", "usage")]


def test_a_filtered_alert_knows_only_the_periods_of_its_contracts() -> None:
    """When its contract has ended and is final, it keeps its status, whatever the others do."""
    own = contract("own", ending_hour=START + 24 * 10, custom_fields=RED)
    driver = rig(red("a", "50"), contracts=(own, contract("b", Frequency.WEEKLY)))
    [told] = use(driver, 25, START_US + DAY_US)
    assert period(told) == Period(START, START + 24 * 10)
    for day in range(2, 60):
        assert driver.advance(START_US + day * DAY_US) == []
        driver.reload()
    assert status(driver) == "in_alarm"
    assert use(driver, 100, START_US + 60 * DAY_US) == []


def test_usage_of_several_contracts_is_that_of_all_hours_that_a_period_holds() -> None:
    first, second = contract("first"), contract("second", anchor_hour=START + 24 * 14, starting_hour=START + 24 * 14)
    driver = rig(usage_alert("a", "10"), contracts=(first, second))
    assert said(use(driver, 6, START_US + 13 * DAY_US)) == []
    assert said(use(driver, 4, START_US + 20 * DAY_US)) == [("a", "reached", "usage")]
    [told] = driver.advance(FEBRUARY_US)
    assert (told.type, told.value) == ("alerts.usage_threshold_resolved", 4), (
        "the first month has ended, the second began on the 15th"
    )


def test_what_an_earlier_version_stored_for_all_contracts_goes_to_those_of_the_filter() -> None:
    own, other = contract("own", custom_fields=RED), contract("other", Frequency.ANNUAL)
    driver = rig(red("a", "50"), contracts=(own, other))
    use(driver, 25)
    old, new = f"s|a|{START}-{START + 365 * 24}|", f"s|a|{START}-{FEBRUARY}|"
    driver.store.state[old] = driver.store.state.pop(new)
    driver.store.state["meta"] = driver.store.state["meta"].replace('"spans"', '"unknown"')
    driver.reload()
    assert driver.collect() == []
    assert new in driver.store.state
    assert old not in driver.store.state
    assert status(driver) == "in_alarm"


def test_a_contract_that_ends_in_the_past_leaves_no_second_alarm_behind() -> None:
    driver = rig(spend_alert("a", "50"), contracts=(contract("own"), YEAR))
    [first] = use(driver, 14, START_US + DAY_US)
    driver.advance(START_US + 2 * DAY_US)
    ended = contract("own", ending_hour=START + 47)
    [told] = driver.reconfigure(customer=replace(driver.customer, version=2, contracts=(ended, YEAR)))
    assert said([told]) == [("a", "resolved", "contract_change")]
    assert (told.value, told.id == first.id) == (28, False)
    assert driver.advance(START_US + 4 * DAY_US) == []


@pytest.mark.parametrize("ending_hour", [None, FEBRUARY + 48], ids=["it runs", "it has ended"])
def test_a_reset_tells_each_life_once_more_and_of_the_newest_last(ending_hour: int | None) -> None:
    """A month that is over and the current one, which late usage has raised in the other order; both are within grace."""
    driver = rig(usage_alert("a", "10"), contracts=(contract("only", ending_hour=ending_hour),), grace_hours=240)
    current = Period(FEBRUARY, ending_hour or FEBRUARY + 24 * 28)
    told = use(driver, 10, FEBRUARY_US + DAY_US) + use(driver, 11, FEBRUARY_US - 1)
    assert [(period(each), each.sequence) for each in told] == [(current, 1), (Period(START, FEBRUARY), 2)]
    driver.advance(FEBRUARY_US + 5 * DAY_US)
    driver.aggregate.reset("a", driver.now_us)
    told = driver.collect()
    assert said(told) == [("a", "reached", "reset")] * 2
    assert [(period(each), each.value, each.sequence) for each in told] == [(Period(START, FEBRUARY), 11, 3), (current, 10, 4)]
    assert status(driver) == "in_alarm"


def test_a_reset_tells_a_life_once_and_of_what_runs() -> None:
    """The finished month, and what ran beside it, is past the line as well: late usage has counted there."""
    driver = rig(spend_alert("a", "50"), contracts=(contract("month"), YEAR), grace_hours=240)
    use(driver, 10, START_US + DAY_US)
    driver.advance(FEBRUARY_US)
    assert said(use(driver, 3, FEBRUARY_US - 1)) == [("a", "reached", "usage")], "52 in the picture"
    assert said(use(driver, 12, FEBRUARY_US + DAY_US)) == [("a", "reached", "usage")], "26 + 24 + 24 in what runs"
    driver.aggregate.reset("a", driver.now_us)
    [told] = driver.collect()
    assert (told.value, period(told)) == (74, Period(START, START + 365 * 24))
