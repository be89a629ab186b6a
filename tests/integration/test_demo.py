"""`tidemark demo` from the outside: what it shows, and its exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.trace import TRACE_FILE

COMMAND = [str(Path(sys.executable).with_name("tidemark")), "demo"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_shows_each_alert_with_its_event_and_exits_0() -> None:
    result = run("--events", "1500", "--customers", "6", "--speed", "0", "--seed", "3")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Right" in result.stdout
    for column in ("alert", "customer", "at event", "value", "threshold", "ms"):
        assert column in result.stdout
    assert "demo-3-" in result.stdout
    assert re.search(r"p50 [\d.]+ ms, p99 [\d.]+ ms", result.stdout)
    assert "\x1b[" not in result.stdout  # no colours and bars where nobody sees them


def test_the_demo_replays_a_trace(tmp_path: Path, trace_rows: list[object]) -> None:
    assert trace_rows
    head = tmp_path / "head.csv"
    head.write_text("".join(TRACE_FILE.read_text().splitlines(keepends=True)[:1201]))
    result = run("--trace", str(head), "--customers", "8", "--speed", "0")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1,200 events" in result.stdout
    assert "row-" in result.stdout


def test_a_bad_trace_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,many,1\n")
    result = run("--trace", str(bad))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "bad.csv line 2: ContextTokens must be a whole number" in result.stderr
