"""Every alert type with every filter, for one customer and for all: the whole table in one running system.

Configured through the official SDK in strict mode, used through Kafka, told to a receiver. For each row: exactly these
notifications, each once, with these values, in this order; and the statuses that the API shows after each phase.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from metronome import Metronome
from pydantic import TypeAdapter

from connectors import clock
from schemas.notifications import WebhookPayload
from tests.support.alert_cases import Case, Table
from tests.support.alert_table import PHASES, ROWS, Told
from tests.support.mock_kafka import MockKafka
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.system import TOKEN, System

HOUR = timedelta(hours=1)
ENVIRONMENT = {"TIDEMARK_TICK_MS": "20"}
_PAYLOAD: TypeAdapter[Any] = TypeAdapter(WebhookPayload)


# --- what must be told ----------------------------------------------------------------------------------------------------


def check_phase(table: Table, case: Case, phase: str) -> None:
    """What was told in a phase, and how the alert stands after it."""
    wanted = case.row.phases[phase].told
    if case.quiet and phase == "back":  # it was held, and recovers in silence
        for told in wanted:
            case.in_alarm[_label(case.personal(told.about))] = (case.personal(told.about), False)
        wanted = ()
    for body, told in _pairs(table, case, wanted):
        check_notification(case, body, told)
        if case.row.days:
            check_days(table, phase, body["properties"])
            continue
        before = (
            {told.previous, told.value} if case.row.charges else {told.previous}
        )  # a customer that is loaded anew knows no other
        assert body["properties"]["previous_value"] in before
        assert body["properties"]["value"] == told.value
        if case.row.charges:
            assert (body["properties"]["triggered_by"], "evidence" in body["properties"]) == ("contract_change", False)
        else:
            assert body["properties"]["triggered_by"] == "usage"
            assert body["properties"]["evidence"]["transaction_id"].startswith(f"{case.number}-{phase}-")
        if "credit_type_id" in body["properties"]:
            assert body["properties"]["credit_type_id"] == table.ids[case.row.alert.get("credit_type_id", "usd")]
    check_statuses(table, case)


def check_told_again(table: Table, case: Case, told: list[Told], triggered_by: str) -> None:
    """A breach that is there already is told, under a new number: at the alert's creation, or after a reset."""
    for body, each in _pairs(table, case, told):
        check_notification(case, body, each)
        properties = body["properties"]
        assert (properties["triggered_by"], "evidence" in properties) == (triggered_by, False)
        assert properties["previous_value"] == properties["value"]
        if not case.row.days:
            assert properties["value"] == each.value
    check_statuses(table, case)


def _pairs(table: Table, case: Case, wanted: Iterable[Told]) -> Iterator[tuple[dict[str, Any], Told]]:
    """The new notifications with what is wanted of each; they must be about the same."""
    bodies = table.told(case)[case.seen :]
    case.seen += len(bodies)
    in_order = sorted(bodies, key=lambda body: _label(_about(body)))
    expected = sorted(wanted, key=lambda told: _label(case.personal(told.about)))
    assert [_label(_about(body)) for body in in_order] == [_label(case.personal(told.about)) for told in expected]
    return zip(in_order, expected, strict=True)


def check_statuses(table: Table, case: Case) -> None:
    for about, alarmed in case.in_alarm.values():
        if _picks(case, about):
            asked = {
                name: {k: v for k, v in each.items() if k != "value"} if name == "seat_filter" else each
                for name, each in about.items()
            }
            assert table.status(case, **asked) == ("in_alarm" if alarmed else "ok")
    alarmed = any(state for _, state in case.in_alarm.values())
    assert table.status(case) == ("in_alarm" if alarmed else "ok")


def _picks(case: Case, about: Mapping[str, Any]) -> bool:
    """Whether what a notification is about is one of several states, for which the API can be asked."""
    if "group_values" in about or "seat_filter" in about:
        return True
    configured, told = (
        [each for one in source.get("alert_specifiers", ()) for each in one.get("custom_field_filters", ())]
        for source in (case.row.alert, about)
    )
    return any("value" not in each for each in configured) and all("value" in each for each in told)


def _asked(about: Mapping[str, Any]) -> dict[str, Any]:
    """As a request names it: a notification spells a seat twice."""
    return {
        name: {key: each[key] for key in ("seat_group_key", "seat_group_value")} if name == "seat_filter" else each
        for name, each in about.items()
    }


def _about(body: dict[str, Any]) -> dict[str, Any]:
    return {
        name: body["properties"][name]
        for name in ("group_values", "alert_specifiers", "seat_filter")
        if name in body["properties"]
    }


def _label(about: Mapping[str, Any]) -> str:
    return json.dumps(about, sort_keys=True)


def check_notification(case: Case, body: dict[str, Any], told: Told) -> None:
    properties, row = body["properties"], case.row
    label = _label(case.personal(told.about))
    case.sequences[label] = case.sequences.get(label, 0) + 1
    case.in_alarm[label] = (case.personal(told.about), told.state == "reached")
    assert body["type"] == f"alerts.{row.alert['alert_type'].removesuffix('_reached')}_{told.state}"
    assert (properties["alert_name"], properties["sequence"]) == (case.name, case.sequences[label])
    assert properties[row.measure] == properties["value"]
    assert row.days or properties["threshold"] == row.alert["threshold"]


