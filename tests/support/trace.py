"""The real trace that the end-to-end tests feed in: one hour of an LLM service's invocations (see ../shared/data/README.md).

It names no customers: the tests assign row n to customer n modulo the number of customers.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

TRACE_FILE = Path(__file__).parents[3] / "shared" / "data" / "azure_llm_inference_2023_code.csv"
HOLD_BACK = timedelta(minutes=10)  # between the last event and now: nothing lies in the future on a slow machine


class Row(NamedTuple):
    """One invocation. ``at`` is the trace's own time (2023)."""

    at: datetime
    input_tokens: int
    output_tokens: int


def read_trace(path: Path = TRACE_FILE) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(_instant(line["TIMESTAMP"]), int(line["ContextTokens"]), int(line["GeneratedTokens"]))
            for line in csv.DictReader(file)
        ]


def _instant(text: str) -> datetime:
    """The file counts in 100 ns; we keep microseconds."""
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)


def shift_into_one_month(rows: list[Row], now: datetime) -> timedelta:
    """What to add to each row's time so that all lie in the past and within one UTC month."""
    shift = now - HOLD_BACK - rows[-1].at
    first, last = rows[0].at + shift, rows[-1].at + shift
    if (first.year, first.month) != (last.year, last.month):
        month_start = last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        shift -= last - month_start + timedelta(minutes=1)
    return shift
