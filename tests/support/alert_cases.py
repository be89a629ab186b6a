"""Rows of the alert table, each on a customer of its own in one running system, configured through the official SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from metronome import Metronome

from connectors import clock
from tests.support.alert_table import BalanceSetup, Row
from tests.support.receiver import Receiver
from tests.support.system import System

_PERSONAL = frozenset({"mine", "another", "red", "blue", "x", "eu", "us", "team"})


@dataclass
class Case:
    """One row for one customer. ``number``: tells it apart from all others. ``quiet``: made with evaluate_on_create false.

    ``balances``: of a days row, for each (is a credit, id, id of its segment). ``seen``: how many notifications were looked at.
    ``sequences``, ``in_alarm``: by what notifications were about, the last sequence number, and how it stands."""

    row: Row
    number: int
    for_all: bool
    quiet: bool = False
    customer_id: str = ""
    contract_ids: list[str] = field(default_factory=list)
    alert_id: str = ""
    balances: list[tuple[bool, str, str]] = field(default_factory=list)
    seen: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    in_alarm: dict[str, tuple[Mapping[str, Any], bool]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.row.name}, {'all customers' if self.for_all else 'one customer'}{', quietly' if self.quiet else ''}"

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

    """``hour``: the present one; usage is of the hour before, where that is of the same month.
    ``near``: when the segments of days rows end."""

    def __init__(self, system: System, receiver: Receiver, sdk: Metronome) -> None:
        self.system, self.receiver, self.sdk = system, receiver, sdk
        self.hour = clock.now().replace(minute=0, second=0, microsecond=0)
        self.month_end = (self.hour.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1)
        hour_before = self.hour - timedelta(minutes=30)
        self.used_at = hour_before if hour_before.month == self.hour.month else self.hour
        self.start = self.hour - timedelta(days=1)
        self.near = self.start + timedelta(days=3)
        self.reached_at = self.hour
        self.days = Decimal(0)
        self.ids: dict[str, str] = {}
        self.cards: dict[str, str] = {}
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
        self.cards = {
            "usd": self._make_card("usd"),
            "unit": self._make_card("usd", "unit"),
            "seats": self._make_card("usd", presentation_group_key=["region"]),
        }
        plan = self.ids["plan"] = sdk.contracts.products.create(name="Plan", type="SUBSCRIPTION").data.id
        self._make_rate(self.cards["seats"], plan, "usd", billing_frequency="WEEKLY")

    def _make_card(self, *credit_types: str, **product: Any) -> str:
        """A token costs 1 in each of the credit types."""
        conversions: Any = [{"custom_credit_type_id": self.ids["unit"], "fiat_per_custom_credit": 1}]
        card = self.sdk.v1.contracts.rate_cards.create(
            name="List prices", credit_type_conversions=conversions if "unit" in credit_types else []
        )
        for credit_type in credit_types:
            made = self.sdk.v1.contracts.products.create(
                name=credit_type, type="USAGE", billable_metric_id=self.ids["metric"], **product
            )
            self._make_rate(card.data.id, made.data.id, credit_type)
        return card.data.id

    def _make_rate(self, card_id: str, product_id: str, credit_type: str, **more: Any) -> None:
        self.sdk.v1.contracts.rate_cards.rates.add(
            rate_card_id=card_id,
            product_id=product_id,
            entitled=True,
            rate_type="FLAT",
            price=1,
            credit_type_id=self.ids[credit_type],
            starting_at=datetime(2020, 1, 1, tzinfo=UTC),
            **more,
        )

    def make_customer(self, case: Case) -> None:
        row = case.row
        customer_id = case.customer_id = self.sdk.v1.customers.create(name=case.name).data.id
        schedule: Any = {"frequency": "WEEKLY", "day": "CUSTOM_DATE", "billing_anchor_date": self._week_start(row)}
        if row.monthly:
            schedule = {"frequency": "MONTHLY", "day": "FIRST_OF_MONTH"}
        card = "seats" if row.seats else "unit" if row.alert.get("credit_type_id") == "unit" else "usd"
        for place, fields in enumerate(row.contracts):
            within = [each for each in row.balances if each.on_contract] if place == 0 else []
            parts: dict[str, Any] = {
                "commits": [self._balance(case, each) for each in within if each.kind != "CREDIT"],
                "credits": [self._balance(case, each) for each in within if each.kind == "CREDIT"],
            }
            if row.seats:
                parts |= self._seats(case)
            if row.charges:
                item = {"timestamp": self.near, "amount": row.charges[0]}
                parts["scheduled_charges"] = [{"product_id": self.ids["fixed"], "schedule": {"schedule_items": [item]}}]
            contract = self.sdk.v1.contracts.create(
                customer_id=customer_id,
                starting_at=self.start,
                rate_card_id=self.cards[card],
                usage_statement_schedule=schedule,
                custom_fields=case.personal(fields),
                **{name: each for name, each in parts.items() if each},
            )
            case.contract_ids.append(contract.data.id)
        for each in row.balances:
            if not each.on_contract:
                resource: Any = self.sdk.v1.customers.credits if each.kind == "CREDIT" else self.sdk.v1.customers.commits
                charged: Any = {"invoice_contract_id": case.contract_ids[0]} if each.kind == "POSTPAID" else {}
                resource.create(customer_id=customer_id, **charged, **self._balance(case, each))
        if row.days:
            commits = self.sdk.v1.customers.commits.list(customer_id=customer_id, include_contract_commits=True)
            credits_ = self.sdk.v1.customers.credits.list(customer_id=customer_id, include_contract_credits=True)
            for is_credit, listed in ((False, commits), (True, credits_)):
                for held in listed:
                    case.balances.append((is_credit, held.id, held.access_schedule.schedule_items[0].id))  # type: ignore[union-attr]

    def _week_start(self, row: Row) -> datetime:
        """A week in which the whole test lies; for alerts on a month's invoices one that ends in this month."""
        if not row.alert["alert_type"].startswith("monthly") or self.start + timedelta(days=7) <= self.month_end:
            return self.start
        return self.month_end - timedelta(days=7)

    def _seats(self, case: Case) -> dict[str, Any]:
        subscription = {
            "temporary_id": "seats",
            "subscription_rate": {"billing_frequency": "WEEKLY", "product_id": self.ids["plan"]},
            "collection_schedule": "ARREARS",
            "quantity_management_mode": "SEAT_BASED",
            "proration": {"is_prorated": False},
            "seat_config": {"seat_group_key": "region", "initial_seat_ids": case.personal(case.row.seats)},
        }
        credit = {
            "product_id": self.ids["fixed"],
            "access_amount": {"credit_type_id": self.ids["usd"], "unit_price": 100, "quantity": 1},
            "commit_duration": {"value": 1, "unit": "PERIODS"},
            "recurrence_frequency": "WEEKLY",
            "proration": "NONE",
            "priority": 1,
            "starting_at": self.start,
            "subscription_config": {
                "subscription_id": "seats",
                "allocation": "INDIVIDUAL",
                "apply_seat_increase_config": {"is_prorated": False},
            },
        }
        return {"subscriptions": [subscription], "recurring_credits": [credit]}

    def _balance(self, case: Case, balance: BalanceSetup) -> dict[str, Any]:
        ending = self.near if case.row.days else self.start + timedelta(days=400)
        segment = {"amount": balance.amount, "starting_at": self.start, "ending_before": ending}
        in_units = balance.credit_type == "quantity"
        unit = {"access_type": "QUANTITY"} if in_units else {"credit_type_id": self.ids[balance.credit_type]}
        access = {**unit, "schedule_items": [segment]}
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
        if case.quiet:
            body["evaluate_on_create"] = False
        case.alert_id = self.sdk.v1.alerts.create(name=case.name, **body).data.id

    def begin_days(self, lead_s: float) -> None:
        """Chooses the line of the days alerts, so that it is reached in so long; in steps of a hundred-thousandth of a day."""
        left = self.near - (clock.now() + timedelta(seconds=lead_s))
        self.days = Decimal(int(left / timedelta(milliseconds=864))) / 100_000
        self.reached_at = self.near - int(self.days * 100_000) * timedelta(milliseconds=864)

    # --- what happens -----------------------------------------------------------------------------------------------

    def use(self, cases: list[Case], phase: str) -> None:
        self.produce((case, phase, case.row.phases[phase].uses, self.used_at) for case in cases)

    def produce(self, uses: Iterable[tuple[Case, str, Iterable[Mapping[str, Any]], datetime]]) -> None:
        """(case, a name for the transaction ids, properties of each event, its time)"""
        records = []
        for case, name, every, at in uses:
            for number, properties in enumerate(every):
                event = {
                    "transaction_id": f"{case.number}-{name}-{number}",
                    "customer_id": case.customer_id,
                    "event_type": "call",
                    "timestamp": at.isoformat(),
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

    def edit_charge(self, case: Case, amount: float) -> None:
        ids: Any = {"customer_id": case.customer_id, "contract_id": case.contract_ids[0]}
        (charge,) = self.sdk.v2.contracts.retrieve(**ids).data.scheduled_charges or []
        items: Any = [{"id": (charge.schedule.schedule_items or [])[0].id, "amount": amount}]
        change: Any = {"scheduled_charge_id": charge.id, "invoice_schedule": {"update_schedule_items": items}}
        self.sdk.v2.contracts.edit(**ids, update_scheduled_charges=[change])

    def watched(self, case: Case) -> tuple[bool, str, str]:
        """The balance of a days row that its alert is about: the only one of its kind, or that which it told of first."""
        found = [each for each in case.balances if each[0] == (case.row.balances[0].kind == "CREDIT")]
        if len(found) > 1:
            segment_id = self.told(case)[0]["properties"]["segment_id"]
            found = [each for each in found if each[2] == segment_id]
        (watched,) = found
        return watched

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
