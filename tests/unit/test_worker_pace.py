"""Batches grow behind a backlog and shrink when they take too long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from connectors.kafka.pace import Pace


def records(*sizes: int) -> list[Any]:
    return [SimpleNamespace(value=b"x" * size) for size in sizes]


def test_full_quick_batches_grow_to_the_limit() -> None:
    pace = Pace(4_000, 50)
    for _ in range(10):
        pace.learn(pace.records, 0.001)
    assert pace.records == 4_000


def test_a_batch_that_was_not_full_says_nothing() -> None:
    pace = Pace(4_000, 50)
    before = pace.records
    pace.learn(before - 1, 0.001)
    assert pace.records == before


def test_a_slow_batch_shrinks_in_proportion_but_not_to_nothing() -> None:
    pace = Pace(4_000, 50)
    pace.learn(1_000, 0.5)
    assert pace.records == 100
    pace.learn(1, 60.0)
    assert 1 <= pace.records <= 16


def test_a_batch_is_bounded_in_bytes_but_never_empty() -> None:
    megabyte = 1_048_576
    assert Pace.cut(records(10, 10)) == 2
    assert Pace.cut(records(*[megabyte] * 10)) == 4
    assert Pace.cut(records(5 * megabyte, 1)) == 1


def test_a_fetch_is_bounded_in_bytes_by_the_size_of_the_latest_records() -> None:
    """One compressed batch may hold hundreds of records of a megabyte; each that is taken out is a copy."""
    megabyte = 1_048_576
    pace = Pace(4_000, 50)
    assert pace.fetch == 32
    for _ in range(12):
        pace.weigh(records(*[200] * 32))
    assert pace.fetch == pace.records
    pace.weigh(records(megabyte, megabyte))
    assert pace.fetch == 8
    pace.weigh(records(200, 200))
    assert pace.fetch == 16
    pace.weigh(records(100 * megabyte))
    assert pace.fetch == 1
    pace.weigh([])
    assert pace.fetch == 1
