"""The dispatcher and a receiver that can do everything wrong: what is logged of each attempt, and how it goes on."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from connectors import clock
from connectors.testing.behaviours import (
    METADATA_URL,
    Answer,
    Behaviour,
    Drip,
    Endless,
    Garbage,
    Hang,
    Reset,
    gone,
    redirect,
    too_many,
)
from connectors.testing.certificates import self_signed
from connectors.testing.receiver import Receiver
from connectors.webhooks.client import RESPONSE_BYTES_MAX
from tests.support.dispatching import SECRET, Box, dispatching, notification, settings_for, until

TIMEOUT_S = 0.5
TIMEOUT_STEP_S = 1.0
PATIENT = Answer(204)


def impatient(redis_url: str) -> Any:
    return settings_for(redis_url, webhook_timeout_s=TIMEOUT_S, webhook_retry_timeout_step_s=TIMEOUT_STEP_S)


async def attempts_of(box: Box) -> list[dict[str, Any]]:
    (delivery,) = await box.logged()
    found = [await log.attempts(delivery.delivery.id) for log in box.logs]
    return [orjson.loads(raw) for each in found for raw in each]


async def deliver_one(redis_url: str, box: Box, url: str) -> list[dict[str, Any]]:
    """One notification, to its end; its attempts."""
    await box.add_endpoint("a", url)
    await box.write([notification(1)])
    async with dispatching(impatient(redis_url)):
        await box.until_empty()
    (delivery,) = await box.logged()
    assert delivery.status == "delivered"
    return await attempts_of(box)


@pytest.mark.parametrize(
    "behaviour",
    [
        Answer(200, delay_s=0.3),
        Hang(after_headers=True),
        Drip(),
        Endless(),
        Answer(200, body_bytes=5_000_000),
        Reset(in_body=True),
    ],
    ids=lambda behaviour: type(behaviour).__name__,
)
async def test_a_success_is_one_whatever_follows_its_status(
    redis_url: str, box: Box, receiver: Receiver, behaviour: Behaviour
) -> None:
    """The receiver has said that it took the notification: a body that stops, drips or never ends changes nothing, and costs no
    more than a moment and 20 kB."""
    receiver.script("/hook", behaviour)
    (attempt,) = await deliver_one(redis_url, box, receiver.url)
    assert (attempt["outcome"], attempt["status"], attempt["requests"]) == ("success", 200, 1)
    assert len(attempt["response"]) <= RESPONSE_BYTES_MAX
    assert 0 < attempt["connect_seconds"] <= attempt["headers_seconds"] <= attempt["seconds"] < TIMEOUT_S + 1.0
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("behaviour", "kept"),
    [
        (Answer(500, body_bytes=5_000_000), RESPONSE_BYTES_MAX),
        (Answer(500, body_bytes=12), 12),
    ],
)
async def test_the_beginning_of_an_answer_is_kept(
    redis_url: str, box: Box, receiver: Receiver, behaviour: Behaviour, kept: int
) -> None:
    receiver.script("/hook", behaviour)
    first, second = await deliver_one(redis_url, box, receiver.url)
    assert (first["outcome"], first["response"]) == ("http_5xx", "x" * kept)
    assert second["outcome"] == "success"


@pytest.mark.parametrize(
    "behaviour", [Answer(204, delay_s=5.0), Hang(), Drip(headers=True)], ids=lambda behaviour: type(behaviour).__name__
)
async def test_a_timeout_is_a_failure_that_raises_the_step(
    redis_url: str, box: Box, receiver: Receiver, behaviour: Behaviour
) -> None:
    receiver.script("/hook", behaviour)
    first, second = await deliver_one(redis_url, box, receiver.url)
    assert (first["outcome"], first["status"], first["requests"]) == ("timeout", None, 1)
    assert TIMEOUT_S <= first["seconds"] < TIMEOUT_S + 1.0
    assert second["outcome"] == "success"
    waited_s = (second["at_ms"] - first["at_ms"]) / 1000 - first["seconds"]
    assert waited_s >= 0.8 * TIMEOUT_STEP_S - 0.01  # the schedule's own first step would be 0.05 s


async def test_a_reset_is_tried_again_at_once_and_then_by_the_schedule(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Reset(), Reset(), Reset(), PATIENT)
    first, second = await deliver_one(redis_url, box, receiver.url)
    assert (first["outcome"], first["requests"]) == ("connect", 2)
    assert (second["outcome"], second["requests"]) == ("success", 2)
    assert len({request.headers["webhook-signature"] for request in receiver.received}) <= 2
    assert receiver.invalid == []


async def test_what_is_not_http_is_a_failure(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", Garbage())
    first, second = await deliver_one(redis_url, box, receiver.url)
    assert (first["outcome"], first["status"], second["outcome"]) == ("connect", None, "success")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_heeded_in_both_forms(redis_url: str, box: Box, receiver: Receiver, status: int, form: str) -> None:
    at = clock.now() + timedelta(seconds=4)
    receiver.script("/hook", too_many(2 if form == "seconds" else at, status))
    first, second = await deliver_one(redis_url, box, receiver.url)
    assert first["status"] == status
    if form == "seconds":
        assert second["at_ms"] - first["at_ms"] >= 2_000
    else:
        assert second["at_ms"] >= at.replace(microsecond=0).timestamp() * 1000
    assert second["outcome"] == "success"


async def test_gone_disables_with_a_reason(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", gone())
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(20)])
    async with dispatching(impatient(redis_url)):
        await until(lambda: len(receiver.received) >= 1)
        await box.until_disabled("a")
    document = orjson.loads((await box.catalog.endpoints())["a"])
    assert document["disabled_reason"] == "the endpoint answered 410 Gone"


async def test_a_redirect_to_the_metadata_address_is_not_followed(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", redirect(METADATA_URL), redirect(METADATA_URL, 307))
    attempts = await deliver_one(redis_url, box, receiver.url)
    assert [(each["outcome"], each["status"]) for each in attempts] == [
        ("http_3xx", 302),
        ("http_3xx", 307),
        ("success", 204),
    ]
    assert all(each["seconds"] < TIMEOUT_S for each in attempts)  # nothing was dialled that does not answer


@pytest.mark.parametrize("expired", [False, True])
async def test_bad_tls_is_a_failure_and_nothing_is_sent(redis_url: str, box: Box, expired: bool) -> None:
    context, _ = self_signed(expired=expired)
    with Receiver(tls=context) as strange:
        await box.add_endpoint("a", strange.url)
        await box.write([notification(1)])
        async with dispatching(impatient(redis_url)):
            attempts = await until_attempts(box, 2)
    assert {each["outcome"] for each in attempts} == {"tls"}
    assert strange.received == []


async def test_plain_text_where_tls_was_promised(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url.replace("http:", "https:"))
    await box.write([notification(1)])
    async with dispatching(impatient(redis_url)):
        attempts = await until_attempts(box, 1)
    assert attempts[0]["outcome"] == "tls"
    assert receiver.received == []


async def test_keep_alive_closed_between_requests_costs_no_attempt(redis_url: str, box: Box, receiver: Receiver) -> None:
    """The connection is closed without a word, before, while or after the next request is on its way."""
    receiver.default["/hook"] = Answer(204, close=True)
    await box.add_endpoint("a", receiver.url)
    count = 60
    async with dispatching(impatient(redis_url)):
        for number in range(count):
            await box.write([notification(number, customer_id="one")])
            await until(lambda sent=number: len({request.id for request in receiver.received}) == sent + 1)  # type: ignore[misc]
            time.sleep(0.015 + 0.0002 * number)  # noqa: ASYNC251  # around the moment at which the connection closes
        await box.until_empty()
    deliveries = await box.logged()
    assert [(each.status, each.delivery.attempts) for each in deliveries] == [("delivered", 1)] * count
    assert receiver.invalid == []


async def until_attempts(box: Box, count: int) -> list[dict[str, Any]]:
    """Of the delivery of notification 1 to endpoint a."""
    async with asyncio.timeout(20):
        while True:
            found = [orjson.loads(raw) for log in box.logs for raw in await log.attempts("n-1:a")]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


def test_the_receiver_tells_forged_requests(receiver: Receiver) -> None:
    httpx.post(receiver.url, content=b"{}", headers={"webhook-id": "n-1"})
    assert [request.invalid for request in receiver.invalid] != [None]
    assert receiver.secret == SECRET
