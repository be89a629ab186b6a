"""How far the partitions got, and who stands aside in them, for those who look from outside: one round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from connectors.redis.keys import PartitionKeys


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one partition. ``committed_ms``: when its worker committed last, by that one's clock (agreement.py); None: never.
    ``quarantined``: how many of its customers are in quarantine."""

    committed_ms: int | None
    quarantined: int


async def read_progress(redis: Redis, partitions: int) -> list[Progress]:
    """Of each partition, in their order. Raises RedisError and OSError."""
    client: Any = redis
    pipeline = client.pipeline(transaction=False)
    for partition in range(partitions):
        keys = PartitionKeys(partition)
        pipeline.hget(keys.position, "committed_at_ms")
        pipeline.hlen(keys.quarantined)
    replies = await pipeline.execute()
    return [
        Progress(None if committed is None else int(committed), int(quarantined))
        for committed, quarantined in zip(replies[::2], replies[1::2], strict=True)
    ]
