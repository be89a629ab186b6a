"""Filters of endpoints, and destinations other than webhooks: on a real Redis, with the same lanes, retries and log."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors import clock
from connectors.kafka.client import consumer
from connectors.redis.customers import CustomerStore
from connectors.webhooks import console
from connectors.webhooks.operations import DeliveryOperations, for_endpoint
from tests.support.dispatching import PARTITIONS, Box, dispatching, notification, sample, settings_for, until
from tests.support.mock_kafka import MockKafka
from tests.support.receiver import Answer, Receiver

TOPIC = "tidemark.notifications"


# --- filters ------------------------------------------------------------------------------------------------------------


async def test_each_endpoint_gets_what_its_filter_lets_through(redis_url: str, box: Box, receiver: Receiver) -> None:
    before = sample("tidemark_webhook_deliveries_total", result="unwanted")
    measured = sample("tidemark_event_to_success_seconds_count")
    await box.add_endpoint("one", receiver.url_of("/one"), customer_ids=["customer-1", "customer-2"])
    await box.add_endpoint("resolved", receiver.url_of("/resolved"), event_types=["alerts.*_resolved"])
    await box.write(notification(number) for number in range(4))
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()  # what nobody wants is not held
    assert sorted(request.id for request in receiver.received) == ["n-1", "n-2"]
    assert {request.path for request in receiver.received} == {"/one"}
    assert sample("tidemark_webhook_deliveries_total", result="unwanted") == before + 2
    assert sample("tidemark_event_to_success_seconds_count") == measured + 2


async def test_while_there_is_no_endpoint_notifications_are_held(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("off", receiver.url, enabled=False)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await asyncio.sleep(0.8)
        assert (await box.depth()).entries == 1
        await box.add_endpoint("on", receiver.url, event_types=["alerts.*"])
        await box.until_empty()
    assert [request.id for request in receiver.received] == ["n-1"]


async def test_severity_is_the_alerts_custom_field_in_the_catalog_or_the_customer(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    await box.add_endpoint("severe", receiver.url, severity={"key": "severity", "minimum": "error"})
    alert = {"id": "a-1", "custom_fields": {"severity": "warning"}}
    await box.catalog.write(0, {"alerts": {"a-1": orjson.dumps(alert)}})
    own = {"id": "own", "custom_fields": {"severity": "critical"}}
    customer = orjson.dumps({"id": "customer-2", "alerts": [{"id": "other"}, own]})
    await CustomerStore(box.redis, PARTITIONS).create("customer-2", [], customer, 0)
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(1), notification(2, alert_id="own"), notification(3, alert_id="gone")])
        await box.until_empty()
        assert [request.id for request in receiver.received] == ["n-2"]
        await box.catalog.write(1, {"alerts": {"a-1": orjson.dumps(alert | {"custom_fields": {"severity": "error"}})}})
        await box.write([notification(4)])
        await box.until_empty()
    assert [request.id for request in receiver.received] == ["n-2", "n-4"]


# --- Slack --------------------------------------------------------------------------------------------------------------


@dataclass
class SlackChannel:
    """Answers as it is told, and then ``ok``."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.messages.append(orjson.loads(await request.read()))
        status, text = self.answers.pop(0) if self.answers else (200, "ok")
        return web.Response(status=status, text=text, headers={"Retry-After": "1"} if status == 429 else None)


