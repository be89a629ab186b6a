"""What the API looks at beside its requests: lag, how Kafka and Redis are set up, and what the other roles report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from connectors.agreement import PROCESS, SAMPLE_PAUSE_S
from connectors.background import end, repeat, within
from connectors.heartbeats import Beat, missing, read
from connectors.kafka.client import admin
from connectors.kafka.errors import told
from connectors.kafka.lag import LagOfAll
from connectors.kafka.metadata import topics_now
from connectors.kafka.topic_settings import topic_warnings
from connectors.redis.fitness import redis_warnings
from connectors.redis.progress import Progress, read_progress
from connectors.settings import Settings

LAG_EVERY_S = 5.0
LOOK_EVERY_S = 60.0
STANDING_STILL_S = 60.0
_END_S = 1.0

log = structlog.get_logger("http")


class Watch:
    """``warnings``: of how Kafka and Redis are set up, as it was looked at last. ``topic``: "ok" or what is wrong with the events
    topic, without which no event can be taken."""

    def __init__(self, settings: Settings, redis: Redis, partitions: int) -> None:
        self._settings = settings
        self._redis = redis
        self._partitions = partitions
        self._moved: dict[int, tuple[int | None, float]] = {}  # last commit (ms), and since when there was none and a lag
        self._lag = LagOfAll(settings, redis, partitions)
        self.warnings: tuple[str, ...] = ()
        self.topic = "ok"

    async def measure_lag(self) -> None:
        await self._lag.measure()
        now_s, progress = time.monotonic(), await self.progress()
        for partition, each in enumerate(progress):
            before = self._moved.get(partition)
            if before is None or before[0] != each.committed_ms or not self._lag.records.get(partition):
                self._moved[partition] = (each.committed_ms, now_s)

    async def look_at_clocks(self) -> None:
        await PROCESS.sample(self._redis)

    async def progress(self) -> Sequence[Progress]:
        """Of each partition. Raises RedisError or OSError."""
        return await read_progress(self._redis, self._partitions)

    def standing_still(self) -> list[str]:
        """Partitions in which usage waits, and nothing was committed for a while."""
        now_s = time.monotonic()
        return [
            f"partition {partition}: {self._lag.records[partition]} records wait, and nothing was committed for "
            f"{now_s - since_s:.0f} s"
            for partition, (_, since_s) in self._moved.items()
            if self._lag.records.get(partition) and now_s - since_s > STANDING_STILL_S
        ]

    async def look(self) -> None:
        """Tells each warning once, and again when it comes back."""
        found = tuple([*await redis_warnings(self._redis), *await self._topic_warnings()])
        for warning in found:
            if warning not in self.warnings:
                log.warning("risky set-up", what=warning)
        self.warnings = found

    async def others(self) -> tuple[Sequence[Beat], list[str]]:
        """The reports of the other roles, and what is wrong by them. Raises RedisError or OSError."""
        beats = [beat for beat in await read(self._redis) if beat.role != "api"]
        return beats, [*missing(beats), *(problem for beat in beats for problem in beat.problems())]

    @property
    def lag_records(self) -> Mapping[int, int]:
        return self._lag.records

    async def stop(self) -> None:
        await self._lag.stop()

    async def _topic_warnings(self) -> list[str]:
        client, name = admin(self._settings), self._settings.topic_events
        try:
            await client.start()
            now = (await topics_now(client, [name])).get(name)
            if now is None:
                self.topic = f"topic {name} is gone"
            elif now.partitions != self._partitions:
                self.topic = f"topic {name} has {now.partitions} partitions, and Redis was filled when it had {self._partitions}"
            else:
                self.topic = "ok"
            return [] if now is None else await topic_warnings(client, self._settings)
        except (KafkaError, OSError) as error:
            log.debug("the events topic was not looked at", error=told(error))
            return []
        finally:
            await client.close()


@asynccontextmanager
async def watching(settings: Settings, redis: Redis, partitions: int) -> AsyncIterator[Watch]:
    """Looks until it is left."""
    PROCESS.begin("api", settings.clock_tolerance_s)
    stop, watch = asyncio.Event(), Watch(settings, redis, partitions)
    loops: list[asyncio.Task[object]] = [
        asyncio.create_task(repeat("api.lag", watch.measure_lag, stop, LAG_EVERY_S)),
        asyncio.create_task(repeat("api.clock", watch.look_at_clocks, stop, SAMPLE_PAUSE_S)),
        asyncio.create_task(repeat("api.look", watch.look, stop, LOOK_EVERY_S)),
    ]
    try:
        yield watch
    finally:
        stop.set()
        await end(loops, _END_S)
        await within("lag", _END_S, watch.stop())
