"""The API's listening socket: how many connections there may be, how long each may take, and what its bad requests are told.

A client needs no token to open connections, to send half of a request, or to stop reading an answer. Each of these costs a file
descriptor and memory, so each has an end:

    no complete headers within ``header_s`` of the first byte (or of the connection)       closed
    no request for ``idle_s`` after an answer                                               closed
    an answer that the client does not read on with for ``write_s``                         closed
    more connections than ``total``, or than ``per_address`` of one client                  503, closed

(The body's time-out is dispatch's, where a body is read.) A request that runs is never cut off by these. The addresses of an
IPv6 network of /64 are one client's.

What aiohttp's parser refuses is answered in the API's own form, and logged by its kind alone: the parser quotes the line that it
could not read, which may be an Authorization header.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import orjson
import structlog
from aiohttp import web

from connectors import background
from connectors.metrics import HTTP_CONNECTIONS_REFUSED
from connectors.settings import Settings

log = structlog.get_logger("http")

SWEEP_S = 0.5
BACKLOG = 1_024
LINGER_S = 2.0
"""How long what is left of a refused body is read and dropped, so that the client gets to see the refusal."""
FILES_RESERVED = 256
"""Descriptors that connections of clients may not use up: those to Redis and Kafka, log files, the listening socket."""

_FULL = orjson.dumps({"message": "too many connections; try again"})
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nx-should-retry: true\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


@dataclass(frozen=True, slots=True)
class Limits:
    total: int
    per_address: int
    header_s: float
    idle_s: float
    write_s: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            connections_possible(settings.api_connections_max),
            settings.api_connections_per_address_max,
            settings.api_header_timeout_s,
            settings.api_idle_timeout_s,
            settings.api_write_timeout_s,
        )


def connections_possible(wanted: int) -> int:
    """``wanted`` connections, or as many as this process may open files for; its own limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):  # a container may set bounds of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    possible = wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - FILES_RESERVED))
    if possible < wanted:
        log.warning("fewer connections than the setting asks for", possible=possible, wanted=wanted, open_files_max=soft)
    return possible


def client_of(address: str | None) -> str:
    """Whom an address stands for: itself, or its /64 network."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped is not None else parsed.exploded[:19]
    return str(parsed)


class Connection(web.RequestHandler):
    """One connection of a client. ``_since``: from when its current wait counts (loop time)."""

    __slots__ = ("_blocked_since", "_client", "_idle", "_limits", "_listener", "_running", "_since")

    def __init__(self, listener: Listener, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None, lingering_time=LINGER_S)  # type: ignore[arg-type]
        self._listener = listener
        self._limits = listener.limits
        self._client: str | None = None
        self._idle = False
        self._running = 0
        self._since = loop.time()
        self._blocked_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._client = client_of(peer[0] if isinstance(peer, tuple) else None)
        admitted = self._listener.admit(self, self._client)
        super().connection_made(transport)
        if not admitted:
            HTTP_CONNECTIONS_REFUSED.inc()
            if isinstance(transport, asyncio.Transport):
                transport.write(_REFUSAL)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.forget(self, self._client or "")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._idle:
            self._idle = False
            self._since = self._loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        self._blocked_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._blocked_since = None
        self._since = self._loop.time()  # who reads on, however slowly, is not idle
        super().resume_writing()

    @contextmanager
    def request_running(self) -> Iterator[None]:
        """While a request is being answered, its connection waits for nobody but us."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._idle = True
            self._since = self._loop.time()

    def overdue(self, now: float) -> bool:
        if self._blocked_since is not None:
            return now - self._blocked_since > self._limits.write_s
        if self._running:
            return False
        return now - self._since > (self._limits.idle_s if self._idle else self._limits.header_s)

    def drop(self) -> None:
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What the parser could not read (400), and an Expect header that aiohttp fails to quote in its refusal (417); anything
        else that gets here is a defect of ours."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        kind = type(exc).__name__
        if isinstance(exc, UnicodeError) and request.headers.get("Expect", "").lower() not in {"", "100-continue"}:
            status, text = 417, "Expect: must be 100-continue, or left out"
        elif status >= 500:
            log.error("request failed", error=kind, exc_info=exc)
            text = "internal error"
        else:
            log.info("request could not be read", error=kind, status=status, client=request.remote)
            text = f"the request could not be read: {_UNREADABLE.get(kind, 'it is not HTTP')}"
        answer = web.Response(status=status, body=orjson.dumps({"message": text}), content_type="application/json")
        answer.headers["x-should-retry"] = "false"
        answer.force_close()
        return answer

    def log_exception(self, *args: object, **named: object) -> None:
        """Of aiohttp itself: nothing of a request may get into the log by way of its message."""
        error = named.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            return  # the rest of a body that was refused
        log.error("connection failed", error=type(error).__name__ if isinstance(error, BaseException) else None)


_UNREADABLE = {
    "BadHttpMethod": "its method is not one",
    "BadStatusLine": "its first line is not one",
    "InvalidURLError": "its URL is not one",
    "LineTooLong": "its first line or one of its headers is too long",
    "InvalidHeader": "one of its headers is not allowed",
    "TransferEncodingError": "its body does not match its Transfer-Encoding",
    "ContentEncodingError": "its body does not match its Content-Encoding",
    "ContentLengthError": "its body does not match its Content-Length",
    "BadHttpMessage": "one of its headers is not allowed",
}


class Listener:
    """The connections of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Connection] = set()
        self._by_client: Counter[str] = Counter()

    def admit(self, connection: Connection, client: str) -> bool:
        if len(self._connections) >= self.limits.total or self._by_client[client] >= self.limits.per_address:
            return False
        self._connections.add(connection)
        self._by_client[client] += 1
        return True

    def forget(self, connection: Connection, client: str) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    async def sweep(self) -> None:
        """Drops what has waited too long."""
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self._connections if each.overdue(now)]:
            connection.drop()

    async def keep_sweeping(self, stop: asyncio.Event) -> None:
        await background.repeat("connections", self.sweep, stop, SWEEP_S)

    async def listen(self, server: web.Server, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self, server, loop), host, port, backlog=BACKLOG)
