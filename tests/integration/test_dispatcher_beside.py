"""One endpoint of each bad kind beside a good one: the good one's deliveries all arrive, each with its first attempt."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from connectors.testing.behaviours import Behaviour, Drip, Endless, Garbage, Hang, Reset, gone, redirect, too_many
from connectors.testing.receiver import Receiver
from connectors.webhooks.client import EndpointClient
from tests.support.dispatching import Box, dispatching, notification, settings_for, until

COUNT = 40
BAD_URLS = [  # taken by earlier releases, and stored
    "http://hooks..example.com/in",
    "http://a..b",
    f"http://{'a' * 64}.example/",
    f"http://{'a.' * 127}example/",
    "http://xn--/",
    "http://xn--a.example/",
    "http://[::1%25lo]/",
    "http://%31.0.0.1/",
    "http://user@127.0.0.1/",
    "http://127.0.0.1:99999/",
    "http://\u2603.example/",
    "http://127.0.0.1/\x00",
    "not a URL",
    "",
]
BAD_ANSWERS: dict[str, Behaviour] = {
    "/hang": Hang(),
    "/drip": Drip(headers=True),
    "/endless": Endless(),
    "/reset": Reset(),
    "/garbage": Garbage(),
    "/gone": gone(),
    "/busy": too_many(3600),
    "/redirect": redirect(),
}


async def add_bad_endpoints(box: Box, receiver: Receiver) -> None:
    for number, url in enumerate(BAD_URLS):
        for kind in ("webhook", "slack"):
            await box.add_endpoint(f"bad-{kind}-{number}", url, type=kind)
    for path, behaviour in BAD_ANSWERS.items():
        receiver.default[path] = behaviour
        await box.add_endpoint(f"bad{path}", receiver.url_of(path))
    await box.add_endpoint("bad-filter", receiver.url_of("/filter"), event_types=["*" * 30 + "Z"])
    await box.add_endpoint("bad-document", receiver.url_of("/document"), digest={"more_than": "many"})
    await box.add_endpoint("bad-kind", receiver.url_of("/kind"), type="carrier pigeon")


async def test_the_good_one_gets_everything_at_the_first_attempt(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = EndpointClient.attempt

    async def sometimes_fails(client: EndpointClient, *arguments: Any) -> Any:
        if client.endpoint.id == "bad-defect":
            raise RuntimeError("a defect of ours")
        return await attempt(client, *arguments)

    monkeypatch.setattr(EndpointClient, "attempt", sometimes_fails)
    await box.add_endpoint("good", receiver.url_of("/good"))
    await box.add_endpoint("bad-defect", receiver.url_of("/defect"))
    await add_bad_endpoints(box, receiver)
    async with dispatching(settings_for(redis_url, webhook_timeout_s=60.0, webhook_claim_idle_s=90.0, drain_timeout_s=2.0)):
        for number in range(COUNT):
            await box.write([notification(number)])
            if number % 10 == 0:
                await until(lambda so_far=number: len(receiver.at("/good")) > so_far)  # type: ignore[misc]
        await until(lambda: len(receiver.at("/good")) == COUNT)
        await asyncio.sleep(0.2)  # for repetitions, if there were any
        assert Counter(request.id for request in receiver.at("/good")) == Counter(f"n-{number}" for number in range(COUNT))
        logged = [each.delivery for each in await box.logged()]
        outcomes = {delivery.endpoint_id: delivery.last_error for delivery in logged if delivery.last_error}
        assert {outcomes.get(f"bad-webhook-{number}") for number in range(len(BAD_URLS))} == {"url"}
        assert {outcomes.get(f"bad-slack-{number}") for number in range(len(BAD_URLS))} == {"url"}
        assert outcomes["bad-defect"] == "fault"
        assert receiver.at("/kind") == receiver.at("/filter") == []


async def test_an_attempt_at_an_unusable_url_says_why_and_a_mended_url_is_used(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    await box.add_endpoint("a", "http://hooks..example.com/in")
    await box.write([notification(1)])
    async with dispatching(settings_for(redis_url)):
        async with asyncio.timeout(20):
            while not (raw := [each for log in box.logs for each in await log.attempts("n-1:a")]):
                await asyncio.sleep(0.02)
        assert orjson.loads(raw[0])["outcome"] == "url"
        assert "empty label" in orjson.loads(raw[0])["response"]
        await box.add_endpoint("a", receiver.url)
        await box.until_empty()
    assert [request.id for request in receiver.received] == ["n-1"]
