"""The whole schedule walked in seconds: the dispatcher as it is with its default settings, a real receiver, and a clock that
skips what would be waiting."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from unittest import mock

import orjson
import pytest
import redis as blocking

from connectors import background
from connectors.redis.batches import outbox_fields
from connectors.redis.keys import CatalogKeys, PartitionKeys
from connectors.settings import Settings, seconds_of
from connectors.testing.behaviours import Answer, Hang, too_many
from connectors.testing.receiver import Receiver
from connectors.webhooks import dispatcher as role
from connectors.webhooks.client import Attempt, EndpointClient
from connectors.webhooks.schedule import RETRY_AFTER_MAX_S
from tests.support.crashing import CrashingRedis, Life
from tests.support.dispatching import SECRET, notification
from tests.support.redis_server import RedisServer
from tests.support.virtual_time import Clock, run, virtual_time

HOUR_S = 3_600.0
START_S = 1_800_000_000.0
LATE_S = 1.0  # the dispatcher looks at what is due four times a second
SKIP_MAX_S = 900.0
_SETTLING_S = 2.0  # after a start or an attempt nothing is skipped: what came of it may not be written yet


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[blocking.Redis]:
    running = RedisServer(dir=tmp_path_factory.mktemp("redis"))
    running.start()
    client = blocking.Redis.from_url(running.url, protocol=2)
    yield client
    client.close()
    running.stop()


class Walk:
    """One partition, one endpoint, and a dispatcher that sleeps through what would be waiting."""

    keys = PartitionKeys(0)

    def __init__(self, server: blocking.Redis, clock: Clock, receiver: Receiver, settings: Settings) -> None:
        self.server = server
        self.receiver = receiver
        self.settings = settings
        self._clock = clock
        self._in_flight = 0
        self._busy_until_s = 0.0
        clock.busy = lambda: self._in_flight > 0
        server.flushall()
        server.set(CatalogKeys.PARTITIONS, 1)
        server.set(CatalogKeys.ENDPOINTS_REVISION, 1)
        document = {"id": "a", "url": receiver.url, "secret": SECRET, "enabled": True}
        server.hset(CatalogKeys.ENDPOINTS, "a", orjson.dumps(document))

    def write(self, number: int) -> None:
        fields = outbox_fields(notification(number))
        self.server.xadd(self.keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)))

    def statuses(self) -> list[str]:
        return [raw.split(b" ")[0].decode() for raw in self.server.hvals(self.keys.delivery_log)]

    def endpoint(self) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self.server.hget(CatalogKeys.ENDPOINTS, "a"))
        return document

    def waits_s(self) -> list[float]:
        """Between the attempts."""
        times = [request.at_s for request in self.receiver.received]
        return [later - earlier for earlier, later in pairwise(times)]

    async def until(self, over: Callable[[], bool], hours: float) -> None:
        walk = self
        self._busy_until_s = time.monotonic() + _SETTLING_S

        class Redis(CrashingRedis):
            async def xread(self, streams: dict[str, str], count: int, block: int | None) -> Any:
                found = await self._at_points(lambda: self._server.xread(streams, count=count))
                if not found:
                    await walk.pause(asyncio.Event(), 0.25)
                return found

        attempt_as_it_is = EndpointClient.attempt

        async def attempt(client: EndpointClient, *arguments: Any) -> Attempt:
            self._in_flight += 1
            try:
                return await attempt_as_it_is(client, *arguments)
            finally:
                self._in_flight -= 1
                self._busy_until_s = time.monotonic() + _SETTLING_S

        life = Life(random.Random(1), None)
        with (
            mock.patch.object(role, "connect", lambda settings: Redis(self.server, life)),  # noqa: PT008
            mock.patch.object(background, "pause", self.pause),
            mock.patch.object(role, "pause", self.pause),
            mock.patch.object(EndpointClient, "attempt", attempt),
        ):
            stop = asyncio.Event()
            running = asyncio.create_task(role.run_dispatcher(self.settings, stop, lambda: None))
            async with asyncio.timeout(hours * HOUR_S):
                while not over() and not running.done():
                    await asyncio.sleep(30.0)
            stop.set()
            await running

    async def pause(self, stop: asyncio.Event, seconds: float) -> None:
        """At least ``seconds``; while nothing is on its way, until something is due."""
        if seconds <= 0:
            return
        now_s = time.monotonic()
        if self._in_flight == 0 and now_s > self._busy_until_s:
            due = self.server.zrange(self.keys.delivery_lanes, 0, 0, withscores=True)
            seconds = max(seconds, min(SKIP_MAX_S, due[0][1] / 1000 - now_s if due else SKIP_MAX_S))
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass


@pytest.fixture
def walk(server: blocking.Redis) -> Iterator[Callable[..., Any]]:
    """Runs a test's coroutine with a walk in simulated time."""
    random.seed(1)
    with Receiver() as receiver, virtual_time(START_S) as clock:
        receiver.secret = SECRET

        def start(main: Callable[[Walk], Any], **settings: Any) -> Walk:
            walk = Walk(server, clock, receiver, Settings(webhook_allow_private=True, **settings))
            run(clock, main(walk))
            return walk

        yield start


