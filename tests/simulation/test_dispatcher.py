"""Dispatchers that die at any await, and lose any reply of Redis: at least once, under the same id, in order, and nothing stuck.

Real Lua on a real Redis; time, network and receivers are simulated, so that a seed reproduces its run. ``make simulate`` runs
many seeds (``TIDEMARK_SIMULATE_SEEDS``); a failure names its seed and, where it was not drawn, its point of death.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from unittest import mock

import orjson
import pytest
import redis as blocking

from connectors.redis.batches import outbox_fields
from connectors.redis.keys import CatalogKeys, PartitionKeys
from connectors.redis.types import OutboxEntry
from connectors.settings import Settings
from connectors.webhooks import dispatcher as role
from connectors.webhooks.client import Attempt, EndpointClient
from tests.support.crashing import CrashingRedis, Life, SimulatedReceivers
from tests.support.dispatching import settings_for
from tests.support.redis_server import RedisServer
from tests.support.virtual_time import run, virtual_time

SEEDS = int(os.environ.get("TIDEMARK_SIMULATE_SEEDS", "6"))
SWEEP_SHARES = 4
SWEEP_STEP = int(os.environ.get("TIDEMARK_SIMULATE_STEP", "11"))  # every so many points; 1 = each
START_S = 1_800_000_000.0
PARTITIONS = 2
CUSTOMERS = 3
NOTIFICATIONS = 12
ENDPOINTS = ("a", "b")
LIFE: ContextVar[Life] = ContextVar("life")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATIENCE_S = 600.0  # simulated: longer than any chain of leases, pauses and open breakers here


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[blocking.Redis]:
    running = RedisServer(dir=tmp_path_factory.mktemp("redis"))
    running.start()
    client = blocking.Redis.from_url(running.url, protocol=2)
    yield client
    client.close()
    running.stop()


class World:
    """What outlives a dispatcher: Redis, the receivers, and the worker that writes notifications."""

    def __init__(self, server: blocking.Redis, dice: random.Random, fails: float) -> None:
        self.server = server
        self.dice = dice
        self.receivers = SimulatedReceivers(dice, fails)
        self.written: list[OutboxEntry] = []
        self.points = 0  # of the latest life
        port = server.connection_pool.connection_kwargs["port"]
        self.settings: Settings = settings_for(
            f"redis://127.0.0.1:{port}/0", webhook_retry_steps_s="0.2,0.5,1", webhook_breaker_open_s=2.0
        )
        server.flushall()
        server.script_flush()  # as after a restart; and each run begins alike
        server.set(CatalogKeys.PARTITIONS, PARTITIONS)
        server.set(CatalogKeys.ENDPOINTS_REVISION, 1)
        for endpoint_id in ENDPOINTS:
            document = {"id": endpoint_id, "url": f"https://{endpoint_id}.example/", "secret": SECRET, "enabled": True}
            server.hset(CatalogKeys.ENDPOINTS, endpoint_id, orjson.dumps(document))

    async def write(self) -> None:
        """Notifications of few customers, some at once and some later."""
        for number in range(NOTIFICATIONS):
            customer = number % CUSTOMERS
            now_ms = int(time.time() * 1000)
            body = {"id": f"n-{number}", "type": "alerts.spend_threshold_reached", "properties": {"sequence": number}}
            entry = OutboxEntry(f"n-{number}", str(body["type"]), f"c-{customer}", "alert", orjson.dumps(body), now_ms, now_ms)
            fields = outbox_fields(entry)
            outbox = PartitionKeys(customer % PARTITIONS).outbox
            # the server's clock is real: ids of our own time would be behind those of a slower run
            self.server.xadd(outbox, dict(zip(fields[::2], fields[1::2], strict=True)), id=f"{now_ms}-{number}")
            self.written.append(entry)
            await asyncio.sleep(self.dice.choice((0.0, 0.0, 0.001, 0.3)))

    def left(self) -> dict[str, int]:
        """What is not over, by key."""
        sizes = {}
        for partition in range(PARTITIONS):
            keys = PartitionKeys(partition)
            sizes[keys.outbox] = self.server.xlen(keys.outbox)
            sizes[keys.deliveries] = self.server.hlen(keys.deliveries)
            sizes[keys.delivery_leases] = self.server.hlen(keys.delivery_leases)
            for zset in (keys.deliveries_at, keys.delivery_lanes, keys.delivery_places, *map(keys.due, ENDPOINTS)):
                sizes[zset] = self.server.zcard(zset)
        return {key: size for key, size in sizes.items() if size}

    async def dispatch(self, deaths: Iterable[int], loses: float, stalls: float) -> None:
        """Lives of one dispatcher, one after the other; the last one does not die. A death leaves no trace: nobody is told."""
        for dies_at in (*deaths, None):
            life = Life(self.dice, dies_at, loses, stalls)
            LIFE.set(life)
            running = asyncio.create_task(role.run_dispatcher(self.settings, asyncio.Event(), lambda: None))
            dying = asyncio.create_task(life.died.wait())
            try:
                await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
                assert not running.done(), "a dispatcher ends only by its death"
            finally:
                for task in (running, dying):
                    task.cancel()
                await asyncio.wait({running, dying})
                self.points = life.points
            await asyncio.sleep(self.dice.uniform(0, 3))

    async def play(self, deaths: Sequence[Iterable[int]], loses: float, stalls: float) -> None:
        """Until everything that was written is over."""
        writing = asyncio.create_task(self.write())
        dispatchers = [asyncio.create_task(self.dispatch(each, loses, stalls)) for each in deaths]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await writing
                while self.left() and not any(task.done() for task in dispatchers):
                    await asyncio.sleep(0.5)
        except TimeoutError:
            pytest.fail(f"stuck: {self.left()}")
        finally:
            for task in dispatchers:
                task.cancel()
            results = await asyncio.gather(*dispatchers, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise AssertionError("a dispatcher failed") from result if isinstance(result, BaseException) else None
        self.check()

    def check(self) -> None:
        assert self.left() == {}
        bodies = {entry.id: entry.body for entry in self.written}
        key_of = {entry.id: entry.customer_id for entry in self.written}
        for endpoint_id in ENDPOINTS:
            requests = [request for request in self.receivers.requests if request.endpoint_id == endpoint_id]
            assert {request.id for request in requests if request.accepted} == set(bodies), "each at least once"
            assert all(bodies[request.id] == request.body for request in requests), "the same bytes each time"
            for customer_id in set(key_of.values()):
                order = [entry.id for entry in self.written if entry.customer_id == customer_id]
                accepted: set[str] = set()
                for request in requests:
                    if key_of[request.id] == customer_id:
                        before = order[: order.index(request.id)]
                        assert accepted >= set(before), f"{request.id} was sent before {before} were accepted"
                        accepted |= {request.id} if request.accepted else set()
        ended = [raw.split(b" ")[0] for p in range(PARTITIONS) for raw in self.server.hvals(PartitionKeys(p).delivery_log)]
        assert ended == [b"delivered"] * NOTIFICATIONS * len(ENDPOINTS)


def simulate(
    server: blocking.Redis, seed: int, deaths: Sequence[Iterable[int]], *, fails: float, loses: float = 0.0, stalls: float = 0.0
) -> World:
    random.seed(seed)  # the jitter of the schedule
    with virtual_time(START_S) as clock:
        world = World(server, random.Random(seed), fails)

        def connected(_: Settings) -> CrashingRedis:
            return CrashingRedis(server, LIFE.get())

        async def attempt(self: EndpointClient, entry: OutboxEntry, first_byte: object) -> Attempt:
            return await world.receivers.attempt(LIFE.get(), self.endpoint.id, entry, time.time())

        with (
            mock.patch.object(role, "connect", connected),
            mock.patch.object(EndpointClient, "attempt", attempt),
        ):
            run(clock, world.play(deaths, loses, stalls))
    return world


def test_nothing_goes_wrong_without_deaths(server: blocking.Redis) -> None:
    world = simulate(server, 0, [()], fails=0.0)
    assert len(world.receivers.requests) == NOTIFICATIONS * len(ENDPOINTS), "no repetition where nothing failed"


def test_a_seed_reproduces_its_run(server: blocking.Redis) -> None:
    first, second = (simulate(server, 7, [(50, 20), (80,)], fails=0.3, loses=0.05) for _ in range(2))
    assert first.receivers.requests == second.receivers.requests


@pytest.mark.parametrize("seed", range(SEEDS))
def test_dispatchers_die_stall_and_lose_replies_anywhere(server: blocking.Redis, seed: int) -> None:
    dice = random.Random(f"deaths {seed}")
    deaths = [[dice.randint(1, 120) for _ in range(dice.randint(0, 6))] for _ in range(dice.randint(1, 2))]
    simulate(server, seed, deaths, fails=dice.choice((0.0, 0.3)), loses=dice.choice((0.0, 0.05)), stalls=dice.choice((0.0, 0.01)))


@pytest.mark.parametrize("share", range(SWEEP_SHARES))
def test_one_dispatcher_dies_at_each_of_its_points(server: blocking.Redis, share: int) -> None:
    """The same run again and again, ended one point later each time; a share of the points in each test."""
    points = simulate(server, 1, [()], fails=0.2).points
    for dies_at in range(1 + share * SWEEP_STEP, points + 1, SWEEP_SHARES * SWEEP_STEP):
        try:
            simulate(server, 1, [(dies_at,)], fails=0.2)
        except AssertionError as error:
            raise AssertionError(f"death at point {dies_at}: {error}") from error
