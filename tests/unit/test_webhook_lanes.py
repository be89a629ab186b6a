"""A lane: how many at a time, in what order, and what it hands back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.lanes import QUEUE_MAX, QUEUE_ROOM, Job, Lane
from connectors.webhooks.outcomes import new_delivery

CONCURRENCY = 3


class HeldClient:
    """Stands for the connections to an endpoint: every request waits until the test lets it end."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[str]] = {}
        self.sent: list[str] = []

    async def attempt(self, message_id: str, body: bytes, first_byte: object) -> Attempt:
        self.sent.append(message_id)
        ended = self.under_way[message_id] = asyncio.get_running_loop().create_future()
        outcome = await ended
        del self.under_way[message_id]
        return Attempt(outcome, 0.0, 0.0)

    async def end(self, message_id: str, outcome: str = "success") -> None:
        self.under_way[message_id].set_result(outcome)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Bench:
    """A lane over a held client, and what became of each job: its outcome, or None if it was handed back."""

    def __init__(self, group: asyncio.TaskGroup, wait_max_s: float = 60.0) -> None:
        self.client = HeldClient()
        self.results: dict[str, str | None] = {}
        self.lane = Lane(self.client, group.create_task, concurrency=CONCURRENCY, wait_max_s=wait_max_s)  # type: ignore[arg-type]

    def offer(self, message_id: str, customer_id: str | None = None, group: str | None = None) -> bool:
        properties = {"group_values": [{"key": "org", "value": group}]} if group else {}
        body = orjson.dumps({"id": message_id, "properties": properties})
        entry = OutboxEntry(message_id, "t", customer_id or message_id, "alert", body, None, 0)
        return self.lane.offer(Job(new_delivery(entry, "e", 0), self._record(message_id)))

    def _record(self, message_id: str) -> Callable[[Attempt | None], Awaitable[None]]:
        async def record(attempt: Attempt | None) -> None:
            self.results[message_id] = attempt.outcome if attempt else None

        return record


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with asyncio.TaskGroup() as group:
        bench = Bench(group)
        yield bench
        bench.lane.hand_back()
        while bench.client.under_way:
            await bench.client.end(next(iter(bench.client.under_way)))


async def test_no_more_at_a_time_than_allowed(bench: Bench) -> None:
    for number in range(5):
        assert bench.offer(str(number))
    await settle()
    assert bench.client.sent == ["0", "1", "2"]
    await bench.client.end("1")
    assert bench.client.sent == ["0", "1", "2", "3"]


async def test_same_customer_and_alert_one_after_the_other(bench: Bench) -> None:
    for name in ("a1", "a2", "a3"):
        bench.offer(name, customer_id="a")
    bench.offer("b1", customer_id="b")
    await settle()
    assert sorted(bench.client.under_way) == ["a1", "b1"]
    await bench.client.end("a1", "http_5xx")
    assert sorted(bench.client.under_way) == ["a2", "b1"]
    await bench.client.end("a2")
    await bench.client.end("a3")
    assert bench.results == {"a1": "http_5xx", "a2": "success", "a3": "success"}


async def test_groups_of_one_alert_do_not_wait_for_each_other(bench: Bench) -> None:
    for name in ("x1", "x2", "y1"):
        bench.offer(name, customer_id="a", group=name[0])
    await settle()
    assert sorted(bench.client.under_way) == ["x1", "y1"]


async def test_a_queue_of_one_key_does_not_block_others_behind_it(bench: Bench) -> None:
    for number in range(10):
        bench.offer(f"a{number}", customer_id="a")
    bench.offer("b", customer_id="b")
    await settle()
    assert "b" in bench.client.under_way


async def test_queue_is_bounded(bench: Bench) -> None:
    taken = 0
    while bench.offer(str(taken)):
        taken += 1
        assert bench.lane.has_room == (taken < QUEUE_ROOM)
        assert taken <= QUEUE_MAX
    assert taken == QUEUE_MAX  # nothing has been started yet
    await settle()
    assert bench.offer("as many as have left the queue")
    assert len(bench.client.under_way) == CONCURRENCY


async def test_hand_back_lets_requests_end_and_returns_the_rest_unsent(bench: Bench) -> None:
    for number in range(CONCURRENCY + 2):
        bench.offer(str(number))
    bench.offer("behind", customer_id="0")
    await settle()
    bench.lane.hand_back()
    assert not bench.offer("late")
    for number in range(CONCURRENCY):
        await bench.client.end(str(number))
    assert bench.results == {"0": "success", "1": "success", "2": "success", "3": None, "4": None, "behind": None}
    assert bench.lane.idle


async def test_what_has_waited_too_long_is_handed_back_unsent() -> None:
    async with asyncio.TaskGroup() as group:
        bench = Bench(group, wait_max_s=-1.0)
        bench.offer("old")
    assert bench.results == {"old": None}
    assert bench.client.sent == []


async def test_failures_in_a_row_are_counted(bench: Bench) -> None:
    for number, (outcome, failures) in enumerate([("timeout", 1), ("connect", 2), ("success", 0), ("http_5xx", 1)]):
        bench.offer(str(number))
        await settle()
        await bench.client.end(str(number), outcome)
        assert bench.lane.failures == failures
