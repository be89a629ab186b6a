"""Fixtures of the worker's tests (test_worker_*.py) and of the dispatcher's (test_dispatcher*.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from connectors.redis.client import connect
from connectors.testing.receiver import Receiver
from tests.support.dispatching import SECRET, Box, settings_for
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer
from tests.support.tally import TallyAggregate
from tests.support.worker_harness import TOPICS, Harness


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    with MockKafka(TOPICS) as mock:
        yield mock


@pytest.fixture
def worker_valkey(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(dir=tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def harness(mock_kafka: MockKafka, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    """Without a worker yet."""
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", TallyAggregate)
    async with Harness(mock_kafka.bootstrap_servers, worker_valkey.url) as running:
        yield running


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(dir=tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
async def box(redis_url: str) -> AsyncIterator[Box]:
    redis = connect(settings_for(redis_url))
    box = Box(redis)
    await box.empty()
    yield box
    await redis.aclose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        running.secret = SECRET
        yield running
