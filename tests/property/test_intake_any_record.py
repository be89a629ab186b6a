"""Whatever record a stranger writes, the worker's way from the log and back into it answers: decode, classify, forward, park,
release, bury. Nothing raises, no event is lost on the way, and what is produced is what Kafka's own client can write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import orjson
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.clock import shifted_ms
from connectors.kafka.headers import APPENDED_AT, HOPS, ORIGIN, PROOF, TRACEPARENT, route
from connectors.kafka.intake import Arrived, Intake
from connectors.kafka.outgoing import Outgoing, Sent
from connectors.kafka.parking import decode_parked, encode_parked
from connectors.kafka.proofs import Proofs
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.cloudevents import REPLAY, Headers
from schemas.events import Decoded, EventDecoder, EventLimits, Reason

NOW_MS = 1_770_000_000_000
LOG_MS = NOW_MS - shifted_ms(0)  # what a broker writes at that time, whatever the clock of the tests says
DAY_MS = 86_400_000
SETTINGS = Settings(record_bytes_max=4_096, properties_bytes_max=2_048, record_events_max=5)
HERE, THERE, NOBODY = "here", "there", "nobody"
EVENT = {
    "transaction_id": "t",
    "customer_id": HERE,
    "event_type": "e",
    "timestamp": "2026-02-02T00:00:00Z",
    "properties": {"a": 1},
}
ATTRIBUTES = {"specversion": "1.0", "id": "t", "subject": HERE, "type": "e", "time": "2026-02-02T00:00:00Z", "source": "s"}


@dataclass(frozen=True)
class Fetched:
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = LOG_MS
    timestamp_type: int | None = 1
    topic: str = "usage-events"
    partition: int = 0
    offset: int = 7


class Producer:
    """Writes with aiokafka's own builder, and refuses what a topic with ``bytes_max`` refuses, a batch as a whole."""

    def __init__(self, bytes_max: int = 1_000_000) -> None:
        self._bytes_max = bytes_max
        self.taken: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = []

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, partition: int | None, headers: list[Any]
    ) -> asyncio.Future[None]:
        assert not (value is None and key is None), "Need at least one: key or value"  # aiokafka's own
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._write(topic, value, key, headers):
            done.set_result(None)
        else:
            done.set_exception(MessageSizeTooLargeError())
        return done

    def _write(self, topic: str, value: bytes | None, key: bytes | None, headers: list[Any]) -> bool:
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 10_000_000)
        builder.append(0, None, key, value, headers)
        fits = len(builder.build()) <= self._bytes_max
        if fits:
            self.taken.append((topic, value, key, headers))
        return fits

    def create_batch(self) -> Batch:
        return Batch()

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        (record,) = batch
        return await self.send(topic, record["value"], key=record["key"], partition=partition, headers=record["headers"])


class Batch(list[dict[str, Any]]):
    def append(self, **record: Any) -> None:  # type: ignore[override] # as aiokafka's
        super().append(record)


bytes_or_none = st.none() | st.binary(max_size=40) | st.sampled_from([b"", b"\xff\xfe", b"\0", b"9" * 40, b"x" * 6_000])
our_names = st.sampled_from([APPENDED_AT, PROOF, HOPS, ORIGIN, TRACEPARENT, *[f"ce_{name}" for name in ATTRIBUTES], "ce_"])
our_values = st.sampled_from(
    [b"253402300799000", b"1577836800000", b"-1", b"1e9", b"2", b"99", b"t/1", b"a/b/c/d", b"/0/0", b"1.0", b"00-0-0-0"]
)
headers_of = st.lists(st.tuples(our_names | st.text(max_size=5), bytes_or_none | our_values), max_size=6)
stamps = st.none() | st.integers(-(2**63), 2**63 - 1) | st.just(LOG_MS)


def json_of(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields)


odd = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=4) | st.sampled_from(["", "\0", "x" * 3_000, [], {}])


