"""What the worker produces: forwarded and released events, dead letters. All of it is acknowledged before the batch is committed.

A batch whose commit was refused is classified again, and mostly finds the same: what it has already produced is not produced
twice (``Sent``). A crash in between, or a reply that was lost, does produce twice: forwards are dropped by the duplicate filter,
dead letters may repeat.

Total: what cannot be written again becomes a dead letter, and a dead letter that its topic refuses is sent in a shorter form
(connectors.kafka.dead_letters). Only errors of Kafka itself go to the caller: the producer has retried already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from connectors.kafka.dead_letters import Letter, Origin, letter_of
from connectors.kafka.evaluate import Partial
from connectors.kafka.headers import read_origin, read_traceparent, route
from connectors.kafka.intake import Forward, Record, Rejected
from connectors.kafka.parking import Parked
from connectors.kafka.proofs import Proofs
from connectors.metrics import EVENTS_CONSUMED, EVENTS_REJECTED
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.events import Decoded, Mark, Reason, encode_event

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

Sent = set[tuple[int, int, int]]
"""(offset, place, partition or DEAD_LETTER) of what a batch has produced so far."""

DEAD_LETTER = -1

log = structlog.get_logger()


class _Record(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes
    partition: int | None
    headers: list[tuple[str, bytes | None]]


class Outgoing:
    """Produces for all partitions of a worker."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings, proofs: Proofs | None = None) -> None:
        self._producer = producer
        self._proofs = Proofs() if proofs is None else proofs
        self._events = settings.topic_events
        self._dead_letters = settings.topic_dead_letters

    async def forward(self, forwards: Sequence[Forward], sent: Sent) -> list[Rejected]:
        """Produces events to their customers' partitions; returns those that cannot be written again: mostly ones that are too
        large for the topic with our headers."""
        records: list[_Record] = []
        items: list[Forward] = []
        rejected: list[Rejected] = []
        for item in forwards:
            if _mark(item) in sent:
                continue
            try:
                records.append(self._forwarded(item))
            except Exception as error:  # the boundary of an event: what cannot be written is a dead letter
                log.error("event cannot be written again", error=type(error).__name__, exc_info=error)
                reason = Rejection(Reason.UNDECODABLE, f"{type(error).__name__} while it was written for its partition")
                rejected.append(_rejected(item, reason))
                continue
            items.append(item)
        for item, taken in zip(items, await self._send_all(records), strict=True):
            if taken:
                sent.add(_mark(item))
            else:
                rejected.append(_rejected(item, _TOO_LARGE_TO_MOVE))
        return rejected

    async def release(self, parked: Iterable[Parked], customer_id: str, partition: int) -> None:
        """Produces parked events to the partition of the customer that their reference now means. One that is too large for the
        topic with our headers is a dead letter, counted as consumed (from parking) and rejected."""
        items = list(parked)
        records = [
            _Record(
                self._events,
                item.event,
                customer_id.encode(),
                partition,
                route(self._proofs, item.event, item.appended_at_ms, item.hops + 1, item.origin, item.traceparent),
            )
            for item in items
        ]
        refused = [item for item, taken in zip(items, await self._send_all(records), strict=True) if not taken]
        await self.bury_parked(refused, _TOO_LARGE_TO_MOVE)
        EVENTS_CONSUMED.inc(len(refused))
        EVENTS_REJECTED.labels(_TOO_LARGE_TO_MOVE.reason).inc(len(refused))

    async def bury(self, rejected: Sequence[Rejected], sent: Sent) -> None:
        """Produces dead letters for rejected events, and copies of those that counted for some metrics only."""
        fresh = [item for item in rejected if (item.record.offset, item.place, DEAD_LETTER) not in sent]
        await self._send_letters([_letter(item) for item in fresh])
        sent.update((item.record.offset, item.place, DEAD_LETTER) for item in fresh)

    def partial_copy(self, partial: Partial) -> Rejected:
        """The dead letter of an event that counted for some metrics only: its value is that event by itself, with the replay that
        lets it count for the others once it is mended."""
        arrived, customer_id, rejection = partial
        value = self.replayable(arrived.event, customer_id, rejection.missed)
        known = customer_id, arrived.event.transaction_id
        return Rejected(rejection, arrived.record, arrived.place, arrived.appended_at_ms, value, *known)

    def replayable(self, event: Decoded, customer_id: str, metric_ids: Sequence[str]) -> bytes:
        source = "" if event.mark is None else event.mark.source
        replay = self._proofs.replay(customer_id, source, event.transaction_id, metric_ids)
        return encode_event(event._replace(mark=Mark(source, replay)))

    async def bury_parked(self, parked: Iterable[Parked], rejection: Rejection) -> None:
        """Produces dead letters for parked events whose customer never came."""
        await self._send_letters([letter_of(item.event, None, rejection, Origin.of_parked(item)) for item in parked])

    def _forwarded(self, item: Forward) -> _Record:
        arrived, customer_id, partition = item
        headers = arrived.record.headers
        value = encode_event(arrived.event)
        origin = read_origin(headers, origin_of(arrived.record))
        trace = read_traceparent(headers)
        written = route(self._proofs, value, arrived.appended_at_ms, arrived.hops + 1, origin, trace)
        return _Record(self._events, value, customer_id.encode(), partition, written)

    async def _send_letters(self, letters: Sequence[Letter]) -> None:
        taken = await self._send_all([self._record(letter) for letter in letters])
        for letter in [letter for letter, done in zip(letters, taken, strict=True) if not done]:
            shorter = letter.smaller()
            while shorter is not None and not await self._send_alone(self._record(shorter)):
                shorter = shorter.smaller()
            if shorter is None:
                raise MessageSizeTooLargeError(f"topic {self._dead_letters} takes no dead letter, not even without its value")

    def _record(self, letter: Letter) -> _Record:
        return _Record(self._dead_letters, letter.value, letter.key, None, letter.all_headers())

    async def _send_all(self, records: Sequence[_Record]) -> list[bool]:
        """Produces them in their order; tells for each whether it was taken, or is too large. A batch is refused as a whole: so a
        record that was refused goes by itself before it is called too large."""
        sending: list[asyncio.Future[object] | None] = []
        for record in records:
            try:
                sending.append(await self._send(record))
            except _TOO_LARGE:
                sending.append(None)
        outcomes = await asyncio.gather(*[future for future in sending if future is not None], return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, _TOO_LARGE):
                raise outcome
        refused = iter([isinstance(outcome, BaseException) for outcome in outcomes])
        return [
            future is not None and (not next(refused) or await self._send_alone(record))
            for record, future in zip(records, sending, strict=True)
        ]

    async def _send(self, record: _Record) -> asyncio.Future[object]:
        future: asyncio.Future[object] = await self._producer.send(
            record.topic, record.value, key=record.key, partition=record.partition, headers=record.headers
        )
        return future

    async def _send_alone(self, record: _Record) -> bool:
        """In a batch of its own; false: it is too large."""
        batch = self._producer.create_batch()
        batch.append(timestamp=None, value=record.value, key=record.key, headers=record.headers)
        partition = record.partition
        if partition is None:
            partition = min(await self._producer.partitions_for(record.topic))
        try:
            await (await self._producer.send_batch(batch, record.topic, partition=partition))
        except _TOO_LARGE:
            return False
        return True


def _letter(item: Rejected) -> Letter:
    record = item.record
    origin = Origin(record.topic, str(record.partition), str(record.offset), item.place, item.appended_at_ms)
    if item.value is not None:
        return letter_of(item.value, record.key, item.rejection, origin)
    return letter_of(record.value, record.key, item.rejection, origin, record.headers)


def _mark(item: Forward) -> tuple[int, int, int]:
    return item.arrived.record.offset, item.arrived.place, item.partition


def _rejected(item: Forward, rejection: Rejection) -> Rejected:
    arrived = item.arrived
    return Rejected(rejection, arrived.record, arrived.place, arrived.appended_at_ms)


def origin_of(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


_TOO_LARGE_TO_MOVE = Rejection(
    Reason.RECORD_TOO_LARGE,
    "the event has to move to its customer's partition, and is too large for the topic with the headers of the move",
)
