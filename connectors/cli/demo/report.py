"""What the demo shows at its end: the table, the latencies, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from connectors.cli.demo.expected import Crossing, Rule
from connectors.cli.demo.receiver import Received, Receiver
from connectors.cli.demo.scenario import Scenario

_ROWS_MAX = 25


@dataclass(frozen=True, slots=True)
class Arrival:
    """A webhook as a crossing. ``latency_ms``: from handing the event to the Kafka producer to the receiver."""

    crossing: Crossing
    latency_ms: float | None


def arrivals(receiver: Receiver, scenario: Scenario, sent_at_s: Mapping[str, float]) -> list[Arrival]:
    """In the order in which they came. What names no alert or customer of ours becomes a crossing that nobody expects."""
    return [_arrival(received, scenario, sent_at_s) for received in receiver.received.values()]


def _arrival(received: Received, scenario: Scenario, sent_at_s: Mapping[str, float]) -> Arrival:
    properties = received.properties
    rule = scenario.rules.get(properties.get("alert_id", ""))
    customer = properties.get("customer_id")
    transaction_id = properties.get("evidence", {}).get("transaction_id", "")
    groups = properties.get("group_values", [])
    crossing = Crossing(
        rule=rule.name if rule and received.type.endswith("_reached") else received.type,
        customer=scenario.customers.index(customer) if customer in scenario.customers else -1,
        model=groups[0]["value"] if groups else None,
        transaction_id=transaction_id,
        value=Decimal(properties.get("value", 0)),
    )
    sent = sent_at_s.get(transaction_id)
    return Arrival(crossing, None if sent is None else (received.at_s - sent) * 1000)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def show_table(console: Console, found: Sequence[Arrival], rules: Sequence[Rule]) -> None:
    by_name = {rule.name: rule for rule in rules}
    table = Table(title="Alerts that went off, in the order of their webhooks", title_justify="left")
    for name in ("alert", "customer", "model", "at event"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "threshold", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for arrival in found[:_ROWS_MAX]:
        crossing = arrival.crossing
        rule = by_name.get(crossing.rule)
        table.add_row(
            escape(crossing.rule),
            str(crossing.customer),
            crossing.model or "",
            escape(crossing.transaction_id),
            _amount(crossing.value, rule),
            _amount(Decimal(rule.threshold), rule) if rule else "",
            "" if arrival.latency_ms is None else f"{arrival.latency_ms:.1f}",
        )
    console.print(table)
    if len(found) > _ROWS_MAX:
        console.print(f"... and {len(found) - _ROWS_MAX} more", highlight=False)


def _amount(value: Decimal, rule: Rule | None) -> str:
    if rule is None or rule.measure == "output tokens":
        return f"{value.normalize():f}"
    return f"${value / 100:.4f}"


def show_latencies(console: Console, found: Sequence[Arrival]) -> None:
    latencies = [arrival.latency_ms for arrival in found if arrival.latency_ms is not None]
    if latencies:
        console.print(
            f"From the event's hand-over to Kafka to the webhook's arrival: p50 {percentile(latencies, 50):.1f} ms, "
            f"p99 {percentile(latencies, 99):.1f} ms, max {max(latencies):.1f} ms",
            highlight=False,
            soft_wrap=True,
        )


def show_verdict(console: Console, found: Sequence[Arrival], expected: set[Crossing], receiver: Receiver) -> bool:
    """Whether exactly the expected webhooks arrived, each with valid signatures; says what is amiss if not."""
    got = [arrival.crossing for arrival in found]
    missing, extra = expected - set(got), [crossing for crossing in got if crossing not in expected]
    twice = len(got) - len(set(got))
    for kind, crossings in (("missing", missing), ("not expected", extra)):
        for crossing in list(crossings)[:5]:
            console.print(f"[red]{kind}[/]: {escape(str(crossing))}", highlight=False, soft_wrap=True)
    if receiver.invalid:
        console.print(f"[red]{len(receiver.invalid)} requests without valid signatures[/]: {escape(receiver.invalid[0])}")
    if receiver.repeated:
        console.print(f"{receiver.repeated} deliveries were repeated under the same id and dropped", highlight=False)
    if missing or extra or twice or receiver.invalid:
        console.print(f"[bold red]Wrong[/]: {len(missing)} missing, {len(extra)} not expected, {twice} under a second id")
        return False
    console.print(
        f"[bold green]Right[/]: {len(got)} of {len(expected)} expected webhooks arrived, none else, all signatures valid, each "
        "at the event and with the value that an independent recomputation from the raw events gives.",
        highlight=False,
        soft_wrap=True,
    )
    return True
