"""The demo's usage events: made from a seed, or read from a trace of an LLM inference service.

A trace names neither customers nor models; both are the demo's own assignment: customer = row number modulo the number of
customers, model = (row number divided by the number of customers) modulo the number of models.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.cli.errors import Fault

MODELS = ("small", "medium", "large")
SPAN_MAX = timedelta(days=27)  # all events shall lie in one billing month and within the accepted age
_GENERATED_SPAN_S = 3600
_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model: ``customer`` is an index, ``at`` is in UTC."""

    transaction_id: str
    customer: int
    model: str
    at: datetime
    input_tokens: int
    output_tokens: int


def generate(events: int, customers: int, seed: int, until: datetime) -> list[Call]:
    """``events`` calls spread over the hour before ``until``; a few customers make most of them."""
    chance = random.Random(seed)
    weights = [1 / (index + 2) for index in range(customers)]
    offsets_s = sorted(chance.uniform(0, _GENERATED_SPAN_S) for _ in range(events))
    return [
        Call(
            transaction_id=f"demo-{seed}-{row}",
            customer=chance.choices(range(customers), weights)[0],
            model=chance.choice(MODELS),
            at=until - timedelta(seconds=_GENERATED_SPAN_S - offset_s),
            input_tokens=int(chance.lognormvariate(7, 1)),
            output_tokens=int(chance.lognormvariate(4, 1)),
        )
        for row, offset_s in enumerate(offsets_s)
    ]


def read_trace(path: Path, customers: int, until: datetime) -> list[Call]:
    """The rows of a CSV, shifted in time so that the last one happens at ``until``.

    Raises Fault, naming the line and the broken rule.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(_rows(path, file))
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path} cannot be read: {error}") from error
    if not rows:
        raise Fault(f"{path} has no rows")
    first, last = min(at for at, _, _ in rows), max(at for at, _, _ in rows)
    if last - first > SPAN_MAX:
        raise Fault(f"{path} spans {last - first}; the demo replays at most {SPAN_MAX.days} days")
    return [
        Call(
            transaction_id=f"row-{row}",
            customer=row % customers,
            model=MODELS[row // customers % len(MODELS)],
            at=at + (until - last),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
        for row, (at, input_tokens, output_tokens) in enumerate(rows)
    ]


def _rows(path: Path, file: Iterator[str]) -> Iterator[tuple[datetime, int, int]]:
    reader = csv.reader(file)
    header = next(reader, [])
    if [name.strip() for name in header] != list(_COLUMNS):
        raise Fault(f"{path} line 1: the columns must be {', '.join(_COLUMNS)}")
    for cells in reader:
        where = f"{path} line {reader.line_num}"
        if not cells:
            continue
        if len(cells) != len(_COLUMNS):
            raise Fault(f"{where}: {len(_COLUMNS)} columns are needed, {len(cells)} are there")
        try:
            at = datetime.fromisoformat(cells[0].strip())
        except ValueError:
            raise Fault(f"{where}: TIMESTAMP must be a date and a time like 2023-11-16 18:17:03.979, not {cells[0]!r}") from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        yield at, _tokens(where, _COLUMNS[1], cells[1]), _tokens(where, _COLUMNS[2], cells[2])


def _tokens(where: str, column: str, text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Fault(f"{where}: {column} must be a whole number of tokens, at least 0, not {text!r}")
    return int(text)
