"""A webhook receiver on loopback that behaves as it is told, records every request and verifies every signature.

    from connectors.testing.behaviours import Answer, Hang, Reset
    from connectors.testing.receiver import Receiver

    with Receiver() as receiver:
        receiver.secret = endpoint["secret"]
        receiver.script("/hook", Answer(500), Reset(), Hang())      # the first three requests; then 204 for ever
        ...
        receiver.wait(lambda: len(receiver.received) == 4)
        assert receiver.invalid == []

It runs in a thread of its own, so that tests with and without an event loop can use it. A dispatcher reaches loopback only with
``TIDEMARK_WEBHOOK_ALLOW_PRIVATE=true``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any

from aiohttp import web

from connectors import clock
from connectors.testing.behaviours import Answer, Behaviour, Drip, Endless, Hang, Raw, Reset
from connectors.webhooks.verify import Secrets, VerificationError, verify

_HANG_S = 3_600.0
_CHUNK = b"x" * 65_536


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
    """``secret`` (one or several, as ``verify`` takes them) is for all paths; ``secrets`` overrides it by path. ``tls``: with it
    the receiver speaks https (see ``certificates``). ``connections``: how many were opened."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.secret: Secrets | None = None
        self.secrets: dict[str, Secrets] = {}
        self._tls = tls
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
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}{path}"

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
            if time.monotonic() > deadline:
                raise TimeoutError(f"the receiver waited for {timeout_s} s; it has {len(self.received)} requests")
            time.sleep(0.01)

    # --- the server -------------------------------------------------------------------------------------------------

    def __enter__(self) -> Receiver:
        self._thread.start()
        if not self._started.wait(10):
            raise TimeoutError("the receiver did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        runner = web.ServerRunner(_CountingServer(self._handle, self), shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, body, clock.now_s(), self._verdict(request.path, headers, body)))
        script = self._scripts[request.path]
        match script.popleft() if script else self.default[request.path]:
            case Answer() as answer:
                return await self._answer(request, answer)
            case Hang(after_headers=after_headers):
                return await self._hang(request, after_headers)
            case Drip(every_s=every_s, headers=headers_too):
                return await self._drip(request, every_s, headers_too)
            case Endless():
                return await self._endless(request)
            case Reset(in_body=in_body):
                return await self._reset(request, in_body)
            case Raw() as raw:
                return await self._raw(request, raw)

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
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = answer.body_bytes
        await response.prepare(request)
        for sent in range(0, answer.body_bytes, len(_CHUNK)):
            await response.write(_CHUNK[: answer.body_bytes - sent])
        if answer.close:
            self._loop.call_later(0.02, _transport(request).close)
        return response

    async def _hang(self, request: web.BaseRequest, after_headers: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if after_headers:
            await response.prepare(request)
        await asyncio.sleep(_HANG_S)
        return response

    async def _raw(self, request: web.BaseRequest, raw: Raw) -> web.StreamResponse:
        transport = _transport(request)
        for at, part in enumerate(raw.parts):
            await asyncio.sleep(raw.pause_s if at else 0.0)
            transport.write(part)
        if raw.close:
            transport.close()
        return await self._hang(request, False)

    async def _drip(self, request: web.BaseRequest, every_s: float, headers_too: bool) -> web.StreamResponse:
        transport = _transport(request)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        if not headers_too:
            transport.write(head)
        while not transport.is_closing():
            transport.write(head[:1] if headers_too else b"x")
            head = head[1:] or b"x"
            await asyncio.sleep(every_s)
        return web.Response()

    async def _endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not _transport(request).is_closing():
            await response.write(_CHUNK)
        return response

    async def _reset(self, request: web.BaseRequest, in_body: bool) -> web.StreamResponse:
        transport = _transport(request)
        if in_body:
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartly")
            await asyncio.sleep(0.05)  # what is reset at once would take the headers with it
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        return web.Response()


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    if request.transport is None:
        raise ConnectionResetError("the sender has gone")
    return request.transport


class _CountingServer(web.Server):
    """Counts connections, to see that they are kept alive."""

    def __init__(self, handler: Callable[..., Any], receiver: Receiver) -> None:
        super().__init__(handler, access_log=None)
        self._receiver = receiver

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._receiver.connections += 1
        super().connection_made(handler, transport)