@st.composite
def values(draw: st.DrawFn) -> bytes | None:
    """Anything, or an event in which one field is odd."""
    if draw(st.integers(0, 3)) == 0:
        return draw(bytes_or_none)
    fields: dict[str, Any] = dict(draw(st.sampled_from([EVENT, {**ATTRIBUTES, "data": {"a": 1}}])))
    names = [*fields, REPLAY, "source", "specversion", "data_base64"]
    for name in draw(st.sets(st.sampled_from(names), max_size=1)):
        fields[name] = draw(odd)
    for name in ("customer_id", "subject"):
        if fields.get(name) == HERE:
            fields[name] = draw(st.sampled_from([HERE, THERE, NOBODY]))
    body = json_of(fields)
    return draw(st.sampled_from([body, b"[" + body + b"," + body + b"]", body.replace(b'"a":1', b'"a":1e99999')]))


records = st.builds(
    Fetched,
    value=values(),
    key=bytes_or_none,
    headers=headers_of | st.just([(f"ce_{name}", text.encode()) for name, text in ATTRIBUTES.items()]),
    timestamp=stamps,
    timestamp_type=st.sampled_from([None, 0, 1]),
)


def intake() -> Intake:
    made = Intake(SETTINGS, 0, 2)
    made._own[HERE] = HERE
    made._foreign[THERE] = (THERE, 1)
    return made


@settings(max_examples=300, deadline=None)
@given(st.lists(records, min_size=1, max_size=3), st.sampled_from([1_000_000, 3_000, 900]))
@example([Fetched(None)], 1_000_000)  # neither key nor value
@example([Fetched(None, headers=[("ce_specversion", None), ("ce_id", None)])], 1_000_000)
@example([Fetched(json_of({**EVENT, "customer_id": NOBODY}), headers=[(ORIGIN, None)])], 1_000_000)
@example([Fetched(json_of({**EVENT, "customer_id": NOBODY}), headers=[(ORIGIN, b"x")])], 1_000_000)
@example([Fetched(json_of({**EVENT, "timestamp": "9999-12-31T23:59:59Z"}), headers=[(APPENDED_AT, b"253402300799000")])], 900)
@example([Fetched(b"x" * 400_000, key=b"k" * 300_000)], 900)
def test_no_record_stops_the_way(fetched: Sequence[Fetched], bytes_max: int) -> None:
    fetched = [replace(record, offset=offset) for offset, record in enumerate(fetched)]
    made, producer = intake(), Producer(bytes_max)
    outgoing = Outgoing(producer, SETTINGS)
    arrived, undecodable = made.decode(fetched, NOW_MS)
    assert len(arrived) + len(undecodable) >= len(fetched)
    plan = made.classify(arrived)
    assert len(plan.here) + len(plan.forwards) + len(plan.parked) + len(plan.rejected) == len(arrived)
    assert len(plan.here) == len(plan.customers) == len(plan.seen_ids)
    for item in arrived:
        assert item.appended_at_ms == NOW_MS or item.record.timestamp_type == 1  # nobody's header is believed
    sent: Sent = set()

    async def produce() -> None:
        refused = await outgoing.forward(plan.forwards, sent)
        assert len(producer.taken) == len(plan.forwards) - len(refused)
        await outgoing.bury([*undecodable, *plan.rejected, *refused], sent)
        parked = [decode_parked(encode_parked(item)) for item in plan.parked]
        await outgoing.release(parked, HERE, 1)
        await outgoing.bury_parked(parked, Rejection(Reason.UNKNOWN_CUSTOMER, "x" * 5_000))

    asyncio.run(produce())
    for topic, _, _, headers in producer.taken:
        names = dict(headers)
        if topic == SETTINGS.topic_dead_letters:
            assert names["reason"] in {reason.encode() for reason in Reason}
            assert all(name in names for name in ("topic", "partition", "offset", "index", "appended_at_ms"))


def test_what_no_rule_foresaw_is_a_rejection_of_that_record_alone() -> None:
    """The boundary itself: a defect in the decoder, or in what follows, costs one record or event."""
    fetched = [Fetched(json_of({**EVENT, "transaction_id": name})) for name in ("a", "b", "c")]
    decode = EventDecoder.decode_plain

    def defect(self: EventDecoder, value: bytes) -> Decoded | None:
        if b'"b"' in value:
            raise ZeroDivisionError
        return decode(self, value)

    with patch.object(EventDecoder, "decode_plain", defect):
        arrived, rejected = intake().decode(fetched, NOW_MS)
    assert [item.event.transaction_id for item in arrived] == ["a", "c"]
    assert [item.rejection.reason for item in rejected] == ["undecodable"]

    hashed = iter([b"1" * 12, ZeroDivisionError(), b"3" * 12])

    def breaking(*_: str) -> bytes:
        each = next(hashed)
        if isinstance(each, Exception):
            raise each
        return each

    arrived, _ = intake().decode(fetched, NOW_MS)
    with patch("connectors.kafka.intake.seen_id", breaking):
        plan = intake().classify(arrived)
    assert [item.event.transaction_id for item in plan.here] == ["a", "c"]
    assert plan.customers == [HERE, HERE]
    assert [item.rejection.reason for item in plan.rejected] == ["undecodable"]


