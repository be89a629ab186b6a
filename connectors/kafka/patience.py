"""Waiting out a Redis that does not answer: repeat, back off, say so once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

_DELAY_FIRST_S = 0.05
_DELAY_MAX_S = 2.0

T = TypeVar("T")

log = structlog.get_logger()


class Abandoned(Exception):
    """The work was given up because its owner is to stop; nothing of it was committed, or all of it."""


class Patience:
    """Repeats calls that may be repeated (reads, compare-and-set writes) until they succeed or ``stopping`` is set."""

    def __init__(self, stopping: asyncio.Event, partition: int) -> None:
        self._stopping = stopping
        self._log = log.bind(partition=partition)

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """(answer, whether the call was made more than once). Raises Abandoned when stopping while Redis fails."""
        delay_s = _DELAY_FIRST_S
        failures = 0
        while True:
            try:
                answer = await call()
            except (RedisError, OSError) as error:
                if not failures:
                    self._log.warning("redis failed, repeating", error=type(error).__name__, text=str(error)[:200])
                failures += 1
                await self.pause(delay_s)
                if self._stopping.is_set():
                    raise Abandoned from error
                delay_s = min(delay_s * 2, _DELAY_MAX_S)
            else:
                if failures:
                    self._log.info("redis answers again", failures=failures)
                return answer, failures > 0

    async def pause(self, delay_s: float) -> None:
        """Sleeps, but not beyond the moment at which the owner is to stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        except TimeoutError:
            pass
