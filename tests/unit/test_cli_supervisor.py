"""Processes under the supervisor: restart, back-off, readiness, order of stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from connectors.cli.supervisor import Backoff, Child, ChildGone, ChildSpec, Supervisor

READY = "import os; os.write(int(os.environ['TIDEMARK_READY_FD']), b'here\\n'); "
WAIT = "import time; time.sleep(60)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.fixture(autouse=True)
def _fast_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "FIRST_S", 0.01)


async def until_other(child: Child, pid: int | None) -> int:
    while child.pid in (None, pid):
        await asyncio.sleep(0.01)
    assert child.pid is not None
    return child.pid


def test_backoff_doubles_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "FIRST_S", 1.0)
    backoff = Backoff()
    assert [backoff.after(0.5) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_backoff_begins_again_after_a_minute_of_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "FIRST_S", 1.0)
    backoff = Backoff()
    for _ in range(4):
        backoff.after(59.9)
    assert [backoff.after(60.0), backoff.after(0.0)] == [1, 2]


async def test_a_child_that_is_killed_gets_a_successor() -> None:
    ended: list[int] = []
    supervisor = Supervisor()
    child = supervisor.start(ChildSpec("sleeper", python(READY + WAIT), on_exit=ended.append))
    assert await supervisor.ready(child) == ["here"]
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = await asyncio.wait_for(until_other(child, first), 10)
    assert second != first
    assert ended == [first]
    await supervisor.stop()
    assert ended == [first, second]


async def test_a_child_that_says_it_is_hopeless_is_not_started_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    supervisor = Supervisor()
    code = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(2)"
    child = supervisor.start(ChildSpec("worker", python(code, str(starts))))
    with pytest.raises(ChildGone, match="worker cannot run with this configuration"):
        await asyncio.wait_for(supervisor.ready(child), 10)
    assert starts.read_text() == "x"
    await supervisor.stop()


async def test_a_child_without_a_useful_successor_ends_everything() -> None:
    supervisor = Supervisor()
    supervisor.start(ChildSpec("embedded broker", python("raise SystemExit(3)"), restart=False))
    never = asyncio.Event()
    assert await asyncio.wait_for(supervisor.until(never), 10) == "the embedded broker has ended (exit code 3)"
    await supervisor.stop()


async def test_children_stop_one_after_the_other_last_started_first(tmp_path: Path) -> None:
    record = tmp_path / "stops"
    code = (
        "import os, signal, sys, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "os.write(int(os.environ['TIDEMARK_READY_FD']), b'\\n')\n"
        "signal.sigwait({signal.SIGTERM})\n"
        "open(sys.argv[1], 'a').write(f'{sys.argv[2]} asked\\n')\n"
        "time.sleep(0.2)\n"
        "open(sys.argv[1], 'a').write(f'{sys.argv[2]} done\\n')\n"
    )
    supervisor = Supervisor()
    children = [
        supervisor.start(ChildSpec(name, python(code, str(record), name))) for name in ("redis", "dispatcher", "worker", "api")
    ]
    await supervisor.ready(*children)
    await supervisor.stop()
    expected = [f"{name} {what}" for name in ("api", "worker", "dispatcher", "redis") for what in ("asked", "done")]
    assert record.read_text().splitlines() == expected


async def test_a_child_that_does_not_drain_is_killed() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + WAIT
    supervisor = Supervisor()
    child = supervisor.start(ChildSpec("stubborn", python(code), stop_timeout_s=0.2))
    await supervisor.ready(child)
    await asyncio.wait_for(supervisor.stop(), 10)
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal exists on Linux only")
def test_a_tethered_process_ends_with_its_parent() -> None:
    """The grandchild is held by a parent that is killed without a chance to clean up."""
    import subprocess

    code = (
        "import subprocess, sys, time\n"
        "from connectors.embedded.tether import tethered\n"
        "child = subprocess.Popen(tethered([sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(60)']))\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(python(code), stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"1\n"  # the grandchild runs
    parent.kill()
    parent.wait(timeout=10)
    assert parent.stdout.read() == b""  # end of file: nobody holds the pipe any more
    parent.stdout.close()
