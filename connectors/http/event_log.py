"""The API's access to the events topic: events in, acknowledged by all in-sync replicas, and single records read back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from connectors.clock import shifted_ms
from connectors.kafka import client
from connectors.redis.keys import partition_of
from connectors.settings import Settings

READ_TIMEOUT_S = 5.0
APPEND_TIMEOUT_S = 10.0
"""Well below the producer's own limit (40 s), after which most clients have long given up."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def _seen(acknowledged: asyncio.Future[Any]) -> None:
    """An event whose request has given up may still fail later, and nobody asks it how it went any more."""
    if not acknowledged.cancelled():
        acknowledged.exception()


class EventLog:
    """Start it before use, stop it to flush. The reading consumer is made on first use: searches are rare."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._settings = settings
        self._partitions = partitions
        self._producer: AIOKafkaProducer = client.producer(settings, repeats=True)  # the duplicate filter drops them
        self._consumer: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()
        if self._consumer is not None:
            await self._consumer.stop()

    async def reachable(self) -> None:
        """Raises KafkaConnectionError when no broker answers."""
        if not await self._producer.client.force_metadata_update():
            raise KafkaConnectionError

    async def append(self, events: Sequence[tuple[str, bytes]]) -> None:
        """(customer reference, value) of each event; returns when Kafka has all of them.

        Raises KafkaError or TimeoutError; then some or all of them may be there, or come later. Sent again they are duplicates.
        The key is the reference and the partition its owner's, so that an event with a customer's own id needs no forwarding.
        """
        topic = self._settings.topic_events
        async with asyncio.timeout(APPEND_TIMEOUT_S):
            sent = [
                await self._producer.send(topic, value, key=ref.encode(), partition=partition_of(ref, self._partitions))
                for ref, value in events
            ]
        for acknowledged in sent:
            acknowledged.add_done_callback(_seen)
        done, pending = await asyncio.wait(sent, timeout=APPEND_TIMEOUT_S)
        if pending:
            raise TimeoutError
        for acknowledged in done:
            acknowledged.result()

    async def read(self, partition: int, offset: int) -> LogRecord | None:
        """The record at an offset, or None if the log no longer has it."""
        async with self._reading:
            if self._consumer is None:
                consumer = client.consumer(self._settings)
                await consumer.start()
                self._consumer = consumer
            place = TopicPartition(self._settings.topic_events, partition)
            self._consumer.assign([place])
            try:
                if offset >= (await self._consumer.end_offsets([place]))[place]:
                    return None  # a broker that forgot its log; waiting for the record would be waiting for ever
                self._consumer.seek(place, offset)
                async with asyncio.timeout(READ_TIMEOUT_S):
                    record = await self._consumer.getone(place)
            except (TimeoutError, OffsetOutOfRangeError):
                return None
        if record.offset != offset:
            return None
        return LogRecord(partition, offset, shifted_ms(record.timestamp), record.value, tuple(record.headers))
