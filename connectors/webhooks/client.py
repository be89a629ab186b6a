"""One request to one endpoint, and what came of it.

Only 2xx is a success. Redirects are not followed (a redirect can point where no endpoint could be registered), proxies from the
environment are not used (they would dial unchecked addresses), TLS certificates are verified, and no more of an answer is read
than keeps the connection usable: a receiver can waste neither memory nor time here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from connectors.metrics import WEBHOOK_ATTEMPT_SECONDS, WEBHOOK_ATTEMPTS
from connectors.webhooks.addresses import AddressGuard, BlockedAddressError, TargetPolicy
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.schedule import retry_after_s
from connectors.webhooks.signatures import signed_headers

RESPONSE_BYTES_MAX = 20_000
_DRAIN_TIMEOUT_S = 1.0  # for the rest of an answer: its status has told all that matters
_STALE_WITHIN_S = 1.0  # a kept-alive connection that breaks this early was closed before our request came
_DNS_CACHE_S = 10
_KEEPALIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """``outcome``: success, http_3xx, http_4xx, http_5xx, timeout, connect, tls, dns or blocked.

    ``status``: None where no answer came. ``retry_after_s``: what a 429 or 503 asked for. ``at_s``: when it began, in seconds
    since the epoch.
    """

    outcome: str
    at_s: float
    seconds: float
    status: int | None = None
    retry_after_s: float | None = None

    @property
    def error(self) -> str:
        """For people: the outcome with its status."""
        return self.outcome if self.status is None else f"{self.outcome} ({self.status})"


class _Probe(SimpleNamespace):
    """What the trace of one request tells: whether the connection was a kept-alive one; and the call at the first byte."""

    reused: bool
    first_byte: Callable[[], None] | None


async def _on_reuse(_session: object, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.reused = True


async def _on_headers(_session: object, context: SimpleNamespace, _params: object) -> None:
    probe: _Probe = context.trace_request_ctx
    if probe.first_byte is not None:
        probe.first_byte()
        probe.first_byte = None


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_on_reuse)
    trace.on_request_headers_sent.append(_on_headers)  # called right before they are written
    return trace


class EndpointClient:
    """The connections to one endpoint: its own, so that no other endpoint waits for them."""

    def __init__(
        self, endpoint: Endpoint, policy: TargetPolicy, tls: ssl.SSLContext, *, timeout_s: float, connections: int
    ) -> None:
        self.endpoint = endpoint
        self._timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                ssl=tls,
                resolver=aiohttp.ThreadedResolver(),
                ttl_dns_cache=_DNS_CACHE_S,
                keepalive_timeout=_KEEPALIVE_S,
                socket_factory=AddressGuard(policy, endpoint.url.host or ""),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # ``attempt`` holds the time limit for all it does
            trace_configs=[_trace()],
            trust_env=False,
            auto_decompress=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def attempt(self, message_id: str, body: bytes, first_byte: Callable[[], None] | None) -> Attempt:
        """Send once (twice if a kept-alive connection turns out to be dead). Never raises for what the network does."""
        at_s, started_s = time.time(), time.monotonic()
        headers = signed_headers(self.endpoint.secret, message_id, body, at_s)
        asked_s: float | None = None
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                status, retry_after = await self._send(headers, body, _Probe(reused=False, first_byte=first_byte))
            outcome = "success" if 200 <= status < 300 else f"http_{status // 100}xx"
            if status in {429, 503}:
                asked_s = retry_after_s(retry_after, time.time())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            outcome = _outcome(error)
        seconds = time.monotonic() - started_s
        WEBHOOK_ATTEMPTS.labels(outcome).inc()
        WEBHOOK_ATTEMPT_SECONDS.observe(seconds)
        return Attempt(outcome, at_s, seconds, status, asked_s)

    async def _send(self, headers: dict[str, str], body: bytes, probe: _Probe) -> tuple[int, str | None]:
        started_s = time.monotonic()
        try:
            return await self._post(headers, body, probe)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not probe.reused or time.monotonic() - started_s > _STALE_WITHIN_S:
                raise
        return await self._post(headers, body, probe)

    async def _post(self, headers: dict[str, str], body: bytes, probe: _Probe) -> tuple[int, str | None]:
        async with self._session.post(
            self.endpoint.url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=probe
        ) as response:
            await _drain(response)
            return response.status, response.headers.get("Retry-After")


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the answer to its end so that the connection can be used again, or close the connection."""
    left = RESPONSE_BYTES_MAX
    try:
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            while left > 0:
                chunk = await response.content.read(left)
                if not chunk:
                    return
                left -= len(chunk)
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status is known, and the answer's text is not needed
    response.close()


def _outcome(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientConnectorError(os_error=BlockedAddressError()):
            return "blocked"
        case aiohttp.ClientSSLError():
            return "tls"
        case _:
            return "connect"
