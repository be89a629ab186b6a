"""How many records of the log nobody has counted yet: from its end to what is stored, whoever serves a partition, or nobody.

The API measures all partitions, so that a worker that is away, or stuck, shows; each worker those that it serves. Without Redis
the last position that is known stands, and the lag grows with the log, as it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.kafka.ends import Ends
from connectors.metrics import CONSUMER_LAG
from connectors.redis.keys import PartitionKeys
from connectors.settings import Settings

log = structlog.get_logger()


class Lag:
    """``records``: the lag of each partition as it was measured last."""

    def __init__(self, settings: Settings, ends: Ends) -> None:
        self._topic = settings.topic_events
        self._ends = ends
        self._positions: dict[int, int] = {}
        self.records: dict[int, int] = {}

    async def measure(self, partitions: Sequence[int], positions: Mapping[int, int | None]) -> None:
        """``positions``: what is known now; what was known before stands for those that are missing or None. A Kafka that does
        not answer leaves everything as it is."""
        self._positions.update({partition: offset for partition, offset in positions.items() if offset is not None})
        here = [TopicPartition(self._topic, partition) for partition in partitions]
        unread = [each for each in here if each.partition not in self._positions]
        try:
            ends = await self._ends.of(here)
            begins = await self._ends.begins_of(unread) if unread else {}
        except (KafkaError, OSError) as error:
            log.debug("lag not measured", error=type(error).__name__)
            return
        for each, end in ends.items():
            start = self._positions.get(each.partition, begins.get(each, end))
            self.records[each.partition] = max(0, end - start)
            CONSUMER_LAG.labels(str(each.partition)).set(self.records[each.partition])


class LagOfAll:
    """Of every partition, by what is stored in Redis."""

    def __init__(self, settings: Settings, redis: Redis, partitions: int) -> None:
        self._redis: Any = redis
        self._partitions = range(partitions)
        self._ends = Ends(settings)
        self._lag = Lag(settings, self._ends)

    @property
    def records(self) -> Mapping[int, int]:
        return self._lag.records

    async def measure(self) -> None:
        await self._lag.measure(self._partitions, await self._stored())

    async def stop(self) -> None:
        await self._ends.stop()

    async def _stored(self) -> dict[int, int | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for partition in self._partitions:
            pipeline.hget(PartitionKeys(partition).position, "next_offset")
        try:
            stored = await pipeline.execute()
        except (RedisError, OSError):
            return {}
        return {p: None if raw is None else int(raw) for p, raw in zip(self._partitions, stored, strict=True)}
