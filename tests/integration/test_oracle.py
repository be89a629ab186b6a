"""The whole path against an independent recomputation: real Kafka, real Redis, real processes, a real receiver, a real trace.

What must agree is the set of (alert, customer, transaction that crossed): for any batch size, with every event sent twice,
with workers killed on the way, and with workers that come and go. Nothing extra, nothing missing, one id for each.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import NamedTuple

import httpx
import pytest

from connectors import clock
from tests.support import scenario
from tests.support.oracle import Crossing, Event, Product, Threshold, crossings
from tests.support.receiver import Receiver
from tests.support.system import Role, System, running_redis
from tests.support.trace import HOLD_BACK, Row, shift_into_one_month

SEED = 20231116
KILLS = 10
FLOW_PARTS = 600
FLOW_PAUSE_S = 0.05  # at most 30 s in all: longer than three workers need to start and to join


class Run(NamedTuple):
    """A configured system, what to produce into it, and what the oracle says must come out."""

    system: System
    receiver: Receiver
    configured: scenario.Configured
    records: list[tuple[str, bytes]]
    expected: set[Crossing]


@contextmanager
def running(kafka: str, rows: Sequence[Row], **environment: str) -> Iterator[Run]:
    """A fresh system (Redis, topics, processes) with one worker, configured over HTTP."""
    with running_redis() as redis, Receiver() as receiver, System(kafka, redis.url, environment=environment) as system:
        system.start()
        shift = shift_into_one_month(list(rows), clock.now())
        month_start = (rows[0].at + shift).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        receiver.secret = system.post("/v1/webhook-endpoints", {"url": receiver.url})["secret"]
        configured = scenario.configure(system, month_start)
        events = scenario.oracle_events(rows, configured.customers)
        thresholds = scenario.thresholds(events, SEED)
        for threshold in thresholds:
            scenario.create_alert(system, configured, threshold)
        expected = crossings(events, scenario.products(), thresholds)
        yield Run(system, receiver, configured, scenario.record_values(rows, configured.customers, shift), expected)


def assert_agrees(run: Run) -> None:
    """Waits until all is committed and delivered, then compares with the oracle."""
    run.system.wait_settled()
    assert run.receiver.invalid == []
    ids: dict[Crossing, set[str]] = defaultdict(set)
    for body in run.receiver.bodies():
        properties = body["properties"]
        if body["type"].endswith("_reached"):
            name = run.configured.alerts[properties["alert_id"]]
            ids[Crossing(name, properties["customer_id"], properties["evidence"]["transaction_id"])].add(body["id"])
    found = set(ids)
    assert (found - run.expected, run.expected - found) == (set(), set()), "(extra, missing)"
    assert {crossing: many for crossing, many in ids.items() if len(many) > 1} == {}, "told under more than one id"
    assert len(set.union(*ids.values())) == len(run.expected), "two crossings under one id"


def owns_partitions(worker: Role) -> bool:
    try:
        return worker.metrics()["tidemark_partitions_assigned"] > 0
    except httpx.TransportError:  # it does not answer yet
        return False


def chunks(records: list[tuple[str, bytes]], count: int) -> list[list[tuple[str, bytes]]]:
    size = -(-len(records) // count)
    return [records[start : start + size] for start in range(0, len(records), size)]


# --- the oracle itself -----------------------------------------------------------------------------------------------------


def test_the_oracle_names_the_event_that_reaches_the_line_exactly() -> None:
    """By hand: 10 units at 2 and the rest at 1: 8 -> 16, 3 more -> 21 (20 + 1), 1 more -> 22."""
    events = [Event(f"t{n}", "c", {"m": Fraction(quantity)}) for n, quantity in enumerate((8, 3, 1))]
    events.insert(1, events[0])  # sent twice, counted once
    product = Product("m", [(Fraction(10), Fraction(2)), (None, Fraction(1))])
    lines = [
        Threshold("exactly", Fraction(21), None, "c"),
        Threshold("just above", Fraction(21) + Fraction(1, 10**9), None, None),
        Threshold("usage", Fraction(8), "m", None),
        Threshold("another's", Fraction(1), "m", "d"),
        Threshold("never", Fraction(23), None, None),
    ]
    found = crossings(events, [product], lines)
    assert found == {Crossing("exactly", "c", "t1"), Crossing("just above", "c", "t2"), Crossing("usage", "c", "t0")}


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 3, 15, 12, 0, tzinfo=UTC),
        datetime(2026, 3, 1, 0, 5, tzinfo=UTC),  # the hour before lies in February
        datetime(2026, 3, 1, 0, 40, tzinfo=UTC),  # it would straddle
        datetime(2026, 1, 1, 0, 0, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, tzinfo=UTC),
    ],
)
def test_the_shifted_trace_lies_in_the_past_and_in_one_month(now: datetime) -> None:
    first = datetime(2023, 11, 16, 18, 17, tzinfo=UTC)
    rows = [Row(first + timedelta(minutes=minutes), 1, 1) for minutes in (0, 30, 57)]
    shifted = [row.at + shift_into_one_month(rows, now) for row in rows]
    assert all(now - timedelta(hours=3) < at <= now - HOLD_BACK for at in shifted)
    assert len({(at.year, at.month) for at in shifted}) == 1


# --- the system against it ---------------------------------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.trace
@pytest.mark.parametrize("batch_records_max", ["1", "7", "500", None], ids=lambda size: f"batch {size or 'default'}")
def test_any_batch_size_agrees_with_the_oracle(kafka: str, trace_rows: list[Row], batch_records_max: str | None) -> None:
    environment = {} if batch_records_max is None else {"TIDEMARK_BATCH_RECORDS_MAX": batch_records_max}
    with running(kafka, trace_rows, **environment) as run:
        run.system.produce(run.records)
        assert_agrees(run)
        assert run.system.workers[0].metrics()["tidemark_events_applied_total"] == len(trace_rows)


@pytest.mark.kafka
@pytest.mark.trace
def test_every_event_sent_twice_changes_nothing(kafka: str, trace_rows: list[Row]) -> None:
    """Half of the copies follow their original at once, half come a thousand records later."""
    with running(kafka, trace_rows) as run:
        for block in chunks(run.records, 9):
            half = len(block) // 2
            doubled = [record for original in block[:half] for record in (original, original)]
            run.system.produce(doubled + block[half:] + block[half:])
        assert_agrees(run)
        counted = run.system.workers[0].metrics()
        assert counted["tidemark_events_duplicate_total"] == counted["tidemark_events_applied_total"] == len(trace_rows)


@pytest.mark.kafka
@pytest.mark.trace
def test_a_worker_killed_ten_times_loses_and_repeats_nothing(kafka: str, trace_rows: list[Row]) -> None:
    """kill -9 at a random point of each chunk, mostly with records of that chunk still to do; started again at once."""
    random = Random(SEED)
    killed_with_work_left = 0
    # After a kill the group waits for the dead member; 6 s is the least that brokers allow by default.
    settings = {"TIDEMARK_BATCH_RECORDS_MAX": "40", "TIDEMARK_KAFKA_SESSION_TIMEOUT_MS": "6000"}
    with running(kafka, trace_rows, **settings) as run:
        worker = run.system.workers[0]
        produced = 0
        for chunk in chunks(run.records, KILLS):
            start = run.system.progress()
            run.system.produce(chunk)
            produced += len(chunk)
            aim = start + random.randrange(1, len(chunk) * 3 // 4)
            run.system.wait_for("some progress", lambda aim=aim: run.system.progress() >= aim, every_s=0.001)
            worker.kill()
            killed_with_work_left += run.system.progress() < produced
            worker.start()
        assert_agrees(run)
    assert killed_with_work_left >= KILLS // 2, "the kills came too late to show anything"


@pytest.mark.kafka
@pytest.mark.trace
def test_workers_that_come_and_go_agree_with_the_oracle(kafka: str, trace_rows: list[Row]) -> None:
    """While events flow, a second worker joins, the first leaves (drains), a third joins: each time partitions move."""
    with running(kafka, trace_rows, TIDEMARK_BATCH_RECORDS_MAX="40") as run:
        system = run.system
        flowing = threading.Event()
        flowing.set()

        def flow() -> None:
            for part in chunks(run.records, FLOW_PARTS):
                system.produce(part)
                if flowing.is_set():
                    time.sleep(FLOW_PAUSE_S)

        def all_own_partitions() -> bool:
            return all(map(owns_partitions, system.workers))

        with ThreadPoolExecutor(1) as pool:
            produced = pool.submit(flow)
            system.wait_for("the flow to begin", lambda: system.progress() > 0)
            system.add_worker()
            system.wait_for("both workers to own partitions", all_own_partitions)
            system.workers.pop(0).stop()
            system.add_worker()
            system.wait_for("the second and the third to own partitions", all_own_partitions)
            assert not produced.done(), "the flow was over before the workers had come and gone"
            flowing.clear()
            produced.result()
        assert_agrees(run)
