"""From records to events with a destination: decode, resolve the customer, classify.

record ── decode ──► arrived ── resolve ──► apply here | forward | park
             └─ rejected                └── too old, too far ahead: rejected

Total: whatever bytes, keys and headers a record has, ``decode`` and ``classify`` answer. What their own rules do not foresee is
caught here, told, and becomes a rejection of that one record or event ("undecodable").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog

from connectors.clock import shifted_ms
from connectors.kafka.headers import Recorded, read_route, read_traceparent
from connectors.kafka.proofs import Proofs
from connectors.redis.keys import partition_of
from connectors.redis.seen import seen_id
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.cloudevents import Headers, is_binary
from schemas.events import Decoded, EventDecoder, EventLimits, Reason

_DAY_US = 86_400_000_000
_DAY_MS = 86_400_000
_HOUR_US = 3_600_000_000
LOG_APPEND_TIME = 1
_CREDIBLE_MS = 3_600_000
"""A producer's stamp (CreateTime) is taken for the time of the append up to this age. Producers may stamp what they like, such as
the event's own time, and by an old stamp an event of any age would be young."""
HOPS_MAX = 3
"""More than alias -> owner, released from parking, alias moved meanwhile: only a loop needs it."""


log = structlog.get_logger()


class Record(Protocol):
    """What we use of aiokafka's ConsumerRecord. ``timestamp`` is in milliseconds since the epoch; records of the oldest format
    (Kafka before 0.10) have none."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class Arrived(NamedTuple):
    """One event of a record. ``place``: its index in the record; ``hops``: how often we produced it again before."""

    event: Decoded
    record: Record
    place: int
    appended_at_ms: int
    hops: int


class Rejected(NamedTuple):
    """``value``: of the dead letter, where it is not that of the record. ``customer_id``, ``transaction_id``: where they are
    known."""

    rejection: Rejection
    record: Record
    place: int
    appended_at_ms: int
    value: bytes | None = None
    customer_id: str = ""
    transaction_id: str = ""


class Forward(NamedTuple):
    arrived: Arrived
    customer_id: str
    partition: int


@dataclass(slots=True)
class Plan:
    """What is to be done with each event. ``here``, ``customers`` and ``seen_ids`` run in parallel. ``replayed``: place in these
    -> the only metrics for which that event counts."""

    here: list[Arrived] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)
    seen_ids: list[bytes] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    parked: list[Arrived] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    replayed: dict[int, frozenset[str]] = field(default_factory=dict)


class Intake:
    """Decodes and classifies for one partition. Remembers which references resolve to whom.

    Not shared between partitions: a partition may only use what it learned under its own configuration revision.
    References that do not resolve are never remembered: the customer may exist a moment later.
    """

    def __init__(self, settings: Settings, partition: int, partitions: int, proofs: Proofs | None = None) -> None:
        """``proofs``: of this installation; without them no header of a record is believed."""
        self._proofs = Proofs() if proofs is None else proofs
        self._wait_ms_max = settings.parked_days * _DAY_MS
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
        shift_ms = shifted_ms(0)
        for record in records:
            try:
                stamp_ms = record.timestamp
                appended_at_ms = now_ms if stamp_ms is None else stamp_ms + shift_ms
                if record.timestamp_type != LOG_APPEND_TIME and not 0 <= now_ms - appended_at_ms <= _CREDIBLE_MS:
                    appended_at_ms = now_ms
                value = record.value
                if value is not None and not record.headers:
                    event = decode_plain(value)
                    if event is not None:
                        append(new(Arrived, (event, record, 0, appended_at_ms, 0)))
                        continue
                found, refused = self._decode_any(record, appended_at_ms)
            except Exception as error:  # noqa: BLE001 - the boundary of a record: no bytes of a stranger's may end the worker
                rejected.append(Rejected(_undecodable("decode", error, record), record, 0, now_ms))
                continue
            arrived += found
            rejected += refused
        return arrived, rejected

    def _decode_any(self, record: Record, appended_at_ms: int) -> tuple[list[Arrived], list[Rejected]]:
        hops = 0
        headers = record.headers
        if headers:
            recorded = Recorded(appended_at_ms, self._wait_ms_max)
            appended_at_ms, hops = read_route(headers, record.value, recorded, self._proofs)
            if traceparent := read_traceparent(headers):
                self.traces[record.offset] = traceparent
            if record.value is not None and not is_binary(headers):  # traced producers put headers on every record
                event = self._decoder.decode_plain(record.value)
                if event is not None:
                    return [Arrived(event, record, 0, appended_at_ms, hops)], []
        arrived: list[Arrived] = []
        rejected: list[Rejected] = []
        for place, each in enumerate(self._decoder.decode(record.value, headers)):
            if isinstance(each, Decoded):
                arrived.append(Arrived(each, record, place, appended_at_ms, hops))
            else:
                rejected.append(Rejected(each, record, place, appended_at_ms))
        return arrived, rejected

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
            event, record, place, appended_at_ms, _ = item
            try:
                age_us = appended_at_ms * 1000 - event[3]
                if age_us > age_max_us or age_us < -ahead_max_us:
                    plan.rejected.append(self._out_of_time(item, age_us))
                    continue
                customer_id = own.get(event[1])
                if customer_id is None:
                    self._elsewhere(item, plan)
                    continue
                if event[5] is None:
                    event_id = seen_id(customer_id, event[0])
                else:
                    found = self._marked(item, customer_id, plan)
                    if found is None:
                        continue
                    event_id = found
            except Exception as error:  # noqa: BLE001 - the boundary of an event, as in ``decode``
                plan.rejected.append(Rejected(_undecodable("classify", error, record), record, place, appended_at_ms))
                continue
            here(item)
            customers(customer_id)
            seen_ids(event_id)
        return plan

    def _marked(self, item: Arrived, customer_id: str, plan: Plan) -> bytes | None:
        """The id of a CloudEvent, which is unique in its source, or of a replay, which is another event than the one that counted
        for the other metrics. None: it is rejected."""
        event = item.event
        assert event.mark is not None
        source, replay = event.mark
        if not replay:
            return seen_id(customer_id, event.transaction_id, source)
        metric_ids = self._proofs.replayed(replay, customer_id, source, event.transaction_id)
        if metric_ids is None:
            detail = "tidemarkreplay was not made for this customer and transaction_id; without it the event counts as a new one"
            plan.rejected.append(Rejected(Rejection(Reason.INVALID_REPLAY, detail), item.record, item.place, item.appended_at_ms))
            return None
        plan.replayed[len(plan.here)] = metric_ids
        return seen_id(customer_id, event.transaction_id, f"{source}\0{replay}")

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


def _undecodable(doing: str, error: Exception, record: Record) -> Rejection:
    log.error(
        "undecodable record",
        doing=doing,
        error=type(error).__name__,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        exc_info=error,
    )
    return Rejection(Reason.UNDECODABLE, f"{type(error).__name__} while it was read")
