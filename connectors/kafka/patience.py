"""Waiting out a Redis that is away or refuses (connectors/redis/errors.py): repeat, back off, say so once.

What no repetition mends, such as an error in a script of ours, goes to the caller: it stops the partition, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from connectors.background import pause
from connectors.metrics import REDIS_FAILURES
from connectors.redis.errors import Trouble, told, trouble

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
        """(answer, whether the call was made more than once). Raises Abandoned when stopping while Redis fails, and RedisError
        for what is a defect."""
        delay_s = _DELAY_FIRST_S
        failures = 0
        while True:
            try:
                answer = await call()
            except (RedisError, OSError) as error:
                kind = trouble(error)
                REDIS_FAILURES.labels(kind).inc()
                if kind is Trouble.DEFECT:
                    raise
                if not failures:
                    self._log.warning("redis failed, repeating", kind=str(kind), text=told(error), error=type(error).__name__)
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
        await pause(self._stopping, delay_s)
