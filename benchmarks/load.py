"""A producer at a steady rate, as a process of its own (``python -m benchmarks.load``): a JSON plan on standard input,
a JSON result on standard output.

Every tick it sends what is due by then, so that a stall is made good and the rate holds on average; the result tells the
rate that was achieved, so that a machine too slow for the plan shows.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import orjson
from confluent_kafka import Producer

from benchmarks.workload import Events

TICK_S = 0.005


@dataclass(frozen=True, slots=True)
class Plan:
    bootstrap: str
    topic: str
    customers: list[str]
    exponent: float
    rate: int  # events a second
    seconds: float
    jumps_per_s: int
    first_jump: int  # index, from the least busy customer on, of the first one that jumps


def producer(bootstrap: str) -> Producer:
    """Keys go where the Java client would put them; 5 ms of linger let the client fill its batches."""
    return Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "acks": "all", "linger.ms": 5, "log_level": 3}
    )


def run(plan: Plan) -> dict[str, float]:
    events = Events(plan.customers, plan.exponent, seed=plan.rate)
    client = producer(plan.bootstrap)
    start = time.perf_counter()
    sent = jumps = 0
    total = int(plan.rate * plan.seconds)
    while sent < total:
        elapsed_s = time.perf_counter() - start
        due = min(total, int(elapsed_s * plan.rate)) - sent
        for key, value in events.normal(due):
            client.produce(plan.topic, value, key=key)
        sent += due
        while jumps < int(elapsed_s * plan.jumps_per_s):
            key, value = events.jump(plan.customers[-1 - (plan.first_jump + jumps) % len(plan.customers)])
            client.produce(plan.topic, value, key=key)
            jumps += 1
        client.poll(0)
        time.sleep(max(0.0, TICK_S - (time.perf_counter() - start - elapsed_s)))
    left = client.flush(30)
    elapsed_s = time.perf_counter() - start
    return {"sent": sent + jumps - left, "jumps": jumps, "elapsed_s": elapsed_s, "cpu_s": time.process_time()}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(run(Plan(**orjson.loads(sys.stdin.buffer.read())))) + b"\n")
