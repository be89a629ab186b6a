"""Names that resolve to one address and then to another, with a resolver of the test's own; and an operator's proxy.

127.0.0.2 stands for a public address (the allow list opens it), 127.0.0.1 for a private one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.client import EndpointClient
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.proxy import Proxy
from connectors.webhooks.signatures import Signing
from connectors.webhooks.timing import client_tls
from connectors.webhooks.webhook import SignedForm
from tests.support.dispatching import SECRET

PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"
ENTRY = OutboxEntry("n-1", "alerts.x", "c", "a", b"{}", None, 0)
POLICY = TargetPolicy.parse(False, f"{PUBLIC}/32")


class Resolver:
    """Answers each look-up with the next of its lists; the last one is repeated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", self.resolve)

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        shared = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**shared, "host": address} for address in found]


class Servers:
    """At one port of both addresses. ``reached``: which, for each connection."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.heads: list[bytes] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(writer.get_extra_info("sockname")[0])
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    both = Servers()
    first = await asyncio.start_server(both.handle, PUBLIC, 0)
    both.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(both.handle, PRIVATE, both.port)
    try:
        yield both
    finally:
        first.close()
        second.close()


async def outcome(url: str, proxy: Proxy | None = None, client: EndpointClient | None = None) -> str:
    made = client or client_to(url, proxy)
    try:
        return (await made.attempt(ENTRY, None)).outcome
    finally:
        await made.close()


def client_to(url: str, proxy: Proxy | None = None, policy: TargetPolicy = POLICY) -> EndpointClient:
    endpoint = Endpoint("e", url, Signing(((SECRET, None),)))
    return EndpointClient(endpoint, SignedForm(endpoint.signing), policy, client_tls(), timeout_s=5.0, connections=1, proxy=proxy)


async def test_a_name_that_turns_to_a_private_address_is_refused_when_it_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    async with servers() as both:
        resolver.answers = [[PUBLIC], [PRIVATE], [PUBLIC]]
        client = client_to(f"http://rebinding.example:{both.port}/")
        found = [await outcome("", client=client) for _ in range(3)]
        assert found == ["success", "blocked", "success"]
        assert both.reached == [PUBLIC, PUBLIC]


@pytest.mark.parametrize("records", [[PRIVATE, PUBLIC], [PUBLIC, PRIVATE], [PRIVATE, PRIVATE, PUBLIC]])
async def test_of_several_records_only_the_public_one_is_dialled(monkeypatch: pytest.MonkeyPatch, records: list[str]) -> None:
    resolver = Resolver(monkeypatch)
    async with servers() as both:
        resolver.answers = [records]
        assert await outcome(f"http://mixed.example:{both.port}/") == "success"
        assert both.reached == [PUBLIC]


async def test_of_several_private_records_none_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    async with servers() as both:
        resolver.answers = [[PRIVATE, "169.254.169.254", "10.0.0.1"]]
        assert await outcome(f"http://private.example:{both.port}/") == "blocked"
        assert both.reached == []


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[::ffff:169.254.169.254]",
        "[2002:a9fe:a9fe::]",
    ],
)
async def test_a_proxy_is_not_asked_for_a_metadata_service(host: str, allow_private: bool) -> None:
    async with servers() as both:
        for scheme in ("http", "https"):
            client = client_to(f"{scheme}://{host}/latest", Proxy(PRIVATE, both.port), TargetPolicy.parse(allow_private, ""))
            assert await outcome("", client=client) == "blocked"
        assert both.reached == []


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa9.254.0251.254"])
async def test_nor_under_another_spelling(host: str) -> None:
    async with servers() as both:
        assert await outcome(f"http://{host}/latest", Proxy(PRIVATE, both.port)) == "url"
        assert await outcome(f"http://{host}:{both.port}/latest") == "url"
        assert both.reached == []


async def test_a_proxy_is_asked_for_exactly_what_was_given() -> None:
    async with servers() as both:
        assert await outcome("http://name.example/a%2Fb/../c?", Proxy(PRIVATE, both.port, "us@er", "p/w")) == "success"
        lines = both.heads[0].decode().split("\r\n")
        assert lines[0] == "POST http://name.example/a%2Fb/../c? HTTP/1.1"
        assert any(line.startswith("Proxy-Authorization: Basic ") for line in lines)
