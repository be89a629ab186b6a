"""Alerts whose balances are chosen by specifiers, and keyed ones with a state for each value of a custom field.

One customer with a monthly contract from January 2026 at 1 cent a unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.alerts.status import read_status
from engine.catalog import Alert, AlertSpecifier, AlertType, Balance, BalanceType, CustomFieldFilter, Entity, Segment
from engine.effects import Notification
from engine.numbers import exact
from tests.support.stored_customer import Driver
from tests.unit.test_balance_alerts import START, START_US, alert, balance, catalog, config, rig, use

TEAM = CustomFieldFilter(Entity.CREDIT_OR_COMMIT, "team", None)
PLAIN = (("tier", "plain"),)
GOLD = (("tier", "gold"),)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def only(entity: Entity, key: str, value: str | None) -> CustomFieldFilter:
    return CustomFieldFilter(entity, key, value)


def chosen(*specifiers: AlertSpecifier, threshold: str = "1000") -> Alert:
    return alert(AlertType.TOTAL_BALANCE, threshold, specifiers=specifiers)


BALANCES = (
    balance("gold", amount="1", custom_fields=GOLD),
    balance("credit", BalanceType.CREDIT, "2", custom_fields=GOLD),
    balance("red", amount="4", custom_fields=PLAIN, contract_id="contract"),
    balance("bare", BalanceType.CREDIT, "8"),
    balance("both", amount="16", custom_fields=(("region", "eu"), ("tier", "gold"))),
)
IS_GOLD = only(Entity.CREDIT_OR_COMMIT, "tier", "gold")
IN_EU = only(Entity.COMMIT, "region", "eu")
CASES = {
    "everything": ((AlertSpecifier(),), 31),
    "one": ((AlertSpecifier((IS_GOLD,)),), 1 + 2 + 16),
    "and": ((AlertSpecifier((IS_GOLD, IN_EU)),), 16),
    "or": ((AlertSpecifier((only(Entity.CREDIT, "tier", "gold"),)), AlertSpecifier((only(Entity.CONTRACT, "team", "red"),))), 6),
    "either takes it once": ((AlertSpecifier((IS_GOLD,)), AlertSpecifier((IN_EU,))), 19),
    "all but": ((AlertSpecifier(exclude=((IS_GOLD,),)),), 4 + 8),
    "all but either": ((AlertSpecifier(exclude=((IN_EU,), (only(Entity.CREDIT, "tier", "gold"),))),), 1 + 4 + 8),
    "all but both together": ((AlertSpecifier(exclude=((IN_EU, IS_GOLD),)),), 15),
    "some of them": ((AlertSpecifier((IS_GOLD,), ((IN_EU,),)),), 3),
    "excluded in one, included in another": ((AlertSpecifier((IS_GOLD,), ((IN_EU,),)), AlertSpecifier((IN_EU,))), 19),
}


@pytest.mark.parametrize(("specifiers", "left"), CASES.values(), ids=CASES)
def test_what_specifiers_choose(specifiers: tuple[AlertSpecifier, ...], left: int) -> None:
    driver = rig(*BALANCES, alerts=(chosen(*specifiers),))
    assert [each.value for each in driver.notifications] == [left]


def test_specifiers_are_told_and_go_with_other_filters() -> None:
    specifier = AlertSpecifier((IS_GOLD,), ((IN_EU, IS_GOLD),))
    watching = replace(chosen(specifier), custom_field_filters=(only(Entity.COMMIT, "tier", "gold"),))
    (told,) = rig(*BALANCES, alerts=(watching,)).notifications
    assert told.value == 1
    gold = {"entity": "ContractCreditOrCommit", "key": "tier", "value": "gold"}
    assert told.measure["alert_specifiers"] == [
        {
            "custom_field_filters": [gold],
            "exclude": [{"custom_field_filters": [{"entity": "Commit", "key": "region", "value": "eu"}, gold]}],
        }
    ]


# --- keyed ----------------------------------------------------------------------------------------------------------------


def team(name: str, amount: str, kind: BalanceType = BalanceType.PREPAID, **parts: object) -> Balance:
    """A balance of one team, for usage of nobody unless it is drawn by hand below."""
    return balance(f"of {name}", kind, amount, **{"custom_fields": (("team", name),), **parts})  # type: ignore[arg-type]


def keyed(threshold: str = "10", kind: AlertType = AlertType.TOTAL_BALANCE, **parts: object) -> Alert:
    return alert(kind, threshold, **{"specifiers": (AlertSpecifier((TEAM,)),), **parts})  # type: ignore[arg-type]


def said(notifications: list[Notification]) -> list[tuple[str, str | None, Decimal, int]]:
    """(reached or resolved, the value of the key or None for the alert as a whole, the balance told, sequence)."""
    told = []
    for each in notifications:
        ((field,),) = ([*each["custom_field_filters"]] for each in each.measure["alert_specifiers"])  # type: ignore[attr-defined]
        assert (field["entity"], field["key"]) == ("ContractCreditOrCommit", "team")
        told.append((each.type.rsplit("_", 1)[1], field.get("value"), each.value, each.sequence))
    return told


def statuses(driver: Driver, watching: Alert, *values: str) -> list[str]:
    return [read_status(driver.store.state, watching, driver.now_us, value=value).status for value in (*values, None)]


def test_the_first_value_at_the_line_is_told_twice_and_the_next_ones_once() -> None:
    """Red pays first, then blue, then green."""
    teams = tuple(team(name, "20", priority=Decimal(place)) for place, name in enumerate(("red", "blue", "green")))
    watching = keyed()
    driver = rig(*teams, alerts=(watching,))
    assert use(driver, "9.99") == []
    assert said(use(driver, "0.01")) == [("reached", "red", 10, 1), ("reached", None, 10, 1)]
    assert statuses(driver, watching, "red", "blue", "unheard of") == ["in_alarm", "ok", "ok", "in_alarm"]
    assert use(driver, "1") == []
    assert said(use(driver, "19")) == [("reached", "blue", 10, 1)]
    assert said(use(driver, "-19.5")) == [("resolved", "blue", 20, 2)]
    assert statuses(driver, watching, "red", "blue") == ["in_alarm", "ok", "in_alarm"]
    assert said(use(driver, "-5")) == [("resolved", "red", Decimal("14.5"), 2), ("resolved", None, Decimal("14.5"), 2)]
    assert statuses(driver, watching, "red", "blue") == ["ok", "ok", "ok"]
    told = use(driver, "50")  # all at once
    assert said(told) == [
        ("reached", "blue", 0, 3),
        ("reached", "green", Decimal("4.5"), 1),
        ("reached", "red", 0, 3),
        ("reached", None, 0, 3),
    ]
    assert len({each.id for each in driver.notifications}) == len(driver.notifications)


def test_the_whole_is_the_lowest_of_the_values_and_names_no_commit() -> None:
    """An amount lower than another's may still be a higher percentage."""
    balances = (team("red", "4"), team("blue", "100", BalanceType.CREDIT, priority=Decimal(-1)))
    driver = rig(*balances, alerts=(keyed("50", AlertType.TOTAL_PERCENTAGE),))
    own, whole = use(driver, "60")
    assert own.measure["credit_id"] == "of blue"
    assert "credit_id" not in whole.measure
    assert [each.measure["remaining_percentage"] for each in (own, whole)] == [40, 40]
    assert [each.measure["granted"] for each in (own, whole)] == [100, 100]
    assert whole.previous_value == 100


