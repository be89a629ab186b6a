"""One worker drains a full topic; then the ceiling reads the same topic."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from benchmarks.load import producer
from benchmarks.measure import cpu_s, machine_cpu_s
from benchmarks.workload import Events
from tests.support.system import System

POLL_S = 0.02
DRAIN_TIMEOUT_S = 600
BLOCK = 10_000

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Drain:
    """What was read after the first batch, in how long, with how much CPU time of the process that read it, and of the machine
    as a whole. ``batch_records``: how many records a batch had on average."""

    records: int
    elapsed_s: float
    cpu_s: float
    machine_cpu_s: float
    batch_records: float

    @property
    def per_s(self) -> float:
        return self.records / self.elapsed_s

    @property
    def cpu_us_each(self) -> float:
        return self.cpu_s / self.records * 1e6

    @property
    def cpu_share(self) -> float:
        """1.0 = one core all the time."""
        return self.cpu_s / self.elapsed_s


def fill(system: System, customers: Sequence[str], exponent: float, count: int, progress: Progress) -> None:
    events = Events(customers, exponent, seed=1)
    client = producer(system.bootstrap)
    for start in range(0, count, BLOCK):
        block = min(BLOCK, count - start)
        for key, value in events.normal(block):
            client.produce(system.topic, value, key=key)
        if client.flush(60):
            raise RuntimeError("Kafka did not acknowledge the events within a minute")
        progress(start + block)


def drain_by_worker(system: System, records: int, progress: Progress, already: int = 0) -> Drain:
    """Starts a worker and watches its commits. The clock starts with its first commit: start-up does not count.
    ``already``: records of the topic that another worker drained before."""
    worker = system.add_worker()
    system.wait_for("the first commit", lambda: system.progress() > already, every_s=0.002)
    start, cpu_before, first = time.perf_counter(), cpu_s(worker.pid), system.progress() - already
    machine_before = machine_cpu_s()
    deadline = start + DRAIN_TIMEOUT_S
    while (done := system.progress() - already) < records:
        progress(done)
        if time.perf_counter() > deadline or not worker.alive():
            raise RuntimeError(f"the worker stands at {done} of {records} records:\n{worker.log_tail()}")
        time.sleep(POLL_S)
    elapsed_s, cpu = time.perf_counter() - start, cpu_s(worker.pid) - cpu_before
    machine = machine_cpu_s() - machine_before
    progress(done)
    counted = worker.metrics()
    applied = counted["tidemark_events_applied_total"]
    if applied != records:
        raise RuntimeError(f"{records} events were produced, {applied:.0f} were applied")
    return Drain(records - first, elapsed_s, cpu, machine, records / counted["tidemark_batch_events_count"])


def drain_by_ceiling(system: System, records: int) -> Drain:
    command = [sys.executable, "-m", "benchmarks.ceiling", system.topic, str(system.partitions), str(records)]
    done = subprocess.run(command, env=system.environment, stdout=subprocess.PIPE, check=True, timeout=DRAIN_TIMEOUT_S)
    return Drain(**orjson.loads(done.stdout))
