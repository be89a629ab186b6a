"""One request to one endpoint, and what came of it: for every destination that speaks HTTP (``Form``).

Redirects are not followed (a redirect can point where no endpoint could be registered), proxies from the
environment are not used (they would dial unchecked addresses), TLS certificates are verified, and no more of an answer is read
than keeps the connection usable: a receiver can waste neither memory nor time here.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from yarl import URL

from connectors.agreement import PROCESS
from connectors.redis.types import OutboxEntry
from connectors.webhooks.addresses import AddressGuard, BlockedAddressError, TargetPolicy, unguarded_socket
from connectors.webhooks.answers import BODY_BYTES_MAX, HEADERS_MAX, LINE_BYTES_MAX, AnswerHandler
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.names import NO_ANSWER, name_service
from connectors.webhooks.proxy import Proxy
from connectors.webhooks.schedule import retry_after_s
from connectors.webhooks.timing import Probe, TimedConnector, Timings, current
from schemas.urls import Target, UrlError, parse_target

RESPONSE_BYTES_MAX = BODY_BYTES_MAX
_DRAIN_TIMEOUT_S = 1.0  # for the rest of an answer: its status has told all that matters
_REPEAT_WITHIN_S = 1.0
HTTP_FORBIDDEN = 403
HTTP_PROXY_AUTHENTICATION_REQUIRED = 407
_DNS_CACHE_S = 10
_KEEPALIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """``outcome``: success, http_3xx, http_4xx, http_5xx, refused, timeout, connect, tls, dns, blocked, url or fault.

    ``refused``: the answer's status is good and its text is not, or Kafka does not take the record. ``url``: nothing can be sent
    to such a URL, which an older release has taken; ``response`` says why.
    A ``fault`` is ours: the resolver could not say, this machine has no route or no sockets left. ``status``: None where no
    answer came. ``retry_after_s``: what a 429 or 503 asked for. ``at_s``: when it began, in seconds since the epoch.
    ``response``: the beginning of the answer's body. ``sent``: requests made,
    2 if one was repeated at once. ``gone``: why no attempt will ever succeed, so that the endpoint is switched off.
    """

    outcome: str
    at_s: float
    seconds: float
    status: int | None = None
    retry_after_s: float | None = None
    timings: Timings = field(default_factory=Timings)
    response: bytes = b""
    sent: int = 1
    gone: str = ""

    @property
    def is_fault(self) -> bool:
        return self.outcome == "fault"

    @property
    def error(self) -> str:
        """For people: the outcome with its status."""
        return self.outcome if self.status is None else f"{self.outcome} ({self.status})"


class Form(Protocol):
    """What one kind of receiver is sent, and how its answer is to be read."""

    def request(self, entry: OutboxEntry, at_s: float) -> tuple[dict[str, str], bytes]:
        """Headers and body of an attempt at ``at_s`` (seconds since the epoch)."""
        ...

    def outcome(self, status: int, response: bytes) -> str:
        """success, or another of ``Attempt``'s outcomes."""
        ...

    def gone(self, status: int, response: bytes) -> str:
        """Why no attempt will ever succeed; empty where one may."""
        ...