def test_balances_of_one_value_are_added_up_and_those_without_the_key_are_out() -> None:
    balances = (
        team("red", "6"),
        balance("more", BalanceType.CREDIT, "5", custom_fields=(("team", "red"), ("x", "y"))),
        balance("bare", amount="1"),
    )
    driver = rig(*balances, alerts=(keyed("11"),))
    assert said(driver.notifications) == [("reached", "red", 11, 1), ("reached", None, 11, 1)]


def test_a_value_that_appears_or_goes_is_met_and_resolved() -> None:
    watching = keyed()
    driver = rig(team("red", "20"), alerts=(watching,))
    low = team("blue", "3")
    told = driver.reconfigure(customer=config(team("red", "20"), low, version=2))
    assert said(told) == [("reached", "blue", 3, 1), ("reached", None, 3, 1)]
    renamed = replace(low, custom_fields=(("team", "green"),))
    told = driver.reconfigure(customer=config(team("red", "20"), renamed, version=3))
    assert said(told) == [("resolved", "blue", 0, 2), ("reached", "green", 3, 1)]  # the alert as a whole has stayed
    told = driver.reconfigure(customer=config(team("red", "20"), replace(low, custom_fields=()), version=4))
    assert said(told) == [("resolved", "green", 0, 2), ("resolved", None, 20, 2)]
    told = driver.reconfigure(customer=config(replace(team("red", "20"), custom_fields=()), version=5))
    assert told == []
    assert statuses(driver, watching, "red") == ["ok", "ok"]


