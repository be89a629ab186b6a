"""What the dispatcher does for receivers that are slow, busy, broken or particular: order, pauses, rates, the log."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import orjson
import pytest

from connectors import clock
from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import RESPONSE_BYTES_MAX
from tests.support.dispatching import Box, dispatching, notification, sample, settings_for, until
from tests.support.receiver import Answer, Hang, Receiver


def of_one(numbers: range) -> list[OutboxEntry]:
    """Of one customer and alert."""
    return [notification(number, customer_id="one") for number in numbers]


async def write_to_first(box: Box, entries: list[OutboxEntry]) -> None:
    """All into one partition, as one customer's are."""
    for entry in entries:
        await box.write([entry])


async def test_order_holds_through_failures_and_between_two_dispatchers(redis_url: str, box: Box, receiver: Receiver) -> None:
    """Every third request fails. What counts is the order of the successes, and that nobody overtakes one that failed."""
    statuses = [500 if number % 3 == 0 else 204 for number in range(100)]
    receiver.script("/hook", *[Answer(status) for status in statuses])
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url)), dispatching(settings_for(redis_url)):
        await write_to_first(box, of_one(range(30)))
        await box.write([notification(number) for number in range(100, 110)])
        await box.until_empty()
    ids = [request.id for request in receiver.received if int(request.id[2:]) < 100]
    assert [request_id for request_id, _ in itertools.groupby(ids)] == [f"n-{number}" for number in range(30)]
    assert len(ids) > 30


async def test_order_holds_when_the_previous_is_given_up(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("a", receiver.url)
    await write_to_first(box, of_one(range(3)))
    async with dispatching(settings_for(redis_url, webhook_retry_age_max_hours=0.5 / 3600)):
        await box.until_empty()
    ids = [request.id for request in receiver.received]
    assert [request_id for request_id, _ in itertools.groupby(ids)] == ["n-0", "n-1", "n-2"]
    assert {each.status for each in await box.logged()} == {"exhausted"}


async def test_supersede_sends_the_latest_only(redis_url: str, box: Box, receiver: Receiver) -> None:
    """An option of the endpoint: another endpoint gets all of them, in order."""
    before = sample("tidemark_webhook_deliveries_total", result="superseded")
    receiver.script("/latest", Answer(500))
    receiver.script("/all", Answer(500))
    await box.add_endpoint("latest", receiver.url_of("/latest"), supersede=True)
    await box.add_endpoint("all", receiver.url_of("/all"))
    await write_to_first(box, of_one(range(1)))
    async with dispatching(settings_for(redis_url, webhook_retry_steps_s="2", webhook_retry_jitter=0.0)):
        await until(lambda: len(receiver.received) == 2)
        await write_to_first(box, of_one(range(1, 2)))  # while the first is under way, or waits for its next attempt
        await box.until_empty()
    assert [request.id for request in receiver.at("/latest")] == ["n-0", "n-1"]
    assert [request.id for request in receiver.at("/all")] == ["n-0", "n-0", "n-1"]
    assert sample("tidemark_webhook_deliveries_total", result="superseded") == before + 1
    statuses = {each.delivery.id: each.status for each in await box.logged()}
    assert statuses == {
        "n-0:latest": "superseded",
        "n-1:latest": "delivered",
        "n-0:all": "delivered",
        "n-1:all": "delivered",
    }


async def test_supersede_drops_what_fails_while_a_newer_one_waits(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Answer(500, delay_s=0.7))
    await box.add_endpoint("a", receiver.url, supersede=True)
    async with dispatching(settings_for(redis_url)):
        await write_to_first(box, of_one(range(1)))
        await until(lambda: len(receiver.received) == 1)
        await write_to_first(box, of_one(range(1, 3)))
        await box.until_empty()
    assert [request.id for request in receiver.received] == ["n-0", "n-2"]
    statuses = {each.delivery.entry.id: (each.status, each.delivery.attempts) for each in await box.logged()}
    assert statuses == {"n-0": ("superseded", 1), "n-1": ("superseded", 0), "n-2": ("delivered", 1)}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_receiver_slows_its_whole_lane_and_no_other(
    redis_url: str, box: Box, receiver: Receiver, status: int
) -> None:
    receiver.script("/busy", Answer(status, {"Retry-After": "2"}))
    for name in ("busy", "free"):
        await box.add_endpoint(name, receiver.url_of(f"/{name}"))
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(0)])
        await box.until_depth(entries=0, retries=1)
        await box.write([notification(number) for number in range(1, 20)])
        await until(lambda: len(receiver.at("/free")) == 20)
        assert len(receiver.at("/busy")) == 1
        await box.until_empty()
    first, second = receiver.at("/busy")[:2]
    assert second.at_s - first.at_s >= 1.9
    assert Counter(request.id for request in receiver.at("/busy")) == Counter(["n-0", *(f"n-{n}" for n in range(20))])


async def test_an_open_breaker_sends_one_trial_at_a_time_and_closes_after_a_success(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(100)])
    settings = settings_for(redis_url, webhook_retry_steps_s="0.01", webhook_breaker_open_s=1.0)
    async with dispatching(settings):
        await until(lambda: len(receiver.received) >= 10)
        await asyncio.sleep(0.3)
        before = len(receiver.received)
        assert before < 10 + 2 * settings.webhook_concurrency
        await asyncio.sleep(1.5)
        assert before < len(receiver.received) <= before + 2  # after one second, and not before three
        receiver.default["/hook"] = Answer(204)
        await box.until_empty()
    assert {each.status for each in await box.logged()} == {"delivered"}
    assert len(await box.logged()) == 100


