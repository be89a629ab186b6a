"""`tidemark listen`, end to end: it registers itself, shows and verifies what the dispatcher sends, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from connectors import clock
from connectors.http.server import run_api
from connectors.redis.batches import outbox_fields
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.webhooks.signatures import signed_headers
from tests.conformance.conftest import PARTITIONS, TOKEN, Api
from tests.support.dispatching import SECRET, dispatching, notification, settings_for

ENDPOINTS = "/v1/webhook-endpoints"
BODY = b'{"id": "n-1", "type": "alerts.x", "properties": {"alert_name": "\\u001b[2J", "value": 1.10, "threshold": 1}}'


@asynccontextmanager
async def listening(*options: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connectors.cli.main", "listen", *options, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_of(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await stream.readline()).decode().strip()


@pytest.fixture
async def open_api(api: Api) -> AsyncIterator[str]:
    """A second API on the same stores, which takes addresses on loopback."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = api.settings.model_copy(update={"webhook_allow_private": True})
    running = asyncio.create_task(run_api(settings, stop, url.set_result))
    yield await asyncio.wait_for(url, 30)
    stop.set()
    await running


async def endpoints(url: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        found: list[dict[str, Any]] = (await http.get(ENDPOINTS)).json()["data"]
        return found


async def test_it_registers_itself_shows_what_comes_and_leaves_nothing_behind(api: Api, open_api: str) -> None:
    redis_url = api.settings.redis_url.get_secret_value()
    async with listening("--api", open_api, "--token", TOKEN, "--json", "--event-type", "alerts.*") as process:
        assert (await line_of(process.stderr)).startswith("listening at http://127.0.0.1:")
        registered = await line_of(process.stderr)
        (endpoint,) = await endpoints(open_api)
        assert endpoint["id"] in registered
        entry = notification(1, value=0, customer_name="Acme")
        fields = outbox_fields(entry)
        redis = Redis.from_url(redis_url)
        key = PartitionKeys(partition_of(entry.customer_id, PARTITIONS)).outbox
        await redis.xadd(key, dict(zip(fields[::2], fields[1::2], strict=True)))
        await redis.aclose()
        async with dispatching(settings_for(redis_url)):
            told = json.loads(await line_of(process.stdout))
        assert (told["valid"], told["again"], told["notification"]) == (True, False, json.loads(entry.body))
        process.send_signal(signal.SIGINT)
        assert await line_of(process.stderr) == f"endpoint {endpoint['id']} is removed"
        assert await process.wait() == 0
    assert await endpoints(open_api) == []


async def test_with_a_secret_it_tells_what_is_not_to_be_trusted_and_ends_with_that() -> None:
    headers = signed_headers(SECRET, "n-1", BODY, clock.now_s())
    async with listening("--secret", SECRET, "--path", "/hook", "--count", "3") as process:
        url = (await line_of(process.stderr)).removeprefix("listening at ")
        async with httpx.AsyncClient() as http:
            statuses = [(await http.post(url, content=content, headers=headers)).status_code for content in (BODY, BODY, b"{}")]
        assert statuses == [204, 204, 401]
        first, second, third = [await line_of(process.stdout) for _ in range(3)]
        assert first.split("  ")[1:] == ["signed", "alerts.x", "\N{REPLACEMENT CHARACTER}[2J", "1.10 of 1", "n-1"]
        assert second.split("  ")[1:3] == ["signed", "again"]
        assert "NOT TO BE TRUSTED: Metronome-Webhook-Signature does not match" in third
        assert await process.wait() == 1


@pytest.mark.parametrize(("token", "message"), [("wrong", "401"), (TOKEN, "is not a public address")])
async def test_what_the_api_refuses_is_one_line(api: Api, token: str, message: str) -> None:
    async with listening("--api", api.url, "--token", token) as process:
        _, errors = await process.communicate()
        assert (process.returncode, message in errors.decode(), "Traceback" in errors.decode()) == (1, True, False)


async def test_an_api_that_is_not_there_is_one_line() -> None:
    async with listening("--api", "http://127.0.0.1:1") as process:
        _, errors = await process.communicate()
        assert (process.returncode, "does not answer" in errors.decode(), "Traceback" in errors.decode()) == (1, True, False)
