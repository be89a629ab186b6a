"""Fixtures that several kinds of test share. A service that a test needs is started here; where it cannot be, the test is
skipped with the reason, or fails if ``TIDEMARK_TEST_REQUIRE_ALL=1`` (continuous integration)."""

from __future__ import annotations

import decimal
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from connectors import clock
from connectors.redis.client import connect
from connectors.settings import Settings
from tests.support.instants import live_at
from tests.support.kafka_server import KafkaServer, KafkaUnavailable
from tests.support.redis_server import KINDS, RedisServer
from tests.support.trace import TRACE_FILE, Row, read_trace

# No test may depend on the machine's speed: neither on that of an example nor on that of drawing one.
# The examples are the same in each run, so that a change alone can break one; `make search` looks at others.
settings.register_profile(
    "tidemark",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("TIDEMARK_TEST_SEARCH") != "1",
)
settings.load_profile("tidemark")

NOW_VARIABLE = "TIDEMARK_TEST_NOW"
NOW_DEFAULT = "2026-11-11T10:17:00Z"


def pytest_configure() -> None:
    """Every test runs at an instant that is given, never at today's: ``TIDEMARK_TEST_NOW``, from which time runs on. Processes
    that tests start follow it."""
    live_at(os.environ.get(NOW_VARIABLE) or NOW_DEFAULT)


def missing(reason: str) -> None:
    """Skips the test visibly, or fails it where nothing may be missing."""
    if os.environ.get("TIDEMARK_TEST_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def unshifted() -> Iterator[None]:
    """This process' clock as it is: where others read theirs, or instants are given as they are."""
    before_s = clock.shift_s()
    clock.set_shift_s(0)
    yield
    clock.set_shift_s(before_s)


@pytest.fixture(autouse=True)
def _decimal_context() -> Iterator[None]:
    """A test may make exact arithmetic current (engine.numbers.activate); it ends with the test."""
    before = decimal.getcontext().copy()
    yield
    decimal.setcontext(before)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """``host:port`` of a real Apache Kafka: the one that TIDEMARK_TEST_KAFKA names, or one that this fixture starts."""
    if existing := os.environ.get("TIDEMARK_TEST_KAFKA"):
        yield existing
        return
    server = KafkaServer()
    try:
        server.start()
    except KafkaUnavailable as problem:
        server.stop()
        missing(str(problem))
    yield server.bootstrap
    server.stop()


@pytest.fixture(scope="session")
def trace_rows() -> list[Row]:
    if not TRACE_FILE.exists():
        missing(f"the real trace is not there: {TRACE_FILE.name} in {TRACE_FILE.parent}")
    return read_trace()


@pytest.fixture(scope="session", params=KINDS)
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey and a Redis server: each test that uses it runs on both."""
    server = RedisServer(kind=request.param, dir=tmp_path_factory.mktemp(request.param))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """Our client on an empty server."""
    client = connect(Settings(redis_url=redis_server.url))
    await client.flushall()
    await client.script_flush()
    yield client
    await client.aclose()
