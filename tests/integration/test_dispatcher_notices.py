"""What other endpoints are told about one that fails, and that it is told once whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from pydantic import TypeAdapter

from connectors.redis.batches import outbox_fields
from connectors.redis.notices import NoticeStore
from connectors.redis.outbox import read_first
from connectors.redis.types import Admission, ExhaustedNotice, OutboxEntry
from connectors.webhooks.endpoints import EndpointDirectory
from connectors.webhooks.notices import Notices
from connectors.webhooks.outcomes import new_delivery
from schemas.notifications import WebhookPayload
from tests.support.dispatching import PARTITIONS, Box, dispatching, notification, settings_for, until
from tests.support.receiver import Answer, Receiver

NAMED = ["endpoint.*", "message.exhausted"]
_PAYLOAD: TypeAdapter[Any] = TypeAdapter(WebhookPayload)
SOON = {"webhook_failing_notice_minutes": 0.3 / 60}


def told(receiver: Receiver, path: str = "/ops") -> list[dict[str, Any]]:
    """Bodies, each of which is what the schema says."""
    bodies = [orjson.loads(request.body) for request in receiver.at(path)]
    for body in bodies:
        assert _PAYLOAD.validate_python(body).id == body["id"]
    return bodies


async def test_failing_and_recovered_are_told_once_by_any_number_of_dispatchers(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("hook", receiver.url, event_types=["*"])
    await box.add_endpoint("ops", receiver.url_of("/ops"), event_types=NAMED)
    await box.add_endpoint("alerts only", receiver.url_of("/alerts"))
    settings = settings_for(redis_url, **SOON)
    async with dispatching(settings), dispatching(settings):
        await box.write([notification(1)])
        await until(lambda: len(receiver.at("/ops")) == 1)
        await asyncio.sleep(1.2)  # two more looks
        receiver.default["/hook"] = Answer(204)
        await until(lambda: len(receiver.at("/ops")) == 2)
        await box.until_empty()
    failing, recovered = told(receiver)
    assert [failing["type"], recovered["type"]] == ["endpoint.failing", "endpoint.recovered"]
    assert failing["properties"]["endpoint_id"] == recovered["properties"]["endpoint_id"] == "hook"
    assert failing["properties"]["failing_since"] == recovered["properties"]["failing_since"] < failing["properties"]["timestamp"]
    assert {request.id for request in receiver.at("/hook")} == {request.id for request in receiver.at("/alerts")} == {"n-1"}


async def test_short_failures_are_not_worth_a_notice(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Answer(500), Answer(500))
    await box.add_endpoint("hook", receiver.url)
    await box.add_endpoint("ops", receiver.url_of("/ops"), event_types=NAMED)
    async with dispatching(settings_for(redis_url, webhook_failing_notice_minutes=1.0)):
        await box.write([notification(1)])
        await box.until_empty()
    assert len(receiver.at("/hook")) == 3
    assert told(receiver) == []


async def test_switched_off_is_told_once_also_by_a_dispatcher_that_comes_later(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    """The one that switches it off may die before it has written the notice: that follows from what is stored."""
    receiver.default["/hook"] = Answer(410)
    await box.add_endpoint("hook", receiver.url)
    await box.add_endpoint("ops", receiver.url_of("/ops"), event_types=NAMED, enabled=False)
    settings = settings_for(redis_url)
    async with dispatching(settings):
        await box.write([notification(1)])
        async with asyncio.timeout(10):
            while orjson.loads((await box.catalog.endpoint("hook")) or b"{}")["enabled"]:
                await asyncio.sleep(0.02)
    assert (await box.depth()).entries == 0  # nobody is subscribed: none was written
    await box.add_endpoint("ops", receiver.url_of("/ops"), event_types=NAMED)
    for _ in range(2):
        async with dispatching(settings):
            await until(lambda: len(receiver.at("/ops")) == 1)
            await asyncio.sleep(0.6)
    (notice,) = told(receiver)
    assert (notice["type"], notice["properties"]["endpoint_id"]) == ("endpoint.disabled", "hook")
    assert notice["properties"]["reason"] == "the endpoint answered 410 Gone"


async def test_of_many_that_are_given_up_one_is_told_and_none_about_a_notice(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.default["/hook"] = Answer(500)
    receiver.default["/down"] = Answer(500)
    await box.add_endpoint("hook", receiver.url, customer_ids=["one", "two"])
    await box.add_endpoint("ops", receiver.url_of("/ops"), event_types=NAMED, customer_ids=["one"], supersede=True)
    await box.add_endpoint("down", receiver.url_of("/down"), event_types=NAMED)
    for number in range(6):  # each customer in one partition, as it would be
        await box.write([notification(number, customer_id="one"), notification(10 + number, customer_id="two")])
    async with dispatching(settings_for(redis_url, webhook_retry_age_max_hours=0.5 / 3600)):
        await box.until_empty()
    notices = told(receiver)
    assert [notice["type"] for notice in notices] == ["message.exhausted"]
    properties = notices[0]["properties"]
    assert (properties["endpoint_id"], properties["customer_id"], properties["last_error"]) == ("hook", "one", "http_5xx (500)")
    assert properties["delivery_id"] == f"{properties['notification_id']}:hook"
    exhausted = [each.delivery.entry.type for each in await box.logged() if each.status == "exhausted"]
    assert exhausted.count("alerts.spend_threshold_reached") == 12
    assert 1 <= exhausted.count("message.exhausted") <= PARTITIONS  # to the one that is down, and no notice of that
    assert len(exhausted) <= 12 + PARTITIONS


# --- crashes ------------------------------------------------------------------------------------------------------------


def notice(number: int, now_ms: int = 1_000) -> OutboxEntry:
    body = b'{"properties":{"endpoint_id":"e"}}'
    return OutboxEntry(f"notice-{number}", "endpoint.failing", "", "", body, None, now_ms)


async def written(box: Box) -> list[str]:
    rows = [row for outbox in box.outboxes for row in await box.redis.xrange(outbox.keys.outbox)]
    return [fields[b"id"].decode() for _, fields in rows]


async def test_a_notice_is_written_once_and_only_after_the_one_that_it_ends(box: Box) -> None:
    store = NoticeStore(box.redis, PARTITIONS)
    assert not await store.write(notice(2), after="notice-1")
    assert [await store.write(notice(1)) for _ in range(2)] == [True, False]
    assert [await store.write(notice(2), after="notice-1") for _ in range(2)] == [True, False]
    assert await written(box) == ["notice-1", "notice-2"]


async def test_the_end_of_a_delivery_and_its_notice_are_one_step(box: Box) -> None:
    """A repetition after a lost reply writes no second notice, and another end within the pause none either."""
    outbox = box.outboxes[0]
    for number, (now_ms, wrote) in enumerate([(1_000, True), (1_999, False), (2_000, True)]):
        await box.redis.delete(outbox.keys.outbox)
        fields = outbox_fields(notification(number))
        await box.redis.xadd(outbox.keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)))
        ((_, (entry,)),) = await read_first(box.redis, [outbox], 1, None)
        _, (taken,), _ = await outbox.admit([(entry, [Admission(new_delivery(entry, "e", now_ms), True)])], now_ms, 10)
        told_of = ExhaustedNotice(notice(number), pause_ms=1_000)
        for ended in (True, False):
            assert (await outbox.conclude(taken, "exhausted", now_ms, 10, b"", told_of))[0] is ended
        assert await written(box) == ([f"notice-{number}"] if wrote else [])


async def test_ids_follow_from_the_cause(redis_url: str, box: Box) -> None:
    """Two processes that both find an endpoint failing, as after a crash, have one id for it, and a later failure has another."""
    found = []
    for since_ms in (1_000, 1_000, 2_000):
        await box.redis.flushall()
        await box.add_endpoint("hook", "https://example.com/")
        await box.add_endpoint("ops", "https://example.com/", event_types=NAMED)
        await box.catalog.failed("hook", since_ms)
        directory = EndpointDirectory(box.catalog, lambda _: None)
        await directory.refresh()
        await Notices(box.redis, PARTITIONS, directory, settings_for(redis_url)).look()
        found += await written(box)
    assert found[0] == found[1] != found[2]
