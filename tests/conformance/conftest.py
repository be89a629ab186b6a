"""A real API server in this process, on a real Valkey and librdkafka's mock broker, and clients for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from metronome import AsyncMetronome
from pydantic import SecretStr
from redis.asyncio import Redis

from connectors.http.server import run_api
from connectors.settings import Settings
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer

TOKEN = "conformance-token"
PARTITIONS = 4
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Api:
    """``stop``: what a signal sets."""

    url: str
    settings: Settings
    stop: asyncio.Event


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[MockKafka]:
    with MockKafka({"usage-events": PARTITIONS, "usage-events.dead-letters": 1}) as mock:
        yield mock


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(dir=Path(tmp_path_factory.mktemp("valkey")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def api(mock_kafka: MockKafka, valkey: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The stores start empty for each test."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    settings = Settings(
        kafka_bootstrap_servers=mock_kafka.bootstrap_servers,
        redis_url=SecretStr(valkey.url),
        api_port=0,
        api_tokens=SecretStr(f"another, {TOKEN}"),
        webhook_allow_private=False,
        alerts_for_all_max=5,
        alerts_per_customer_max=6,
        keyed_alert_values_max=4,
    )
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_api(settings, stop, url.set_result))
    done, _ = await asyncio.wait({task, url}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    assert url in done, "the API did not start"
    yield Api(url.result(), settings, stop)
    stop.set()
    await task
    redis = Redis.from_url(valkey.url)
    await redis.flushall()
    await redis.aclose()


@pytest.fixture
async def sdk(api: Api) -> AsyncIterator[AsyncMetronome]:
    """The official client, which refuses answers that break its models, and does not retry."""
    async with AsyncMetronome(base_url=api.url, bearer_token=TOKEN, max_retries=0, _strict_response_validation=True) as client:
        yield client


@pytest.fixture
async def http(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client
