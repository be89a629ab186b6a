"""What becomes of a record: applied, duplicate, rejected, parked, forwarded; and that the counters add up."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from connectors import clock
from connectors.kafka.headers import PROOF, route
from connectors.kafka.proofs import Proofs
from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys
from tests.support.worker_harness import PARTITIONS, Counters, Harness, customer_in, event, now_ms

GOOD = b'{"transaction_id":"bad","customer_id":"%s","event_type":"call","timestamp":"2026-11-21T00:00:00Z","properties":{%s}}'


def _with(*, properties: bytes = b"", customer_id: bytes = b"x") -> bytes:
    return GOOD % (customer_id, properties)


BAD: list[tuple[str, bytes | None, str]] = [
    ("truncated JSON", b'{"transaction_id": "a', "invalid_json"),
    ("empty value", b"", "invalid_json"),
    ("invalid UTF-8", b'{"transaction_id": "\xff\xfe"}', "invalid_utf8"),
    ("half of a surrogate pair", _with(properties=b'"a":"\\ud800"'), "invalid_utf8"),
    ("U+0000 in an id", _with(customer_id=b"\\u0000"), "invalid_text"),
    ("tombstone", None, "tombstone"),
    ("a number", b"17", "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("an empty array", b"[]", "no_events"),
    ("an array of numbers", b"[1]", "not_an_object"),
    ("NaN", _with(properties=b'"a":NaN'), "invalid_json"),
    ("Infinity", _with(properties=b'"a":Infinity'), "invalid_json"),
    ("missing field", b'{"customer_id":"x","event_type":"call","timestamp":"2026-11-21T00:00:00Z"}', "missing_field"),
    (
        "wrong type",
        b'{"transaction_id":1,"customer_id":"x","event_type":"call","timestamp":"2026-11-21T00:00:00Z"}',
        "wrong_type",
    ),
    ("properties are a list", _with().replace(b"{}", b"[]"), "wrong_type"),
    ("empty id", _with(customer_id=b""), "out_of_range"),
    ("an id of 129 characters", _with(customer_id=b"x" * 129), "out_of_range"),
    ("oversized properties", _with(properties=b'"a":"' + b"x" * 70_000 + b'"'), "properties_too_large"),
    ("1,001 events", b"[" + b",".join([b"{}"] * 1_001) + b"]", "too_many_events"),
    ("a date without a zone", _with().replace(b"00Z", b"00"), "invalid_timestamp"),
    ("1970", _with().replace(b"2026-11", b"1970-01"), "too_old"),
    ("2099", _with().replace(b"2026-11", b"2099-01"), "too_far_ahead"),
    ("2 MB", b"x" * 2_000_000, "record_too_large"),
    ("nested too deep", _with(properties=b'"a":' + b"[" * 60_000 + b"]" * 60_000), "nested_too_deep"),
]


ODD = [b"1e400", b"1e-400", b"9" * 300, b"1e99999999999999999999", b'"\\u0000"', b"[1e999]", b'{"":null}', b"null", b'"\xd9\xa3"']


async def test_a_property_that_no_metric_reads_rejects_no_event(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id, "by-alias")
    await harness.worker()
    for number, value in enumerate(ODD):
        body = event(f"odd-{number}", "by-alias").replace(b'"properties":{}', b'"properties":{"odd":%s}' % value)
        await harness.produce(1, body)  # forwarded to its partition, and so written once more
    await harness.until(lambda: _is(harness, customer_id, [f"odd-{number}" for number in range(len(ODD))]), "all of them")
    assert await harness.dead_letters() == []


async def test_bad_records_are_dead_lettered_and_the_next_event_is_applied(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    counters = Counters()
    await harness.worker()
    for number, (_, value, _) in enumerate(BAD):
        await harness.produce(0, value, key=customer_id.encode())
        await harness.produce(0, event(f"after-{number}", customer_id))
    await harness.settled()

    letters = await harness.dead_letters()
    got = {int(headers["offset"]): (headers, value) for headers, value in letters}
    assert len(letters) == len(BAD)
    for number, (what, value, reason) in enumerate(BAD):
        headers, kept = got[2 * number]
        assert headers["reason"] == reason, what
        assert (headers["topic"], headers["partition"], headers["index"]) == ("usage-events", "0", "0")
        assert headers["detail"]
        if value is None or len(value) <= 262_144:
            assert kept == value
            assert "truncated" not in headers
        else:
            assert kept == value[:262_144]
            assert headers["truncated"] == "true"
    assert await harness.applied(customer_id) == [f"after-{number}" for number in range(len(BAD))]
    assert counters.grown() == {
        "consumed": 2 * len(BAD),
        "applied": len(BAD),
        "rejected": len(BAD),
        "duplicate": 0,
        "parked": 0,
        "forwarded": 0,
    }


async def test_an_array_is_judged_event_by_event(harness: Harness) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(1, b"[" + event("a", customer_id) + b",7," + event("b", customer_id) + b"]")
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]
    ((headers, _),) = await harness.dead_letters()
    assert (headers["reason"], headers["index"]) == ("not_an_object", "1")


async def test_a_cloudevent_in_binary_mode_is_an_event(harness: Harness) -> None:
    customer_id = customer_in(2)
    await harness.create(customer_id)
    await harness.worker()
    fields = orjson.loads(event("ce-1", customer_id))
    attributes = {"specversion": "1.0", "id": "ce-1", "subject": customer_id, "type": "call", "time": fields["timestamp"]}
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    await harness.produce(0, b'{"tokens":1}', headers=headers)  # not its customer's partition: it is forwarded
    await harness.settled()
    await harness.until(lambda: _is(harness, customer_id, ["ce-1"]), "the event to be applied")


async def test_a_dead_letter_of_a_cloudevent_keeps_its_attributes(harness: Harness) -> None:
    await harness.worker()
    await harness.produce(0, b'{"tokens":1}', headers=[("ce_specversion", b"1.0"), ("ce_id", b"ce-1"), ("other", b"x")])
    await harness.settled()
    ((headers, value),) = await harness.dead_letters()
    assert headers["reason"] == "missing_field"
    assert (headers["ce_specversion"], headers["ce_id"]) == ("1.0", "ce-1")
    assert "other" not in headers
    assert value == b'{"tokens":1}'


async def _is(harness: Harness, customer_id: str, applied: list[str]) -> bool:
    return await harness.applied(customer_id) == applied


async def test_an_event_that_the_engine_refuses_may_be_sent_again_under_its_id(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id, refuse="x"))
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    assert await harness.applied(customer_id) == ["a"]
    ((headers, _),) = await harness.dead_letters()
    assert headers["reason"] == "property_not_a_number"


@pytest.mark.parametrize("batch_records_max", [1, 1_000])
async def test_duplicates_are_dropped_within_and_across_batches(harness: Harness, batch_records_max: int) -> None:
    customer_id, other = customer_in(0), customer_in(0, 1)
    await harness.create(customer_id)
    await harness.create(other)
    counters = Counters()
    twice = [event(f"t-{number // 2}", customer_id) for number in range(40)]
    for _ in range(2):
        await harness.produce_many(0, twice)
    await harness.produce(0, event("t-0", other))  # another customer's id of the same name is another event
    await harness.worker(batch_records_max=batch_records_max)
    await harness.settled()
    assert await harness.applied(customer_id) == [f"t-{number}" for number in range(20)]
    assert await harness.applied(other) == ["t-0"]
    grown = counters.grown()
    assert (grown["consumed"], grown["applied"], grown["duplicate"]) == (81, 21, 60)


async def test_misrouted_and_alias_keyed_events_reach_their_customer_once(harness: Harness) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id, "an-alias")
    counters = Counters()
    await harness.worker()
    await harness.produce(0, event("by-alias", "an-alias", amount=1), key=b"an-alias")
    await harness.produce(2, event("misrouted", customer_id))
    await harness.produce(2, event("by-alias", "an-alias", amount=1))
    await harness.until(lambda: counters.grown()["consumed"] == 6, "the forwarded events to be read")
    await harness.settled()
    assert sorted(await harness.applied(customer_id)) == ["by-alias", "misrouted"]
    assert counters.grown() == {"consumed": 6, "applied": 2, "rejected": 0, "duplicate": 1, "parked": 0, "forwarded": 3}


async def test_an_event_in_a_routing_loop_is_dead_lettered(harness: Harness) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id), headers=[("tidemark-hops", b"3")])
    await harness.settled()
    ((headers, _),) = await harness.dead_letters()
    assert headers["reason"] == "routing_loop"
    assert await harness.applied(customer_id) == []


async def test_a_forwarded_event_keeps_its_arrival_and_nobody_else_can_claim_one(harness: Harness) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id)
    await harness.worker()
    arrival_ms = now_ms() - 20 * 86_400_000
    told = now_ms() // 1_000 - 40 * 86_400  # of 20 days before that arrival
    value = event("a", customer_id)
    old = orjson.dumps({**orjson.loads(value), "timestamp": datetime.fromtimestamp(told, UTC).isoformat()})
    proofs = Proofs()
    claimed = route(proofs, old, arrival_ms, 1, "usage-events/0/7")
    await harness.produce(1, old, headers=claimed)  # proved by another installation's key
    await harness.produce(1, old, headers=[header for header in claimed if header[0] != PROOF])
    proofs.adopt(await CatalogStore(harness.redis).proof_key())
    await harness.produce(1, value, headers=route(proofs, old, arrival_ms, 1, "usage-events/0/7"))  # the proof of another event
    await harness.produce(1, old, headers=route(proofs, old, arrival_ms, 1, "usage-events/0/7"))
    await harness.settled()
    letters = await harness.dead_letters()
    assert [(letter["reason"], letter["offset"]) for letter, _ in letters] == [("too_old", "0"), ("too_old", "1")]
    assert await harness.applied(customer_id) == ["a"]
    assert [int(letter["appended_at_ms"]) > now_ms() - 3_600_000 for letter, _ in letters] == [True, True]
    later = orjson.dumps({**orjson.loads(old), "transaction_id": "b"})
    await harness.produce(1, later, headers=route(proofs, later, arrival_ms, 1, "usage-events/0/7"))
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]


async def test_parked_events_are_applied_in_order_once_their_reference_exists(harness: Harness) -> None:
    customer_id = customer_in(1)
    counters = Counters()
    await harness.worker()
    for number in range(5):
        await harness.produce(1, event(f"id-{number}", customer_id))
        await harness.produce(2, event(f"alias-{number}", "a-later-alias"))
    await harness.settled()
    assert counters.grown()["parked"] == 10
    await harness.create(customer_id, "a-later-alias")
    await harness.until(lambda: counters.grown()["applied"] == 10, "the parked events to be applied")
    applied = await harness.applied(customer_id)
    assert [name for name in applied if name.startswith("id")] == [f"id-{number}" for number in range(5)]
    assert [name for name in applied if name.startswith("alias")] == [f"alias-{number}" for number in range(5)]
    grown = counters.grown()
    assert grown["consumed"] == sum(grown[name] for name in ("applied", "duplicate", "rejected", "parked", "forwarded"))


async def test_parked_events_whose_customer_never_comes_are_dead_lettered(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.worker()
    value = event("old", "nobody").replace(b'"properties":{}', b'"properties":{"a":1.50}')
    before_ms = now_ms()
    await harness.produce(1, value)
    await harness.settled()
    await harness.workers[0].stop()
    monkeypatch.setattr("connectors.clock._shift_s", clock.shift_s() + 35 * 86_400)
    young = orjson.loads(event("young", "nobody"))
    young["timestamp"] = datetime.fromtimestamp(before_ms // 1000 + 35 * 86_400, UTC).isoformat()
    await harness.produce(1, orjson.dumps(young))
    await harness.worker()

    async def is_buried() -> bool:
        return len(await harness.dead_letters()) == 1

    await harness.until(is_buried, "the old event to be dead-lettered")
    await harness.settled()
    ((headers, kept),) = await harness.dead_letters()
    assert headers["reason"] == "unknown_customer"
    assert (headers["topic"], headers["partition"], headers["offset"]) == ("usage-events", "1", "0")
    assert before_ms <= int(headers["appended_at_ms"]) <= now_ms()
    assert orjson.loads(kept or b"")["transaction_id"] == "old"
    assert b'"a":1.50' in (kept or b"")
    assert await harness.redis.llen("tidemark:{1}:parked:nobody") == 1  # the young one still waits


async def test_parking_is_bounded_by_reference_and_by_partition(harness: Harness) -> None:
    """In the order of the log, whatever the batches are; and there is room again once a reference resolves."""
    counters = Counters()
    await harness.worker(parked_reference_events_max=3, parked_events_max=5, batch_records_max=4)
    home = customer_in(1)
    for number in range(5):
        await harness.produce(1, event(f"{home}-{number}", home))
    for number in range(4):
        await harness.produce(1, event(f"stranger-{number}", "stranger"))
    await harness.settled()
    await harness.until(lambda: counters.grown()["consumed"] == 9, "the counters")
    assert (counters.grown()["parked"], counters.grown()["rejected"]) == (5, 4)
    over = {orjson.loads(value or b"")["transaction_id"]: headers for headers, value in await harness.dead_letters()}
    assert sorted(over) == [f"{home}-3", f"{home}-4", "stranger-2", "stranger-3"]
    assert {headers["reason"] for headers in over.values()} == {"parking_full"}
    assert "wait for this customer_id" in over[f"{home}-3"]["detail"]
    assert "wait in this partition" in over["stranger-2"]["detail"]

    await harness.create(home)
    await harness.until(lambda: counters.grown()["applied"] == 3, "the parked events to be applied")
    for number in range(2):
        await harness.produce(1, event(f"later-{number}", "stranger"))
    await harness.settled()
    assert await harness.redis.llen("tidemark:{1}:parked:stranger") == 3
    assert await harness.redis.hget("tidemark:{1}:parked_total", "events") == b"3"


async def test_parking_is_bounded_in_bytes(harness: Harness) -> None:
    await harness.worker(parked_reference_bytes_max=2_500, parked_bytes_max=4_000)
    for ref in ("a", "b", "c"):
        for number in range(3):
            await harness.produce(1, event(f"{ref}-{number}", ref, text="x" * 1_000))
    await harness.settled()
    over = sorted(orjson.loads(value or b"")["transaction_id"] for _, value in await harness.dead_letters())
    assert over == ["a-2", "b-1", "b-2", "c-0", "c-1", "c-2"]
    size = int(await harness.redis.hget("tidemark:{1}:parked_total", "bytes"))
    stored = [event for ref in ("a", "b") for event in await harness.redis.lrange(f"tidemark:{{1}}:parked:{ref}", 0, -1)]
    assert size == sum(map(len, stored)) <= 4_000


async def test_all_references_that_resolve_by_now_are_released_after_a_claim(harness: Harness) -> None:
    """Of any number, and without a change in the stream that tells of them."""
    counters = Counters()
    customer_id = customer_in(1)
    await harness.create(customer_id)
    worker = await harness.worker()
    refs = [f"alias-{number}" for number in range(1_200)]
    for start in range(0, len(refs), 400):
        await harness.produce_many(1, [event(ref, ref) for ref in refs[start : start + 400]])
    await harness.settled()
    assert await harness.redis.zcard("tidemark:{1}:parked") == len(refs)
    await worker.stop()
    await harness.redis.hset("tidemark:{catalog}:refs", mapping=dict.fromkeys(refs, customer_id))
    await harness.worker()
    await harness.until(lambda: counters.grown()["applied"] == len(refs), "all of them to be applied")
    assert not await harness.redis.exists("tidemark:{1}:parked")


async def test_a_trace_follows_its_event_into_the_outbox(harness: Harness) -> None:
    """Of an event that is applied where it came, of one that is forwarded, and of one that was parked; and no other's."""
    here, later = customer_in(0), customer_in(1, 7)
    await harness.create(here)
    await harness.create(customer_in(1), "an-alias")
    await harness.worker()
    traces = {name: f"00-{number:032x}-{number:016x}-01" for number, name in enumerate(("direct", "forwarded", "parked"), 1)}
    await harness.produce(2, event("parked", later), headers=[("traceparent", traces["parked"].encode())])
    await harness.produce(0, event("plain", here))
    await harness.produce(0, event("direct", here), headers=[("traceparent", traces["direct"].encode())])
    await harness.produce(0, event("forwarded", "an-alias"), headers=[("traceparent", traces["forwarded"].encode())])
    await harness.produce(0, event("malformed", here), headers=[("traceparent", b"00-none")])
    await harness.settled()
    await harness.create(later)

    async def told() -> dict[str, bytes]:
        found = {}
        for partition in range(PARTITIONS):
            for _, fields in await harness.redis.xrange(PartitionKeys(partition).outbox):
                evidence = orjson.loads(fields[b"body"])["properties"]["evidence"]
                found[evidence["transaction_id"]] = fields.get(b"traceparent", b"")
        return found

    async def all_told() -> bool:
        return len(await told()) == 5

    await harness.until(all_told, "five notifications")
    assert await told() == {name: trace.encode() for name, trace in traces.items()} | {"plain": b"", "malformed": b""}
