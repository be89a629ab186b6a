"""A defect harms one delivery, which is tried again later; its lane, the other lanes and the dispatcher go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.containment import contained, in_a_task
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.lanes import Job, Lane
from connectors.webhooks.outcomes import new_delivery
from connectors.webhooks.signatures import Signing
from tests.support.dispatching import sample

ENDPOINT = Endpoint("e", "https://example.com/", Signing((("whsec_AAAA", None),)))
RAISED = [ValueError("a defect"), KeyError("x"), RecursionError(), AssertionError(), asyncio.CancelledError(), UnicodeError()]


class Faulty:
    """A destination that raises for one notification."""

    endpoint = ENDPOINT

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def attempt(self, entry: OutboxEntry, first_byte: object) -> Attempt:
        await asyncio.sleep(0)
        if entry.id == "1":
            raise self._error
        return Attempt("success", 0.0, 0.0)

    async def close(self) -> None:
        raise self._error


async def no_tokens(endpoint_id: str, rate_per_s: float, wanted: int) -> tuple[int, float]:
    raise ValueError("a defect")


async def run(lane_of: Callable[[list[asyncio.Task[None]]], Lane], settle: Callable[[str, Attempt | None], None]) -> None:
    """Three notifications through one lane; none of its tasks may fail."""
    tasks: list[asyncio.Task[None]] = []
    lane = lane_of(tasks)
    for message_id in ("0", "1", "2"):
        delivery = new_delivery(OutboxEntry(message_id, "t", "c", "a", b"{}", None, 0), "e", 0)
        assert lane.offer(Job(delivery, lambda attempt, each=message_id: settle(each, attempt)))  # type: ignore[misc]
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)
    assert lane.idle
    assert lane.room > 0


def lane_to(client: Faulty, tasks: list[asyncio.Task[None]]) -> Lane:
    return Lane(client, lambda work: tasks.append(asyncio.ensure_future(work)), no_tokens, concurrency=1, wait_max_s=60.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_what_a_destination_raises_is_a_fault_of_one_delivery(error: BaseException) -> None:
    found: dict[str, Attempt | None] = {}
    before = sample("tidemark_webhook_contained_total", where="attempt")
    attempts = sample("tidemark_webhook_attempts_total", outcome="success")
    await run(lambda tasks: lane_to(Faulty(error), tasks), found.__setitem__)
    outcomes = {each: attempt and attempt.outcome for each, attempt in found.items()}
    assert outcomes == {"0": "success", "1": "fault", "2": "success"}
    assert type(error).__name__ in (found["1"] or Attempt("", 0, 0)).response.decode()
    assert sample("tidemark_webhook_contained_total", where="attempt") == before + 1
    assert sample("tidemark_webhook_attempts_total", outcome="success") == attempts + 2  # whatever kind of destination it is


async def test_what_is_raised_when_a_job_is_settled_harms_no_other() -> None:
    settled: list[str] = []

    def settle(message_id: str, attempt: Attempt | None) -> None:
        settled.append(message_id)
        if message_id == "0":
            raise ValueError("a defect")

    await run(lambda tasks: lane_to(Faulty(ValueError()), tasks), settle)
    assert settled == ["0", "1", "2"]


async def test_what_a_token_bucket_raises_hands_the_job_back() -> None:
    found: dict[str, Attempt | None] = {}
    limited = Faulty(ValueError())
    limited.endpoint = Endpoint("e", ENDPOINT.url, ENDPOINT.signing, rate_limit_per_s=1.0)
    await run(lambda tasks: lane_to(limited, tasks), found.__setitem__)
    assert found == {"0": None, "1": None, "2": None}


async def test_a_task_of_its_own_ends_without_a_word_to_its_siblings() -> None:
    async def fails() -> None:
        raise ValueError("a defect")

    await in_a_task(fails())


async def test_the_order_to_end_is_not_contained() -> None:
    async def waits() -> None:
        with contained("task"):
            await asyncio.sleep(60)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