@given(st.integers(NOW_MS - 60 * DAY_MS, NOW_MS + 60 * DAY_MS), st.booleans())
@example(NOW_MS - 34 * DAY_MS, True)
@example(NOW_MS - 34 * DAY_MS - 1, True)
@example(NOW_MS, True)
@example(NOW_MS + 1, True)
def test_an_arrival_is_believed_within_what_the_log_says(claimed_ms: int, is_ours: bool) -> None:
    proofs = Proofs()
    value = json_of(EVENT)
    headers = route(proofs if is_ours else Proofs(), value, claimed_ms, 1, "usage-events/0/1")
    ([arrived], _) = Intake(SETTINGS, 0, 2, proofs).decode([Fetched(value, headers=headers)], NOW_MS)
    believed = is_ours and NOW_MS - SETTINGS.parked_days * DAY_MS <= claimed_ms <= NOW_MS
    assert arrived.appended_at_ms == (claimed_ms if believed else NOW_MS)


@given(st.binary(max_size=60) | st.just(b"[]\n{}") | st.just(b'[1,2,"t/0/0"]') | st.just(b'[1e99,2,"t/0/0"]\n{}'))
def test_whatever_is_parked_can_leave(stored: bytes) -> None:
    parked = decode_parked(stored)
    producer = Producer()

    async def leave() -> None:
        outgoing = Outgoing(producer, SETTINGS)
        await outgoing.release([parked], HERE, 0)
        await outgoing.bury_parked([parked], Rejection(Reason.UNKNOWN_CUSTOMER, ""))

    asyncio.run(leave())
    assert len(producer.taken) == 2


def _marked(source: str, replay: str = "", transaction_id: str = "t") -> Arrived:
    value = json_of({**ATTRIBUTES, "source": source, "id": transaction_id, "data": {"a": 1}, REPLAY: replay})
    ([arrived], _) = intake().decode([Fetched(value)], NOW_MS)
    return arrived


def test_ids_of_two_sources_are_two_events_and_stay_so_when_they_are_produced_again() -> None:
    plain = intake().decode([Fetched(json_of(EVENT))], NOW_MS)[0][0]
    events = [plain, _marked("a"), _marked("b"), _marked("a", transaction_id="u"), _marked("")]
    plan = intake().classify(events)
    assert len(set(plan.seen_ids)) == 4
    assert plan.seen_ids[0] == plan.seen_ids[4]  # without a source there is nothing but the id
    assert len({event_id[:4] for event_id in plan.seen_ids}) == 2  # found by the transaction id, whatever the source
    decoder = EventDecoder(EventLimits())
    for item in events:
        assert decoder.decode(decode_parked(encode_parked(item)).event) == [item.event]


def test_a_replay_counts_for_its_metrics_alone_and_is_an_event_of_its_own() -> None:
    proofs = Proofs()
    made = Intake(SETTINGS, 0, 2, proofs)
    made._own[HERE] = HERE
    good = proofs.replay(HERE, "s", "t", ["m-1", "m-2"])
    forged = [
        good.replace("m-2", "m-3"),
        proofs.replay("other", "s", "t", ["m-1"]),
        proofs.replay(HERE, "", "t", ["m-1"]),
        "x",
        ":",
    ]
    plan = made.classify([_marked("s"), _marked("s", good), *[_marked("s", each) for each in forged]])
    assert plan.replayed == {1: frozenset({"m-1", "m-2"})}
    assert len(set(plan.seen_ids)) == len(plan.here) == 2
    assert [item.rejection.reason for item in plan.rejected] == ["invalid_replay"] * len(forged)
