"""``python -m benchmarks.scale``: one customer with many alerts, or with many group values, against one with a single alert.

Each case is a customer of its own, whose events one worker drains from a real Apache Kafka into a real Redis. What counts are the
ratios within one run: a customer's alerts must not slow its events down. Ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.configuration import Api
from benchmarks.load import producer
from benchmarks.measure import resident_bytes
from benchmarks.throughput import drain_by_worker
from tests.support.kafka_server import KafkaServer, KafkaUnavailable
from tests.support.system import TOKEN, System, running_redis

GROUP_KEYS = ("region", "model", "user")
FAR_CENTS = 10**9  # a line that no event of the run reaches
COMMIT_CENTS = 10**12


@dataclass(frozen=True, slots=True)
class Case:
    """``compared``: the name of the case that it is a ratio of."""

    name: str
    event_type: str
    grouped: bool
    alerts: list[dict[str, Any]]
    compared: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    name: str
    events_per_s: float
    cpu_us_each: float
    ratio: float | None
    worker_bytes: int


def cases(alerts: int) -> list[Case]:
    spend = {"alert_type": "spend_threshold_reached", "threshold": FAR_CENTS}
    kinds: tuple[dict[str, Any], ...] = (
        spend,
        {"alert_type": "usage_threshold_reached", "threshold": FAR_CENTS},
        {"alert_type": "low_remaining_commit_balance_reached", "threshold": 1},
    )
    many = [{**kinds[n % len(kinds)], "threshold": kinds[n % len(kinds)]["threshold"] + n} for n in range(alerts)]
    every_value = [{**spend, "group_values": [{"key": key}]} for key in GROUP_KEYS]
    return [
        Case("one alert", "plain-one", grouped=False, alerts=[spend]),
        Case(f"{alerts:,} alerts", "plain-many", grouped=False, alerts=many, compared="one alert"),
        Case("group keys, one alert", "grouped-one", grouped=True, alerts=[spend]),
        Case("group keys, each value has its alert", "grouped-many", True, every_value, compared="group keys, one alert"),
    ]


async def configure(system: System, made: list[Case]) -> dict[str, str]:
    """Creates metric, product, rate and customer of each case. Returns the customers' ids by event type."""
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(system.api_url, headers=headers) as session:
        api = Api(session)
        rate_card = (await api.post("/v1/contract-pricing/rate-cards/create", {"name": "scale"}))["id"]
        fee = (await api.post("/v1/contract-pricing/products/create", {"name": "commit", "type": "FIXED"}))["id"]
        return {case.event_type: await _customer(api, case, rate_card, fee, month) for case in made}


async def _customer(api: Api, case: Case, rate_card: str, fee: str, month: datetime) -> str:
    metric = {
        "name": case.event_type,
        "aggregation_type": "SUM",
        "aggregation_key": "units",
        "event_type_filter": {"in_values": [case.event_type]},
        "property_filters": [{"name": "units", "exists": True}],
        "group_keys": [[key] for key in GROUP_KEYS] if case.grouped else [],
    }
    metric_id = (await api.post("/v1/billable-metrics/create", metric))["id"]
    product = {"name": case.event_type, "type": "USAGE", "billable_metric_id": metric_id}
    product_id = (await api.post("/v1/contract-pricing/products/create", product))["id"]
    rate = {"rate_card_id": rate_card, "product_id": product_id, "starting_at": month, "entitled": True, "rate_type": "FLAT"}
    await api.post("/v1/contract-pricing/rate-cards/addRate", {**rate, "price": 1})
    customer_id: str = (await api.post("/v1/customers", {"name": case.name}))["id"]
    segment = {"amount": COMMIT_CENTS, "starting_at": month, "ending_before": month + timedelta(days=90)}
    commit = {"product_id": fee, "type": "PREPAID", "priority": 1, "access_schedule": {"schedule_items": [segment]}}
    contract = {"customer_id": customer_id, "rate_card_id": rate_card, "starting_at": month, "commits": [commit]}
    await api.post("/v1/contracts/create", contract)
    for number, alert in enumerate(case.alerts):
        more = {"billable_metric_id": metric_id} if alert["alert_type"].startswith("usage") else {}
        await api.post("/v1/alerts/create", {**alert, **more, "customer_id": customer_id, "name": f"{number}"})
    return customer_id


