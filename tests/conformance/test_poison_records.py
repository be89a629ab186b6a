"""Poison records against the whole way: API, worker and engine. Each costs itself alone, and what can be mended counts once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from metronome import AsyncMetronome
from redis.asyncio import Redis

from connectors import clock
from connectors.kafka import client
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.settings import Settings
from schemas.cloudevents import REPLAY, Headers
from schemas.notices import EventErrorPayload
from tests.conformance.conftest import PARTITIONS, Api
from tests.conformance.test_with_worker import midnight, until, worker
from tests.support.worker_harness import RunningWorker

__all__ = ["worker"]

FAR_AHEAD_MS = b"253402300799000"
LONG_AGO_MS = b"1577836800000"


def event_of(customer_id: str, transaction_id: str, **properties: object) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "customer_id": customer_id,
        "event_type": "call",
        "timestamp": clock.now().isoformat(),
        "properties": properties,
    }


def poison(customer_id: str) -> list[tuple[str, bytes | None, bytes | None, Headers]]:
    """(reason, key, value, headers)."""
    key = customer_id.encode()
    good = orjson.dumps(event_of(customer_id, "bad", tokens="many"))
    old = orjson.dumps({**event_of(customer_id, "bad"), "timestamp": "2020-01-01T00:00:00Z"})
    ahead = orjson.dumps({**event_of(customer_id, "bad"), "timestamp": "9999-12-31T00:00:00Z"})
    return [
        ("tombstone", None, None, ()),
        ("tombstone", key, None, [("", None), ("tidemark-hops", None)]),
        ("invalid_json", key, b"\x00{", [("tidemark-origin", b"\xff"), ("tidemark-appended-at", b"-1")]),
        ("unsupported_cloudevent", key, b"{}", [("ce_specversion", None), ("ce_id", None)]),
        ("missing_field", None, None, [("ce_specversion", b"1.0"), ("ce_id", None), ("ce_source", None)]),
        ("invalid_utf8", key, b"{}", [("ce_specversion", b"1.0"), ("ce_id", b"\xff"), ("ce_x" * 5_000, b"x" * 5_000)]),
        ("too_old", key, old, [("tidemark-appended-at", LONG_AGO_MS), ("tidemark-hops", b"1"), ("tidemark-origin", None)]),
        ("too_far_ahead", key, ahead, [("tidemark-appended-at", FAR_AHEAD_MS), ("tidemark-proof", b"")]),
        ("routing_loop", b"k" * 300_000, good, [("tidemark-hops", b"99")]),
        ("record_too_large", None, b"x" * 1_200_000, ()),
    ]


class Log:
    """The topics as somebody else's clients see them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.model_copy(update={"record_bytes_max": 4_000_000})
        self._letters = TopicPartition(settings.topic_dead_letters, 0)
        self._start = 0

    async def __aenter__(self) -> Log:
        self._producer = client.producer(self._settings)
        self._consumer: AIOKafkaConsumer = client.consumer(self._settings)
        await self._producer.start()
        await self._consumer.start()
        self._start = (await self._consumer.end_offsets([self._letters]))[self._letters]
        self._consumer.assign([self._letters])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def produce(self, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> tuple[str, str]:
        """Not by ``send``, which refuses a record of nothing at all."""
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        sent = await (await self._producer.send_batch(batch, self._settings.topic_events, partition=partition))
        return str(sent.partition), str(sent.offset)

    async def letters(self, count: int, wanted: Callable[[Any], bool]) -> list[Any]:
        """Those of this test: a worker that starts on an empty Redis reads those of earlier ones again."""
        self._consumer.seek(self._letters, self._start)
        found: list[Any] = []
        while len(found) < count:
            fetched = (await self._consumer.getmany(self._letters, timeout_ms=1_000)).get(self._letters, [])
            found += [letter for letter in fetched if wanted(letter)]
        return found


def header(letter: Any, name: str) -> str:
    return dict(letter.headers)[name].decode()


async def alerting(sdk: AsyncMetronome, threshold: int) -> tuple[str, str, str]:
    """A customer with an alert on the number of its calls: (customer, metric of calls, metric of tokens)."""
    metrics = sdk.v1.billable_metrics
    calls = (await metrics.create(name="calls", aggregation_type="count", event_type_filter={"in_values": ["call"]})).data.id
    tokens = await metrics.create(
        name="tokens",
        aggregation_type="sum",
        aggregation_key="tokens",
        event_type_filter={"in_values": ["call"]},
        property_filters=[{"name": "tokens", "exists": True}],
    )
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    await sdk.v1.alerts.create(
        alert_type="usage_threshold_reached", name="calls", threshold=threshold, billable_metric_id=calls, customer_id=customer
    )
    return customer, calls, tokens.data.id


async def notices(api: Api, customer: str) -> list[dict[str, Any]]:
    """What "event.error" tells of a customer, as it waits in the outbox."""
    redis: Any = Redis.from_url(api.settings.redis_url.get_secret_value())
    entries = await redis.xrange(PartitionKeys(partition_of(customer, PARTITIONS)).outbox)
    await redis.aclose()
    bodies = [orjson.loads(fields[b"body"]) for _, fields in entries if fields[b"type"] == b"event.error"]
    for body in bodies:
        EventErrorPayload.model_validate_json(orjson.dumps(body))
    return [body["properties"] for body in bodies if body["properties"]["customer_id"] == customer]


async def status(sdk: AsyncMetronome, customer: str) -> Sequence[str | None]:
    return [each.customer_status async for each in sdk.v1.customers.alerts.list(customer_id=customer)]


async def test_every_poison_costs_itself_alone(sdk: AsyncMetronome, api: Api, worker: RunningWorker) -> None:
    customer, _, _ = await alerting(sdk, threshold=1)
    home = partition_of(customer, PARTITIONS)
    poisons = poison(customer)
    places: set[tuple[str, str]] = set()
    async with Log(api.settings) as log:
        for reason, key, value, headers in poisons:
            # The one in a circle has to be away from home; all others lie before the good event.
            at = (home + 1) % PARTITIONS if reason == "routing_loop" else home
            places.add(await log.produce(at, key, value, headers))
        await log.produce(home, None, orjson.dumps(event_of(customer, "good", tokens=1)))
        await until(lambda: status(sdk, customer), ["in_alarm"])
        letters = await log.letters(
            len(poisons), lambda letter: (header(letter, "partition"), header(letter, "offset")) in places
        )
    assert sorted(header(letter, "reason") for letter in letters) == sorted(reason for reason, *_ in poisons)
    assert all(letter.key for letter in letters)
    now_ms = clock.now_ms()
    assert all(abs(now_ms - int(header(letter, "appended_at_ms"))) < 3_600_000 for letter in letters)  # nobody's word is believed
    assert not worker.over


async def test_an_event_counts_for_the_metrics_that_can_read_it_and_once_for_the_others_when_it_is_mended(
    sdk: AsyncMetronome, api: Api, worker: RunningWorker
) -> None:
    customer, calls, tokens = await alerting(sdk, threshold=1)

    async def usage() -> dict[str, float | None]:
        span: dict[str, Any] = {"starting_on": midnight(), "ending_before": midnight(1), "window_size": "none"}
        rows = [row async for row in sdk.v1.usage.list(**span, customer_ids=[customer])]
        return {row.billable_metric_id: row.value for row in rows if row.billable_metric_id in (calls, tokens)}

    def of_customer(letter: Any) -> bool:
        return bool(letter.key == customer.encode())

    event = event_of(customer, "odd", tokens="many")
    async with Log(api.settings) as log:
        await sdk.v1.usage.ingest(usage=[event])  # type: ignore[list-item]
        await until(lambda: status(sdk, customer), ["in_alarm"])
        assert await usage() == {calls: 1, tokens: None}
        (letter,) = await log.letters(1, of_customer)
        assert (header(letter, "reason"), header(letter, "counted")) == ("property_not_a_number", "partially")
        assert header(letter, "metrics") == tokens
        (told,) = await notices(api, customer)
        assert told == {
            **{name: told[name] for name in ("timestamp", "detail", "offset")},
            "customer_id": customer,
            "transaction_id": "odd",
            "reason": "property_not_a_number",
            "counted": "partially",
            "billable_metric_ids": [tokens],
            "topic": api.settings.topic_events,
            "partition": partition_of(customer, PARTITIONS),
            "index": 0,
        }
        mended = orjson.loads(letter.value)
        assert {name: value for name, value in mended.items() if name != REPLAY} == {
            **event,
            "timestamp": mended["timestamp"],  # the same instant, as we write it
        }
        mended["properties"]["tokens"] = 7.5
        for _ in range(2):  # sent again, it is a duplicate, as any event
            await sdk.v1.usage.ingest(usage=[mended])
        without = {name: value for name, value in mended.items() if name != REPLAY}
        await sdk.v1.usage.ingest(usage=[without])  # the id of an event that has counted
        forged = {**mended, "transaction_id": "other"}
        await sdk.v1.usage.ingest(usage=[forged])
        _, refused = await log.letters(2, of_customer)
        assert header(refused, "reason") == "invalid_replay"
        await sdk.v1.usage.ingest(usage=[{**event, "transaction_id": "odd too"}])  # type: ignore[list-item]
        await log.letters(3, of_customer)
        assert len(await notices(api, customer)) == 1  # once a day and reason
        assert await usage() == {calls: 2, tokens: 7.5}
