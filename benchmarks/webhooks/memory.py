"""What waiting retries cost: in Redis each, and in the dispatcher that is responsible for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from redis.asyncio import Redis

from benchmarks.webhooks.running import Receiver, dispatcher, rss_mb
from benchmarks.webhooks.traffic import PARTITIONS, notification, register
from connectors.redis.client import connect
from connectors.redis.outbox import Outbox
from connectors.redis.types import Admission
from connectors.settings import Settings
from connectors.webhooks.outcomes import new_delivery
from tests.support.redis_server import RedisServer

_AT_ONCE = 500
_DUE_IN_MS = 3_600_000
_SETTLE_S = 15.0


@dataclass(frozen=True, slots=True)
class Memory:
    retries: int
    redis_bytes_each: float
    dispatcher_mb_without: float
    dispatcher_mb: float


async def measure(server: RedisServer, receiver: Receiver, retries: int) -> Memory:
    redis = connect(Settings(redis_url=server.url))
    await register(redis, [receiver.url("/0")])
    without = await _dispatcher_mb(server)
    before = int((await redis.info("memory"))["used_memory"])
    outboxes = [Outbox(redis, partition) for partition in range(PARTITIONS)]
    for first in range(0, retries, _AT_ONCE):
        outbox = outboxes[first // _AT_ONCE % PARTITIONS]
        await _wait(redis, outbox, first, min(_AT_ONCE, retries - first))
    used = int((await redis.info("memory"))["used_memory"]) - before
    held = await _dispatcher_mb(server)
    await redis.aclose()
    return Memory(retries, used / retries, without, held)


async def _wait(redis: Redis, outbox: Outbox, first: int, count: int) -> None:
    """Notifications that wait for their second attempt, an hour from now."""
    now_ms = time.time_ns() // 1_000_000
    moves = []
    pipeline = redis.pipeline(transaction=False)
    for number in range(first, first + count):
        entry = notification(number)
        pipeline.xadd(outbox.keys.outbox, {"id": entry.id})  # what ``admit`` removes; the delivery holds the rest
        waiting = replace(new_delivery(entry, "e-0", now_ms), attempts=1, due_ms=now_ms + _DUE_IN_MS, last_error="http_5xx (500)")
        moves.append((entry, [Admission(waiting, lease=False)]))
    ids = await pipeline.execute()
    moves = [(replace(entry, entry_id=entry_id.decode()), parts) for (entry, parts), entry_id in zip(moves, ids, strict=True)]
    await outbox.admit(moves, now_ms, 60_000)


async def _dispatcher_mb(server: RedisServer) -> float:
    """Of a dispatcher that has run for a while and has nothing to send."""
    with dispatcher(server.url) as role:
        role.start()
        await asyncio.sleep(_SETTLE_S)
        return rss_mb(role.pid)
