"""Notices about endpoints, into the outbox: each once, whoever finds the cause, and however often."""

from __future__ import annotations

from redis.asyncio import Redis

from connectors.redis.batches import outbox_fields
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.scripts import Script
from connectors.redis.types import OutboxEntry

REMEMBERED_MS = 90 * 86_400_000
"""How long it is known which notices were written."""

_NOTICE = Script("notice")


class NoticeStore:
    def __init__(self, redis: Redis, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions

    async def write(self, notice: OutboxEntry, *, after: str = "") -> bool:
        """False: it was written before, or the notice ``after`` was not. Raises RedisError; a repetition writes nothing twice."""
        keys = PartitionKeys(partition_of(notice.customer_id, self._partitions))
        now_ms = notice.written_at_ms
        arguments = (notice.id, after, now_ms, now_ms - REMEMBERED_MS, *outbox_fields(notice))
        return bool(await _NOTICE.run(self._redis, [keys.outbox, keys.notices], *arguments))
