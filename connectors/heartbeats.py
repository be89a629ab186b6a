"""Reports of all roles in Redis, so that the API can tell of those that it cannot ask: stuck, absent, or in another place.

Each process writes its report (health.py) every 5 s, stamped with Redis' own time, so that no clock but one has to be right.
A report that is older than 20 s is of a process that hangs, died, or lost Redis; one that ended in order takes its report along,
and after ten minutes the reports of the dead are dropped.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis

from connectors.background import end, repeat, within
from connectors.health import Health
from connectors.redis.client import connect
from connectors.redis.keys import CatalogKeys
from connectors.settings import Settings

EVERY_S = 5.0
STALE_S = 20.0
_END_S = 0.5
_FORGOTTEN_S = 600.0


@dataclass(frozen=True, slots=True)
class Beat:
    """``age_s``: since it was written."""

    role: str
    process: str
    age_s: float
    ready: bool
    checks: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def stale(self) -> bool:
        return self.age_s > STALE_S

    def problems(self) -> list[str]:
        """Lines for people; none if all is well."""
        who = f"{self.role} {self.process}"
        if self.stale:
            return [f"{who} has not reported for {self.age_s:.0f} s: it hangs, has died, or does not reach Redis"]
        wrong = [f"{who}: {name}: {result}" for name, result in self.checks.items() if result != "ok"]
        return [*wrong, *(f"{who}: {warning}" for warning in self.warnings)]


class Heartbeat:
    """Of this process."""

    def __init__(self, redis: Redis, role: str, health: Health) -> None:
        self._redis: Any = redis
        self._role = role
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._health = health

    @property
    def _field(self) -> str:
        return f"{self._role} {self._process}"

    async def beat(self) -> None:
        report = self._health.report()
        seconds, micros = await self._redis.time()
        beat = {
            "role": self._role,
            "process": self._process,
            "at_s": seconds + micros / 1_000_000,
            "ready": report.ready,
            "checks": dict(report.checks),
            "warnings": list(report.warnings),
        }
        await self._redis.hset(CatalogKeys.HEARTBEATS, self._field, orjson.dumps(beat))

    async def end(self) -> None:
        """In order: nobody has to miss this process."""
        await self._redis.hdel(CatalogKeys.HEARTBEATS, self._field)


@asynccontextmanager
async def beating(settings: Settings, role: str, health: Health) -> AsyncIterator[None]:
    """Reports until it is left; what is left then is nothing, if Redis can still be told."""
    stop, redis = asyncio.Event(), connect(settings)
    heartbeat = Heartbeat(redis, role, health)
    task: asyncio.Task[object] = asyncio.create_task(repeat("heartbeat", heartbeat.beat, stop, EVERY_S))
    try:
        yield
    finally:
        stop.set()
        await end([task], _END_S)
        await within("heartbeat", _END_S, heartbeat.end())
        await within("heartbeat", _END_S, redis.aclose())


async def read(redis: Redis) -> list[Beat]:
    """All that there are, by role and process; those of the long dead are dropped."""
    store: Any = redis
    seconds, _ = await store.time()
    found, forgotten = [], []
    for name, raw in (await store.hgetall(CatalogKeys.HEARTBEATS)).items():
        beat = orjson.loads(raw)
        age_s = max(0.0, seconds - beat["at_s"])
        if age_s > _FORGOTTEN_S:
            forgotten.append(name)
            continue
        found.append(Beat(beat["role"], beat["process"], age_s, beat["ready"], beat["checks"], tuple(beat["warnings"])))
    if forgotten:
        await store.hdel(CatalogKeys.HEARTBEATS, *forgotten)
    return sorted(found, key=lambda beat: (beat.role, beat.process))


def missing(beats: list[Beat]) -> list[str]:
    """What no process does at the moment, as far as the reports tell."""
    alive = {beat.role for beat in beats if not beat.stale}
    effects = {"worker": "no usage is counted", "dispatcher": "no notification is sent"}
    return [f"no {role} reports: {effect}" for role, effect in effects.items() if role not in alive]