def events(case: Case, customer_id: str, count: int, values: int) -> Iterator[bytes]:
    chosen = random.Random(case.event_type)
    run = f"{case.event_type}-{time.time_ns():x}"
    for number in range(count):
        properties = {"units": chosen.randrange(1, 10)} | {key: f"{key}-{chosen.randrange(values)}" for key in GROUP_KEYS}
        fields = {"transaction_id": f"{run}-{number}", "customer_id": customer_id, "event_type": case.event_type}
        yield orjson.dumps({**fields, "timestamp": datetime.now(UTC), "properties": properties}, option=orjson.OPT_UTC_Z)


def run(count: int, alerts: int, values: int, console: Console) -> list[Figures]:
    made = cases(alerts)
    found: list[Figures] = []
    with (
        KafkaServer(heap_mb=1024) as kafka,
        running_redis() as redis,
        System(kafka.bootstrap, redis.url, partitions=1, environment={"TIDEMARK_LOG_LEVEL": "WARNING"}) as system,
    ):
        system.start(workers=0, dispatcher=False)
        console.print("customers and alerts")
        customers = asyncio.run(configure(system, made))
        client = producer(system.bootstrap)
        for number, case in enumerate(made):
            console.print(f"{case.name}: {count:,} events")
            for value in events(case, customers[case.event_type], count, values):
                client.produce(system.topic, value, key=customers[case.event_type])
                client.poll(0)
            if client.flush(60):
                raise RuntimeError("Kafka did not acknowledge the events within a minute")
            drain = drain_by_worker(system, count, lambda _: None, already=number * count)
            worker = system.workers.pop()
            size = resident_bytes(worker.pid)
            worker.stop()
            base = next((each.events_per_s for each in found if each.name == case.compared), None)
            found.append(Figures(case.name, drain.per_s, drain.cpu_us_each, base and drain.per_s / base, size))
    return found


def print_figures(console: Console, found: list[Figures], values: int) -> None:
    table = Table(title="One customer, one worker", title_justify="left")
    for column in ("", "events/s", "CPU µs an event", "ratio", "worker MB"):
        table.add_column(column, justify="right" if column else "left")
    for each in found:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        table.add_row(each.name, f"{each.events_per_s:,.0f}", f"{each.cpu_us_each:.1f}", ratio, f"{each.worker_bytes / 1e6:,.0f}")
    console.print(table)
    plain, grouped, watched = (found[place].worker_bytes for place in (0, 2, 3))
    groups = len(GROUP_KEYS) * values
    console.print(
        f"{groups:,} group values: {(grouped - plain) / groups:,.0f} bytes for the windows of each, "
        f"{(watched - grouped) / groups:,.0f} more for its alert"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        epilog="example: python -m benchmarks.scale --events 50000 --json scale.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=200_000, help="events of each customer (default 200000)")
    parser.add_argument("--alerts", type=int, default=1_200, help="alerts of the customer with many (default 1200)")
    parser.add_argument("--values", type=int, default=5_000, help="values of each of the three group keys (default 5000)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    if not Path("/proc/stat").exists():
        raise SystemExit("the benchmarks read CPU times from /proc: they run on Linux")
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        found = run(given.events, given.alerts, given.values, console)
    except KafkaUnavailable as problem:
        raise SystemExit(str(problem)) from None
    print_figures(console, found, given.values)
    if given.json:
        given.json.write_bytes(orjson.dumps([asdict(each) for each in found], option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