async def test_a_rate_limit_holds_over_all_dispatchers(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url, rate_limit_per_second=20)
    await box.write([notification(number) for number in range(60)])
    async with dispatching(settings_for(redis_url)), dispatching(settings_for(redis_url)):
        await box.until_empty()
    times = sorted(request.at_s for request in receiver.received)
    assert len(times) == 60
    assert times[-1] - times[0] >= 1.9  # 20 at once from the full bucket, then 20 a second


async def test_hanging_endpoints_do_not_hold_up_a_retry_of_another(redis_url: str, box: Box, receiver: Receiver) -> None:
    """More is due for the hanging ones than all lanes hold, and all of it was due earlier. They hang for longer than we wait."""
    receiver.default["/slow"] = Hang()
    for number in range(5):
        await box.add_endpoint(f"slow-{number}", receiver.url_of("/slow"))
    settings = settings_for(redis_url, webhook_timeout_s=20.0, webhook_claim_idle_s=60.0, drain_timeout_s=0.5)
    async with dispatching(settings):
        await box.write([notification(number) for number in range(1000)])
        await until(lambda: len(receiver.at("/slow")) == 5 * settings.webhook_concurrency)
        receiver.script("/fast", Answer(500))
        await box.add_endpoint("fast", receiver.url_of("/fast"))
        await asyncio.sleep(1.0)
        await box.write([notification(5000)])
        await until(lambda: [request.id for request in receiver.at("/fast")].count("n-5000") >= 1, 15.0)
        await until(lambda: any(request.at_s > clock.now_s() - 60 for request in receiver.at("/fast")[1:]), 15.0)
        receiver.default["/slow"] = Answer(204)


async def test_an_endpoint_that_only_fails_for_too_long_is_disabled_with_a_reason(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url, webhook_disable_after_days=1.0 / 86_400)):
        await until(lambda: len(receiver.received) >= 3)
        async with asyncio.timeout(20):
            while orjson.loads((await box.catalog.endpoints())["a"])["enabled"]:
                await asyncio.sleep(0.05)
    document = orjson.loads((await box.catalog.endpoints())["a"])
    assert "every attempt has failed" in document["disabled_reason"]
    assert "http_5xx (500)" in document["disabled_reason"]
    assert receiver.received[-1].at_s - receiver.received[0].at_s >= 1.0
    assert (await box.depth()).retries == 1  # it waits for the endpoint, or its age


async def test_gone_says_nothing_of_the_address_that_an_endpoint_was_sent_to_meanwhile(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.script("/old", Answer(410, delay_s=1.0))
    await box.add_endpoint("a", receiver.url_of("/old"))
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.at("/old")) == 1)
        await box.add_endpoint("a", receiver.url_of("/new"))
        await box.until_empty()
    assert [request.id for request in receiver.at("/new")] == ["n-1"]
    assert orjson.loads((await box.catalog.endpoints())["a"])["enabled"] is True


async def test_an_endpoint_that_is_deleted_while_it_answers_gone_stays_deleted(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    receiver.script("/hook", Answer(410, delay_s=0.3))
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await until(lambda: len(receiver.received) == 1)
        await box.catalog.delete_endpoint("a")
        await box.until_empty()
    assert await box.catalog.endpoints() == {}


async def test_a_success_ends_the_time_of_failure(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Answer(500), Answer(500))
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(1)])
        await until(lambda: len(receiver.received) >= 1)
        async with asyncio.timeout(10):
            while not await box.catalog.failing():
                await asyncio.sleep(0.01)
        await box.until_empty()
    assert await box.catalog.failing() == {}


async def test_attempts_are_logged_with_status_timings_and_the_answer(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Answer(500, body_bytes=50_000), Answer(200, body_bytes=5))
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    (logged,) = await box.logged()
    assert (logged.status, logged.delivery.attempts) == ("delivered", 2)
    (attempts,) = [
        [orjson.loads(raw) for raw in await log.attempts("n-1:a")] for log in box.logs if await log.get("n-1:a") is not None
    ]
    assert [(each["outcome"], each["status"], each["response"]) for each in attempts] == [
        ("http_5xx", 500, "x" * RESPONSE_BYTES_MAX),
        ("success", 200, "xxxxx"),
    ]
    assert attempts[0]["at_ms"] <= attempts[1]["at_ms"]
    assert all(0 < each["headers_seconds"] <= each["seconds"] for each in attempts)


async def test_the_log_is_forgotten_by_age(redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.webhooks.dispatcher._EXPIRE_PAUSE_S", 0.2)
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url, webhook_log_days=1.0 / 86_400)):
        await box.until_empty()
        assert len(await box.logged()) == 1
        async with asyncio.timeout(10):
            while await box.logged():
                await asyncio.sleep(0.05)


async def test_what_a_closed_lane_keeps_for_too_long_is_given_up(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is disabled: nothing is sent, and nothing stays for ever."""
    monkeypatch.setattr("connectors.webhooks.dispatcher._EXPIRE_PAUSE_S", 0.2)
    monkeypatch.setattr("connectors.webhooks.deliveries._END_OLD_GRACE_S", 0.0)
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("a", receiver.url)
    await write_to_first(box, of_one(range(3)))
    settings = settings_for(redis_url, webhook_retry_age_max_hours=1.5 / 3600, webhook_retry_steps_s="0.5")
    async with dispatching(settings):
        await until(lambda: len(receiver.received) >= 1)
        await box.add_endpoint("a", receiver.url, enabled=False)
        await box.until_empty()
    assert [each.status for each in await box.logged()] == ["exhausted"] * 3
    assert {request.id for request in receiver.received} == {"n-0"}
