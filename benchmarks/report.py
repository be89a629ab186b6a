"""The figures as tables, with what limits them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.latency import Sample, SteadyRun
from benchmarks.measure import percentile
from benchmarks.throughput import Drain

SHARES = (0.5, 0.99, 0.999)
SATURATED = 0.9  # of a core, or of all cores: above it, that is what limits

Measured = Sequence[tuple[SteadyRun, Sequence[Sample]]]


def print_throughput(console: Console, worker: Drain, ceiling: Drain) -> None:
    table = Table(title="Throughput: one worker drains the topic", title_justify="left")
    for column in ("", "events/s", "CPU µs an event", "cores used", "by all processes", "records a batch"):
        table.add_column(column, justify="left" if not column else "right")
    for name, drain in (("worker", worker), ("ceiling: getmany + orjson.loads", ceiling)):
        cores = (f"{drain.cpu_share:.2f}", f"{drain.machine_cpu_s / drain.elapsed_s:.2f}")
        table.add_row(name, f"{drain.per_s:,.0f}", f"{drain.cpu_us_each:.2f}", *cores, f"{drain.batch_records:,.0f}")
    console.print(table)
    console.print(f"ratio to the ceiling: [bold]{worker.per_s / ceiling.per_s:.3f}[/bold]")
    if worker.cpu_share >= SATURATED:
        console.print("Limited by the worker's own CPU: it is one Python process and uses one core.")
    else:
        waiting = 1 - worker.cpu_share
        console.print(
            f"The worker waits {waiting:.0%} of the time: for Redis and Kafka, or for a core ({os.cpu_count()} in all)."
        )


def print_latency(console: Console, measured: Measured) -> None:
    table = Table(title="Latency: append in Kafka to the webhook's first byte, ms", title_justify="left")
    for column in ("events/s", "achieved", "samples", "stage", "p50", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    for run, samples in measured:
        first = (f"{run.planned_per_s:,}", f"{run.achieved_per_s:,.0f}", f"{len(samples):,}")
        for stage, values in _stages(samples).items():
            table.add_row(*first, stage, *(f"{1000 * value:.1f}" for value in _figures(values)))
            first = ("", "", "")
    console.print(table)
    console.print("p99.9 means little below some thousand samples: then it is close to the largest one.")
    cores = os.cpu_count() or 1
    for run, _ in measured:
        used = ", ".join(f"{name} {share:.2f}" for name, share in run.cores.items())
        total = sum(run.cores.values())
        verdict = "the cores do not limit it"
        if total >= SATURATED * cores:
            verdict = "the machine's cores limit it"
        if run.cores["worker"] >= SATURATED:
            verdict = "the worker's core limits it"
        console.print(f"{run.planned_per_s:,} events/s: cores used: {used}; {total:.2f} of {cores}: {verdict}.")


def _stages(samples: Sequence[Sample]) -> dict[str, list[float]]:
    return {
        "to evaluated": [sample.evaluated_s for sample in samples],
        "to webhook": [sample.delivered_s for sample in samples],
    }


def _figures(values: Sequence[float]) -> list[float]:
    return [*(percentile(values, share) for share in SHARES), max(values)] if values else []


def as_json(worker: Drain, ceiling: Drain, measured: Measured) -> dict[str, object]:
    return {
        "throughput": {
            "worker": asdict(worker) | {"per_s": worker.per_s, "cpu_us_each": worker.cpu_us_each},
            "ceiling": asdict(ceiling) | {"per_s": ceiling.per_s, "cpu_us_each": ceiling.cpu_us_each},
            "ratio": worker.per_s / ceiling.per_s,
        },
        "latency": [
            asdict(run)
            | {"achieved_per_s": run.achieved_per_s, "samples": len(samples)}
            | {stage: _figures(values) for stage, values in _stages(samples).items()}
            for run, samples in measured
        ],
    }
