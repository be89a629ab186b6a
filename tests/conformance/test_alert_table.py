"""Every alert type with every filter, for one customer and for all: the whole table in one running system.

Configured through the official SDK in strict mode, used through Kafka, told to a receiver. For each row: exactly these
notifications, each once, with these values, in this order; and the statuses that the API shows after each phase.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from metronome import Metronome
from pydantic import TypeAdapter

from schemas.notifications import WebhookPayload
from tests.support.alert_table import PHASES, ROWS, BalanceSetup, Row, Told
from tests.support.mock_kafka import MockKafka
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.system import TOKEN, System

HOUR = timedelta(hours=1)
DAYS_LEAD_S = 6.0
"""So long after their creation, days alerts reach their line."""
_PERSONAL = frozenset({"mine", "another", "red", "blue", "x", "eu", "us", "team"})
_PAYLOAD: TypeAdapter[Any] = TypeAdapter(WebhookPayload)


@dataclass
class Case:
    """One row for one customer. ``balances``: for each of the row's, (is a credit, id, id of its segment)."""

    row: Row
    number: int
    for_all: bool
    customer_id: str = ""
    alert_id: str = ""
    balances: list[tuple[bool, str, str]] = field(default_factory=list)
    seen: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    in_alarm: dict[str, tuple[Mapping[str, Any], bool]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.row.name}, {'all customers' if self.for_all else 'one customer'}"

    @property
    def is_alone(self) -> bool:
        """Whether the alert's filter leaves no other customer in."""
        alert = self.personal(dict(self.row.alert))
        picked = [*alert.get("custom_field_filters", ()), *(group for group in alert.get("group_values", ()) if "value" in group)]
        picked += [each for one in alert.get("alert_specifiers", ()) for each in one.get("custom_field_filters", ())]
        return not self.for_all or bool(picked)

    def personal(self, value: Any) -> Any:
        """Names that rows share become this case's own, so that an alert for all customers by such a name concerns one."""
        if isinstance(value, str):
            return f"{value}-{self.number}" if value in _PERSONAL else value
        if isinstance(value, Mapping):
            return {self.personal(key): self.personal(each) for key, each in value.items()}
        return [self.personal(each) for each in value] if isinstance(value, list | tuple) else value


