"""Fixtures of the worker's tests (test_worker_*.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

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
