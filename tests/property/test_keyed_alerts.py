"""An alert that is split by a custom field, through random usage and changes of the field: each change of state is told once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import AlertSpecifier, AlertType, BalanceType, CustomerConfig, Segment
from engine.effects import Notification
from engine.numbers import exact
from tests.support.stored_customer import Driver
from tests.unit.test_alert_specifiers import TEAM
from tests.unit.test_balance_alerts import START, START_US, YEAR, alert, balance, catalog, config, use

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.sampled_from(["0.5", "1", "2", "3", "7", "-2", "-6"])),
        st.tuples(st.just("name"), st.integers(0, 3), st.sampled_from([None, "red", "blue", "green"])),
        st.tuples(st.just("grant"), st.integers(0, 3), st.sampled_from(["0", "3", "5", "9"])),
    ),
    max_size=14,
)


@BOUNDED
@given(
    steps=STEPS,
    start=st.lists(st.sampled_from([None, "red", "blue"]), min_size=4, max_size=4),
    percentage=st.booleans(),
    threshold=st.sampled_from(["0", "2", "5", "50"]),
    quiet=st.booleans(),
    data=st.data(),
)
def test_each_value_and_the_whole_are_told_exactly_once(
    steps: list[tuple[str, int | str, str | None]],
    start: list[str | None],
    percentage: bool,
    threshold: str,
    quiet: bool,
    data: st.DataObject,
) -> None:
    """Usage at 1 cent draws four balances in turn; their values of the key and their amounts change under way. What is told is
    the difference between the sets of values at the line before and after, with None for the whole while there is any."""
    names, amounts, used = list(start), [Decimal(5)] * 4, Decimal(0)
    kind = AlertType.TOTAL_PERCENTAGE if percentage else AlertType.TOTAL_BALANCE
    watching = alert(kind, threshold, specifiers=(AlertSpecifier((TEAM,)),), evaluate_on_create=not quiet)

    def customer(version: int) -> CustomerConfig:
        made = []
        for number, (name, amount) in enumerate(zip(names, amounts, strict=True)):
            segment = Segment(f"s{number}", START, YEAR, amount)
            fields_of = () if name is None else (("team", name),)
            kind_of = BalanceType.PREPAID if number % 2 else BalanceType.CREDIT
            made.append(balance(f"b{number}", kind_of, segments=(segment,), custom_fields=fields_of, priority=Decimal(number)))
        return config(*made, version=version)

    def at_the_line() -> set[str | None]:
        free, left = used, []
        for amount in amounts:
            left.append(amount - max(Decimal(0), min(amount, free)))
            free -= amount - left[-1]
        found: set[str | None] = set()
        for name in {*names} - {None}:
            mine = [number for number in range(4) if names[number] == name]
            rest, granted = sum(left[number] for number in mine), sum(amounts[number] for number in mine)
            if (rest * 100 <= granted * Decimal(threshold)) if percentage else rest <= Decimal(threshold):
                found |= {name, None}
        return found

    driver = Driver(customer(1), catalog(watching), START_US)
    before = at_the_line()
    silent = set(before) if quiet else set()
    assert told_of(driver.notifications) == (set() if quiet else {(name, "reached") for name in before})
    for version, step in enumerate(steps, 2):
        if step[0] == "use":
            used += Decimal(step[1])
            told = use(driver, str(step[1]))
        else:
            (names if step[0] == "name" else amounts)[int(step[1])] = (  # type: ignore[call-overload]
                step[2] if step[0] == "name" else Decimal(step[2] or 0)
            )
            told = driver.reconfigure(customer=customer(version))
        if data.draw(st.booleans()):
            driver.reload()
            assert driver.collect() == []
        after = at_the_line()
        assert len(told) == len(told_of(told))
        assert told_of(told) == {(name, "reached") for name in after - before} | {
            (name, "resolved") for name in before - after - silent
        }
        silent &= after
        before = after
    sequences: dict[str | None, list[int]] = {}
    for each in driver.notifications:
        sequences.setdefault(value_told(each), []).append(each.sequence)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())


def value_told(notification: Notification) -> str | None:
    (specifier,) = notification.measure["alert_specifiers"]  # type: ignore[misc,attr-defined]
    (told,) = specifier["custom_field_filters"]
    return str(told["value"]) if "value" in told else None


def told_of(notifications: list[Notification]) -> set[tuple[str | None, str]]:
    return {(value_told(each), each.type.rsplit("_", 1)[1]) for each in notifications}