class Table:
    """The running system and what is in it."""

    def __init__(self, system: System, receiver: Receiver, sdk: Metronome) -> None:
        self.system, self.receiver, self.sdk = system, receiver, sdk
        self.now = datetime.now(UTC)
        self.start = self.now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
        self.near = self.start + timedelta(days=3)
        self.reached_at = self.now
        self.days = Decimal(0)
        self.ids: dict[str, str] = {}
        self.cards: dict[bool, str] = {}
        self._bodies: list[dict[str, Any]] = []
        self._by_case: dict[tuple[str, str], list[dict[str, Any]]] = {}

    # --- what there is ----------------------------------------------------------------------------------------------

    def make_catalog(self) -> None:
        endpoint = self.system.post("/v1/webhook-endpoints", {"url": self.receiver.url})
        self.receiver.secret = endpoint["secret"]
        sdk = self.sdk.v1
        unit = self.system.post("/v1/credit-types/create", {"name": "Units"})
        metric = sdk.billable_metrics.create(
            name="tokens",
            aggregation_type="SUM",
            aggregation_key="tokens",
            property_filters=[{"name": "tokens", "exists": True}],
            group_keys=[["region"]],
        ).data.id
        self.ids = {"usd": "2714e483-4ff1-48e4-9e25-ac732e8f24f2", "unit": unit["id"], "metric": metric}
        fixed = sdk.contracts.products.create(name="Prepaid", type="FIXED").data.id
        self.ids["fixed"] = fixed
        for in_units in (False, True):
            conversions: Any = [{"custom_credit_type_id": self.ids["unit"], "fiat_per_custom_credit": 1}] if in_units else []
            card = sdk.contracts.rate_cards.create(name="List prices", credit_type_conversions=conversions).data.id
            self.cards[in_units] = card
            for credit_type in ("usd", "unit")[: 1 + in_units]:
                product = sdk.contracts.products.create(name=credit_type, type="USAGE", billable_metric_id=metric).data.id
                sdk.contracts.rate_cards.rates.add(
                    rate_card_id=card,
                    product_id=product,
                    entitled=True,
                    rate_type="FLAT",
                    price=1,
                    credit_type_id=self.ids[credit_type],
                    starting_at=datetime(2020, 1, 1, tzinfo=UTC),
                )

    def make_customer(self, case: Case) -> None:
        row = case.row
        customer_id = case.customer_id = self.sdk.v1.customers.create(name=case.name).data.id
        schedule: Any = {"frequency": "WEEKLY", "day": "CUSTOM_DATE", "billing_anchor_date": self.start}
        contract_ids: list[str] = []
        for place, fields in enumerate(row.contracts):
            within = [each for each in row.balances if each.on_contract] if place == 0 else []
            parts: dict[str, Any] = {
                "commits": [self._balance(case, each) for each in within if each.kind != "CREDIT"],
                "credits": [self._balance(case, each) for each in within if each.kind == "CREDIT"],
            }
            contract = self.sdk.v1.contracts.create(
                customer_id=customer_id,
                starting_at=self.start,
                rate_card_id=self.cards[row.alert.get("credit_type_id") == "unit"],
                usage_statement_schedule=schedule,
                custom_fields=case.personal(fields),
                **{name: each for name, each in parts.items() if each},
            )
            contract_ids.append(contract.data.id)
        for each in row.balances:
            if not each.on_contract:
                resource: Any = self.sdk.v1.customers.credits if each.kind == "CREDIT" else self.sdk.v1.customers.commits
                charged: Any = {"invoice_contract_id": contract_ids[0]} if each.kind == "POSTPAID" else {}
                resource.create(customer_id=customer_id, **charged, **self._balance(case, each))
        if row.days:
            kinds: dict[bool, Any] = {True: self.sdk.v1.customers.credits, False: self.sdk.v1.customers.commits}
            for is_credit, resource in kinds.items():
                for held in (
                    resource.list(customer_id=customer_id, include_contract_commits=True)
                    if not is_credit
                    else (resource.list(customer_id=customer_id, include_contract_credits=True))
                ):
                    case.balances.append((is_credit, held.id, held.access_schedule.schedule_items[0].id))

    def _balance(self, case: Case, balance: BalanceSetup) -> dict[str, Any]:
        ending = self.near if case.row.days else self.start + timedelta(days=400)
        segment = {"amount": balance.amount, "starting_at": self.start, "ending_before": ending}
        access = {"credit_type_id": self.ids[balance.credit_type], "schedule_items": [segment]}
        made = {
            "product_id": self.ids["fixed"],
            "priority": balance.priority,
            "access_schedule": access,
            "custom_fields": case.personal(balance.custom_fields),
        }
        if balance.kind == "POSTPAID":
            made["invoice_schedule"] = {"schedule_items": [{"timestamp": ending, "amount": balance.amount}]}
        return made if balance.kind == "CREDIT" else {**made, "type": balance.kind}

    def make_alert(self, case: Case) -> None:
        body = case.personal(dict(case.row.alert))
        for name in ("credit_type_id", "billable_metric_id"):
            if name in body:
                body[name] = self.ids[body[name]]
        if case.row.days:
            body["threshold"] = float(self.days)
        if not case.for_all:
            body["customer_id"] = case.customer_id
        case.alert_id = self.sdk.v1.alerts.create(name=case.name, **body).data.id

    def begin_days(self) -> None:
        """Chooses the line of the days alerts, so that it is reached soon; in steps of a hundred-thousandth of a day."""
        left = self.near - (datetime.now(UTC) + timedelta(seconds=DAYS_LEAD_S))
        self.days = Decimal(int(left / timedelta(milliseconds=864))) / 100_000
        self.reached_at = self.near - int(self.days * 100_000) * timedelta(milliseconds=864)

    # --- what happens -----------------------------------------------------------------------------------------------

    def use(self, cases: list[Case], phase: str) -> None:
        records = []
        for case in cases:
            for number, properties in enumerate(case.row.phases[phase].uses):
                event = {
                    "transaction_id": f"{case.number}-{phase}-{number}",
                    "customer_id": case.customer_id,
                    "event_type": "call",
                    "timestamp": self.now.isoformat(),
                    "properties": case.personal(properties),
                }
                records.append((case.customer_id, orjson.dumps(event)))
        self.system.produce(records)

    def edit_days(self, case: Case, ending: datetime) -> None:
        """Moves the end of the segment that the row's alert watches."""
        is_credit, balance_id, segment_id = self.watched(case)
        names = {"credit_id" if is_credit else "commit_id": balance_id}
        edit: Any = self.sdk.v2.contracts.edit_credit if is_credit else self.sdk.v2.contracts.edit_commit
        items = [{"id": segment_id, "ending_before": ending}]
        edit(customer_id=case.customer_id, access_schedule={"update_schedule_items": items}, **names)

    def watched(self, case: Case) -> tuple[bool, str, str]:
        """The balance of a days row that its alert is about: the one that it told of first."""
        segment = self.told(case)[0]["properties"]["segment_id"]
        (found,) = [each for each in case.balances if each[2] == segment]
        return found

    def bodies(self) -> list[dict[str, Any]]:
        """All that was received, with exact numbers; each request is read once."""
        for request in self.receiver.received[len(self._bodies) :]:
            body = json.loads(request.body, parse_float=Decimal)
            self._bodies.append(body)
            properties = body["properties"]
            self._by_case.setdefault((properties["customer_id"], properties["alert_id"]), []).append(body)
        return self._bodies

    def told(self, case: Case) -> list[dict[str, Any]]:
        self.bodies()
        return self._by_case.get((case.customer_id, case.alert_id), [])

    def status(self, case: Case, **chosen: Any) -> str | None:
        found = self.sdk.v1.customers.alerts.retrieve(customer_id=case.customer_id, alert_id=case.alert_id, **chosen)
        return found.data.customer_status


