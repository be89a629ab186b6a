"""The dispatcher over a real Redis (or Valkey) and a real receiver: what is delivered, what is tried again, what stays."""

from __future__ import annotations

import asyncio
from collections import Counter

import orjson

from connectors.webhooks.lanes import QUEUE_MAX
from tests.support.dispatching import SECRET, Box, dispatching, notification, sample, settings_for, until
from tests.support.receiver import Answer, Hang, Receiver, Reset


async def test_every_notification_reaches_every_endpoint_once(redis_url: str, box: Box, receiver: Receiver) -> None:
    for name in ("a", "b"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    written = [notification(number) for number in range(100)]
    await box.write(written)
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
        await until(lambda: sample("tidemark_outbox_depth") == 0)
    for path in ("/a", "/b"):
        assert sorted(request.body for request in receiver.at(path)) == sorted(entry.body for entry in written)
    assert receiver.invalid == []


async def test_notification_written_while_running_is_sent_at_once(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url)):
        for number in range(5):
            await box.write([notification(number)])
            await until(lambda sent=number: len(receiver.received) == sent + 1)  # type: ignore[misc]
        await box.until_empty()


async def test_an_endpoint_gets_what_is_written_after_it_was_made(redis_url: str, box: Box, receiver: Receiver) -> None:
    """Also at once after it was made, with other endpoints in use: between two looks at the catalog."""
    await box.add_endpoint("0", receiver.url_of("/0"))
    async with dispatching(settings_for(redis_url)):
        for number in range(1, 6):
            await box.add_endpoint(str(number), receiver.url_of(f"/{number}"))
            await box.write([notification(number)])
            await until(lambda sent=number: len(receiver.at("/0")) == sent)  # type: ignore[misc]
        await box.until_empty()
    for number in range(1, 6):
        assert {request.id for request in receiver.at(f"/{number}")} == {f"n-{later}" for later in range(number, 6)}


