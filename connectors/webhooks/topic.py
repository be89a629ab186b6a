"""The Kafka topic of notifications: for receivers who would rather read a log than be called.

A record's value is the notification's JSON, its key the customer's id, so that one customer's notifications keep their order in
one partition; its headers are ``id`` (the same for every attempt), ``type``, and ``traceparent`` where there is one. The broker
acknowledges with all in-sync replicas, and drops what the producer repeats (idempotence). Kafka is ours: whatever it cannot do at
the moment is a fault that uses up no attempt. Only a record that it will never take is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from connectors.agreement import PROCESS
from connectors.kafka.client import producer
from connectors.kafka.topics import ensure_topic
from connectors.redis.types import OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import Endpoint

_log = structlog.get_logger("webhooks.topic")


class Topic:
    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._opening = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._unacknowledged: dict[str, asyncio.Future[object]] = {}

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        at_s, started_s = PROCESS.now_s(), time.monotonic()
        outcome, detail = "success", ""
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_s):
                # Cancelled, a record that was given to the producer is still sent: so the next attempt waits for it.
                await asyncio.shield(self._unacknowledged.get(entry.id) or await self._send(entry, first_byte))
        except MessageSizeTooLargeError as error:
            outcome, detail = "refused", str(error)
        except (KafkaError, OSError, TimeoutError) as error:
            outcome, detail = "fault", f"{type(error).__name__}: {error}"
            if isinstance(error, KafkaError) and not error.retriable:
                await self.close()  # it may be unusable: begin anew
        seconds = time.monotonic() - started_s
        return Attempt(outcome, at_s, seconds, response=detail.encode())

    async def _send(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> asyncio.Future[object]:
        opened = await self._open()
        if first_byte is not None:
            first_byte()
        headers = [("id", entry.id.encode()), ("type", entry.type.encode())]
        if entry.traceparent:
            headers.append(("traceparent", entry.traceparent.encode()))
        key = entry.customer_id.encode() or None
        future: asyncio.Future[object] = await opened.send(
            self._settings.topic_notifications, entry.body, key=key, headers=headers
        )
        self._unacknowledged[entry.id] = future
        future.add_done_callback(lambda _: self._unacknowledged.pop(entry.id, None))
        return future

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                await ensure_topic(self._settings, self._settings.topic_notifications)
                opened = producer(self._settings)
                try:
                    await opened.start()
                except BaseException:
                    await opened.stop()
                    raise
                self._producer = opened
            return self._producer

    async def close(self) -> None:
        """What the broker does not acknowledge in time is sent again, under the same id."""
        closing, self._producer = self._producer, None
        self._unacknowledged.clear()
        if closing is not None:
            try:
                async with asyncio.timeout(self._settings.webhook_timeout_s):
                    await closing.stop()
            except (KafkaError, OSError, TimeoutError) as error:
                _log.warning("producer.cut_off", error=type(error).__name__)
