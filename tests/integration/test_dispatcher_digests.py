"""Digests: what goes by itself, what is listed, that order holds, and that a crash anywhere changes neither id nor body."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from connectors.redis.digests import DigestStore
from connectors.redis.keys import partition_of
from connectors.redis.outbox import Outbox
from connectors.redis.types import OutboxEntry
from connectors.webhooks import digests
from connectors.webhooks.dispatcher import run_dispatcher
from connectors.webhooks.operations import DeliveryFilter, DeliveryOperations
from connectors.webhooks.persist import clock_ms
from schemas.notifications import WebhookPayload
from tests.support.dispatching import PARTITIONS, Box, dispatching, notification, settings_for, until
from tests.support.receiver import Answer, Receiver

WINDOW = {"more_than": 2, "window_seconds": 1}


async def write(box: Box, *entries: OutboxEntry) -> None:
    """Each into its customer's partition."""
    for entry in entries:
        await box.write_to(partition_of(entry.customer_id, PARTITIONS), entry)


def bodies(receiver: Receiver, path: str = "/hook") -> list[dict[str, Any]]:
    return [orjson.loads(request.body) for request in receiver.at(path)]


def listed(body: dict[str, Any]) -> list[str]:
    return [each["id"] for each in body["properties"].get("notifications", ())]


async def statuses(box: Box) -> dict[str, str]:
    return {each.delivery.id: each.status for each in await box.logged()}


