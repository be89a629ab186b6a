"""Bad records through real Kafka: each is dead-lettered with its reason, the event after it is applied, the counters add up."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

import orjson
import pytest

from connectors import clock
from connectors.redis.keys import partition_of
from tests.support import scenario
from tests.support.oracle import Threshold
from tests.support.receiver import Receiver
from tests.support.system import System, running_redis

NOW = clock.now()
CUSTOMER = "<customer>"  # replaced by the id that the API gives


def event(transaction_id: str, /, **changes: Any) -> dict[str, Any]:
    fields = {
        "transaction_id": transaction_id,
        "customer_id": CUSTOMER,
        "event_type": scenario.EVENT_TYPE,
        "timestamp": NOW - timedelta(minutes=1),
        "properties": {"input_tokens": 1, "output_tokens": "1"},
    }
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def raw(number: str, transaction_id: str = "bad") -> bytes:
    """An event whose input_tokens is written as ``number``, valid JSON or not."""
    return orjson.dumps(event(transaction_id, properties={"input_tokens": 123456789})).replace(b"123456789", number.encode())


BAD: list[tuple[str, bytes | None]] = [
    ("tombstone", None),
    ("invalid_json", b""),
    ("invalid_json", orjson.dumps(event("bad"))[:-20]),
    ("invalid_json", raw("NaN")),
    ("invalid_json", raw("Infinity")),
    ("invalid_utf8", orjson.dumps(event("bad", event_type="caf\u00e9")).replace("\u00e9".encode(), b"\xe9")),
    ("not_an_object", b"42"),
    ("no_events", b"[]"),
    ("wrong_type", orjson.dumps(event("bad", transaction_id=5))),
    ("wrong_type", orjson.dumps(event("bad", properties=[1, 2]))),
    ("missing_field", orjson.dumps(event("bad", transaction_id=...))),
    ("missing_field", orjson.dumps(event("bad", timestamp=...))),
    ("out_of_range", orjson.dumps(event("x" * 129))),
    ("invalid_timestamp", orjson.dumps(event("bad", timestamp="yesterday"))),
    ("too_old", orjson.dumps(event("bad", timestamp="1970-01-01T00:00:00Z"))),
    ("too_far_ahead", orjson.dumps(event("bad", timestamp="2099-01-01T00:00:00Z"))),
    ("properties_too_large", orjson.dumps(event("bad", properties={"note": "x" * 70_000}))),
    ("record_too_large", orjson.dumps(event("bad", properties={"note": "x" * 2_000_000}))),
    ("invalid_text", orjson.dumps(event("bad", customer_id="a\0b"))),
]

ODD = [
    ("property_out_of_bounds", raw("1e400", "odd-0")),
    ("property_out_of_bounds", raw("9" * 300, "odd-1")),
    ("property_not_a_number", raw('"many"', "odd-2")),
]
"""Those that one metric cannot read: they count for the others."""


def header(message: Any, name: str) -> str:
    return dict(message.headers())[name].decode()


@pytest.mark.kafka
def test_bad_records_are_dead_lettered_and_what_follows_is_applied(kafka: str) -> None:
    with running_redis() as redis, Receiver() as receiver, System(kafka, redis.url) as system:
        system.start()
        receiver.secret = system.post("/v1/webhook-endpoints", {"url": receiver.url})["secret"]
        month_start = (NOW - timedelta(days=40)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        configured = scenario.configure(system, month_start, customers=1)
        customer = configured.customers[0]
        # one after each bad one, those that count in part, one with empty properties, one in an array beside a bad one
        good = len(BAD) + len(ODD) + 2
        line = Threshold("all good ones", Fraction(good), "requests", customer)
        scenario.create_alert(system, configured, line)

        def with_customer(value: bytes | None) -> bytes | None:
            return None if value is None else value.replace(CUSTOMER.encode(), customer.encode())

        records: list[bytes | None] = []
        for number, (_, value) in enumerate(BAD):
            records += [value, orjson.dumps(event(f"good-{number}"))]
        records += [value for _, value in ODD]
        records.append(orjson.dumps(event("good-empty", properties={})))
        records.append(orjson.dumps(event("good-empty", properties={})))  # a duplicate
        records.append(orjson.dumps([event("bad", event_type=...), event("good-last")]))
        system.produce((customer, with_customer(value)) for value in records)
        stranger = "nobody-yet"
        system.produce([(stranger, orjson.dumps(event("parked", customer_id=stranger)))])
        elsewhere = next(
            key
            for key in map(str, range(1000))
            if partition_of(key, system.partitions) != partition_of(customer, system.partitions)
        )
        system.produce([(elsewhere, with_customer(orjson.dumps(event("good-0"))))])  # forwarded home, where it is a duplicate
        system.wait_settled()

        all_letters = system.read_topic(system.dead_letters)
        copies = [letter for letter in all_letters if "counted" in dict(letter.headers())]
        assert sorted((header(letter, "reason"), header(letter, "counted")) for letter in copies) == sorted(
            (reason, "partially") for reason, _ in ODD
        )
        letters = [letter for letter in all_letters if letter not in copies]
        assert_same_bytes_and_reasons(letters, [(reason, with_customer(value)) for reason, value in BAD])
        in_array = next(letter for letter in letters if (letter.value() or b"").startswith(b"[{"))
        assert (header(in_array, "reason"), header(in_array, "index")) == ("missing_field", "0")

        notified = [body["properties"] for body in receiver.bodies()]
        assert [(told["alert_name"], told["evidence"]["transaction_id"]) for told in notified] == [(line.name, "good-last")]

        counted = system.workers[0].metrics()
        rejected = sum(value for name, value in counted.items() if name.startswith("tidemark_events_rejected_total{"))
        parts = [counted[f"tidemark_events_{part}_total"] for part in ("applied", "duplicate", "parked", "forwarded")]
        assert [*parts, rejected] == [good, 2, 1, 1, len(BAD) + 1]
        assert counted["tidemark_events_consumed_total"] == sum(parts) + rejected


def assert_same_bytes_and_reasons(letters: list[Any], bad: list[tuple[str, bytes | None]]) -> None:
    """The dead letters of single records, in order: the original bytes (an oversized one's beginning) and the reason."""
    single = [letter for letter in letters if not (letter.value() or b"").startswith(b"[{")]
    by_offset = sorted(single, key=lambda letter: int(header(letter, "offset")))
    assert [header(letter, "reason") for letter in by_offset] == [reason for reason, _ in bad]
    for letter, (_, original) in zip(by_offset, bad, strict=True):
        if "truncated" in dict(letter.headers()):
            assert original is not None
            assert original.startswith(letter.value())
        else:
            assert letter.value() == original
