"""Planned failovers: a replica is promoted, the old primary becomes its replica and goes on answering reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.redis.client import connect
from connectors.redis.errors import Trouble, refusal_code, told, trouble
from connectors.redis.scripts import Script
from connectors.settings import Settings
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import KINDS, RedisServer, SentinelServer
from tests.support.tally import TallyAggregate
from tests.support.worker_harness import Harness, customer_in, event

WAIT_S = 20.0

T = TypeVar("T")


class Address:
    """A name that leads to one server and then to another, as a virtual address or a DNS entry does."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()


@pytest.fixture(params=KINDS)
def primary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(kind=request.param, dir=tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def replica(primary: RedisServer) -> Iterator[RedisServer]:
    server = primary.replica()
    yield server
    server.kill()


@pytest.fixture
async def address(primary: RedisServer) -> AsyncIterator[Address]:
    async with Address(primary.port) as moving:
        yield moving


def swap(primary: RedisServer, replica: RedisServer) -> None:
    """By hand, so that no client is told: the connections to the old primary stay."""
    assert replica.ask("REPLICAOF", "NO", "ONE").startswith("+OK")
    assert primary.ask("REPLICAOF", "127.0.0.1", str(replica.port)).startswith("+OK")


async def until_done(call: Callable[[], Awaitable[T]]) -> tuple[T, list[RedisError]]:
    """As a role does it: again while Redis is away or refuses. What was raised meanwhile."""
    raised: list[RedisError] = []
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                return await call(), raised
            except RedisError as error:
                if trouble(error) is Trouble.DEFECT:
                    raise
                raised.append(error)
                await asyncio.sleep(0.05)


WRITE = Script("swap")


async def test_connections_to_the_old_primary_are_dropped_after_one_refusal(
    primary: RedisServer, replica: RedisServer, address: Address
) -> None:
    client: Redis = connect(Settings(redis_url=address.url))
    await asyncio.gather(*(client.incr(f"warm-{n}") for n in range(8)))  # several connections at rest
    swap(primary, replica)
    address.target = replica.port

    kinds = []
    for write in (
        lambda: client.set("plain", "1"),
        lambda: WRITE.run(client, ["in-a-script"], "field", "", "1"),
        lambda: client.pipeline(transaction=False).set("in-a-pipeline", "1").execute(),
        lambda: client.pipeline(transaction=True).set("in-a-transaction", "1").execute(),
    ):
        _, raised = await until_done(write)
        kinds += [refusal_code(error) for error in raised]
    assert kinds == ["READONLY"], "one refusal, and all eight connections are made again"
    assert replica.ask("EXISTS", "plain", "in-a-script", "in-a-pipeline", "in-a-transaction") == ":4\r\n"
    await client.aclose()


@pytest.mark.parametrize("way", ["plain", "script", "pipeline", "transaction"])
async def test_the_refusal_is_known_in_each_way_of_writing(
    primary: RedisServer, replica: RedisServer, address: Address, way: str
) -> None:
    client: Redis = connect(Settings(redis_url=address.url))
    await WRITE.run(client, ["h"], "warm", "", "1")
    swap(primary, replica)
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "plain": lambda: client.set("a", "1"),
        "script": lambda: WRITE.run(client, ["h"], "field", "", "1"),
        "pipeline": lambda: client.pipeline(transaction=False).get("a").set("a", "1").execute(),
        "transaction": lambda: client.pipeline(transaction=True).get("a").set("a", "1").execute(),
    }
    with pytest.raises(RedisError) as first:
        await ways[way]()
    assert refusal_code(first.value) == "READONLY"
    with pytest.raises(RedisError) as still:  # the address leads to the replica yet: not even reads are taken from there
        await client.get("a")
    assert refusal_code(still.value) == "READONLY"
    assert "failover" in told(still.value)
    await client.aclose()