@asynccontextmanager
async def slack_channel(*answers: tuple[int, str]) -> AsyncIterator[SlackChannel]:
    channel = SlackChannel(answers=list(answers))
    app = web.Application()
    app.router.add_post("/services/T/B/x", channel.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    channel.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/T/B/x"
    yield channel
    await runner.cleanup()


async def test_slack_gets_readable_messages_with_retries_and_a_log(redis_url: str, box: Box) -> None:
    async with slack_channel((200, "not a webhook"), (500, "rollup_error")) as channel:
        await box.add_endpoint("slack", channel.url, type="slack")
        await box.write([notification(1, alert_name="Budget")])
        async with dispatching(settings_for(redis_url, notification_link="https://x.example/{customer_id}")):
            await box.until_empty()
    assert len(channel.messages) == 3
    assert channel.messages[0] == channel.messages[2]
    assert channel.messages[0]["text"] == "Budget: spend threshold reached: customer customer-1"
    assert "<https://x.example/customer-1|Open>" in orjson.dumps(channel.messages[0]["blocks"]).decode()
    (logged,) = await box.logged()
    assert (logged.status, logged.delivery.attempts) == ("delivered", 3)
    outcomes = [orjson.loads(raw)["outcome"] for log in box.logs for raw in await log.attempts(logged.delivery.id)]
    assert outcomes == ["refused", "http_5xx", "success"]


async def test_a_slack_webhook_that_was_removed_is_switched_off(redis_url: str, box: Box) -> None:
    async with slack_channel((404, "no_service")) as channel:
        await box.add_endpoint("slack", channel.url, type="slack")
        await box.write([notification(1)])
        async with dispatching(settings_for(redis_url)):
            await until(lambda: bool(channel.messages))
            async with asyncio.timeout(10):
                while (document := orjson.loads((await box.catalog.endpoint("slack")) or b"{}"))["enabled"]:
                    await asyncio.sleep(0.02)
    assert document["disabled_reason"] == "Slack answered no_service"
    assert len(channel.messages) == 1


# --- Kafka --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka({TOPIC: 4}) as running:
        yield running


async def records(bootstrap_servers: str, count: int) -> list[Any]:
    """All records of the topic, at least ``count``."""
    reader: AIOKafkaConsumer = consumer(settings_for("redis://unused", kafka_bootstrap_servers=bootstrap_servers))
    await reader.start()
    try:
        partitions = [TopicPartition(TOPIC, partition) for partition in range(4)]
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        found: list[Any] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                found += [record for some in (await reader.getmany(timeout_ms=200)).values() for record in some]
        return found
    finally:
        await reader.stop()


async def test_kafka_gets_records_keyed_by_customer_in_order(redis_url: str, box: Box, kafka: MockKafka) -> None:
    await box.add_endpoint("kafka", "", type="kafka")
    written = [notification(number, customer_id=f"customer-{number % 3}") for number in range(30)]
    by_customer = [[entry for entry in written if entry.customer_id == f"customer-{number}"] for number in range(3)]
    for entries in by_customer:
        for entry in entries:
            await box.write([entry])
    async with dispatching(settings_for(redis_url, kafka_bootstrap_servers=kafka.bootstrap_servers)):
        await box.until_empty()
    found = await records(kafka.bootstrap_servers, 30)
    assert len(found) == 30
    for entries in by_customer:
        mine = [record for record in found if record.key == entries[0].customer_id.encode()]
        assert len({record.partition for record in mine}) == 1
        in_log = sorted(mine, key=lambda record: record.offset)
        assert [record.value for record in in_log] == [entry.body for entry in entries]
        assert [dict(record.headers)["id"] for record in in_log] == [entry.id.encode() for entry in entries]
    assert {each.status for each in await box.logged()} == {"delivered"}


async def test_a_broker_that_is_down_uses_up_no_attempt_and_nothing_is_lost(redis_url: str, box: Box, kafka: MockKafka) -> None:
    await box.add_endpoint("kafka", "", type="kafka")
    kafka.set_down()
    settings = settings_for(redis_url, kafka_bootstrap_servers=kafka.bootstrap_servers, webhook_timeout_s=0.5)
    async with dispatching(settings):
        await box.write([notification(1)])
        before = sample("tidemark_webhook_attempts_total", outcome="fault")
        await until(lambda: sample("tidemark_webhook_attempts_total", outcome="fault") > before)
        kafka.set_up()
        await box.until_empty()
    assert [record.value for record in await records(kafka.bootstrap_servers, 1)] == [notification(1).body]
    (logged,) = await box.logged()
    assert (logged.status, logged.delivery.attempts) == ("delivered", 1)


async def test_a_record_that_is_too_large_for_kafka_is_refused(redis_url: str, box: Box, kafka: MockKafka) -> None:
    await box.add_endpoint("kafka", "", type="kafka")
    await box.write([notification(1, padding="x" * 70_000)])
    settings = settings_for(
        redis_url,
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        record_bytes_max=1_024,
        webhook_retry_age_max_hours=0.3 / 3600,
    )
    async with dispatching(settings):
        await box.until_empty()
    (logged,) = await box.logged()
    assert (logged.status, logged.delivery.last_error) == ("exhausted", "refused")


# --- traces -------------------------------------------------------------------------------------------------------------


async def test_a_trace_is_passed_on_and_none_is_invented(redis_url: str, box: Box, receiver: Receiver, kafka: MockKafka) -> None:
    trace = f"00-{1:032x}-{2:016x}-01"
    await box.add_endpoint("hook", receiver.url)
    await box.add_endpoint("kafka", "", type="kafka")
    await box.write([notification(1, traceparent=trace), notification(2)])
    receiver.script("/hook", Answer(500), Answer(500))
    async with dispatching(settings_for(redis_url, kafka_bootstrap_servers=kafka.bootstrap_servers)):
        await box.until_empty()
    got = [(request.id, request.headers.get("traceparent")) for request in receiver.received]
    assert sorted(got, key=str) == [("n-1", trace)] * 2 + [("n-2", None)] * 2
    headers = {record.value: dict(record.headers).get("traceparent") for record in await records(kafka.bootstrap_servers, 2)}
    assert sorted(headers.values(), key=str) == sorted([None, trace.encode()], key=str)


# --- standard output ----------------------------------------------------------------------------------------------------


async def test_standard_output_gets_a_line_each(redis_url: str, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(console.sys, "stdout", io.TextIOWrapper(out))
    await box.add_endpoint("console", "", type="stdout")
    await box.write([notification(1), notification(2)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert sorted(orjson.loads(line)["id"] for line in out.getvalue().splitlines() if b'"n-' in line) == ["n-1", "n-2"]


# --- what no endpoint wanted --------------------------------------------------------------------------------------------


async def test_what_no_endpoint_wanted_is_listed_with_the_reason_of_each_and_can_be_sent(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    await box.add_endpoint("types", receiver.url_of("/types"), event_types=["spend_threshold_reached"])  # without "alerts."
    await box.add_endpoint("customers", receiver.url_of("/customers"), customer_ids=["customer-9"])
    await box.add_endpoint("alerts", receiver.url_of("/alerts"), alert_ids=["a-9"])
    await box.add_endpoint("severe", receiver.url_of("/severe"), severity={"key": "severity", "minimum": "error"})
    await box.write([notification(1)])
    settings, measured = settings_for(redis_url), sample("tidemark_event_to_success_seconds_count")
    operations = DeliveryOperations(box.redis, PARTITIONS, settings)
    async with dispatching(settings):
        await box.until_empty()
        (unwanted,) = await box.logged()
        assert (unwanted.status, unwanted.delivery.endpoint_id) == ("unwanted", "")
        reasons = {"types": "event_types", "customers": "customer_ids", "alerts": "alert_ids", "severe": "severity"}
        assert dict(unwanted.delivery.unwanted) == reasons
        found = await operations.find("n-1:")
        assert found is not None
        await operations.resend(for_endpoint(found[0], "severe"), clock.now_ms())
        await until(lambda: bool(receiver.received))
        await box.until_empty()
        await box.add_endpoint("customers", receiver.url_of("/customers"))  # whose filter is mended
        missed = await operations.missed("customers", 0)
        assert [each.delivery.entry.id for each in missed.deliveries] == ["n-1"]
        await operations.resend_all(missed, clock.now_ms())
        await box.until_empty()
    assert [request.path for request in receiver.received] == ["/severe", "/customers"]
    assert sample("tidemark_event_to_success_seconds_count") == measured  # sent by hand: that says nothing about us
    assert {request.body for request in receiver.received} == {notification(1).body}
    assert sorted(each.status for each in await box.logged()) == ["delivered", "delivered", "unwanted"]


async def test_only_the_latest_unwanted_ones_are_kept(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("none", receiver.url, event_types=["alerts.*_resolved"])
    async with dispatching(settings_for(redis_url, webhook_unwanted_max=2)):
        for number in range(5):
            await box.write_to(0, notification(number))
            await box.until_empty()
        assert [each.delivery.entry.id for each in await box.logged()] == ["n-4", "n-3"]


async def test_an_entry_that_cannot_be_read_holds_up_nobody(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url)
    await box.redis.xadd(box.outboxes[0].keys.outbox, {"id": b"\xff", "what": "is this"})
    await box.write_to(0, replace(notification(1), body=b"no JSON"))
    await box.write_to(0, replace(notification(2), type="endpoint.failing", body=b"[]"))
    await box.write_to(0, notification(4, group_values=[{"key": "region"}]))
    await box.write_to(0, notification(3))
    await box.redis.hset(box.outboxes[0].keys.deliveries, "torn:a", b"\xc1")
    await box.redis.zadd(box.outboxes[0].keys.due("a"), {"torn:a": 0})
    await box.redis.zadd(box.outboxes[0].keys.delivery_lanes, {"a": 0})
    async with dispatching(settings_for(redis_url)):
        await until(lambda: [request.id for request in receiver.received] == ["n-3"])
        await asyncio.sleep(0.3)
        statuses = {each.delivery.entry.id: each.status for each in await box.logged()}
    assert sorted(statuses.values()) == ["delivered", *["unwanted"] * 4]


async def test_what_no_endpoint_existed_for_goes_into_the_log(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url, outbox_undeliverable_days=1e-9)):
        await box.until_empty()
    (logged,) = await box.logged()
    assert logged.status == "unwanted"
    assert logged.delivery.unwanted == (("", "no endpoint was enabled for 1e-09 days"),)
