"""The topics that we need, and the number of partitions on which all keys in Redis rest."""

from __future__ import annotations

import asyncio

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code
from redis.exceptions import RedisError

from connectors.kafka.client import admin
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.settings import Settings

_RETRY_S = 0.5
_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
_NO_CONTROLLER = -1

log = structlog.get_logger()


class PartitionCountChanged(RuntimeError):
    """The topic has another number of partitions than the one under which Redis was filled."""


async def ensure_topics(settings: Settings) -> int:
    """Creates the events and dead-letter topics where they are missing, and returns the number of partitions of the former.

    Waits for Kafka and Redis to be reachable. Raises PartitionCountChanged if Redis was filled under another number.
    """
    waiting = False
    while True:
        try:
            partitions = await _ensure_topics(settings)
            await _fix_partitions(settings, partitions)
            return partitions
        except (KafkaError, RedisError, OSError) as error:
            if not waiting:
                log.warning("waiting for Kafka and Redis", error=type(error).__name__)
                waiting = True
            await asyncio.sleep(_RETRY_S)


async def _ensure_topics(settings: Settings) -> int:
    client = admin(settings)
    try:
        await client.start()
        wanted = {settings.topic_events: settings.topic_partitions, settings.topic_dead_letters: 1}
        present = await client.list_topics()
        missing = {name: count for name, count in wanted.items() if name not in present}
        if missing:
            await _create(client, missing, settings.topic_replication)
        return await _partitions(client, settings.topic_events)
    finally:
        await client.close()


async def ensure_topic(settings: Settings, topic: str) -> None:
    """Creates a topic where it is missing, with as many partitions as a new events topic has. Raises KafkaError or OSError."""
    client = admin(settings)
    try:
        await client.start()
        if topic not in await client.list_topics():
            await _create(client, {topic: settings.topic_partitions}, settings.topic_replication)
    finally:
        await client.close()


async def _create(client: AIOKafkaAdminClient, missing: dict[str, int], replication: int) -> None:
    cluster = await client.describe_cluster()
    if cluster["controller_id"] == _NO_CONTROLLER:
        # librdkafka's mock cluster: it has no CreateTopics. Whoever started it created the topics, or asking for their metadata
        # does, with as many partitions as the cluster's default says.
        for name in missing:
            await _partitions(client, name)
        return
    topics = [NewTopic(name, count, replication, topic_configs=_APPEND_TIME) for name, count in missing.items()]
    answer = await client.create_topics(topics)
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another role was quicker
            raise error(f"topic {name} could not be created")
    log.info("topics created", topics=missing)


async def _partitions(client: AIOKafkaAdminClient, topic: str) -> int:
    (description,) = await client.describe_topics([topic])
    code = description["error_code"]
    if code or not description["partitions"]:
        raise for_code(code)(topic) if code else KafkaConnectionError(f"{topic} has no partitions yet")
    return len(description["partitions"])


async def _fix_partitions(settings: Settings, partitions: int) -> None:
    redis = connect(settings)
    try:
        stored = await CatalogStore(redis).fix_partitions(partitions)
    finally:
        await redis.aclose()
    if stored != partitions:
        raise PartitionCountChanged(
            f"topic {settings.topic_events} has {partitions} partitions, but Redis was filled when it had {stored}: "
            "a customer's partition follows from that number, so every key would be looked for in the wrong place. "
            f"Use a topic with {stored} partitions, or an empty Redis and a replay of the log."
        )
