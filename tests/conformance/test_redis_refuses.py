"""A Redis that is there and refuses: 503 with Retry-After and one line in the log, never 500; and it mends by itself."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import structlog
from pydantic import SecretStr

from connectors.http.server import run_api
from connectors.settings import Settings
from tests.conformance.conftest import START_TIMEOUT_S, TOKEN
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import KINDS, Kind, RedisServer

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Refusing:
    server: RedisServer
    admin: Any
    http: httpx.AsyncClient


@pytest.fixture
def server(kind: Kind, tmp_path: Path) -> Iterator[RedisServer]:
    slow_to_load = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]  # microseconds
    server = RedisServer(kind=kind, dir=tmp_path, options=["--dbfilename", "dump", *(slow_to_load if kind == "valkey" else [])])
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def refusing(mock_kafka: MockKafka, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Refusing]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    settings = Settings(
        kafka_bootstrap_servers=mock_kafka.bootstrap_servers,
        redis_url=SecretStr(server.url),
        api_port=0,
        api_tokens=SecretStr(TOKEN),
    )
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_api(settings, stop, url.set_result))
    await asyncio.wait({task, url}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    async with httpx.AsyncClient(base_url=url.result(), headers=HEADERS, timeout=30) as http:
        admin = redis.Redis(port=server.port)
        yield Refusing(server, admin, http)
        admin.close()
    stop.set()
    await task


@contextmanager
def out_of_memory(_: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("maxmemory", 1)
    yield
    admin.config_set("maxmemory", 0)


@contextmanager
def unable_to_save(server: RedisServer, admin: Any) -> Iterator[None]:
    blocked = server.dir / "dump"
    blocked.mkdir()  # the file that a save would be renamed to
    (blocked / "full").touch()
    admin.config_set("save", "3600 1000000")
    admin.bgsave()
    while admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        pass
    yield
    admin.config_set("stop-writes-on-bgsave-error", "no")


@contextmanager
def busy(server: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("lua-time-limit", 20)

    def run() -> None:
        with suppress(redis.RedisError):
            redis.Redis(port=server.port, socket_timeout=60).eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    while not server.ask("PING").startswith("-BUSY"):
        pass
    yield
    admin.script_kill()
    thread.join()


@contextmanager
def a_replica_now(_: RedisServer, admin: Any) -> Iterator[None]:
    admin.slaveof("127.0.0.1", 1)
    yield
    admin.slaveof()


@contextmanager
def without_its_primary(_: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("replica-serve-stale-data", "no")
    admin.slaveof("127.0.0.1", 1)
    yield
    admin.slaveof()


@contextmanager
def without_replicas(_: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("min-replicas-to-write", 1)
    yield
    admin.config_set("min-replicas-to-write", 0)


@contextmanager
def full_of_clients(server: RedisServer, admin: Any) -> Iterator[None]:
    admin.config_set("maxclients", 2)
    with socket.create_connection(("127.0.0.1", server.port)):
        admin.client_kill_filter(_type="normal", skipme=True)
        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(b"PING\r\n")
            assert other.recv(100)
            yield
    admin.config_set("maxclients", 1000)


@contextmanager
def loading(server: RedisServer, admin: Any) -> Iterator[None]:
    admin.mset({f"key-{number}": "x" * 100 for number in range(1_000)})  # 2 s
    admin.save()
    server.kill()
    server.start(loaded=False)
    assert server.ask("PING").startswith("-LOADING")
    yield
    while not server.ask("PING").startswith("+PONG"):
        pass


CONDITIONS = {
    each.__name__: each
    for each in (
        *(out_of_memory, unable_to_save, busy, a_replica_now, without_its_primary, without_replicas, full_of_clients),
        loading,
    )
}


@pytest.mark.parametrize(
    ("kind", "name"),
    # Redis 6.2 looks at its clients only after each 2 MB that it loads, so nothing can be asked of it in time
    [(kind, name) for kind in KINDS for name in CONDITIONS if (kind, name) != ("redis", "loading")],
)
async def test_it_is_503_with_retry_after_and_mends(refusing: Refusing, name: str) -> None:
    http = refusing.http
    assert (await http.get("/v1/customers")).status_code == 200
    with structlog.testing.capture_logs() as logs, CONDITIONS[name](refusing.server, refusing.admin):
        refused = [
            await http.post("/v1/customers", json={"name": "a"}),
            await http.post("/v1/customers", json={"name": "a"}, headers={"Idempotency-Key": "once"}),
            await http.post("/v1/billable-metrics/create", json={"name": "m", "aggregation_type": "COUNT"}),
        ]
        reads = await http.get("/v1/customers")
        ready = await http.get("/readyz")
    for answer in refused:
        assert (answer.status_code, answer.headers["Retry-After"], answer.headers["x-should-retry"]) == (503, "1", "true"), (
            answer.text
        )
        assert answer.json()["message"].startswith("Redis "), answer.text
    assert reads.status_code in (200, 503)
    assert ready.status_code in (200, 503)
    assert not [line for line in logs if line.get("exc_info") or line["log_level"] == "error"]
    assert len([line for line in logs if line["event"] == "service unavailable"]) >= len(refused)

    async with asyncio.timeout(20):
        while (
            made := await http.post("/v1/customers", json={"name": "a"}, headers={"Idempotency-Key": "once"})
        ).status_code == 503:
            await asyncio.sleep(0.1)
    assert made.status_code == 200, made.text
    names = [each["name"] for each in (await http.get("/v1/customers")).json()["data"]]
    assert names == ["a"], "what was refused was not done"
