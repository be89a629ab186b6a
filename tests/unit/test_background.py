"""Background loops: nothing that a turn raises ends one, and the order to stop always does."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ResponseError

from connectors import background
from connectors.background import repeat, until_done


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAILED_PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(background, "FAILED_PAUSE_MAX_S", 0.001)


@pytest.mark.parametrize(
    "error", [ResponseError("OOM"), OSError("gone"), ValueError("a defect"), KeyError("x"), RecursionError()]
)
async def test_a_loop_goes_on_after_whatever_a_turn_raises(error: Exception) -> None:
    stop, turns = asyncio.Event(), 0

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 5:
            stop.set()
        elif turns % 2:
            raise error

    await asyncio.wait_for(repeat("a-test", turn, stop), 5)
    assert turns == 5


async def test_a_cancellation_that_a_turn_swallows_still_ends_the_loop() -> None:
    waiting = asyncio.Event()

    async def turn() -> None:
        try:
            waiting.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass  # as redis-py did inside of a read

    task = asyncio.create_task(repeat("a-test", turn, asyncio.Event()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_until_done_says_whether_it_was_done_or_stopped() -> None:
    async def fails() -> None:
        raise OSError

    async def succeeds() -> None: ...

    stop = asyncio.Event()
    assert await until_done("a-test", succeeds, stop)
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert not await asyncio.wait_for(until_done("a-test", fails, stop), 5)
