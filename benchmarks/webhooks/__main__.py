"""``python -m benchmarks.webhooks``: the dispatcher against a bare sender, and what slow endpoints and waiting retries cost."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from statistics import median

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.webhooks import isolation, memory
from benchmarks.webhooks.running import Receiver
from benchmarks.webhooks.throughput import Speed, bare, dispatched, latencies_ms, steady
from tests.support.system import running_redis

DELIVERIES_MIN = 2_000


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("--notifications", type=int, default=2_000, help="each goes to all endpoints (default 2000)")
    parser.add_argument("--endpoints", type=int, default=10, help="default 10")
    parser.add_argument("--rounds", type=int, default=3, help="sender and dispatcher in turn (default 3)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a steady rate holds (default 15)")
    parser.add_argument("--isolation-endpoints", type=int, default=1_000, help="default 1000; 0 = leave it out")
    parser.add_argument(
        "--isolation-per-s", type=float, default=200.0, help="notifications a second, one endpoint each (default 200)"
    )
    parser.add_argument("--hanging", default="0,1,10,100", help="how many of them hang (default 0,1,10,100)")
    parser.add_argument("--retries", type=int, default=100_000, help="that wait (default 100000; 0 = leave it out)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    if given.notifications * given.endpoints < DELIVERIES_MIN:
        parser.error(
            f"--notifications times --endpoints must be {DELIVERIES_MIN} at least: fewer are over before they are measured"
        )
    return given


def speed(console: Console, options: argparse.Namespace) -> dict[str, object]:
    notifications, endpoints = options.notifications, options.endpoints
    rounds: list[tuple[Speed, Speed]] = []
    with running_redis() as redis, Receiver() as receiver:
        for _ in range(options.rounds):
            sender = bare(receiver, notifications * endpoints, endpoints)
            rounds.append((sender, asyncio.run(dispatched(redis, receiver, notifications, endpoints))))
        rate = median(ours.per_s for _, ours in rounds) / 2
        first = 10**9
        asyncio.run(steady(redis, receiver, endpoints, rate, options.seconds, first))
        latency = latencies_ms(receiver.stop(), first)
    table = Table(title=f"{endpoints} endpoints, 8 requests at a time to each", title_justify="left")
    for column in ("", "deliveries/s", "CPU us each"):
        table.add_column(column, justify="left" if not column else "right")
    for sender, ours in rounds:
        table.add_row("bare sender: sign and post", f"{sender.per_s:,.0f}", f"{sender.cpu_us_each:.0f}")
        table.add_row("dispatcher", f"{ours.per_s:,.0f}", f"{ours.cpu_us_each:.0f}")
    console.print(table)
    by_rate = median(ours.per_s / sender.per_s for sender, ours in rounds)
    by_cpu = median(sender.cpu_us_each / ours.cpu_us_each for sender, ours in rounds)
    console.print(f"ratio to the bare sender: [bold]{by_rate:.2f}[/bold] by rate, [bold]{by_cpu:.2f}[/bold] by CPU (medians)")
    console.print(f"outbox to first byte at {rate:,.0f} deliveries/s: p50 {latency[0]:.1f} ms, p99 {latency[1]:.1f} ms")
    return {"ratio": by_rate, "ratio_by_cpu": by_cpu, "half_rate": rate, "latency_ms": latency}


def slow_neighbours(console: Console, options: argparse.Namespace) -> dict[str, object]:
    hanging = [int(each) for each in options.hanging.split(",")]
    with running_redis() as redis:
        found = isolation.measure(
            redis, options.isolation_endpoints, hanging, options.isolation_per_s, options.seconds, options.rounds
        )
    table = Table(
        title=f"{options.isolation_endpoints:,} endpoints: outbox to first byte of those that answer, ms", title_justify="left"
    )
    for column in ("hanging", "p50", "p99"):
        table.add_column(column, justify="right")
    for count, figures in found.items():
        table.add_row(str(count), *(f"{value:.1f}" for value in figures))
    console.print(table)
    return {"isolation_ms": {str(count): figures for count, figures in found.items()}}


def waiting(console: Console, options: argparse.Namespace) -> dict[str, object]:
    with running_redis() as redis, Receiver() as receiver:
        found = asyncio.run(memory.measure(redis, receiver, options.retries))
    console.print(
        f"{found.retries:,} waiting retries: {found.redis_bytes_each:,.0f} bytes each in Redis; the dispatcher has "
        f"{found.dispatcher_mb:.0f} MB, and {found.dispatcher_mb_without:.0f} MB without any"
    )
    return {"redis_bytes_each": found.redis_bytes_each, "dispatcher_mb": [found.dispatcher_mb_without, found.dispatcher_mb]}


def main() -> None:
    options, console = read_options(), Console()
    figures = speed(console, options)
    if options.isolation_endpoints:
        figures |= slow_neighbours(console, options)
    if options.retries:
        figures |= waiting(console, options)
    if options.json:
        options.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
