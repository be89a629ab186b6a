"""POST /v1/ingest: all events of a request reach Kafka, exactly as they were sent, or none does."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors import clock
from connectors.http import event_log, system
from connectors.kafka import client
from connectors.redis.keys import partition_of
from tests.conformance.conftest import PARTITIONS, Api
from tests.support.mock_kafka import MockKafka

WAIT_S = 30.0


def event(name: str, **more: Any) -> dict[str, Any]:
    now = clock.now().isoformat()
    return {"transaction_id": name, "customer_id": "nobody", "event_type": "call", "timestamp": now, **more}


class Tail:
    """What is appended to the events topic from now on."""

    def __init__(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        self._consumer = consumer
        self._ends = ends

    @classmethod
    async def start(cls, api: Api) -> Tail:
        consumer = client.consumer(api.settings)
        await consumer.start()
        places = [TopicPartition(api.settings.topic_events, partition) for partition in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, ends[place])
        return cls(consumer, ends)

    async def appended(self) -> int:
        now = await self._consumer.end_offsets(list(self._ends))
        return sum(now[place] - self._ends[place] for place in self._ends)

    async def records(self, count: int) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(WAIT_S):
            while len(found) < count:
                fetched = await self._consumer.getmany(timeout_ms=1000)
                found += [record for records in fetched.values() for record in records]
        return found

    async def stop(self) -> None:
        await self._consumer.stop()


@pytest.fixture
async def tail(api: Api) -> Any:
    started = await Tail.start(api)
    yield started
    await started.stop()


async def test_events_are_keyed_by_the_customers_id(http: httpx.AsyncClient, tail: Tail) -> None:
    created = (await http.post("/v1/customers", json={"name": "a", "ingest_aliases": ["alias"]})).json()["data"]["id"]
    refs = ["alias", created, "nobody"]
    answer = await http.post("/v1/ingest", json=[event(f"k-{place}", customer_id=ref) for place, ref in enumerate(refs)])
    assert (answer.status_code, answer.content) == (200, b"")
    records = {orjson.loads(record.value)["transaction_id"]: record for record in await tail.records(3)}
    for place, key in enumerate([created, created, "nobody"]):
        record = records[f"k-{place}"]
        assert record.key == key.encode()
        assert record.partition == partition_of(key, PARTITIONS)
        assert orjson.loads(record.value)["customer_id"] == refs[place]


async def test_numbers_arrive_with_every_digit(http: httpx.AsyncClient, tail: Tail) -> None:
    body = orjson.dumps([event("n", properties={"text": "0.10", "nested": {"a": [1]}})])
    digits = b'"exact":0.12345678901234567,"wide":12345678901234567890,'
    assert (await http.post("/v1/ingest", content=body.replace(b'"properties":{', b'"properties":{' + digits))).status_code == 200
    (record,) = await tail.records(1)
    assert digits in record.value


async def test_nothing_to_take(http: httpx.AsyncClient, tail: Tail) -> None:
    answer = await http.post("/v1/ingest", content=b"")
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await http.post("/v1/ingest", content=b"[]")
    assert (answer.status_code, answer.json()["message"]) == (400, "the body must be a JSON array of at least one event")
    assert await tail.appended() == 0


async def test_costs_as_clients_write_their_floats_are_taken_to_the_last_digit(http: httpx.AsyncClient, tail: Tail) -> None:
    costs = [0.0036899999999999997, 1.2345678901234567e-07, *(1.23e-3 * number * 0.1 for number in range(1, 99))]
    assert any(Decimal(repr(cost)) != round(Decimal(repr(cost)), 18) for cost in costs[2:])
    answer = await http.post("/v1/ingest", json=[event(f"cost-{n}", properties={"cost": cost}) for n, cost in enumerate(costs)])
    assert answer.status_code == 200
    kept = [re.search(rb'"cost":([0-9.eE+-]+)', record.value) for record in await tail.records(100)]
    assert [Decimal(found[1].decode()) for found in kept if found] == [Decimal(repr(cost)) for cost in costs]


@pytest.mark.parametrize(
    ("wrong", "field", "rule"),
    [
        ({"transaction_id": ""}, "transaction_id", "at least 1"),
        ({"transaction_id": "x" * 129}, "transaction_id", "at most 128"),
        ({"customer_id": 7}, "customer_id", "must be a string"),
        ({"event_type": None}, "event_type", "must be a string"),
        ({"timestamp": "yesterday"}, "timestamp", "RFC 3339"),
        ({"timestamp": 1700000000}, "timestamp", "must be a string"),
        ({"timestamp": "1970-01-01T00:00:00Z"}, "timestamp", "must not be more than 34 days ago"),
        ({"timestamp": "2099-01-01T00:00:00Z"}, "timestamp", "must not be more than 24 hours ahead"),
        ({"properties": []}, "properties", "must be an object"),
        ({"properties": {"n": "x" * 70_000}}, "properties", "larger than"),
        ({"colour": 1}, "colour", "not a known field"),
    ],
)
async def test_one_bad_event_refuses_all(http: httpx.AsyncClient, tail: Tail, wrong: Any, field: str, rule: str) -> None:
    answer = await http.post("/v1/ingest", json=[event("good"), event("bad", **wrong), event("good too")])
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["index"], fault["field"]) == (1, field)
    assert rule in fault["rule"]
    assert answer.json()["message"].startswith(f"event 1: {field} ")
    assert await tail.appended() == 0


async def test_every_bad_event_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/ingest", json=[{f"unknown-{n}": n for n in range(200)} for _ in range(100)])
    assert {fault["index"] for fault in answer.json()["errors"]} == set(range(100))
    old = event("d", timestamp="1970-01-01T00:00:00Z")  # a rule on one more event, in the same answer
    answer = await http.post("/v1/ingest", json=[event("a", timestamp="x"), event("b"), event("c", customer_id=1), "text", old])
    assert [(fault["index"], fault["field"]) for fault in answer.json()["errors"]] == [
        (0, "timestamp"),
        (2, "customer_id"),
        (3, "event"),
        (4, "timestamp"),
    ]


async def test_events_near_the_limits_of_time_are_taken(http: httpx.AsyncClient, tail: Tail) -> None:
    near = timedelta(minutes=5)
    times = [clock.now() - timedelta(days=34) + near, clock.now() + timedelta(hours=24) - near]
    answer = await http.post("/v1/ingest", json=[event(f"near-{at}", timestamp=at.isoformat()) for at in times])
    assert answer.status_code == 200
    assert await tail.appended() == 2


@pytest.mark.parametrize("body", [{"events": []}, "text", 7, None])
async def test_other_json_is_400(http: httpx.AsyncClient, body: Any) -> None:
    answer = await http.post("/v1/ingest", content=orjson.dumps(body))
    assert answer.status_code == 400
    assert answer.json() == {"message": "the body must be a JSON array of at least one event"}


async def test_too_many_events(http: httpx.AsyncClient, tail: Tail) -> None:
    answer = await http.post("/v1/ingest", json=[event(str(number)) for number in range(101)])
    assert answer.status_code == 400
    assert "at most 100" in answer.json()["message"]
    assert await tail.appended() == 0


async def test_no_acknowledgement_without_kafka(
    http: httpx.AsyncClient, mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "APPEND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(system, "CHECK_TIMEOUT_S", 0.5)
    mock_kafka.set_down()
    try:
        answer = await http.post("/v1/ingest", json=[event("lost")])
        ready = await http.get("/readyz")
    finally:
        mock_kafka.set_up()
    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == "true"
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert ready.json()["checks"]["kafka"] != "ok"
