"""A webhook receiver on loopback that behaves as it is told, records every request and verifies every signature.

    with Receiver() as receiver:
        receiver.secret = endpoint["secret"]
        receiver.script("/hook", Answer(500), Reset(), Hang())      # the first three requests; then 204 for ever
        ...
        receiver.wait(lambda: len(receiver.received) == 4)

It runs in a thread of its own, so that tests with and without an event loop can use it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any

from aiohttp import web

from connectors.webhooks.verify import VerificationError, verify

_HANG_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """``close``: answer, and close the connection without having said so beforehand, as a restarted server does."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    body_bytes: int = 0
    close: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the request and never answer. ``after_headers``: send 200 and headers, but never the promised body."""

    after_headers: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Read the request and reset the connection."""


Behaviour = Answer | Hang | Reset


@dataclass(frozen=True, slots=True)
class Received:
    """One request. ``invalid``: why its signatures must not be trusted; None if they hold, or no secret is known."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float
    invalid: str | None

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """``secret`` is for all paths; ``secrets`` overrides it by path."""

    def __init__(self) -> None:
        self.secret: str | None = None
        self.secrets: dict[str, str] = {}
        self.received: list[Received] = []
        self.default: dict[str, Behaviour] = defaultdict(Answer)
        self.connections = 0
        self._scripts: dict[str, deque[Behaviour]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._port = 0

    # --- for tests --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return self.url_of("/hook")

    def url_of(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """What the next requests to ``path`` meet, one each; after them ``default[path]`` (204)."""
        self._scripts[path].extend(behaviours)

    def at(self, path: str) -> list[Received]:
        return [request for request in list(self.received) if request.path == path]

    def bodies(self) -> list[dict[str, Any]]:
        """All bodies, repetitions included, with exact numbers."""
        return [json.loads(request.body, parse_float=Decimal) for request in list(self.received)]

    @property
    def invalid(self) -> list[Received]:
        return [request for request in list(self.received) if request.invalid is not None]

    def wait(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"the receiver waited for {timeout_s} s; it has {len(self.received)} requests"
            time.sleep(0.01)

    # --- the server -------------------------------------------------------------------------------------------------

    def __enter__(self) -> Receiver:
        self._thread.start()
        assert self._started.wait(10), "the receiver did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        runner = web.ServerRunner(_CountingServer(self._handle, self), shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body, time.time(), self._verdict(request.path, headers, body)))
        script = self._scripts[request.path]
        match script.popleft() if script else self.default[request.path]:
            case Answer() as answer:
                return await self._answer(request, answer)
            case Hang(after_headers=after_headers):
                return await self._hang(request, after_headers)
            case Reset():
                return self._reset(request)

    def _verdict(self, path: str, headers: Mapping[str, str], body: bytes) -> str | None:
        secret = self.secrets.get(path, self.secret)
        if secret is None:
            return None
        try:
            verify(secret, headers, body)
        except VerificationError as error:
            return str(error)
        return None

    async def _answer(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        await asyncio.sleep(answer.delay_s)
        response = web.Response(status=answer.status, headers=answer.headers, body=b"x" * answer.body_bytes)
        if answer.close and request.transport is not None:
            self._loop.call_later(0.02, request.transport.close)
        return response

    async def _hang(self, request: web.BaseRequest, after_headers: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if after_headers:
            await response.prepare(request)
        await asyncio.sleep(_HANG_S)
        return response

    def _reset(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return web.Response()


class _CountingServer(web.Server):
    """Counts connections, to see that they are kept alive."""

    def __init__(self, handler: Callable[..., Any], receiver: Receiver) -> None:
        super().__init__(handler, access_log=None)
        self._receiver = receiver

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._receiver.connections += 1
        super().connection_made(handler, transport)
