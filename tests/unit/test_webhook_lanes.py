"""A lane: how many at a time, in what order, and what it hands back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.breaker import Breaker
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.lanes import QUEUE_MAX, QUEUE_ROOM, Job, Lane, TakeTokens
from connectors.webhooks.outcomes import new_delivery
from connectors.webhooks.signatures import Signing

CONCURRENCY = 3
ENDPOINT = Endpoint("e", "https://example.com/", Signing((("whsec_AAAA", None),)))


async def no_tokens(endpoint_id: str, rate_per_s: float, wanted: int) -> tuple[int, float]:
    raise AssertionError("an endpoint without a rate limit asks for no tokens")


class HeldClient:
    """Stands for the connections to an endpoint: every request waits until the test lets it end."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.under_way: dict[str, asyncio.Future[str]] = {}
        self.sent: list[str] = []

    async def attempt(self, entry: OutboxEntry, first_byte: object) -> Attempt:
        message_id = entry.id
        self.sent.append(message_id)
        ended = self.under_way[message_id] = asyncio.get_running_loop().create_future()
        outcome = await ended
        del self.under_way[message_id]
        return Attempt(outcome, 0.0, 0.0)

    async def close(self) -> None:
        self.sent.append("closed")

    async def end(self, message_id: str, outcome: str = "success") -> None:
        self.under_way[message_id].set_result(outcome)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Bench:
    """A lane over a held client, and what became of each job: its outcome, or None if it was handed back."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        wait_max_s: float = 60.0,
        endpoint: Endpoint = ENDPOINT,
        take_tokens: TakeTokens = no_tokens,
    ) -> None:
        self.client = HeldClient(endpoint)
        self.results: dict[str, str | None] = {}
        self.lane = Lane(
            self.client,  # type: ignore[arg-type]
            group.create_task,
            take_tokens,
            concurrency=CONCURRENCY,
            wait_max_s=wait_max_s,
        )

    def offer(self, message_id: str) -> bool:
        entry = OutboxEntry(message_id, "t", message_id, "alert", b"{}", None, 0)
        return self.lane.offer(Job(new_delivery(entry, "e", 0), self._record(message_id)))

    def _record(self, message_id: str) -> Callable[[Attempt | None], None]:
        def record(attempt: Attempt | None) -> None:
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


async def test_queue_is_bounded(bench: Bench) -> None:
    taken = 0
    while bench.offer(str(taken)):
        taken += 1
        assert bench.lane.room == max(0, QUEUE_ROOM - taken)
        assert taken <= QUEUE_MAX
    assert taken == QUEUE_MAX  # nothing has been started yet
    await settle()
    assert bench.offer("as many as have left the queue")
    assert len(bench.client.under_way) == CONCURRENCY


async def test_hand_back_lets_requests_end_and_returns_the_rest_unsent(bench: Bench) -> None:
    for number in range(CONCURRENCY + 2):
        bench.offer(str(number))
    await settle()
    bench.lane.hand_back()
    assert not bench.offer("late")
    for number in range(CONCURRENCY):
        await bench.client.end(str(number))
    assert bench.results == {"0": "success", "1": "success", "2": "success", "3": None, "4": None}
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


async def test_a_paused_lane_takes_nothing_and_hands_back_what_waits(bench: Bench) -> None:
    for number in range(CONCURRENCY + 1):
        bench.offer(str(number))
    await settle()
    bench.lane.pause(60.0)
    assert bench.lane.room == 0
    assert not bench.offer("late")
    assert 59 < bench.lane.ready_in_s <= 60
    bench.lane.pause(1.0)  # the longer one holds
    assert bench.lane.ready_in_s > 59
    await bench.client.end("0")
    assert bench.results == {"0": "success", str(CONCURRENCY): None}


async def test_breaker_opens_the_lane_and_faults_of_ours_do_not(bench: Bench) -> None:
    async def fail(outcome: str, times: int) -> None:
        for number in range(times):
            assert bench.offer(f"{outcome}-{number}")
            await settle()
            await bench.client.end(f"{outcome}-{number}", outcome)

    await fail("fault", 30)
    assert (bench.lane.blocked, bench.lane.failures) == (False, 0)
    await fail("http_5xx", 9)
    assert not bench.lane.blocked
    await fail("timeout", 1)
    assert bench.lane.blocked
    assert (bench.lane.room, bench.offer("late")) == (0, False)


async def test_half_open_lane_lets_one_attempt_through(bench: Bench) -> None:
    bench.lane.breaker = Breaker(open_first_s=0.0)
    for _ in range(10):
        bench.lane.breaker.record(False, 0.0)
    bench.lane.breaker._open_s = 1.0  # opened at the instant 0 for a second: long over
    assert bench.lane.room == 1
    assert bench.offer("trial")
    assert (bench.lane.room, bench.offer("second")) == (0, False)
    await settle()
    await bench.client.end("trial")
    assert bench.lane.room == QUEUE_ROOM


async def test_rate_limit_waits_for_tokens_and_asks_for_several_at_once() -> None:
    endpoint = Endpoint("e", "https://example.com/", ENDPOINT.signing, rate_limit_per_s=100.0)
    asked: list[tuple[str, float, int]] = []
    answers = [(0, 0.0), (2, 0.0), (0, 0.0), (5, 0.0)]

    async def tokens(endpoint_id: str, rate_per_s: float, wanted: int) -> tuple[int, float]:
        asked.append((endpoint_id, rate_per_s, wanted))
        return answers.pop(0)

    async with asyncio.TaskGroup() as group:
        bench = Bench(group, endpoint=endpoint, take_tokens=tokens)
        for number in range(3):
            bench.offer(str(number))
        for _ in range(5):
            await settle()
        assert bench.client.sent == ["0", "1", "2"]
        assert answers == []
        for number in range(3):
            await bench.client.end(str(number))
    assert [(endpoint_id, rate_per_s) for endpoint_id, rate_per_s, _ in asked] == [("e", 100.0)] * 4
    assert all(1 < wanted <= 5 for _, _, wanted in asked)  # those under way, and no more than fit into 50 ms
    assert bench.lane.room == QUEUE_ROOM


async def test_connections_are_closed_only_while_nothing_is_under_way(bench: Bench) -> None:
    bench.offer("1")
    await settle()
    await bench.lane.close_connections(0.0)
    assert bench.client.sent == ["1"]
    await bench.client.end("1")
    await bench.lane.close_connections(60.0)
    assert bench.client.sent == ["1"]
    await bench.lane.close_connections(0.0)
    assert bench.client.sent == ["1", "closed"]
