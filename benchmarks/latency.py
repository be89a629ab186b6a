"""From a record's append in Kafka to the first byte of its webhook at the receiver, at a steady rate of events.

Append time is the broker's (LogAppendTime, whole milliseconds), receive time the receiver's: one clock, one machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from benchmarks.load import Plan
from benchmarks.measure import cpu_s, machine_cpu_s
from tests.support.system import System

LOAD_GRACE_S = 60
SETTLE_TIMEOUT_S = 120


class ReceiverProcess:
    """benchmarks.receiver as a process; ``stop`` returns what it has received."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidemark-bench-")
        self._result = Path(self._folder.name) / "received.json"
        command = [sys.executable, "-m", "benchmarks.receiver", str(self._result)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> list[tuple[float, dict[str, Any]]]:
        self._process.terminate()
        self._process.wait(30)
        return [(at, body) for at, _path, body in orjson.loads(self._result.read_bytes())]

    def __enter__(self) -> ReceiverProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


@dataclass(frozen=True, slots=True)
class SteadyRun:
    """One stretch of steady load. ``cores``: process -> share of one core that it used; "others" is all that is not ours."""

    planned_per_s: int
    sent: int
    elapsed_s: float
    started_at: float
    ended_at: float
    cores: dict[str, float]

    @property
    def achieved_per_s(self) -> float:
        return self.sent / self.elapsed_s


@dataclass(frozen=True, slots=True)
class Sample:
    """One notification: ``evaluated_s`` and ``delivered_s`` count from the append."""

    evaluated_s: float
    delivered_s: float


def run_steady(system: System, plan: Plan, pids: Mapping[str, int]) -> SteadyRun:
    before, machine_before = {name: cpu_s(pid) for name, pid in pids.items()}, machine_cpu_s()
    started_at = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=orjson.dumps(asdict(plan)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=plan.seconds + LOAD_GRACE_S,
    )
    result = orjson.loads(done.stdout)
    ended_at = time.time()
    elapsed_s = ended_at - started_at
    cores = {name: (cpu_s(pid) - before[name]) / elapsed_s for name, pid in pids.items()}
    cores["producer"] = result["cpu_s"] / elapsed_s
    cores["others"] = max(0.0, (machine_cpu_s() - machine_before) / elapsed_s - sum(cores.values()))
    system.wait_settled(SETTLE_TIMEOUT_S)
    return SteadyRun(plan.rate, int(result["sent"]), result["elapsed_s"], started_at, ended_at, cores)


def samples(run: SteadyRun, received: Sequence[tuple[float, dict[str, Any]]]) -> list[Sample]:
    """The notifications whose record was appended during the run, each once (its first delivery)."""
    found: dict[str, Sample] = {}
    for at, body in received:
        evidence = body["properties"].get("evidence")
        if evidence is None or body["id"] in found:
            continue
        appended_at = datetime.fromisoformat(evidence["appended_at"]).timestamp()
        if run.started_at <= appended_at <= run.ended_at:
            evaluated_at = datetime.fromisoformat(evidence["evaluated_at"]).timestamp()
            found[body["id"]] = Sample(evaluated_at - appended_at, at - appended_at)
    return list(found.values())
