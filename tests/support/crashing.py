"""What surrounds a simulated dispatcher: a Redis client whose every command is a point at which the process may die, or lose its
connection, and receivers whose every answer is one.

The server and its Lua scripts are real; the client calls it without giving way to the event loop, so that a run depends on its
seed alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import redis as blocking
from redis.exceptions import ConnectionError as LostConnection

from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import Attempt

STALL_S = 7.0
_LATENCY_MAX_S = 0.003
_WAYS_TO_FAIL = ("http_5xx", "timeout", "connect", "busy", "fault", "answer lost")


class Life:
    """One life of a dispatcher. It ends at the ``dies_at``-th point (None: never); from then on nothing that it begins happens.
    ``loses``: the probability that a command's reply is lost, or the command itself. ``stalls``: that a step takes longer than a
    lease lasts, so that others take the work over meanwhile."""

    def __init__(self, dice: random.Random, dies_at: int | None, loses: float = 0.0, stalls: float = 0.0) -> None:
        self.dice = dice
        self.loses = loses
        self._stalls = stalls
        self.points = 0
        self.died = asyncio.Event()
        self._dies_at = dies_at

    async def point(self) -> None:
        """The process may die here."""
        if self.died.is_set():
            await _never()
        self.points += 1
        if self.points == self._dies_at:
            self.died.set()
            await _never()

    async def latency(self) -> None:
        stalled = self.dice.random() < self._stalls
        await asyncio.sleep(STALL_S if stalled else self.dice.uniform(0, _LATENCY_MAX_S))


async def _never() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


class CrashingRedis:
    """Stands for redis.asyncio.Redis in a dispatcher."""

    def __init__(self, server: blocking.Redis, life: Life) -> None:
        self._server: Any = server
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Any]:
        command = getattr(self._server, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await self._at_points(lambda: command(*args, **named))

        return call

    async def time(self) -> Any:
        """The server's clock is real; here it is simulated with all else."""
        return await self._at_points(lambda: (int(time.time()), int(time.time() % 1 * 1_000_000)))

    async def xread(self, streams: dict[str, str], count: int, block: int | None) -> Any:
        """A blocking read looks again and again, since the client may not wait."""
        for _ in range(max(1, (block or 0) // 50)):
            found = await self._at_points(lambda: self._server.xread(streams, count=count))
            if found:
                return found
            await asyncio.sleep(0.05)
        return []

    def pipeline(self, transaction: bool) -> _CrashingPipeline:
        return _CrashingPipeline(self._server.pipeline(transaction=transaction), self._at_points)

    async def aclose(self) -> None:
        pass

    async def _at_points(self, command: Callable[[], Any]) -> Any:
        life = self._life
        await life.latency()
        await life.point()
        lost = life.dice.random() < life.loses
        if lost and life.dice.random() < 0.5:
            raise LostConnection("before it was sent")
        answer = command()
        await life.latency()
        await life.point()
        if lost:
            raise LostConnection("before the reply came")
        return answer


class _CrashingPipeline:
    def __init__(self, pipeline: Any, at_points: Callable[[Callable[[], Any]], Any]) -> None:
        self._pipeline = pipeline
        self._at_points = at_points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    async def execute(self, raise_on_error: bool = True) -> Any:
        return await self._at_points(lambda: self._pipeline.execute(raise_on_error=raise_on_error))


@dataclass(frozen=True, slots=True)
class Request:
    """One that a receiver has read; ``accepted``: it answers with success."""

    endpoint_id: str
    id: str
    body: bytes
    accepted: bool


@dataclass(slots=True)
class SimulatedReceivers:
    """All endpoints. ``fails``: the probability that a request is not accepted, in one of several ways."""

    dice: random.Random
    fails: float
    requests: list[Request] = field(default_factory=list)

    async def attempt(self, life: Life, endpoint_id: str, entry: OutboxEntry, at_s: float) -> Attempt:
        await life.point()
        await asyncio.sleep(self.dice.uniform(0.001, 0.2))
        way = self.dice.choice(_WAYS_TO_FAIL) if self.dice.random() < self.fails else "success"
        accepted = way in {"success", "answer lost"}
        if way != "connect":
            self.requests.append(Request(endpoint_id, entry.id, entry.body, accepted))
        await asyncio.sleep(self.dice.uniform(0.001, 0.2))
        await life.point()
        match way:
            case "success":
                return Attempt("success", at_s, 0.1, 204)
            case "http_5xx":
                return Attempt("http_5xx", at_s, 0.1, 500)
            case "busy":
                return Attempt("http_4xx", at_s, 0.1, 429, retry_after_s=self.dice.choice((None, 1.0, 5.0)))
            case "timeout":
                return Attempt("timeout", at_s, 2.0)
            case "fault":
                return Attempt("fault", at_s, 0.1)
            case _:
                return Attempt("connect", at_s, 0.1)