class EndpointClient:
    """The connections to one endpoint: its own, so that no other endpoint waits for them. None is held before the first attempt,
    nor after ``close``, from which the next attempt begins anew."""

    def __init__(
        self,
        endpoint: Endpoint,
        form: Form,
        policy: TargetPolicy,
        tls: ssl.SSLContext,
        *,
        timeout_s: float,
        connections: int,
        proxy: Proxy | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._form = form
        self._policy = policy
        self._tls = tls
        self._timeout_s = timeout_s
        self._connections = connections
        self._proxy = None if proxy is None else _proxy_url(proxy)
        self._open_session: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open_session is None:
            guard = AddressGuard(self._policy, parse_target(self.endpoint.url).host) if self._proxy is None else unguarded_socket
            self._open_session = aiohttp.ClientSession(
                connector=TimedConnector(
                    guard,
                    AnswerHandler,
                    limit=self._connections,
                    ssl=self._tls,
                    ttl_dns_cache=_DNS_CACHE_S,
                    keepalive_timeout=_KEEPALIVE_S,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),  # name look-up, connection and answer together
                trust_env=False,
                auto_decompress=False,
                max_line_size=LINE_BYTES_MAX,
                max_field_size=LINE_BYTES_MAX,
                max_headers=HEADERS_MAX,
            )
        return self._open_session

    async def close(self) -> None:
        session, self._open_session = self._open_session, None
        if session is not None:
            await session.close()

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        """Send once, and once more if the connection fails within the first second: a kept-alive one may have been closed before
        our request came, and a receiver that restarts is back in a moment. Never raises for what the network does."""
        at_s, started_s = PROCESS.now_s(), time.monotonic()
        headers, body = self._form.request(entry, at_s)
        probe = Probe(started_s, first_byte)
        current.set(probe)
        outcome = ""
        try:
            target = parse_target(self.endpoint.url)
            self._refuse_literal(target)
            await self._send(wire_url(target), headers, body, probe)
        except UrlError as error:
            outcome, probe.response = "url", f"the URL {error}".encode()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if not _told_before(probe):
                outcome = self._outcome_after(error)
        asked_s: float | None = None
        gone = ""
        if not outcome:
            assert probe.status is not None
            outcome = self._outcome_of(probe.status, probe.response)
            gone = self._form.gone(probe.status, probe.response)
            if probe.status in {429, 503}:
                asked_s = retry_after_s(probe.retry_after, PROCESS.now_s())
        seconds = time.monotonic() - started_s
        return Attempt(outcome, at_s, seconds, probe.status, asked_s, probe.timings, probe.response, probe.sent, gone)

    def _refuse_literal(self, target: Target) -> None:
        """A proxy resolves names, and has to refuse what is private; but a literal address is seen here."""
        if self._proxy is None:
            return  # the guard sees what is dialled
        address = target.address
        if address is not None and not self._policy.allows(str(address), address):
            raise BlockedAddressError(str(address))

    def _outcome_of(self, status: int, response: bytes) -> str:
        if status == HTTP_PROXY_AUTHENTICATION_REQUIRED and self._proxy is not None:
            return "fault"
        return self._form.outcome(status, response)

    def _outcome_after(self, error: Exception) -> str:
        """A proxy that cannot be reached, or does not let us, is ours; a target that it cannot reach is not."""
        match error:
            case aiohttp.ClientProxyConnectionError():
                return "fault"
            case aiohttp.ClientConnectorDNSError(host=host) if self._proxy is not None and host == self._proxy.host:
                return "fault"
            case aiohttp.ClientHttpProxyError(status=status):
                if status == HTTP_FORBIDDEN:
                    return "blocked"
                return "connect" if status in {502, 503, 504} else "fault"
            case _:
                return _outcome(error)

    async def _send(self, url: URL, headers: dict[str, str], body: bytes, probe: Probe) -> None:
        try:
            return await self._post(url, headers, body, probe)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            late = time.monotonic() - probe.started_s > _REPEAT_WITHIN_S
            if late or _told_before(probe) or self._outcome_after(error) != "connect":
                raise
        await self._post(url, headers, body, probe)

    async def _post(self, url: URL, headers: dict[str, str], body: bytes, probe: Probe) -> None:
        probe.sent += 1
        probe.head = None
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy) as response:
            probe.headers_s = time.monotonic() - probe.started_s
            probe.status = response.status
            probe.retry_after = response.headers.get("Retry-After")
            probe.response = await _beginning(response)


def _told_before(probe: Probe) -> bool:
    """Whether the answer's status had come in when something failed. Then it stands, with what came behind it."""
    head = probe.head
    if head is not None:
        head.end()
    if head is None or head.status is None:
        return False
    probe.status, probe.retry_after, probe.response = head.status, head.retry_after, head.body
    if probe.headers_s is None:
        probe.headers_s = time.monotonic() - probe.started_s
    return True


def wire_url(target: Target) -> URL:
    """For aiohttp, which sends a path as it is if nobody has split it: path and query are one text here, so that neither a
    ``/../`` nor a ``?`` without anything behind it is lost."""
    return URL.build(scheme=target.scheme, host=target.authority, port=target.port, path=target.target, encoded=True)


def _proxy_url(proxy: Proxy) -> URL:
    return URL.build(scheme="http", user=proxy.user, password=proxy.password, host=proxy.host, port=proxy.port, path="/")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read the answer to its end so that the connection can be used again, or close the connection."""
    if response.content.is_eof() and response.content.total_bytes <= RESPONSE_BYTES_MAX:
        return response.content.read_nowait()  # it came with the headers, as most do
    chunks: list[bytes] = []
    left = RESPONSE_BYTES_MAX
    try:
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            while left > 0:
                chunk = await response.content.read(left)
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)
                left -= len(chunk)
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status is known, and the rest of the answer is not needed
    response.close()
    return b"".join(chunks)


_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENETDOWN}
)
"""This machine has no descriptors, memory, ports or network: no receiver can help that."""


def _outcome(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError(os_error=os_error, host=host):
            # a name that does not exist is the endpoint's fault, and so is one whose servers do not answer while others' do
            return "fault" if _code(os_error) in NO_ANSWER and not name_service.works_without(host) else "dns"
        case BlockedAddressError() | aiohttp.ClientConnectorError(os_error=BlockedAddressError()):
            return "blocked"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorError(os_error=os_error):
            return "fault" if os_error.errno in _FAULTS else "connect"
        case _:
            return "connect"


def _code(error: OSError) -> int | None:
    """getaddrinfo's own error, which aiohttp wraps into one without a number."""
    cause = error.__cause__ or error
    return cause.errno if isinstance(cause, OSError) else error.errno