def check_days(table: Table, phase: str, properties: dict[str, Any]) -> None:
    at = datetime.fromisoformat(properties["timestamp"])
    assert properties["threshold"] == table.days
    if phase == "at":
        assert (at, properties["value"], properties["triggered_by"]) == (table.reached_at, table.days, "time")
        assert properties["previous_value"] >= table.days
        return
    assert properties["triggered_by"] == "balance_change"
    assert (properties["value"] <= table.days) == (phase == "again")
    assert table.reached_at < at < clock.now()


def check_everything(table: Table, cases: list[Case]) -> None:
    """Nothing was told beside what the rows say, but by alerts for all about other customers that they let in; and in order."""
    by_alert = {case.alert_id: case for case in cases}
    bodies = [body for body in table.bodies() if body["properties"]["alert_id"] in by_alert]
    assert len({body["id"] for body in table.bodies()}) == len(table.bodies())
    assert table.receiver.invalid == []
    told: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for body in bodies:
        _PAYLOAD.validate_python(body)
        properties = body["properties"]
        case = by_alert[properties["alert_id"]]
        assert not case.is_alone or properties["customer_id"] == case.customer_id, body
        about = [_label(_about(body)), *(str(properties.get(name)) for name in ("segment_id", "invoice_id"))]
        key = (properties["alert_id"], properties["customer_id"], "|".join(about))
        told.setdefault(key, []).append((properties["sequence"], body["type"].rsplit("_", 1)[1]))
    for series in told.values():
        assert [number for number, _ in sorted(series)] == list(range(1, len(series) + 1))


# --- the test -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(valkey: RedisServer) -> Iterator[System]:
    with MockKafka({}) as kafka, System(kafka.bootstrap_servers, valkey.url, environment=ENVIRONMENT) as system:
        for topic, partitions in ((system.topic, system.partitions), (system.dead_letters, 1)):
            kafka.create(topic, partitions)
        yield system


@pytest.fixture(scope="module")
def table(system: System) -> Iterator[Table]:
    with Receiver() as receiver:
        system.start()
        with Metronome(base_url=system.api_url, bearer_token=TOKEN, max_retries=0, _strict_response_validation=True) as sdk:
            try:
                table = Table(system, receiver, sdk)
                table.make_catalog()
                yield table
            finally:
                system.stop()
                system.redis.flushall()


def test_every_type_with_every_filter(table: Table) -> None:
    rows = sorted(ROWS, key=lambda row: row.days)
    cases = [Case(row, 2 * number + for_all, bool(for_all)) for number, row in enumerate(rows) for for_all in (False, True)]
    for case in cases[1::4]:  # for some, the alert for all customers is there first
        if not case.row.days:
            table.make_alert(case)
    live_through_rows(table, cases)


def live_through_rows(table: Table, cases: list[Case]) -> None:
    """Every phase of the rows, resets and ends; alerts that are not there yet are made after the first usage, or before it."""
    _at_once(table.make_customer, cases)
    _make_alerts(table, [case for case in cases if not case.row.days and not case.alert_id])
    table.use(cases, "below")
    table.system.wait_settled()
    _check([case for case in cases if case.alert_id], lambda case: check_phase(table, case, "below"))
    _begin_days(table, [case for case in cases if case.row.days])
    for phase in PHASES[1:]:
        _live_through(table, cases, phase)
    check_everything(table, cases)
    _reset(table, cases)
    _end(table, cases)
    check_everything(table, cases)


def test_alerts_that_are_new_to_a_customer_past_the_line(table: Table) -> None:
    """Each type once: told as "creation", or with evaluate_on_create false held silently and armed again by recovery."""
    by_type = {row.alert["alert_type"]: row for row in reversed(ROWS)}
    keyed = next(row for row in ROWS if row.name.endswith("balance by a key"))
    cases = [
        Case(row, 1000 + 4 * number + 2 * for_all + quiet, bool(for_all), bool(quiet))
        for number, row in enumerate((*by_type.values(), keyed))
        for for_all in (False, True)
        for quiet in (False, True)
        if row is not keyed or not for_all
    ]
    _at_once(table.make_customer, cases)
    for phase in ("below", "at", "above"):
        table.use(cases, phase)
    table.system.wait_settled()
    table.begin_days(lead_s=-60)
    _make_alerts(table, cases)
    table.system.wait_settled()

    def check_met(case: Case) -> None:
        met = [Told("reached", told.previous, told.previous, told.about) for told in case.row.phases["back"].told]
        if case.quiet:
            case.in_alarm = {_label(case.personal(told.about)): (case.personal(told.about), True) for told in met}
        check_told_again(table, case, [] if case.quiet else met, "creation")

    _check(cases, check_met)
    for phase in ("back", "again"):
        _live_through(table, cases, phase)
    check_everything(table, cases)
    for case in cases:
        table.sdk.v1.alerts.archive(id=case.alert_id)


