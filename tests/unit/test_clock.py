"""Time comes from one place: no module reads the wall clock but connectors/clock.py, and a shift moves all that it says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors import clock

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("engine", "connectors", "schemas") for path in (ROOT / part).rglob("*.py"))
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def reads_of_the_wall_clock(source: str) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [
        f"{call.value.id}.{call.attr}" for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
    ]
    return [name for name in names if name in WALL_CLOCK]


@pytest.fixture
def shifted() -> Iterator[None]:
    before_s = clock.shift_s()
    clock.set_shift_s(86_400)
    yield
    clock.set_shift_s(before_s)


def test_nobody_but_the_clock_reads_the_wall_clock() -> None:
    found = {str(path.relative_to(ROOT)): reads_of_the_wall_clock(path.read_text("utf-8")) for path in SOURCES}
    assert {path for path, reads in found.items() if reads} == {"connectors/clock.py"}


def test_no_test_reads_the_wall_clock_for_meaning() -> None:
    """Those that are named set the clock by it, or live in virtual time."""
    tests = sorted((ROOT / "tests").rglob("*.py"))
    found = {str(path.relative_to(ROOT)) for path in tests if reads_of_the_wall_clock(path.read_text("utf-8"))}
    assert found == {
        "tests/conformance/test_invoices.py",
        "tests/simulation/test_dispatcher.py",
        "tests/support/crashing.py",
        "tests/support/instants.py",
        "tests/unit/test_clock.py",
    }


@pytest.mark.usefixtures("shifted")
def test_a_shift_moves_all_that_the_clock_says() -> None:
    before_ms = time.time_ns() // 1_000_000
    said = (
        clock.now_s(),
        clock.now_ms() / 1000,
        clock.now_us() / 1e6,
        clock.now().timestamp(),
        clock.shifted_ms(before_ms) / 1000,
    )
    for each_s in said:
        assert 86_399 < each_s - before_ms / 1000 < 86_460


def test_a_shift_that_is_no_number_is_refused_by_its_name_and_not_by_a_traceback() -> None:
    command = [sys.executable, "-m", "connectors.cli.main", "worker"]
    ran = subprocess.run(
        command, env={**os.environ, clock.SHIFT_VARIABLE: "soon"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert f"{clock.SHIFT_VARIABLE}: " in ran.stderr
    assert "Traceback" not in ran.stderr
