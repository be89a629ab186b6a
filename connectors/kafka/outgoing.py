"""What the worker produces: forwarded and released events, dead letters. All of it is acknowledged before the batch is committed.

A batch whose commit was refused is classified again, and mostly finds the same: what it has already produced is not produced
twice (``Sent``). A crash in between does produce twice: forwards are dropped by the duplicate filter, dead letters may repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from connectors.kafka.headers import read_origin, read_traceparent, route
from connectors.kafka.intake import Forward, Record, Rejected
from connectors.kafka.parking import Parked
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.events import Reason, encode_event

VALUE_BYTES_MAX = 262_144
"""Of a dead letter: oversized values are cut, or the dead-letter topic would refuse them as the events topic should have."""

_DETAIL_BYTES_MAX = 1_024
_ATTRIBUTES_BYTES_MAX = 8_192

Sent = set[tuple[int, int, int]]
"""(offset, place, partition or DEAD_LETTER) of what a batch has produced so far."""

DEAD_LETTER = -1


class Outgoing:
    """Produces for all partitions of a worker. KafkaError goes to the caller: the producer has retried already."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._events = settings.topic_events
        self._dead_letters = settings.topic_dead_letters

    async def forward(self, forwards: Sequence[Forward], sent: Sent) -> list[Rejected]:
        """Produces events to their customers' partitions; returns those that the broker finds too large with our headers."""
        acknowledgements: list[tuple[Forward, asyncio.Future[object]]] = []
        too_large: list[Rejected] = []
        for item in forwards:
            arrived, customer_id, partition = item
            record = arrived.record
            mark = (record.offset, arrived.place, partition)
            if mark in sent:
                continue
            origin = read_origin(record.headers, origin_of(record))
            try:
                future = await self._producer.send(
                    self._events,
                    encode_event(arrived.event),
                    key=customer_id.encode(),
                    partition=partition,
                    headers=route(arrived.appended_at_ms, arrived.hops + 1, origin, read_traceparent(record.headers)),
                )
            except MessageSizeTooLargeError:
                too_large.append(_too_large(arrived.record, arrived.place, arrived.appended_at_ms))
                continue
            acknowledgements.append((item, future))
        for item, future in acknowledgements:
            try:
                await future
            except MessageSizeTooLargeError:
                too_large.append(_too_large(item.arrived.record, item.arrived.place, item.arrived.appended_at_ms))
                continue
            sent.add((item.arrived.record.offset, item.arrived.place, item.partition))
        return too_large

    async def release(self, parked: Iterable[Parked], customer_id: str, partition: int) -> None:
        """Produces parked events to the partition of the customer that their reference now means."""
        await self._all(
            [
                await self._producer.send(
                    self._events,
                    item.event,
                    key=customer_id.encode(),
                    partition=partition,
                    headers=route(item.appended_at_ms, item.hops + 1, item.origin, item.traceparent),
                )
                for item in parked
            ]
        )

    async def bury(self, rejected: Sequence[Rejected], sent: Sent) -> None:
        """Produces dead letters for rejected events."""
        fresh = [item for item in rejected if (item.record.offset, item.place, DEAD_LETTER) not in sent]
        await self._all(
            [
                await self._dead_letter(
                    item.record.value,
                    item.record.key,
                    item.rejection,
                    (item.record.topic, item.record.partition, item.record.offset, item.place, item.appended_at_ms),
                    _attributes(item.record),
                )
                for item in fresh
            ]
        )
        sent.update((item.record.offset, item.place, DEAD_LETTER) for item in fresh)

    async def bury_parked(self, parked: Iterable[Parked], rejection: Rejection) -> None:
        """Produces dead letters for parked events whose customer never came."""
        futures = []
        for item in parked:
            topic, partition, offset = item.origin.rsplit("/", 2)
            place = (topic, partition, offset, 0, item.appended_at_ms)
            futures.append(await self._dead_letter(item.event, None, rejection, place))
        await self._all(futures)

    async def _dead_letter(
        self,
        value: bytes | None,
        key: bytes | None,
        rejection: Rejection,
        place: tuple[object, ...],
        attributes: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[object]:
        headers = [("reason", rejection.reason.encode()), ("detail", rejection.detail.encode()[:_DETAIL_BYTES_MAX])]
        names = ("topic", "partition", "offset", "index", "appended_at_ms")
        headers += attributes
        headers += [(name, str(part).encode()) for name, part in zip(names, place, strict=True)]
        if value is not None and len(value) > VALUE_BYTES_MAX:
            value = value[:VALUE_BYTES_MAX]
            headers.append(("truncated", b"true"))
        if key is not None and len(key) > VALUE_BYTES_MAX:
            key = None
        sending: asyncio.Future[object] = await self._producer.send(self._dead_letters, value, key=key, headers=headers)
        return sending

    async def _all(self, futures: Sequence[asyncio.Future[object]]) -> None:
        if futures:
            await asyncio.gather(*futures)


def _attributes(record: Record) -> list[tuple[str, bytes]]:
    """A CloudEvent's attributes in binary mode: without them its value is half of an event."""
    attributes = [(name, value) for name, value in record.headers if name.startswith("ce_")]
    return attributes if sum(len(name) + len(value) for name, value in attributes) <= _ATTRIBUTES_BYTES_MAX else []


def origin_of(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _too_large(record: Record, index: int, appended_at_ms: int) -> Rejected:
    detail = "the event has to move to its customer's partition, and is too large for the topic with the headers of the move"
    return Rejected(Rejection(Reason.RECORD_TOO_LARGE, detail), record, index, appended_at_ms)
