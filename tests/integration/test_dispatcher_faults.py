"""Dispatchers that die, share the work, or lose their Redis: the same ids again, and none missing."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from connectors.redis.client import connect
from connectors.settings import Settings
from connectors.webhooks.dispatcher import run_dispatcher
from tests.support.dispatching import SECRET, Box, dispatching, notification, settings_for, until
from tests.support.receiver import Answer, Receiver
from tests.support.redis_server import KINDS, Kind, RedisServer
from tests.support.system import Role

COUNT = 300
EVERY_ID = {f"n-{number}" for number in range(COUNT)}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    kind: Kind = request.param
    running = RedisServer(kind=kind, dir=tmp_path / "redis", appendonly=True)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def box(server: RedisServer) -> AsyncIterator[Box]:
    redis = connect(settings_for(server.url))
    box = Box(redis)
    await box.empty()
    yield box
    await redis.aclose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        running.secret = SECRET
        running.default["/hook"] = Answer(204, delay_s=0.01)
        yield running


def environment_of(settings: Settings) -> Mapping[str, str]:
    changed = settings.model_dump(include=settings.model_fields_set - {"redis_url"})
    names = {f"TIDEMARK_{name.upper()}": str(value) for name, value in changed.items()}
    return {**os.environ, **names, "TIDEMARK_REDIS_URL": settings.redis_url.get_secret_value(), "PYTHONUNBUFFERED": "1"}


async def test_killed_in_the_middle_loses_nothing(server: RedisServer, box: Box, receiver: Receiver, tmp_path: Path) -> None:
    """Some requests are under way, some results are not recorded, some notifications wait for a retry: then kill -9, twice."""
    receiver.script("/hook", *[Answer(500 if number % 5 == 0 else 204, delay_s=0.01) for number in range(150)])
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(COUNT)])
    settings = settings_for(server.url, webhook_timeout_s=1.0, webhook_claim_idle_s=1.5)
    dispatcher = Role("dispatcher", environment_of(settings), tmp_path / "dispatcher.log")
    try:
        for received in (60, 160):
            dispatcher.start()
            await until(lambda enough=received: len(receiver.received) >= enough)  # type: ignore[misc]
            dispatcher.kill()
            depth = await box.depth()
            assert depth.entries + depth.retries > 0
        dispatcher.start()
        await box.until_empty()
        assert dispatcher.stop() == 0
    finally:
        dispatcher.kill()
    assert {request.id for request in receiver.received} == EVERY_ID, dispatcher.log_tail()
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.received:
        bodies.setdefault(request.id, set()).add(request.body)
    assert all(len(same) == 1 for same in bodies.values())
    assert receiver.invalid == []


async def test_two_dispatchers_share_the_work_and_repeat_nothing(server: RedisServer, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(server.url)), dispatching(settings_for(server.url)):
        await box.write([notification(number) for number in range(COUNT)])
        await box.until_empty()
    assert Counter(request.id for request in receiver.received) == Counter(EVERY_ID)


async def test_retries_are_shared_without_repetition(server: RedisServer, box: Box, receiver: Receiver) -> None:
    receiver.script("/hook", *[Answer(500)] * 15)
    await box.add_endpoint("a", receiver.url)
    async with dispatching(settings_for(server.url)), dispatching(settings_for(server.url)):
        await box.write([notification(number) for number in range(100)])
        await box.until_empty()
    assert len(receiver.received) == 115
    assert {request.id for request in receiver.received} == {f"n-{number}" for number in range(100)}


async def test_redis_restarted_in_the_middle(server: RedisServer, box: Box, receiver: Receiver) -> None:
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(COUNT)])
    async with dispatching(settings_for(server.url, webhook_timeout_s=1.0, webhook_claim_idle_s=1.5)):
        await until(lambda: len(receiver.received) >= 50)
        server.kill()
        await asyncio.sleep(0.3)
        server.start()
        await box.until_empty()
    assert {request.id for request in receiver.received} == EVERY_ID


async def test_emptied_redis_gets_its_groups_back(server: RedisServer, box: Box, receiver: Receiver) -> None:
    async with dispatching(settings_for(server.url)):
        await box.empty()
        await box.add_endpoint("a", receiver.url)
        await box.write([notification(1)])
        await until(lambda: len(receiver.received) == 1)
        await box.until_empty()


async def test_waits_for_redis_and_for_the_first_start_of_the_system(server: RedisServer, box: Box, receiver: Receiver) -> None:
    await box.redis.flushall()
    server.stop()

    async def start_later() -> None:
        await asyncio.sleep(0.3)
        server.start()
        await asyncio.sleep(0.3)
        await box.empty()
        await box.add_endpoint("a", receiver.url)
        await box.write([notification(1)])

    starting = asyncio.create_task(start_later())
    async with dispatching(settings_for(server.url)):
        await starting
        await until(lambda: len(receiver.received) == 1)


async def test_stop_while_redis_is_down(server: RedisServer, box: Box, receiver: Receiver) -> None:
    """What was delivered cannot be recorded: it is sent again later, and the stop does not wait for ever."""
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(number) for number in range(COUNT)])
    async with dispatching(settings_for(server.url, drain_timeout_s=1.0, webhook_timeout_s=1.0, webhook_claim_idle_s=1.5)):
        await until(lambda: len(receiver.received) >= 50)
        server.kill()
    server.start()
    async with dispatching(settings_for(server.url, webhook_timeout_s=1.0, webhook_claim_idle_s=1.5)):
        await box.until_empty()
    assert {request.id for request in receiver.received} == EVERY_ID


async def test_stop_while_waiting_for_redis(server: RedisServer) -> None:
    server.stop()
    stop = asyncio.Event()
    running = asyncio.create_task(run_dispatcher(settings_for(server.url), stop, lambda: None))
    await asyncio.sleep(0.2)
    stop.set()
    async with asyncio.timeout(10):
        await running