async def test_the_first_few_of_an_alert_go_at_once_and_the_others_as_one_message(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    """Whatever customers they are of, and other endpoints and alerts are not touched."""
    await box.add_endpoint("digest", receiver.url, digest=WINDOW)
    await box.add_endpoint("all", receiver.url_of("/all"))
    burst = [notification(number, customer_id=f"customer-{number % 4}") for number in range(9)]
    async with dispatching(settings_for(redis_url)), dispatching(settings_for(redis_url)):
        await write(box, *burst, notification(20, alert_id="another"))
        await until(lambda: len(receiver.at("/all")) == 10 and len(receiver.at("/hook")) == 3)
        await box.until_empty()
    *single, digest = bodies(receiver)
    assert {body["id"] for body in single} == {*(body["id"] for body in single), "n-20"}
    assert len(single) == 3
    assert TypeAdapter(WebhookPayload).validate_python(digest).type == "alerts.digest"
    held = {f"n-{number}" for number in range(9)} - {body["id"] for body in single}
    assert set(listed(digest)) == held
    assert digest["properties"]["count"] == len(held) == 7
    for customer in range(4):  # in order
        numbers = [int(each[2:]) for each in listed(digest) if int(each[2:]) % 4 == customer]
        assert numbers == sorted(numbers)
    exact = {entry.id: orjson.loads(entry.body) for entry in burst}
    assert all(each == exact[each["id"]] for each in digest["properties"]["notifications"])
    assert receiver.invalid == []
    found = await statuses(box)
    assert set(found.values()) == {"delivered"}
    assert len(found) == 10 + 10 + 1
    records = [orjson.loads(raw) for log in box.logs for each in held for raw in await log.attempts(f"{each}:digest")]
    assert [(record["outcome"], record["response"]) for record in records] == [("digest", f"{digest['id']}:digest")] * 7


async def test_one_alone_needs_no_digest_and_the_next_window_begins_anew(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("digest", receiver.url, digest=WINDOW)
    async with dispatching(settings_for(redis_url)):
        await write(box, *(notification(number) for number in range(3)))
        await until(lambda: len(receiver.received) == 2)
        await box.until_empty()
        await asyncio.sleep(1.0)
        await write(box, notification(10))
        await until(lambda: len(receiver.received) == 4, 0.9)
        await box.until_empty()
    assert Counter(body["id"] for body in bodies(receiver)) == Counter(["n-0", "n-1", "n-2", "n-10"])


async def test_a_digest_is_repeated_as_it_is_and_what_comes_later_waits_for_it(
    redis_url: str, box: Box, receiver: Receiver
) -> None:
    """More of its customers arrive while it is retried; they neither enter it nor overtake it."""
    await box.add_endpoint("digest", receiver.url, digest={"more_than": 1, "window_seconds": 1})
    receiver.script("/hook", Answer(204), *[Answer(500)] * 3)
    async with dispatching(settings_for(redis_url, webhook_retry_steps_s="0.5")):
        await write(box, *(notification(number, customer_id="one") for number in range(4)))
        await until(lambda: len(receiver.received) == 3)  # it has failed twice
        assert set((await statuses(box)).values()) == {"delivered", "waiting"}
        await write(box, *(notification(number, customer_id="one") for number in range(10, 12)))
        await box.until_empty()
    first, *others = bodies(receiver)
    assert first["id"] == "n-0"
    digests_sent = [body for body in others if body["type"] == "alerts.digest"]
    repeated = [request.body for request in receiver.received if orjson.loads(request.body)["id"] == digests_sent[0]["id"]]
    assert len(repeated) == 4
    assert len(set(repeated)) == 1
    assert listed(digests_sent[0]) == ["n-1", "n-2", "n-3"]
    assert [body["id"] for body in others[4:]] == ["n-10", "n-11"]


async def test_a_digest_that_is_given_up_gives_up_what_it_lists(redis_url: str, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("digest", receiver.url, digest=WINDOW)
    receiver.script("/hook", Answer(204), Answer(204))
    receiver.default["/hook"] = Answer(500)
    async with dispatching(settings_for(redis_url, webhook_retry_age_max_hours=0.3 / 3600)):
        await write(box, notification(0), notification(1))
        await until(lambda: len(receiver.received) == 2)
        await write(box, *(notification(number) for number in range(2, 5)))
        await box.until_empty()
    assert Counter((await statuses(box)).values()) == {"delivered": 2, "exhausted": 3 + 1}
    operations = DeliveryOperations(box.redis, PARTITIONS, settings_for(redis_url))
    again = await operations.select(DeliveryFilter(endpoint_id="digest", statuses=frozenset({"exhausted"})))
    missed = await operations.missed("digest", 0)
    for selection in (again, missed):  # what it lists goes by itself now, and it does not go beside that
        assert sorted(each.delivery.entry.id for each in selection.deliveries) == ["n-2", "n-3", "n-4"]
    receiver.default["/hook"] = Answer(204)
    await operations.resend_all(again, clock_ms())
    async with dispatching(settings_for(redis_url)):
        await box.until_empty()
    assert sorted(body["id"] for body in bodies(receiver)[-3:]) == ["n-2", "n-3", "n-4"]


async def test_many_are_listed_in_several_digests(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "LISTED_MAX", 10)
    await box.add_endpoint("digest", receiver.url, digest=WINDOW)
    async with dispatching(settings_for(redis_url)):
        await write(box, *(notification(number) for number in range(33)))
        await box.until_empty()
    counts = Counter(each for body in bodies(receiver) for each in (listed(body) or [body["id"]]))
    assert counts == Counter(f"n-{number}" for number in range(33))
    sizes = sorted(len(listed(body)) for body in bodies(receiver))
    assert sizes == [0, 0, 0, 10, 10, 10]  # two that went at once, and one that was left over


# --- crashes ------------------------------------------------------------------------------------------------------------


class Crash:
    """Ends the dispatcher, as if its process died, at the first call of a function, ``before`` or ``after`` its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> None:
        self.happened = asyncio.Event()
        original = getattr(owner, name)

        async def crashing(*arguments: Any, **named: Any) -> Any:
            if self.happened.is_set():
                return await original(*arguments, **named)
            if when == "after":
                await original(*arguments, **named)
            self.happened.set()
            await asyncio.sleep(3600)

        monkeypatch.setattr(owner, name, crashing)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (DigestStore, "alone"),
        (DigestStore, "digest_of"),
        (DigestStore, "held"),
        (DigestStore, "make"),
        (DigestStore, "is_live"),
        (digests, "conclude_all"),
        (Outbox, "deliveries"),
        (Outbox, "conclude"),
        (Outbox, "put_back"),
    ],
)
async def test_a_crash_anywhere_neither_loses_nor_doubles(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    await box.add_endpoint("digest", receiver.url, digest=WINDOW)
    settings = settings_for(redis_url, webhook_timeout_s=0.5, webhook_claim_idle_s=0.8)
    crash = Crash(monkeypatch, owner, name, when)
    running = asyncio.create_task(run_dispatcher(settings, asyncio.Event(), lambda: None))
    await write(box, *(notification(number, customer_id=f"customer-{number % 3}") for number in range(8)))
    async with asyncio.timeout(10):
        await crash.happened.wait()
    while not running.done():  # a task that waits for Redis at this moment may take it for an outage
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.02)
    async with dispatching(settings):
        await box.until_empty()
    by_id: dict[str, set[bytes]] = {}
    for request in receiver.received:
        by_id.setdefault(request.id, set()).add(request.body)
    assert all(len(each) == 1 for each in by_id.values()), "one id, one body"
    told = Counter(each for (body,) in by_id.values() for each in (listed(orjson.loads(body)) or [orjson.loads(body)["id"]]))
    assert told == Counter(f"n-{number}" for number in range(8))
    assert set((await statuses(box)).values()) == {"delivered"}
