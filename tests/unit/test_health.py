"""What a role says of itself: its loops, and what it adds."""

from __future__ import annotations

import asyncio

import pytest

from connectors import background
from connectors.background import loops_problem, repeat
from connectors.health import Health, Report


async def test_a_role_is_ready_while_its_loops_turn_and_what_it_tells_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAILED_PAUSE_FIRST_S", 0.001)
    health, stop, broken = Health(), asyncio.Event(), False

    async def turn() -> None:
        if broken:
            raise ConnectionError

    assert not health.report().ready
    health.started = True
    assert health.report().ready
    task = asyncio.create_task(repeat("a loop", turn, stop, 0.001))
    await asyncio.sleep(0.01)
    assert health.report().ready
    broken = True
    await asyncio.sleep(0.05)
    assert "a loop fails since 0 s (ConnectionError)" in health.report().checks["loops"]
    assert not health.report().ready
    broken = False
    await asyncio.sleep(0.1)
    assert health.report().ready
    health.tell_by(lambda: Report({"partition 3": "stopped"}))
    assert not health.report().ready
    stop.set()
    await task
    assert loops_problem() == ""


async def test_a_loop_that_hangs_in_a_turn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STUCK_S", 0.01)
    task = asyncio.create_task(repeat("a loop", asyncio.Event().wait, asyncio.Event(), 0.01))
    await asyncio.sleep(0.1)
    assert loops_problem().startswith("a loop has not turned for")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert loops_problem() == ""