def test_a_delivery_that_fails_is_tried_by_the_schedule_for_48_hours(walk: Callable[..., Walk]) -> None:
    async def fails_for_ever(walk: Walk) -> None:
        walk.receiver.default["/hook"] = Answer(500)
        walk.write(1)
        await walk.until(lambda: bool(walk.statuses()), 60)

    done = walk(fails_for_ever)
    settings = done.settings
    steps_s = seconds_of(settings.webhook_retry_steps_s)
    waits_s = done.waits_s()
    for number, wait_s in enumerate(waits_s):
        step_s = steps_s[min(number, len(steps_s) - 1)]
        assert (1 - settings.webhook_retry_jitter) * step_s <= wait_s <= step_s + LATE_S, f"after attempt {number + 1}"
    assert 46.5 * HOUR_S < sum(waits_s) <= 48 * HOUR_S + LATE_S, "no attempt after the maximum age, and none missing before"
    assert 200 <= len(waits_s) + 1 <= 260
    assert done.statuses() == ["exhausted"]
    assert done.endpoint()["enabled"]
    assert {request.id for request in done.receiver.received} == {"n-1"}
    assert done.receiver.invalid == [], "each attempt is signed for its own time"
    assert len({request.headers["webhook-signature"] for request in done.receiver.received}) == len(waits_s) + 1


def test_a_receiver_that_only_hangs_is_asked_less_often(walk: Callable[..., Walk]) -> None:
    async def hangs(walk: Walk) -> None:
        walk.receiver.default["/hook"] = Hang()
        walk.write(1)
        await walk.until(lambda: len(walk.receiver.received) >= 5, 2)

    done = walk(hangs, webhook_timeout_s=0.3, drain_timeout_s=1.0)
    assert all(wait_s >= 0.8 * 60.0 for wait_s in done.waits_s()[:4])


def test_a_wait_that_is_asked_for_by_mistake_is_cut_to_an_hour(walk: Callable[..., Walk]) -> None:
    async def asks_for_a_century(walk: Walk) -> None:
        walk.receiver.script("/hook", too_many(datetime(2099, 1, 1, tzinfo=UTC)), too_many(10**12))
        walk.write(1)
        await walk.until(lambda: bool(walk.statuses()), 4)

    done = walk(asks_for_a_century)
    assert done.statuses() == ["delivered"]
    assert all(RETRY_AFTER_MAX_S <= wait_s <= 1.2 * RETRY_AFTER_MAX_S + LATE_S for wait_s in done.waits_s())
    assert len(done.waits_s()) == 2


def test_an_endpoint_is_disabled_after_five_days_without_a_success(walk: Callable[..., Walk]) -> None:
    """One success on the second day gives it five days more."""

    async def fails_with_one_exception(walk: Walk) -> None:
        walk.receiver.default["/hook"] = Answer(500)
        for number in range(1, 40):
            if number == 5:  # 48 hours after the start
                walk.receiver.script("/hook", Answer(204))
            walk.write(number)
            begun_s = time.monotonic()
            await walk.until(lambda since=begun_s: time.monotonic() - since >= 12 * HOUR_S or not walk.endpoint()["enabled"], 13)  # type: ignore[misc]
            if not walk.endpoint()["enabled"]:
                break

    done = walk(fails_with_one_exception, webhook_retry_steps_s="21600")
    assert done.endpoint()["disabled_reason"] == "every attempt has failed for 5 days; the last one: http_5xx (500)"
    requests = done.receiver.received
    assert 7.0 <= (requests[-1].at_s - requests[0].at_s) / (24 * HOUR_S) <= 7.1
