"""The real worker in the test's own event loop, over the mock cluster and a real Valkey, with TallyAggregate as its engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client import REGISTRY

from connectors import clock
from connectors.kafka import client
from connectors.kafka.group import group_of
from connectors.kafka.worker import run_worker
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.customers import CustomerStore
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.settings import Settings

PARTITIONS = 3
EVENTS = "usage-events"
DEAD_LETTERS = "usage-events.dead-letters"
WAIT_S = 30.0
TOPICS = {EVENTS: PARTITIONS, DEAD_LETTERS: 1}

Headers = Sequence[tuple[str, bytes | None]]


def settings_for(bootstrap_servers: str, redis_url: str, **changes: object) -> Settings:
    values = {
        "kafka_bootstrap_servers": bootstrap_servers,
        "redis_url": redis_url,
        "tick_ms": 20,
        "kafka_session_timeout_ms": 1_500,  # the mock cluster makes a rejoining worker wait for about so long
        **changes,
    }
    return Settings.model_validate(values)


def event(transaction_id: str, customer_ref: str, **properties: object) -> bytes:
    return orjson.dumps(
        {
            "transaction_id": transaction_id,
            "customer_id": customer_ref,
            "event_type": "call",
            "timestamp": clock.now(),
            "properties": properties,
        }
    )


def customer_in(partition: int, number: int = 0) -> str:
    """The id of a customer that a partition owns."""
    owned = (f"customer-{n}" for n in range(10_000) if partition_of(f"customer-{n}", PARTITIONS) == partition)
    return [next(owned) for _ in range(number + 1)][-1]


class RunningWorker:
    """``stop`` drains it, within its ``drain_timeout_s``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> RunningWorker:
        self._task = asyncio.create_task(run_worker(self._settings, self._stop, self.ready.set))
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait({self._task, ready}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()
        assert self.ready.is_set(), "the worker did not join"
        return self

    async def stop(self) -> None:
        self._stop.set()
        await self.ended()

    @property
    def over(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def failed(self) -> bool:
        return self._task is not None and self._task.done() and not self._task.cancelled() and self._task.exception() is not None

    async def ended(self) -> None:
        """Waits for its end; raises what ended it."""
        assert self._task is not None
        await asyncio.wait_for(self._task, WAIT_S)


class Harness:
    """Kafka clients and Redis beside the worker. Use as an async context manager."""

    def __init__(self, bootstrap_servers: str, redis_url: str, **changes: object) -> None:
        self.settings = settings_for(bootstrap_servers, redis_url, **changes)
        self.redis: Any = connect(self.settings)  # its own types name every shape a reply has under any setting
        self.customers = CustomerStore(self.redis, PARTITIONS)
        self.workers: list[RunningWorker] = []
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Harness:
        await self.reconnect()
        return self

    async def reconnect(self) -> None:
        """Another producer: an idempotent one does not survive its topic."""
        if self._producer is not None:
            await self._producer.stop()
        large = self.settings.model_copy(update={"record_bytes_max": 8_000_000})
        self._producer = client.producer(large)
        await self._producer.start()

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            if not worker.over:
                await worker.stop()
        if self._producer is not None:
            await self._producer.stop()
        await self.redis.aclose()

    async def worker(self, **changes: object) -> RunningWorker:
        worker = await RunningWorker(self.settings.model_copy(update=changes)).start()
        self.workers.append(worker)
        return worker

    async def create(self, customer_id: str, *aliases: str) -> None:
        document = orjson.dumps(
            {
                "id": customer_id,
                "name": customer_id,
                "ingest_aliases": list(aliases),
                "custom_fields": {},
                "created_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-01T00:00:00Z",
                "archived_at": None,
                "version": 1,
                "contracts": [],
                "alerts": [],
            }
        )
        assert await self.customers.create(customer_id, aliases, document, now_ms()) is None

    async def produce(self, partition: int, value: bytes | None, *, key: bytes | None = None, headers: Headers = ()) -> int:
        assert self._producer is not None
        sent = await self._producer.send_and_wait(
            self.settings.topic_events, value, key=key, partition=partition, headers=list(headers)
        )
        return int(sent.offset)

    async def produce_many(self, partition: int, values: Sequence[bytes]) -> None:
        """As one batch of the producer: the mock cluster gives out one of these a fetch, so a worker's batch is no larger."""
        assert self._producer is not None
        batch = self._producer.create_batch()
        for value in values:
            assert batch.append(key=None, value=value, timestamp=now_ms()) is not None, "the batch is full"
        await (await self._producer.send_batch(batch, self.settings.topic_events, partition=partition))

    async def state(self, customer_id: str) -> dict[str, str]:
        keys = PartitionKeys(partition_of(customer_id, PARTITIONS))
        return {name.decode(): value.decode() for name, value in (await self.redis.hgetall(keys.state(customer_id))).items()}

    async def applied(self, customer_id: str) -> list[str]:
        """Transaction ids in the order in which they were applied."""
        return (await self.state(customer_id)).get("applied", "").split()

    async def outbox(self) -> dict[str, list[str]]:
        """Ids of all notifications in the outboxes, by customer, in order."""
        ids: dict[str, list[str]] = {}
        for partition in range(PARTITIONS):
            for _, fields in await self.redis.xrange(PartitionKeys(partition).outbox):
                ids.setdefault(fields[b"customer_id"].decode(), []).append(fields[b"id"].decode())
        return ids

    async def settled(self) -> None:
        """Waits until all records are committed."""

        async def is_settled() -> bool:
            for partition, end in (await self.ends()).items():
                stored = await self.redis.hget(PartitionKeys(partition).position, "next_offset")
                if end and int(stored or 0) != end:
                    return False
            return True

        await self.until(is_settled, "all records to be committed")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for a condition, which may be a coroutine function. The limit bounds a broken run; it measures nothing."""
        deadline = time.monotonic() + WAIT_S
        while True:
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            if any(worker.failed for worker in self.workers):
                for worker in self.workers:
                    await worker.ended()
            assert time.monotonic() < deadline, f"waited {WAIT_S} s for {what}"
            await asyncio.sleep(0.02)

    async def mirrored(self, partition: int) -> int | None:
        """The offset that the consumer group has committed in Kafka."""
        group = group_of(self.settings, await CatalogStore(self.redis).installation())
        consumer = client.consumer(self.settings, group=group)
        consumer.assign([TopicPartition(self.settings.topic_events, partition)])
        await consumer.start()
        try:
            offset: int | None = await consumer.committed(TopicPartition(self.settings.topic_events, partition))
            return offset
        finally:
            await consumer.stop()

    async def ends(self) -> dict[int, int]:
        partitions = [TopicPartition(self.settings.topic_events, partition) for partition in range(PARTITIONS)]
        async with _reader(self.settings) as reader:
            return {here.partition: end for here, end in (await reader.end_offsets(partitions)).items()}

    async def dead_letters(self) -> list[tuple[dict[str, str], bytes | None]]:
        """(headers, value) of each dead letter, in order."""
        here = TopicPartition(self.settings.topic_dead_letters, 0)
        letters: list[tuple[dict[str, str], bytes | None]] = []
        async with _reader(self.settings) as reader:
            end = (await reader.end_offsets([here]))[here]
            reader.assign([here])
            reader.seek(here, 0)
            while len(letters) < end:
                for record in (await reader.getmany(here, timeout_ms=1_000)).get(here, []):
                    letters.append(({name: (value or b"").decode() for name, value in record.headers}, record.value))
        return letters


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = client.consumer(settings)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def now_ms() -> int:
    return clock.now_ms()


class Counters:
    """What the counters of events have grown by since this was made."""

    NAMES = ("consumed", "applied", "duplicate", "rejected", "parked", "forwarded")

    def __init__(self) -> None:
        self._before = self._now()

    def grown(self) -> Mapping[str, int]:
        return {name: value - self._before[name] for name, value in self._now().items()}

    def rejected(self, reason: str) -> float:
        return REGISTRY.get_sample_value("tidemark_events_rejected_total", {"reason": reason}) or 0.0

    def _now(self) -> dict[str, int]:
        totals = dict.fromkeys(self.NAMES, 0)
        for family in REGISTRY.collect():
            for sample in family.samples:
                for name in self.NAMES:
                    if sample.name == f"tidemark_events_{name}_total":
                        totals[name] += int(sample.value)
        return totals
