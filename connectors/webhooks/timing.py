"""Where the time of an attempt goes: name look-up, connection, TLS, first byte of the answer.

What the connector does belongs to the attempt in whose task (or a child of it) it does it: ``current``, a context variable.
(aiohttp's own tracing would tell most of this, too, for a fifth of the time that a request takes.)
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from connectors.webhooks.addresses import AddressInfo
from connectors.webhooks.names import NO_ANSWER, name_service

if TYPE_CHECKING:
    from connectors.webhooks.answers import Head


@dataclass(frozen=True, slots=True)
class Timings:
    """In seconds. ``connect_s``: name look-up, connection and TLS together; None, as ``dns_s`` and ``tls_s``, where a kept-alive
    connection was used. ``dns_s``: None also where an address or a fresh answer was at hand, ``tls_s`` also without TLS.
    ``headers_s``: from the attempt's beginning until the answer's headers were there; None where none came."""

    dns_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    headers_s: float | None = None


@dataclass(slots=True)
class Probe:
    """What is learned of one attempt while it is under way."""

    started_s: float
    first_byte: Callable[[], None] | None
    connecting: bool = False
    connected: bool = False
    tls_from_s: float | None = None
    dns_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    headers_s: float | None = None
    status: int | None = None
    retry_after: str | None = None
    response: bytes = b""
    sent: int = 0
    head: Head | None = None  # of the answer to the request that is under way; None until that is sent

    @property
    def timings(self) -> Timings:
        return Timings(self.dns_s, self.connect_s, self.tls_s, self.headers_s)


current: ContextVar[Probe] = ContextVar("attempt")


class TimedConnector(aiohttp.TCPConnector):
    """Also tells when the first byte is about to be written, and lets ``handler`` read what comes in."""

    def __init__(
        self, guard: Callable[[AddressInfo], socket.socket], handler: type[aiohttp.client_proto.ResponseHandler], **options: Any
    ) -> None:
        self._guard = guard
        super().__init__(socket_factory=self._socket, resolver=_TimedResolver(), **options)
        self._factory = partial(handler, loop=self._loop)

    def _socket(self, info: AddressInfo) -> socket.socket:
        current.get().connecting = True
        return self._guard(info)

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        probe, begun_s = current.get(), time.monotonic()
        probe.connected = False  # what is answered now, a proxy says to CONNECT
        connection = await super().connect(*arguments, **named)
        probe.connected = True
        if probe.connecting:
            now_s = time.monotonic()
            probe.connecting, probe.connect_s = False, now_s - begun_s
            if probe.tls_from_s is not None:
                probe.tls_s, probe.tls_from_s = now_s - probe.tls_from_s, None
        if probe.first_byte is not None:
            probe.first_byte()
            probe.first_byte = None
        return connection


class _TimedResolver(aiohttp.ThreadedResolver):
    async def resolve(self, host: str, *arguments: Any, **named: Any) -> Any:
        probe, begun_s = current.get(), time.monotonic()
        try:
            found = await super().resolve(host, *arguments, **named)
        except OSError as error:
            if error.errno not in NO_ANSWER:
                name_service.answered(host)
            raise
        finally:
            probe.dns_s = time.monotonic() - begun_s
        name_service.answered(host)
        return found


class TimedTls(ssl.SSLContext):
    """asyncio asks for this when the connection is there and the handshake begins."""

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        probe = current.get(None)
        if probe is not None:
            probe.tls_from_s = time.monotonic()
        return super().wrap_bio(*arguments, **named)


def client_tls() -> TimedTls:
    """Certificates and host names are verified, against what this machine trusts."""
    context = TimedTls(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context