# --- what must be told ----------------------------------------------------------------------------------------------------


def check_phase(table: Table, case: Case, phase: str) -> None:
    wanted = case.row.phases[phase].told
    bodies = table.told(case)[case.seen :]
    case.seen += len(bodies)
    in_order = sorted(bodies, key=lambda body: _label(case.personal(_about(body))))
    expected = sorted(wanted, key=lambda told: _label(case.personal(told.about)))
    assert [_label(_about(body)) for body in in_order] == [_label(case.personal(told.about)) for told in expected]
    for body, told in zip(in_order, expected, strict=True):
        check_notification(table, case, phase, body, told)
    for about, alarmed in case.in_alarm.values():
        if _picks(case, about):
            assert table.status(case, **about) == ("in_alarm" if alarmed else "ok")
    alarmed = any(state for _, state in case.in_alarm.values())
    assert table.status(case) == ("in_alarm" if alarmed else "ok")


def _picks(case: Case, about: Mapping[str, Any]) -> bool:
    """Whether what a notification is about is one of several states, for which the API can be asked."""
    if "group_values" in about:
        return True
    configured, told = (
        [each for one in source.get("alert_specifiers", ()) for each in one.get("custom_field_filters", ())]
        for source in (case.row.alert, about)
    )
    return any("value" not in each for each in configured) and all("value" in each for each in told)


def _about(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body["properties"][name] for name in ("group_values", "alert_specifiers") if name in body["properties"]}


def _label(about: Mapping[str, Any]) -> str:
    return json.dumps(about, sort_keys=True)


def check_notification(table: Table, case: Case, phase: str, body: dict[str, Any], told: Told) -> None:
    properties, row = body["properties"], case.row
    label = _label(case.personal(told.about))
    case.sequences[label] = case.sequences.get(label, 0) + 1
    case.in_alarm[label] = (case.personal(told.about), told.state == "reached")
    assert body["type"] == f"alerts.{row.alert['alert_type'].removesuffix('_reached')}_{told.state}"
    assert (properties["alert_name"], properties["sequence"]) == (case.name, case.sequences[label])
    assert properties[row.measure] == properties["value"]
    if row.days:
        check_days(table, phase, properties)
        return
    assert (properties["previous_value"], properties["value"]) == (told.previous, told.value)
    assert properties["threshold"] == row.alert["threshold"]
    assert properties["triggered_by"] == "usage"
    assert properties["evidence"]["transaction_id"].startswith(f"{case.number}-{phase}-")
    if "credit_type_id" in properties:
        assert properties["credit_type_id"] == table.ids[row.alert.get("credit_type_id", "usd")]