async def test_a_read_that_waits_is_no_defect_when_its_server_is_demoted(
    primary: RedisServer, replica: RedisServer, address: Address
) -> None:
    client: Redis = connect(Settings(redis_url=address.url))
    await client.xadd("stream", {"a": "1"})
    waiting = asyncio.create_task(client.xread({"stream": "$"}, block=3_000))
    await asyncio.sleep(0.2)
    swap(primary, replica)
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)  # Redis 6.2 lets it wait on, and finds nothing
    assert outcome == [] or (isinstance(outcome, RedisError) and trouble(outcome) is not Trouble.DEFECT)
    address.target = replica.port
    await until_done(lambda: client.xadd("stream", {"b": "1"}))
    assert len(await client.xrange("stream")) == 2
    await client.aclose()


async def test_a_sentinel_leads_to_the_new_primary_before_the_old_one_is_demoted(
    primary: RedisServer, replica: RedisServer
) -> None:
    sentinel = SentinelServer(primary)
    sentinel.start()
    try:
        client: Redis = connect(Settings(redis_url=sentinel.url))
        await client.set("before", "1")
        async with asyncio.timeout(WAIT_S):  # until the Sentinel has found the replica
            while not sentinel.ask("SENTINEL", "FAILOVER", SentinelServer.SERVICE).startswith("+OK"):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(WAIT_S):
            while replica.ask("GET", "after") == "$-1\r\n":
                await until_done(lambda: client.set("after", "1"))
                await asyncio.sleep(0.02)
        assert primary.ask("ROLE").startswith("*3\r\n$6\r\nmaster"), "it takes writes yet: nobody has told our connection"
        assert await client.get("before") == b"1"
        await client.aclose()
    finally:
        sentinel.kill()


async def test_a_primary_that_dies_is_replaced_by_the_sentinel(primary: RedisServer, replica: RedisServer) -> None:
    sentinel = SentinelServer(primary)
    sentinel.start()
    try:
        client: Redis = connect(Settings(redis_url=sentinel.url))
        await client.set("a", "1")
        async with asyncio.timeout(WAIT_S):
            while str(replica.port) not in sentinel.ask("SENTINEL", "REPLICAS", SentinelServer.SERVICE):
                await asyncio.sleep(0.1)
        primary.kill()
        await until_done(lambda: client.set("b", "1"))
        assert replica.ask("EXISTS", "a", "b") == ":2\r\n"
        await client.aclose()
    finally:
        sentinel.kill()


@pytest.mark.parametrize("tail", [0, 60], ids=["nothing is lost", "the replica misses the last commits"])
@pytest.mark.parametrize("primary", ["valkey"], indirect=True)
async def test_a_worker_goes_through_a_failover_without_a_loss_or_a_second_notification(
    primary: RedisServer,
    replica: RedisServer,
    address: Address,
    mock_kafka: MockKafka,
    monkeypatch: pytest.MonkeyPatch,
    tail: int,
) -> None:
    """Each id follows from the event's place among all that were applied: a gap or a repetition would show in every later one."""
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", TallyAggregate)
    customer_id = customer_in(0)
    names = [f"t-{number}" for number in range(180)]
    async with Harness(mock_kafka.bootstrap_servers, address.url, batch_records_max=20) as harness:
        await harness.create(customer_id)
        await harness.worker()
        await harness.produce_many(0, [event(name, customer_id) for name in names[:60]])
        await harness.settled()
        assert replica.ask("REPLICAOF", "NO", "ONE").startswith("+OK")
        await harness.produce_many(0, [event(name, customer_id) for name in names[60 : 60 + tail]])
        await harness.settled()  # on a primary that nobody follows any more
        assert primary.ask("REPLICAOF", "127.0.0.1", str(replica.port)).startswith("+OK")
        address.target = replica.port
        for start in range(60 + tail, 180, 20):
            await harness.produce_many(0, [event(name, customer_id) for name in names[start : start + 20]])

        async def all_applied() -> bool:
            try:
                return await harness.applied(customer_id) == names
            except RedisError as error:
                return trouble(error) is Trouble.DEFECT  # then what follows says so

        await harness.until(all_applied, "every event to be applied")
        notified = (await harness.outbox())[customer_id]
        expected = [str(uuid5(NAMESPACE_URL, f"{customer_id}/{place}/{name}")) for place, name in enumerate(names, 1)]
        assert notified == expected