def _at_once(make: Callable[[Case], None], cases: list[Case]) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(make, cases))


def _check(cases: list[Case], check: Callable[[Case], None]) -> None:
    """All failures at once."""
    failures = []
    for case in cases:
        try:
            check(case)
        except AssertionError as error:
            failures.append(f"{case.name}: {error}")
    assert not failures, "\n".join(failures)


def _make_alerts(table: Table, cases: list[Case]) -> None:
    for case in cases:
        table.make_alert(case)
    for case in cases:
        table.system.wait_for(f"{case.name} to be evaluated", lambda case=case: table.status(case) != "evaluating")  # type: ignore[misc]


def _begin_days(table: Table, cases: list[Case]) -> None:
    """The days alerts, and the wait until their line is reached. Before that they are ok; that nothing is told then shows in the
    instant that is told of."""
    for lead_s in (6.0, 20.0, 60.0):  # on a machine so slow that the alerts are not there in time, later ones take their place
        table.begin_days(lead_s)
        _make_alerts(table, cases)
        if clock.now() < table.reached_at:
            break
        for case in cases:
            table.sdk.v1.alerts.archive(id=case.alert_id)
    for case in cases:
        assert table.status(case) == "ok" or clock.now() >= table.reached_at
    time.sleep(max(0.0, (table.reached_at - clock.now()).total_seconds()))


def _live_through(table: Table, cases: list[Case], phase: str) -> None:
    """One phase, and its checks. Where no usage moves an alert, it is waited for."""
    table.use(cases, phase)
    for case in cases:
        if case.row.charges:
            table.edit_charge(case, case.row.charges[PHASES.index(phase)])
    days = [case for case in cases if case.row.days and case.row.phases[phase].told]
    if phase in ("back", "again"):
        for case in days:
            table.edit_days(case, table.near + (HOUR if phase == "back" else timedelta(0)))
    table.system.wait_settled()
    wanted = "ok" if phase == "back" else "in_alarm"
    for case in [*days, *(each for each in cases if each.row.charges)]:
        table.system.wait_for(f"{case.name} to be {wanted}", lambda case=case: table.status(case) == wanted)  # type: ignore[misc]
    table.system.wait_settled()
    _check(cases, lambda case: check_phase(table, case, phase))


def _reset(table: Table, cases: list[Case]) -> None:
    """Resets every alert: what is in alarm is told again, under a new id."""
    _at_once(lambda case: table.sdk.v1.customers.alerts.reset(customer_id=case.customer_id, alert_id=case.alert_id), cases)

    def standing(case: Case) -> list[Told]:
        last = {_label(told.about): told for phase in PHASES for told in case.row.phases[phase].told}
        used = {"us": 1.0} if case.row.name == "spend of every group" else {}  # since it was told of
        return [
            Told("reached", told.value, told.value + used.get(_value_of(told), 0), told.about)
            for told in last.values()
            if told.state == "reached"
        ]

    def told_all() -> bool:
        return all(len(table.told(case)) >= case.seen + len(standing(case)) for case in cases)

    table.system.wait_for("resets to be told", told_all)
    table.system.wait_settled()
    _check(cases, lambda case: check_told_again(table, case, standing(case), "reset"))


def _value_of(told: Told) -> str:
    groups = told.about.get("group_values") or [{}]
    return str(groups[0].get("value"))


def _end(table: Table, cases: list[Case]) -> None:
    """Customers are archived, contracts end, alerts are archived, one for each third of the cases: whatever is used after that,
    nothing is told, and the last status stays. (Seats end with their contract, and so do their alarms: seats stay here.)"""
    customers, contracts, alerts = cases[0::3], cases[1::3], cases[2::3]
    ends_after_usage = table.used_at < table.hour  # not in the first hour of a month: usage is of the hour that has begun
    contracts = [case for case in contracts if case.contract_ids and not case.row.seats and ends_after_usage]
    for case in customers:
        table.sdk.v1.customers.archive(id=case.customer_id)
    for case in contracts:
        for contract_id in case.contract_ids:
            table.sdk.v1.contracts.update_end_date(
                customer_id=case.customer_id, contract_id=contract_id, ending_before=table.hour
            )
    for case in alerts:
        table.sdk.v1.alerts.archive(id=case.alert_id)
    everywhere: Any = [{"tokens": amount, "region": "eu"} for amount in (-500, 900, -900)]
    late = [(case, "late", everywhere, table.used_at) for case in (*customers, *alerts)]
    after = [(case, "after", everywhere, clock.now()) for case in contracts]
    table.produce([*late, *after])
    table.system.wait_settled()

    def check_ended(case: Case) -> None:
        assert table.told(case)[case.seen :] == []
        last = "in_alarm" if any(alarmed for _, alarmed in case.in_alarm.values()) else "ok"
        assert table.status(case) == (None if case in alerts else last)

    _check([*customers, *contracts, *alerts], check_ended)
