"""`tidemark listen`: a receiver that shows what arrives and whether its signatures hold.

With a secret it listens only. Without one it registers an endpoint through the API, with the address that it listens at, and
removes it when it ends. What is not signed rightly is answered with 401, so that the log of deliveries shows it, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp
import click
from aiohttp import web

from connectors import clock
from connectors.cli.errors import Fault
from connectors.webhooks.verify import VerificationError, verify

_ENDPOINTS = "/v1/webhook-endpoints"
_BODY_BYTES_MAX = 16 * 1024 * 1024
_API_TIMEOUT_S = 10.0
_REMEMBERED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """``secrets``: empty = an endpoint is registered. ``public_url``: how the dispatcher reaches this; None: at host and port.
    ``count``: ends after so many requests; None: after the order to end."""

    host: str
    port: int
    path: str
    secrets: Sequence[str]
    api: str
    token: str | None = field(repr=False, default=None)
    public_url: str | None = None
    event_types: Sequence[str] = ()
    as_json: bool = False
    count: int | None = None


class Listener:
    """``invalid``: how many requests were not signed rightly."""

    def __init__(self, options: ListenOptions) -> None:
        self._options = options
        self._secrets = list(options.secrets)
        self._seen: dict[str, None] = {}
        self._requests = 0
        self.enough = asyncio.Event()
        self.invalid = 0

    def take_secret(self, secret: str) -> None:
        self._secrets.append(secret)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        fault = self._fault(request, body)
        self.invalid += fault is not None
        self._requests += 1
        again = self._seen_before(request.headers.get("webhook-id", ""))
        click.echo(_json_line(body, fault, again) if self._options.as_json else _line(body, fault, again))
        if self._requests == self._options.count:
            self.enough.set()
        return web.Response(status=204) if fault is None else web.Response(status=401, text=fault)

    def _fault(self, request: web.Request, body: bytes) -> str | None:
        try:
            verify(self._secrets, request.headers, body)
        except VerificationError as error:
            return str(error)
        return None

    def _seen_before(self, message_id: str) -> bool:
        before = message_id in self._seen
        self._seen[message_id] = None
        while len(self._seen) > _REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        return before


def _content(body: bytes) -> dict[str, Any]:
    """Of a notification; of anything else what stands for it."""
    try:
        content = json.loads(body, parse_float=Decimal)
    except ValueError:
        return {"body": body[:200].decode("utf-8", "replace")}
    return content if isinstance(content, dict) else {"body": str(content)[:200]}


def _json_line(body: bytes, fault: str | None, again: bool) -> str:
    """The notification itself stands last, with every digit as it came."""
    known = {"at": _now(), "valid": fault is None, "fault": fault, "again": again}
    try:
        json.loads(body)
        text = body.decode().replace("\n", " ")
    except ValueError:
        text = json.dumps(body[:200].decode("utf-8", "replace"))
    return f'{json.dumps(known)[:-1]}, "notification": {text}}}'


def _line(body: bytes, fault: str | None, again: bool) -> str:
    content = _content(body)
    properties = content.get("properties")
    told = properties if isinstance(properties, dict) else {}
    evidence = told.get("evidence")
    parts = [
        _now(),
        "signed" if fault is None else f"NOT TO BE TRUSTED: {fault}",
        *(["again"] if again else []),
        str(content.get("type", content.get("body", ""))),
        _named(told, "alert_name"),
        _named(told, "customer_name") or _named(told, "customer_id"),
        f"{told['value']} of {told['threshold']}" if {"value", "threshold"} <= told.keys() else "",
        f"at event {evidence['transaction_id']}" if isinstance(evidence, dict) and evidence.get("transaction_id") else "",
        str(content.get("id", "")),
    ]
    return "  ".join(_printable(part) for part in parts if part)


def _named(properties: dict[str, Any], name: str) -> str:
    return str(properties[name]) if properties.get(name) else ""


def _printable(text: str) -> str:
    """What a stranger has named must not move the cursor."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _now() -> str:
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Registration:
    """The endpoint that was made for this, through the API. Raises Fault for what the API does not do."""

    def __init__(self, options: ListenOptions) -> None:
        self._base = options.api.rstrip("/")
        self._headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}

    async def make(self, url: str, event_types: Sequence[str]) -> dict[str, Any]:
        body = {"url": url, "name": "tidemark listen"} | ({"event_types": list(event_types)} if event_types else {})
        answer = await self._call("POST", _ENDPOINTS, body)
        made: dict[str, Any] = answer["data"]
        return made

    async def remove(self, endpoint_id: str) -> None:
        await self._call("DELETE", f"{_ENDPOINTS}/{endpoint_id}", None)

    async def _call(self, method: str, path: str, body: object) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_API_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session,
                session.request(method, self._base + path, json=body, allow_redirects=False) as response,
            ):
                answer = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Fault(
                f"the API at {self._base} does not answer as it should: {type(error).__name__} {error}".rstrip()
            ) from error
        if not 200 <= status < 300 or not isinstance(answer, dict):
            message = answer.get("message", "") if isinstance(answer, dict) else ""
            hint = "; give its token with --token" if status == 401 else ""
            raise Fault(f"the API at {self._base} answers {status}: {message}{hint}")
        return answer


def run_listen(options: ListenOptions) -> int:
    """Until Ctrl-C, SIGTERM, or enough has come. Returns 1 if anything was not signed rightly."""
    return asyncio.run(_listen(options))


async def _listen(options: ListenOptions) -> int:
    listener = Listener(options)
    application = web.Application(client_max_size=_BODY_BYTES_MAX)
    application.router.add_post(options.path, listener.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, options.host, options.port).start()
        except OSError as error:
            raise Fault(f"cannot listen at {options.host}:{options.port}: {os.strerror(error.errno or 0)}") from error
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{host}:{runner.addresses[0][1]}{options.path}"
        click.echo(f"listening at {url}", err=True)
        await _until_told(listener, options, url)
    finally:
        await runner.cleanup()
    return 1 if listener.invalid else 0


async def _until_told(listener: Listener, options: ListenOptions, url: str) -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, listener.enough.set)
    if options.secrets:
        await listener.enough.wait()
        return
    registration = Registration(options)
    made = await registration.make(options.public_url or url, options.event_types)
    try:
        listener.take_secret(made["secret"])
        click.echo(f"endpoint {made['id']} is registered, and is removed at the end", err=True)
        for warning in made.get("warnings") or ():
            click.echo(f"warning: {_printable(warning)}", err=True)
        await listener.enough.wait()
    finally:
        await registration.remove(made["id"])
        click.echo(f"endpoint {made['id']} is removed", err=True)
