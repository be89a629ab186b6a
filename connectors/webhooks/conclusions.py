"""Deliveries that have ended, on their way into Redis: what ends while a write is under way goes with the next one.

So a busy dispatcher makes one round trip for many deliveries, of all partitions, and an idle one waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Redis

from connectors.redis.outbox import Outbox, conclude_all
from connectors.redis.types import Ended, Ending
from connectors.webhooks.persist import clock_ms, persist

AT_ONCE_MAX = 256
"""How many are written at once: some 20 us each, during which Redis does nothing else."""

Done = Callable[[Outbox, Ending, Ended], None]


class Conclusions:
    """``done`` is called for each delivery when its end is written."""

    def __init__(self, redis: Redis, spawn: Callable[[Coroutine[Any, Any, None]], object], lease_ms: int, done: Done) -> None:
        self._redis = redis
        self._spawn = spawn
        self._lease_ms = lease_ms
        self._done = done
        self._waiting: list[tuple[Outbox, Ending]] = []
        self._writing = False

    def add(self, outbox: Outbox, ending: Ending) -> None:
        self._waiting.append((outbox, ending))
        if not self._writing:
            self._writing = True
            self._spawn(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE_MAX], self._waiting[AT_ONCE_MAX:]
                by_outbox: dict[Outbox, list[Ending]] = {}
                for outbox, ending in batch:
                    by_outbox.setdefault(outbox, []).append(ending)
                endings = list(by_outbox.items())
                answers = await persist(lambda each=endings: conclude_all(self._redis, each, clock_ms(), self._lease_ms))  # type: ignore[misc]
                for (outbox, ended), results in zip(endings, answers, strict=True):
                    for ending, result in zip(ended, results, strict=True):
                        self._done(outbox, ending, result)
        finally:
            self._writing = False
