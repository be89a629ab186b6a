"""The worker role: one session (session.py) after the other.

When Kafka fails in a way that passes (its client has retried by then), the whole session is closed and begun anew. Nothing is
lost: nothing is kept outside of Redis and the log. What does not pass ends the role, with what to do (errors.py).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from connectors.agreement import PROCESS
from connectors.background import until_done
from connectors.health import Health, Report
from connectors.kafka.errors import Reaction, misconfigured, told, while_running
from connectors.kafka.garbage import GARBAGE
from connectors.kafka.session import Session, unless
from connectors.kafka.topics import ensure_topics
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.settings import Settings
from engine import numbers

_DELAY_FIRST_S = 0.5
_DELAY_MAX_S = 10.0

log = structlog.get_logger()


async def run_worker(settings: Settings, stop: asyncio.Event, ready: Callable[[], None], health: Health | None = None) -> None:
    """Serves until ``stop`` is set, then finishes and commits the batches in flight and leaves the group.

    Waits for Kafka and Redis to be reachable. Raises PartitionCountChanged, UnreadRecordsLost, GroupTaken, KafkaMisconfigured,
    TopicUnfit and RedisUnfit: those need a person.
    """
    numbers.activate()
    PROCESS.begin("worker", settings.clock_tolerance_s)
    GARBAGE.take_over()
    partitions = await unless(stop, ensure_topics(settings))
    if partitions is None:
        return
    redis = connect(settings)
    try:
        await _sessions(settings, redis, partitions, stop, ready, health or Health())
    finally:
        await redis.aclose()


async def _sessions(
    settings: Settings, redis: Redis, partitions: int, stop: asyncio.Event, ready: Callable[[], None], health: Health
) -> None:
    found: list[str] = []

    async def ask() -> None:
        found.append(await CatalogStore(redis).installation())

    await until_done("worker.start", ask, stop)
    delay_s = _DELAY_FIRST_S
    while not stop.is_set():
        session = Session(settings, redis, partitions, installation=found[0])
        health.tell_by(session.report)
        try:
            await session.run(stop, ready)
        except (KafkaError, OSError) as error:
            if while_running(error) is Reaction.START:
                raise misconfigured(settings, error) from error
            log.warning("kafka failed, beginning a new session", error=told(error), delay_s=delay_s)
            health.tell_by(functools.partial(Report, {"kafka": told(error)}))
            await unless(stop, asyncio.sleep(delay_s))
            await unless(stop, ensure_topics(settings))
            delay_s = _DELAY_FIRST_S if session.joined else min(delay_s * 2, _DELAY_MAX_S)
