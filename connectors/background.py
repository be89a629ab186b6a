"""Loops that live as long as their role: one bad turn never ends one, and none ends in silence.

Every loop of the API, the workers and the dispatcher runs through ``repeat``. What a turn raises is told and counted
(``tidemark_loop_failures_total``), and the next turn comes after a pause that grows to a few seconds. Only the order to stop ends
a loop: the event, or the task's cancellation. A cancellation that a client library swallowed is noticed after the turn
(``Task.cancelling``), so that a loop never outlives its role's order to end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from connectors.metrics import LOOP_FAILURES

log = structlog.get_logger("background")

FAILED_PAUSE_FIRST_S = 0.05
FAILED_PAUSE_MAX_S = 5.0
CANCELLED_AGAIN_S = 0.1


@dataclass(slots=True)
class _Turn:
    """``since_s``: of the last turn that went through, or of the first that failed after it; ``problem``: what it failed by."""

    since_s: float
    allowed_s: float
    problem: str = ""


STUCK_S = 60.0
"""A loop that has not turned for so long, beside the pause between its turns, is stuck."""

_turns: dict[str, _Turn] = {}  # of the loops that run in this process: what a role's readiness is made of (health.py)


def loops_problem() -> str:
    """What is wrong with the loops of this process, in words; empty if all of them turn."""
    now_s = time.monotonic()
    told: list[str] = []
    for name, turn in sorted(_turns.items()):
        seconds = now_s - turn.since_s
        if turn.problem:
            told.append(f"{name} fails since {seconds:.0f} s ({turn.problem})")
        elif seconds > turn.allowed_s:
            told.append(f"{name} has not turned for {seconds:.0f} s")
    return "; ".join(told)


def _turned(name: str, error: BaseException | None) -> None:
    turn = _turns.get(name)
    if turn is not None:
        problem = "" if error is None else type(error).__name__
        if not (problem and turn.problem):
            turn.since_s = time.monotonic()
        turn.problem = problem


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
    _turns[name] = _Turn(time.monotonic(), STUCK_S + pause_s)
    try:
        while not stop.is_set():
            await until_done(name, turn, stop)
            await pause(stop, pause_s)
            if pause_s <= 0:
                await asyncio.sleep(0)  # a turn that never waits must not keep the others from running
    finally:
        _turns.pop(name, None)


async def until_done(name: str, turn: Callable[[], Awaitable[object]], stop: asyncio.Event) -> bool:
    """``turn`` until it goes through once; False if ``stop`` came first.

    A service that is away (RedisError, KafkaError, OSError) is one line in the log; anything else is a defect, told with its
    traceback.
    """
    failed_pause_s = FAILED_PAUSE_FIRST_S
    while not stop.is_set():
        try:
            await turn()
        except (RedisError, KafkaError, OSError, TimeoutError) as error:
            _turned(name, error)
            LOOP_FAILURES.labels(name, "service").inc()
            log.warning("loop.service_failed", loop=name, error=type(error).__name__, detail=str(error)[:200])
        except Exception as error:
            _turned(name, error)
            LOOP_FAILURES.labels(name, "defect").inc()
            log.error("loop.failed", loop=name, error=type(error).__name__, exc_info=True)
        else:
            _turned(name, None)
            check_cancelled()
            return True
        check_cancelled()
        await pause(stop, failed_pause_s)
        failed_pause_s = min(FAILED_PAUSE_MAX_S, 2 * failed_pause_s)
    return False


async def end(tasks: Iterable[asyncio.Task[object]], timeout_s: float) -> int:
    """Cancels tasks and waits for their end, for ``timeout_s`` at most. Returns how many did not end: they are abandoned.

    They are cancelled again and again: a library may swallow it, and wait on.
    """
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    left = {task for task in tasks if not task.done()}
    while left and (seconds := deadline_s - asyncio.get_running_loop().time()) > 0:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=min(seconds, CANCELLED_AGAIN_S))
    return len(left)


async def within(name: str, timeout_s: float, work: Coroutine[object, object, object]) -> bool:
    """For what is done at the end of a role: whether it was done in time. Failed or late, it is told, and the end goes on."""
    task: asyncio.Task[object] = asyncio.create_task(work)
    await asyncio.wait({task}, timeout=timeout_s)
    if not task.done():
        await end([task], timeout_s / 10)
        log.warning("end.cut_off", what=name, after_s=timeout_s)
        return False
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.warning("end.failed", what=name, error=type(error).__name__, detail=str(error)[:200])
    return error is None and not task.cancelled()