def test_reset_tells_every_value_and_the_whole_again() -> None:
    driver = rig(team("red", "20"), team("blue", "20"), alerts=(keyed("20"),))
    driver.aggregate.reset("a", driver.now_us)
    assert said(driver.collect()) == [("reached", "blue", 20, 2), ("reached", "red", 20, 2), ("reached", None, 20, 2)]


def test_held_silently_until_all_values_have_recovered() -> None:
    """The alert as a whole is held as long as any value is past the line, and armed again after that."""
    watching = keyed(evaluate_on_create=False, created_version=2)
    teams = (team("red", "5"), team("blue", "5", priority=Decimal(1)))
    driver = rig(*teams, alerts=())
    assert driver.reconfigure(catalog=catalog(watching, revision=2)) == []
    assert statuses(driver, watching, "red", "blue") == ["in_alarm"] * 3
    more = Segment("more", START, START + 48, Decimal(20))
    topped = (replace(teams[0], segments=(*teams[0].segments, more)), teams[1])
    assert driver.reconfigure(customer=config(*topped, version=2)) == []
    assert statuses(driver, watching, "red", "blue") == ["ok", "in_alarm", "in_alarm"]
    assert said(use(driver, "15")) == [("reached", "red", 10, 1)]  # its own only: blue holds the whole
    rich = tuple(replace(each, segments=(*each.segments, replace(more, amount=Decimal(99)))) for each in teams)
    assert said(driver.reconfigure(customer=config(*rich, version=3))) == [("resolved", "red", 89, 2)]
    assert said(use(driver, "79")) == [("reached", "red", 10, 3), ("reached", None, 10, 1)]


def test_a_contracts_field_as_key() -> None:
    key = only(Entity.CONTRACT, "team", None)
    balances = (balance("inside", amount="5", contract_id="contract"), balance("outside", amount="1"))
    driver = Driver(config(*balances), catalog(keyed("5", specifiers=(AlertSpecifier((key,)),))), START_US)
    told = [each["custom_field_filters"] for note in driver.notifications for each in note.measure["alert_specifiers"]]  # type: ignore[attr-defined]
    whole = {"entity": "Contract", "key": "team"}
    assert told == [[{**whole, "value": "red"}], [whole]]
    assert [each.value for each in driver.notifications] == [5, 5]


def test_exclusions_of_a_keyed_alert() -> None:
    specifier = AlertSpecifier((TEAM,), ((only(Entity.COMMIT, "team", "red"),),))
    driver = rig(team("red", "1"), team("blue", "2"), alerts=(keyed("5", specifiers=(specifier,)),))
    assert [each.value for each in driver.notifications] == [2, 2]
