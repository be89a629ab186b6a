"""The log of deliveries of one partition: what has become of each, its latest attempts, and sending it again.

Deliveries that have ended stay for as long as ``trim`` lets them, with the notification's body, since they can be sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from redis.asyncio import Redis

from connectors.redis.keys import PartitionKeys
from connectors.redis.outbox import decode_readable, encode_delivery, place_of
from connectors.redis.scripts import Script
from connectors.redis.types import LoggedDelivery

_RESEND = Script("resend", "lanes")
_TRIM = Script("log_trim")
_SAMPLES = 20

Resent = Literal["resent", "hastened", "waits", "under way"]
"""hastened: it waited for its next attempt, which is due now; waits: behind an earlier one of its customer and alert;
under way: it is being sent at this moment, nothing was changed."""


@dataclass(frozen=True, slots=True)
class LogSize:
    """``bytes``: memory of the ended deliveries, as Redis estimates it from a sample. ``unwanted``: notifications among them that
    no endpoint wanted."""

    deliveries: int
    bytes: int
    unwanted: int


class DeliveryLog:
    def __init__(self, redis: Redis, partition: int) -> None:
        self.keys = PartitionKeys(partition)
        self._redis: Any = redis  # its own types name every shape a reply has under any setting

    async def get(self, delivery_id: str) -> LoggedDelivery | None:
        """A delivery that has not ended, or is still in the log."""
        changed_ms = await self._redis.zscore(self.keys.delivery_log_at, delivery_id)
        if changed_ms is None:
            return None
        found = await self._read([(delivery_id.encode(), changed_ms)])
        return found[0] if found else None

    async def attempts(self, delivery_id: str) -> list[bytes]:
        """Its latest attempts (JSON), the first one first."""
        attempts: list[bytes] = await self._redis.lrange(self.keys.attempts(delivery_id), 0, -1)
        return attempts

    async def before(self, changed_ms: int, delivery_id: str | None, limit: int) -> list[LoggedDelivery]:
        """Deliveries in the order of their last change, the latest first: those that changed at ``changed_ms`` or before (and, of
        several in this millisecond, those after ``delivery_id``)."""
        rows: list[tuple[bytes, float]] = []
        start = 0
        while len(rows) < limit:
            chunk = await self._redis.zrevrangebyscore(
                self.keys.delivery_log_at, changed_ms, "-inf", start=start, num=limit, withscores=True
            )
            rows += [row for row in chunk if delivery_id is None or (row[1], row[0].decode()) < (changed_ms, delivery_id)]
            if len(chunk) < limit:
                break
            start += limit
        return await self._read(rows[:limit])

    async def after(self, changed_ms: int, delivery_id: str | None, until_ms: int, limit: int) -> list[LoggedDelivery]:
        """In the order of their last change, the earliest first: those that changed at ``changed_ms`` or later (and, of several
        in this millisecond, those after ``delivery_id``), but before ``until_ms``."""
        rows: list[tuple[bytes, float]] = []
        start = 0
        while len(rows) < limit:
            chunk = await self._redis.zrangebyscore(
                self.keys.delivery_log_at, changed_ms, f"({until_ms}", start=start, num=limit, withscores=True
            )
            rows += [row for row in chunk if delivery_id is None or (row[1], row[0].decode()) > (changed_ms, delivery_id)]
            if len(chunk) < limit:
                break
            start += limit
        return await self._read(rows[:limit])

    async def changed(self, delivery_ids: Sequence[str]) -> list[int | None]:
        """When each of these changed last (ms); None: it is not in the log."""
        if not delivery_ids:
            return []
        return [None if at is None else int(at) for at in await self._redis.zmscore(self.keys.delivery_log_at, delivery_ids)]

    async def _read(self, rows: Sequence[tuple[bytes, float]]) -> list[LoggedDelivery]:
        if not rows:
            return []
        ids = [delivery_id for delivery_id, _ in rows]
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hmget(self.keys.deliveries, ids)
        pipeline.hmget(self.keys.delivery_log, ids)
        found = []
        for (_, changed_ms), live, ended in zip(rows, *await pipeline.execute(), strict=True):
            if live is not None:
                found += [LoggedDelivery(each, "waiting", int(changed_ms)) for each in decode_readable([live])]
            elif ended is not None:
                status, at_ms, raw = ended.split(b" ", 2)
                found += [LoggedDelivery(each, status.decode(), int(at_ms)) for each in decode_readable([raw])]
        return found

    async def resend(self, logged: LoggedDelivery, now_ms: int) -> Resent:
        """Make it again, under the same id and with the whole schedule; if it has not ended, make its next attempt now."""
        keys, before = self.keys, logged.delivery
        place = place_of(before.entry, before.endpoint_id, f"{now_ms}-0")
        entry = replace(before.entry, appended_at_ms=None)  # how long it takes now says nothing about us
        again = replace(before, entry=entry, attempts=0, first_attempt_ms=now_ms, due_ms=now_ms, last_error="", place=place)
        again = replace(again, lease_ms=0, fault_ms=0, digest="", digest_at_ms=0, unwanted=())
        names = [keys.due(again.endpoint_id), keys.delivery_lanes, keys.delivery_leases, keys.deliveries, keys.delivery_log]
        names += [keys.delivery_log_at, keys.deliveries_at, keys.delivery_places]
        arguments = (again.id, again.endpoint_id, place, encode_delivery(again), now_ms)
        answer: Resent = (await _RESEND.run(self._redis, names, *arguments)).decode()
        return answer

    async def trim(self, before_ms: int, limit: int) -> int:
        """Forget deliveries that ended before ``before_ms``; at most ``limit`` are looked at. Returns how many were."""
        keys = [self.keys.delivery_log, self.keys.delivery_log_at, self.keys.deliveries, self.keys.delivery_unwanted]
        return int(await _TRIM.run(self._redis, keys, before_ms, limit))

    async def size(self) -> LogSize:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zcard(self.keys.delivery_log_at)
        pipeline.memory_usage(self.keys.delivery_log, samples=_SAMPLES)
        pipeline.zcard(self.keys.delivery_unwanted)
        deliveries, memory, unwanted = await pipeline.execute()
        return LogSize(deliveries, memory or 0, unwanted)
