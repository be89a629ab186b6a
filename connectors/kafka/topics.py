"""The topics that we need, and the number of partitions on which all keys in Redis rest."""

from __future__ import annotations

import asyncio

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code
from redis.exceptions import RedisError

from connectors.kafka.client import admin
from connectors.kafka.errors import Reaction, at_start, misconfigured, told
from connectors.kafka.metadata import TopicNow, topics_now
from connectors.kafka.probe import refusal
from connectors.kafka.topic_settings import check_topic
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.fitness import check_redis
from connectors.settings import Settings

_RETRY_S = 0.5
_NO_CONTROLLER = -1
_DAY_MS = 86_400_000

log = structlog.get_logger()


class PartitionCountChanged(RuntimeError):
    """The topic has another number of partitions than the one under which Redis was filled."""


async def ensure_topics(settings: Settings) -> int:
    """Creates the events and dead-letter topics where they are missing, and returns the number of partitions of the former.

    Waits for Kafka and Redis to be reachable. Raises PartitionCountChanged if Redis was filled under another number, and
    KafkaMisconfigured, TopicUnfit or RedisUnfit where waiting would not help.
    """
    waiting = False
    while True:
        try:
            return await _ensure_topics(settings)
        except (KafkaError, RedisError, OSError) as error:
            problem = error
            if isinstance(error, KafkaConnectionError):
                problem = await refusal(settings) or error
            if at_start(problem) is Reaction.START:
                raise misconfigured(settings, problem) from error
            if not waiting:
                log.warning("waiting for Kafka and Redis", error=told(problem))
                waiting = True
            await asyncio.sleep(_RETRY_S)


async def _ensure_topics(settings: Settings) -> int:
    client = admin(settings)
    redis = connect(settings)
    try:
        await check_redis(redis)
        catalog = CatalogStore(redis)
        await client.start()
        partitions = await create_missing(client, settings, await catalog.partitions())
        await check_topic(client, settings)
        stored = await catalog.fix_partitions(partitions)
    finally:
        await client.close()
        await redis.aclose()
    check_count(settings, stored, partitions)
    return partitions


def check_count(settings: Settings, stored: int, partitions: int) -> None:
    """Raises PartitionCountChanged if the topic's number of partitions is not that under which Redis was filled."""
    if stored != partitions:
        raise PartitionCountChanged(
            f"topic {settings.topic_events} has {partitions} partitions, but Redis was filled when it had {stored}: "
            "a customer's partition follows from that number, so every key would be looked for in the wrong place. "
            f"Use a topic with {stored} partitions, or an empty Redis and a replay of the log."
        )


async def create_missing(client: AIOKafkaAdminClient, settings: Settings, stored: int | None) -> int:
    """Creates what is missing of the two topics; returns the number of the events topic's partitions. ``stored``: the number
    that Redis was filled under, which a topic that is made anew gets again."""
    wanted = {settings.topic_events: stored or settings.topic_partitions, settings.topic_dead_letters: 1}
    present = await topics_now(client, list(wanted))
    missing = {name: count for name, count in wanted.items() if name not in present}
    if missing:
        await create(client, settings, missing)
        present = await topics_now(client, list(wanted))
    found = present.get(settings.topic_events, TopicNow(None, 0)).partitions
    if not found or settings.topic_dead_letters not in present:
        raise KafkaConnectionError(f"the topics {', '.join(wanted)} have no partitions yet")
    return found


async def ensure_topic(settings: Settings, topic: str) -> None:
    """Creates a topic where it is missing, with as many partitions as a new events topic has. Raises KafkaError or OSError."""
    client = admin(settings)
    try:
        await client.start()
        if topic not in await topics_now(client, [topic]):
            await create(client, settings, {topic: settings.topic_partitions})
    finally:
        await client.close()


async def create(client: AIOKafkaAdminClient, settings: Settings, missing: dict[str, int]) -> None:
    """Topics of ours are stamped by the broker, and keep a record for as long as it could be replayed: a day more than an event
    may be old. (A broker's own default is 7 days, and producers' stamps.)"""
    cluster = await client.describe_cluster()
    if cluster["controller_id"] == _NO_CONTROLLER:
        # librdkafka's mock cluster: it has no CreateTopics. Whoever started it created the topics, or asking for their metadata
        # does, with as many partitions as the cluster's default says.
        for name in missing:
            await client.describe_topics([name])
        return
    retention_ms = (settings.event_age_max_days + 1) * _DAY_MS
    configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(retention_ms)}
    replication = settings.topic_replication
    answer = await client.create_topics([NewTopic(name, n, replication, topic_configs=configs) for name, n in missing.items()])
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another role was quicker
            raise error(f"topic {name} could not be created")
    log.info("topics created", topics=missing)