async def test_failures_are_tried_again_under_the_same_id_with_the_same_body(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.script("/hook", Answer(500), Answer(404), Answer(302, {"Location": "/elsewhere"}), Reset(), Answer(429))
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert len(receiver.received) >= 6
    assert {(request.id, request.body) for request in receiver.received} == {("n-1", notification(1).body)}
    assert receiver.at("/elsewhere") == []
    assert receiver.invalid == []


async def test_only_the_endpoint_that_failed_is_asked_again(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/bad", Answer(500), Answer(500))
    for name in ("good", "bad"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert Counter(request.path for request in receiver.received) == {"/good": 1, "/bad": 3}


async def test_without_an_endpoint_notifications_stay_until_there_is_one(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.write([notification(number) for number in range(10)])
    await box.add_endpoint("off", receiver.url, enabled=False)
    async with dispatching(settings_for(redis_url)):
        await asyncio.sleep(0.7)
        assert (await box.depth()).entries == 10
        assert sample("tidemark_webhook_endpoints") == 0
        await box.add_endpoint("a", receiver.url)
        await box.until_empty()
        assert sample("tidemark_webhook_endpoints") == 1
    assert {request.id for request in receiver.received} == {f"n-{number}" for number in range(10)}


async def test_without_an_endpoint_for_too_long_notifications_expire(redis_url: str, box: Box) -> None:
    await box.write([notification(number) for number in range(10)])
    before = sample("tidemark_webhook_deliveries_total", result="expired")
    await asyncio.sleep(0.01)
    async with dispatching(settings_for(redis_url, outbox_undeliverable_days=1e-9)):
        await box.until_empty()
    assert sample("tidemark_webhook_deliveries_total", result="expired") - before == 10


async def test_a_hanging_endpoint_does_not_hold_up_another(redis_url: str, box: Box, receiver: Receiver) -> None:
    """More notifications than a lane's queue holds, so that the hanging one has to overflow."""
    count = QUEUE_MAX + 300
    receiver.default["/slow"] = Hang()
    for name in ("slow", "fast"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    await box.write([notification(number) for number in range(count)])
    settings = settings_for(
        redis_url, webhook_timeout_s=8.0, webhook_claim_idle_s=40.0, webhook_retry_steps_s="30", drain_timeout_s=1.0
    )
    async with dispatching(settings):
        await until(lambda: len(receiver.at("/fast")) == count, 7.0)
        assert len(receiver.at("/slow")) == settings.webhook_concurrency
        receiver.default["/slow"] = Answer(204)
    assert {request.id for request in receiver.at("/fast")} == {f"n-{number}" for number in range(count)}


async def test_what_overflows_a_slower_lane_is_delivered_later_and_once(redis_url: str, box: Box, receiver: Receiver) -> None:
    count = QUEUE_MAX + 200
    receiver.default["/slower"] = Answer(204, delay_s=0.02)
    for name in ("slower", "fast"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    await box.write([notification(number) for number in range(count)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.at("/fast")) == count)
        assert len(receiver.at("/slower")) < count
        await box.until_empty()
    for path in ("/slower", "/fast"):
        assert Counter(request.id for request in receiver.at(path)) == Counter(f"n-{number}" for number in range(count))


async def test_private_targets_are_refused_by_default(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    before = sample("tidemark_webhook_attempts_total", outcome="blocked")
    async with dispatching(settings_for(redis_url, webhook_allow_private=False)):
        await until(lambda: sample("tidemark_webhook_attempts_total", outcome="blocked") > before)
    assert receiver.connections == 0
    assert (await box.depth()).retries == 1


async def test_gone_disables_the_endpoint_and_keeps_the_rest_of_its_document(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.script("/hook", Answer(410))
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_depth(entries=0, retries=1)
        await box.write([notification(2)])
        await asyncio.sleep(0.5)
    document = orjson.loads((await box.catalog.endpoints())["a"])
    assert document["enabled"] is False
    assert "410" in document["disabled_reason"]
    assert (document["url"], document["secret"], document["name"]) == (receiver.url, SECRET, "by hand")
    assert [request.id for request in receiver.received] == ["n-1"]
    assert (await box.depth()).entries == 1


async def test_given_up_after_the_maximum_age_and_kept_to_look_at(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Answer(503)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    before = sample("tidemark_webhook_deliveries_total", result="exhausted")
    async with dispatching(settings_for(redis_url, webhook_retry_age_max_hours=0.5 / 3600)):
        await box.until_empty()
    assert sample("tidemark_webhook_deliveries_total", result="exhausted") - before == 1
    (given_up,) = await box.logged()
    assert (given_up.status, given_up.delivery.id, given_up.delivery.last_error) == ("exhausted", "n-1:a", "http_5xx (503)")
    assert given_up.delivery.attempts == len(receiver.received)


async def test_retries_of_a_removed_endpoint_end(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/gone"] = Answer(500)
    await box.add_endpoint("gone", receiver.url_of("/gone"))
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.at("/gone")) >= 2)
        await box.catalog.delete_endpoint("gone")
        await box.until_empty()


async def test_retries_of_a_disabled_endpoint_wait_for_it(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.received) >= 1)
        await box.add_endpoint("a", receiver.url, enabled=False)
        await asyncio.sleep(1.0)
        assert (await box.depth()).retries == 1
        receiver.default["/hook"] = Answer(204)
        await box.add_endpoint("a", receiver.url)
        await box.until_empty()
    assert {request.id for request in receiver.received} == {"n-1"}


async def test_a_changed_url_is_used_for_what_waits(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/old"] = Answer(500)
    await box.add_endpoint("a", receiver.url_of("/old"))
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.at("/old")) >= 1)
        await box.add_endpoint("a", receiver.url_of("/new"))
        await box.until_empty()
    assert [request.id for request in receiver.at("/new")] == ["n-1"]


async def test_notifications_of_one_customer_and_alert_go_out_in_order(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Answer(204, delay_s=0.002)
    await box.add_endpoint("a", receiver.url)
    for number in range(40):  # all in the first partition, as one customer's are
        await box.write([notification(number, customer_id="one")])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert [request.id for request in receiver.received] == [f"n-{number}" for number in range(40)]


async def test_latency_is_observed_once_for_each_notification(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/a", Answer(500), Answer(500))
    for name in ("a", "b"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    before = sample("tidemark_event_to_delivery_seconds_count")
    await box.write([notification(number) for number in range(5)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert sample("tidemark_event_to_delivery_seconds_count") - before == 5


async def test_stop_lets_requests_end_and_forgets_nothing(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Answer(204, delay_s=0.05)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(100)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.received) >= 10)
    depth = await box.depth()
    delivered = [request.id for request in receiver.received]
    assert len(delivered) == len(set(delivered))
    assert len(delivered) + depth.entries + depth.retries == 100
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert Counter(request.id for request in receiver.received) == Counter(f"n-{number}" for number in range(100))


async def test_one_unusable_endpoint_document_harms_no_other(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.catalog.put_endpoint("broken", b'{"url": "ftp://x", "secret": "whsec_A", "enabled": true}')
    await box.catalog.put_endpoint("torn", b'{"url": ')
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert [request.id for request in receiver.received] == ["n-1"]
