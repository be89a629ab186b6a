"""``python -m benchmarks``: prints throughput against its ceiling, and latency at steady rates. Ends by itself."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import latency, report, throughput
from benchmarks.configuration import configure
from benchmarks.load import Plan
from tests.support.kafka_server import KafkaServer, KafkaUnavailable
from tests.support.system import TOKEN, System, running_redis

WARM_UP_S = 5.0
WIDTH_IN_A_FILE = 120
QUIET = {"TIDEMARK_LOG_LEVEL": "WARNING"}  # no line for each request of the set-up


@dataclass(frozen=True, slots=True)
class Options:
    events: int
    customers: int
    partitions: int
    zipf: float
    rates: list[int]
    seconds: float
    notifications_per_s: int
    json: Path | None


def read_options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small defaults: 50,000 events, 1,000 customers, 10 s a rate")
    parser.add_argument("--events", type=int, help="events that one worker drains (default 500000)")
    parser.add_argument("--customers", type=int, help="customers, five alerts each (default 10000)")
    parser.add_argument("--partitions", type=int, default=12, help="partitions of the topic (default 12)")
    parser.add_argument("--zipf", type=float, default=1.0, help="skew: customer n gets 1/n**ZIPF of the usage (default 1.0)")
    parser.add_argument("--rates", default="2000,10000", help="steady rates, events/s (default 2000,10000)")
    parser.add_argument("--seconds", type=float, help="how long each rate holds (default 30)")
    parser.add_argument("--notifications-per-s", type=int, help="webhooks a second at a steady rate (default 100)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    small = given.quick
    options = Options(
        events=given.events or (50_000 if small else 500_000),
        customers=given.customers or (1_000 if small else 10_000),
        partitions=given.partitions,
        zipf=given.zipf,
        rates=[int(rate) for rate in given.rates.split(",") if rate],
        seconds=given.seconds or (10.0 if small else 30.0),
        notifications_per_s=given.notifications_per_s or (50 if small else 100),
        json=given.json,
    )
    if options.notifications_per_s * options.seconds * len(options.rates) > options.customers:
        parser.error("each customer may cross a line once: more customers, or fewer seconds or notifications")
    return options


@contextmanager
def bar(console: Console, text: str, total: int) -> Iterator[throughput.Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)


def run(options: Options, console: Console) -> dict[str, object]:
    with (
        KafkaServer(heap_mb=1024) as kafka,
        running_redis() as redis,
        latency.ReceiverProcess() as receiver,
        System(kafka.bootstrap, redis.url, partitions=options.partitions, environment=QUIET) as system,
    ):
        system.start(workers=0, dispatcher=False)
        with bar(console, "customers, contracts, alerts", options.customers) as progress:
            created = iter(range(1, options.customers + 1))
            setup = configure(system.api_url, TOKEN, options.customers, receiver.url, lambda: progress(next(created)))
            customers = asyncio.run(setup)
        with bar(console, "events into Kafka", options.events) as progress:
            throughput.fill(system, customers, options.zipf, options.events, progress)
        with bar(console, "one worker drains them", options.events) as progress:
            drain = throughput.drain_by_worker(system, options.events, progress)
        system.workers.pop().stop()
        console.print("the ceiling reads them")
        ceiling = throughput.drain_by_ceiling(system, options.events)
        report.print_throughput(console, drain, ceiling)

        system.dispatcher.start()
        worker = system.add_worker()
        system.wait_settled(latency.SETTLE_TIMEOUT_S)
        pids = {"Kafka": kafka.pid, "Redis": redis.pid, "worker": worker.pid, "dispatcher": system.dispatcher.pid}
        pids["receiver"] = receiver.pid

        def steady(rate: int, seconds: float, notifications_per_s: int, first_jump: int) -> latency.SteadyRun:
            console.print(f"{rate:,} events/s for {seconds:g} s")
            plan = Plan(kafka.bootstrap, system.topic, customers, options.zipf, rate, seconds, notifications_per_s, first_jump)
            return latency.run_steady(system, plan, pids)

        if options.rates:
            steady(options.rates[0], WARM_UP_S, 0, 0)  # not counted
        each = round(options.notifications_per_s * options.seconds)
        runs = [
            steady(rate, options.seconds, options.notifications_per_s, number * each) for number, rate in enumerate(options.rates)
        ]
        received = receiver.stop()
        measured = [(stretch, latency.samples(stretch, received)) for stretch in runs]
        report.print_latency(console, measured)
        return report.as_json(drain, ceiling, measured)


def main() -> None:
    options = read_options()
    if not Path("/proc/stat").exists():
        raise SystemExit("the benchmarks read CPU times from /proc: they run on Linux")
    console = Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE)
    machine = Table.grid(padding=(0, 2))
    machine.add_row("machine", f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    machine.add_row("load", f"{options.events:,} events, {options.customers:,} customers (Zipf {options.zipf:g}), 5 alerts each")
    machine.add_row("topic", f"{options.partitions} partitions, Apache Kafka, one node")
    console.print(machine)
    try:
        figures = run(options, console)
    except KafkaUnavailable as problem:
        raise SystemExit(str(problem)) from None
    if options.json:
        options.json.write_bytes(
            orjson.dumps({"options": asdict(options) | {"json": None}} | figures, option=orjson.OPT_INDENT_2)
        )


if __name__ == "__main__":
    main()
