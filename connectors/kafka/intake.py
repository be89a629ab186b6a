"""From records to events with a destination: decode, resolve the customer, classify.

record ── decode ──► arrived ── resolve ──► apply here | forward | park
             └─ rejected                └── too old, too far ahead: rejected
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from connectors.clock import shifted_ms
from connectors.kafka.headers import read_route, read_traceparent
from connectors.redis.keys import partition_of
from connectors.redis.seen import seen_id
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.cloudevents import is_binary
from schemas.events import Decoded, EventDecoder, EventLimits, Reason

_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_LOG_APPEND_TIME = 1
_CREDIBLE_MS = 3_600_000
"""A producer's stamp (CreateTime) is taken for the time of the append up to this age. Producers may stamp what they like, such as
the event's own time, and by an old stamp an event of any age would be young."""
HOPS_MAX = 3
"""More than alias -> owner, released from parking, alias moved meanwhile: only a loop needs it."""


class Record(Protocol):
    """What we use of aiokafka's ConsumerRecord. ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Arrived(NamedTuple):
    """One event of a record. ``place``: its index in the record; ``hops``: how often we produced it again before."""

    event: Decoded
    record: Record
    place: int
    appended_at_ms: int
    hops: int


class Rejected(NamedTuple):
    rejection: Rejection
    record: Record
    place: int
    appended_at_ms: int


class Forward(NamedTuple):
    arrived: Arrived
    customer_id: str
    partition: int


@dataclass(slots=True)
class Plan:
    """What is to be done with each event. ``here``, ``customers`` and ``seen_ids`` run in parallel."""

    here: list[Arrived] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    seen_ids: list[bytes] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    parked: list[Arrived] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Intake:
    """Decodes and classifies for one partition. Remembers which references resolve to whom.

    Not shared between partitions: a partition may only use what it learned under its own configuration revision.
    References that do not resolve are never remembered: the customer may exist a moment later.
    """

    def __init__(self, settings: Settings, partition: int, partitions: int) -> None:
        limits = EventLimits(settings.record_bytes_max, settings.record_events_max, settings.properties_bytes_max)
        self._decoder = EventDecoder(limits)
        self._age_max_us = settings.event_age_max_days * _DAY_US
        self._ahead_max_us = settings.event_ahead_max_hours * _HOUR_US
        self._remembered_max = settings.customers_cached_max
        self._partition = partition
        self._partitions = partitions
        self._own: dict[str, str] = {}  # reference -> id of a customer of this partition
        self._foreign: dict[str, tuple[str, int]] = {}  # reference -> (customer id, its partition)
        self.traces: dict[int, str] = {}  # of the records decoded last: offset -> traceparent, where there is one

    def decode(self, records: Sequence[Record], now_ms: int) -> tuple[list[Arrived], list[Rejected]]:
        """Every event of the records, in order. ``now_ms``: arrival where the topic does not stamp records itself, and the
        producer's stamp is not that of an hour ago at most."""
        arrived: list[Arrived] = []
        rejected: list[Rejected] = []
        self.traces = {}
        decode_plain = self._decoder.decode_plain
        append = arrived.append
        new = tuple.__new__  # half the cost of calling the NamedTuple
        for record in records:
            appended_at_ms = shifted_ms(record.timestamp)
            if record.timestamp_type != _LOG_APPEND_TIME and not 0 <= now_ms - appended_at_ms <= _CREDIBLE_MS:
                appended_at_ms = now_ms
            value = record.value
            if value is not None and not record.headers:
                event = decode_plain(value)
                if event is not None:
                    append(new(Arrived, (event, record, 0, appended_at_ms, 0)))
                    continue
            self._decode_any(record, appended_at_ms, arrived, rejected)
        return arrived, rejected

    def _decode_any(self, record: Record, appended_at_ms: int, arrived: list[Arrived], rejected: list[Rejected]) -> None:
        hops = 0
        headers = record.headers
        if headers:
            appended_at_ms, hops = read_route(headers, appended_at_ms)
            if traceparent := read_traceparent(headers):
                self.traces[record.offset] = traceparent
            if record.value is not None and not is_binary(headers):  # traced producers put headers on every record
                event = self._decoder.decode_plain(record.value)
                if event is not None:
                    arrived.append(Arrived(event, record, 0, appended_at_ms, hops))
                    return
        for place, each in enumerate(self._decoder.decode(record.value, headers)):
            if isinstance(each, Decoded):
                arrived.append(Arrived(each, record, place, appended_at_ms, hops))
            else:
                rejected.append(Rejected(each, record, place, appended_at_ms))

    def unknown(self, arrived: Iterable[Arrived]) -> list[str]:
        """The references that have to be looked up. (Room is made here and never later: ``classify`` relies on what is known.)"""
        if len(self._own) + len(self._foreign) > self._remembered_max:
            self.forget_all()
        refs = {item.event.customer_ref for item in arrived}
        return [ref for ref in refs if ref not in self._own and ref not in self._foreign]

    def learn(self, resolved: dict[str, str]) -> None:
        """Reference -> customer id, as the catalog has them now."""
        for ref, customer_id in resolved.items():
            home = partition_of(customer_id, self._partitions)
            if home == self._partition:
                self._own[ref] = customer_id
            else:
                self._foreign[ref] = (customer_id, home)

    def forget(self, refs: Iterable[str]) -> None:
        for ref in refs:
            self._own.pop(ref, None)
            self._foreign.pop(ref, None)

    def forget_all(self) -> None:
        self._own.clear()
        self._foreign.clear()

    def classify(self, arrived: Sequence[Arrived]) -> Plan:
        """All references must have been looked up: one that is not known now is one that nobody owns."""
        plan = Plan()
        own = self._own
        here, customers, seen_ids = plan.here.append, plan.customers.append, plan.seen_ids.append
        age_max_us, ahead_max_us = self._age_max_us, self._ahead_max_us
        for item in arrived:
            event, _, _, appended_at_ms, _ = item
            age_us = appended_at_ms * 1000 - event[3]
            if age_us > age_max_us or age_us < -ahead_max_us:
                plan.rejected.append(self._out_of_time(item, age_us))
                continue
            customer_id = own.get(event[1])
            if customer_id is None:
                self._elsewhere(item, plan)
                continue
            here(item)
            customers(customer_id)
            seen_ids(seen_id(customer_id, event[0]))
        return plan

    def _elsewhere(self, item: Arrived, plan: Plan) -> None:
        foreign = self._foreign.get(item.event.customer_ref)
        if foreign is None:
            plan.parked.append(item)
            return
        customer_id, home = foreign
        if item.hops >= HOPS_MAX:
            detail = f"produced again {item.hops} times and still not in its customer's partition: do all workers see one topic?"
            plan.rejected.append(Rejected(Rejection(Reason.ROUTING_LOOP, detail), item.record, item.place, item.appended_at_ms))
        else:
            plan.forwards.append(Forward(item, customer_id, home))

    def _out_of_time(self, item: Arrived, age_us: int) -> Rejected:
        if age_us > 0:
            rejection = Rejection(Reason.TOO_OLD, f"timestamp is more than {self._age_max_us // _DAY_US} days before arrival")
        else:
            rejection = Rejection(
                Reason.TOO_FAR_AHEAD, f"timestamp is more than {self._ahead_max_us // _HOUR_US} hours after arrival"
            )
        return Rejected(rejection, item.record, item.place, item.appended_at_ms)
