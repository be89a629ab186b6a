"""How much of the embedded broker's log is not in Redis yet: what a stop would lose, since that log is in memory only."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from connectors.kafka.client import consumer
from connectors.redis.client import connect
from connectors.redis.keys import PartitionKeys
from connectors.settings import Settings

_POLL_S = 0.05


async def until_consumed(settings: Settings, partitions: int, timeout_s: float) -> bool:
    """Waits until the worker has committed every record of the events topic; False if that took longer than ``timeout_s``.

    A Kafka or Redis that does not answer counts as consumed no further: there is nothing to wait for then.
    """
    try:
        await asyncio.wait_for(_until_consumed(settings, partitions), timeout_s)
    except (TimeoutError, KafkaError, RedisError, OSError):
        return False
    return True


async def _until_consumed(settings: Settings, partitions: int) -> None:
    redis = connect(settings)
    log = consumer(settings)
    try:
        await log.start()
        topic = [TopicPartition(settings.topic_events, number) for number in range(partitions)]
        while True:
            begins, ends = await log.beginning_offsets(topic), await log.end_offsets(topic)
            stored = [await redis.hget(PartitionKeys(each.partition).position, "next_offset") for each in topic]
            if all(ends[each] <= int(offset or begins[each]) for each, offset in zip(topic, stored, strict=True)):
                return
            await asyncio.sleep(_POLL_S)
    finally:
        await log.stop()
        await redis.aclose()
