"""Loops that live as long as their role: one bad turn never ends one, and none ends in silence.

Every loop of the API, the workers and the dispatcher runs through ``repeat``. What a turn raises is told and counted
(``tidemark_loop_failures_total``), and the next turn comes after a pause that grows to a few seconds. Only the order to stop ends
a loop: the event, or the task's cancellation. A cancellation that a client library swallowed is noticed after the turn
(``Task.cancelling``), so that a loop never outlives its role's order to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

from connectors.metrics import LOOP_FAILURES

log = structlog.get_logger("background")

FAILED_PAUSE_FIRST_S = 0.05
FAILED_PAUSE_MAX_S = 5.0


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleeps, but not into the time after ``stop``."""
    if seconds > 0 and not stop.is_set():
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass


def check_cancelled() -> None:
    """Raises CancelledError where this task was told to end, even if somebody swallowed it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def repeat(name: str, turn: Callable[[], Awaitable[object]], stop: asyncio.Event, pause_s: float = 0.0) -> None:
    """``turn`` again and again, ``pause_s`` between two, until ``stop`` is set."""
    while not stop.is_set():
        await until_done(name, turn, stop)
        await pause(stop, pause_s)
        if pause_s <= 0:
            await asyncio.sleep(0)  # a turn that never waits must not keep the others from running


async def until_done(name: str, turn: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
    """``turn`` until it goes through once; False if ``stop`` came first.

    A service that is away (RedisError, OSError) is one line in the log; anything else is a defect, told with its traceback.
    """
    failed_pause_s = FAILED_PAUSE_FIRST_S
    while not stop.is_set():
        try:
            await turn()
        except (RedisError, OSError, TimeoutError) as error:
            LOOP_FAILURES.labels(name, "service").inc()
            log.warning("loop.service_failed", loop=name, error=type(error).__name__, detail=str(error)[:200])
        except Exception as error:
            LOOP_FAILURES.labels(name, "defect").inc()
            log.error("loop.failed", loop=name, error=type(error).__name__, exc_info=True)
        else:
            check_cancelled()
            return True
        check_cancelled()
        await pause(stop, failed_pause_s)
        failed_pause_s = min(FAILED_PAUSE_MAX_S, 2 * failed_pause_s)
    return False
