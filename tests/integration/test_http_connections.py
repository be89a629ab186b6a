"""Connections of clients without a token: half sent, idle, not read, or too many, they end, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors import logs
from connectors.http.connections import Limits, Listener, client_of, connections_possible
from connectors.http.observe import observe
from connectors.settings import Settings

GENEROUS = Limits(total=100, per_address=100, header_s=60, idle_s=60, write_s=60)
REQUEST = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
TIMEOUT_S = 20.0


@asynccontextmanager
async def serving(limits: Limits) -> AsyncIterator[int]:
    """The port of a server with a few paths."""

    async def quick(_: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.Response(text="slow")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 50_000_000)

    app = web.Application(middlewares=[observe])
    app.router.add_get("/quick", quick)
    app.router.add_get("/slow", slow)
    app.router.add_get("/large", large)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None, "set up"
    listener, stop = Listener(limits), asyncio.Event()
    sweeping = asyncio.create_task(listener.keep_sweeping(stop))
    server = await listener.listen(runner.server, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    stop.set()
    server.close()
    await sweeping
    await runner.cleanup()


async def opened(port: int, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    writer.write(text)
    await writer.drain()
    return reader, writer


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(TIMEOUT_S):
        try:
            return await reader.read(-1)
        except ConnectionResetError:
            return b""


async def answered(port: int, path: str = "/quick") -> bytes:
    reader, writer = await opened(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    found = await until_closed(reader)
    writer.close()
    return found


async def test_half_sent_requests_end_and_a_slow_answer_does_not() -> None:
    limits = Limits(100, 100, header_s=0.3, idle_s=60, write_s=60)
    async with serving(limits) as port:
        slow = asyncio.create_task(answered(port, "/slow"))
        halves = [b"", b"GET /qu", REQUEST[:-2], b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-"]
        for reader, _ in [await opened(port, half) for half in halves]:
            assert await until_closed(reader) == b""
        assert (await slow).endswith(b"slow")


async def test_the_second_request_of_a_connection_may_be_half_sent_no_longer_than_the_first() -> None:
    async with serving(Limits(100, 100, header_s=0.3, idle_s=60, write_s=60)) as port:
        reader, writer = await opened(port, REQUEST)
        assert (await reader.readuntil(b"quick")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(1.0)  # idle for longer than headers may take
        writer.write(REQUEST)
        assert (await reader.readuntil(b"quick")).startswith(b"HTTP/1.1 200")
        writer.write(REQUEST[:10])
        assert await until_closed(reader) == b""


async def test_an_idle_connection_ends() -> None:
    async with serving(Limits(100, 100, header_s=60, idle_s=0.3, write_s=60)) as port:
        reader, _ = await opened(port, REQUEST)
        assert (await until_closed(reader)).endswith(b"quick")


async def test_a_client_that_does_not_read_on_is_dropped() -> None:
    async with serving(Limits(100, 100, header_s=60, idle_s=60, write_s=0.3)) as port:
        reader, _ = await opened(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(2.0)
        assert len(await until_closed(reader)) < 50_000_000


@pytest.mark.parametrize("limits", [Limits(3, 100, 60, 60, 60), Limits(100, 3, 60, 60, 60)])
async def test_connections_are_bounded_and_places_become_free(limits: Limits) -> None:
    async with serving(limits) as port:
        held = [await opened(port, b"GET") for _ in range(3)]
        refused = await answered(port)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refused
        held[0][1].close()
        async with asyncio.timeout(TIMEOUT_S):
            while not (await answered(port)).endswith(b"quick"):
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "headers",
    [
        b"Authorization: Bearer a-secret-token\0\r\n",
        b"Authorization: Bearer a-secret-token\rX\r\n",
        b"Authorization : Bearer a-secret-token\r\n",
        b"Authorization Bearer a-secret-token\r\n",
        b"Authorization: Bearer a-secret-token" + b"a" * 9_000 + b"\r\n",
        b"Authorization: Bearer a-secret-token\r\n" * 200,
        b"Authorization: Bearer x\r\n a-secret-token\r\n",
        b"Authorization: Bearer a-secret-token\r\nContent-Length: -1\r\n",
        b"Authorization: Bearer a-secret-token\r\nTransfer-Encoding: a\r\n",
    ],
)
async def test_what_the_parser_refuses_is_told_to_nobody(
    headers: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    handlers = root.handlers[:]
    logs.configure(Settings(log_level="DEBUG"), "api")  # which does not know the token
    try:
        async with serving(GENEROUS) as port:
            reader, _ = await opened(port, b"GET /quick HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
            answer = await until_closed(reader)
            assert answer.startswith(b"HTTP/1.0 400 ")
            assert b'{"message":"the request could not be read' in answer
            assert (await answered(port)).endswith(b"quick")
    finally:
        root.handlers[:] = handlers
    output = capsys.readouterr()
    assert "could not be read" in output.err
    assert "a-secret-token" not in output.err + output.out + caplog.text + answer.decode("latin-1")


def test_whom_an_address_stands_for() -> None:
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert client_of("2001:db8:1:2::1") == client_of("2001:db8:1:2:ffff::9%eth0") != client_of("2001:db8:1:3::1")
    assert client_of(None) == ""


def test_there_are_never_more_connections_than_files() -> None:
    assert connections_possible(10) == 10
    assert 1 <= connections_possible(10**9) < 10**9