def check_days(table: Table, phase: str, properties: dict[str, Any]) -> None:
    at = datetime.fromisoformat(properties["timestamp"])
    assert properties["threshold"] == table.days
    if phase == "at":
        assert (at, properties["value"], properties["triggered_by"]) == (table.reached_at, table.days, "time")
        assert properties["previous_value"] >= table.days
        return
    assert properties["triggered_by"] == "balance_change"
    assert (properties["value"] <= table.days) == (phase == "again")
    assert table.reached_at < at < datetime.now(UTC)


def check_everything(table: Table, cases: list[Case]) -> None:
    """Nothing was told beside what the rows say, but by alerts for all about other customers that they let in; and in order."""
    bodies = table.bodies()
    assert len({body["id"] for body in bodies}) == len(bodies)
    assert table.receiver.invalid == []
    by_alert = {case.alert_id: case for case in cases}
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
        assert sorted(series) == [(n + 1, ("reached", "resolved")[n % 2]) for n in range(len(series))]


# --- the test -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(valkey: RedisServer) -> Iterator[Table]:
    environment = {"TIDEMARK_TICK_MS": "20"}
    with (
        MockKafka({}) as kafka,
        Receiver() as receiver,
        System(kafka.bootstrap_servers, valkey.url, environment=environment) as system,
    ):
        for topic, partitions in ((system.topic, system.partitions), (system.dead_letters, 1)):
            kafka.create(topic, partitions)
        system.start()
        with Metronome(base_url=system.api_url, bearer_token=TOKEN, max_retries=0, _strict_response_validation=True) as sdk:
            try:
                yield Table(system, receiver, sdk)
            finally:
                system.stop()
                system.redis.flushall()


def test_every_type_with_every_filter(table: Table) -> None:
    table.make_catalog()
    cases = [
        Case(row, 2 * number + for_all, bool(for_all))
        for number, row in enumerate(sorted(ROWS, key=lambda row: row.days))
        for for_all in (False, True)
    ]
    future = [case for case in cases if case.for_all and case.number % 4 == 1 and not case.row.days]
    for case in future:  # for some, the alert is there first
        table.make_alert(case)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(table.make_customer, cases))
    rows = [case for case in cases if not case.row.days]
    for case in rows:
        if not case.alert_id:
            table.make_alert(case)
    _wait_until_evaluated(table, rows)
    failures: list[str] = []
    for phase in PHASES:
        table.use(cases, phase)
        if phase == "at":
            _begin_days(table, [case for case in cases if case.row.days])
        if phase in ("back", "again"):
            for case in (case for case in cases if case.row.days):
                table.edit_days(case, table.near + (HOUR if phase == "back" else timedelta(0)))
        _settle(table, cases, phase)
        for case in cases:
            try:
                if case.alert_id:
                    check_phase(table, case, phase)
            except AssertionError as error:
                failures.append(f"{case.name}, {phase}: {error}")
    assert failures == []
    check_everything(table, cases)


def _begin_days(table: Table, cases: list[Case]) -> None:
    """The days alerts, and the wait until their line is reached. Before that they are ok; that nothing is told then shows in the
    instant that is told of."""
    table.begin_days()
    for case in cases:
        table.make_alert(case)
    _wait_until_evaluated(table, cases)
    for case in cases:
        assert table.status(case) == "ok" or datetime.now(UTC) >= table.reached_at
    time.sleep(max(0.0, (table.reached_at - datetime.now(UTC)).total_seconds()))


def _wait_until_evaluated(table: Table, cases: list[Case]) -> None:
    for case in cases:
        table.system.wait_for(f"{case.name} to be evaluated", lambda case=case: table.status(case) != "evaluating")  # type: ignore[misc]


def _settle(table: Table, cases: list[Case], phase: str) -> None:
    """Waits until all usage is counted and everything is delivered; days alerts need no usage, so theirs are waited for."""
    table.system.wait_settled()
    waiting = [case for case in cases if case.row.days and case.row.phases[phase].told]
    if waiting:
        what = f"days alerts to be told ({phase})"
        table.system.wait_for(what, lambda: all(len(table.told(case)) > case.seen for case in waiting), 20.0)
        table.system.wait_settled()
