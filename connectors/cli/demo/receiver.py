"""A webhook receiver as a customer would write one: verifies the signatures, drops repetitions, answers 204."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web

from connectors import clock
from connectors.webhooks.verify import VerificationError, verify


@dataclass(frozen=True, slots=True)
class Received:
    """``at_s``: when the request arrived (Unix time)."""

    at_s: float
    type: str
    properties: dict[str, Any]


@dataclass(slots=True)
class Receiver:
    """``secret`` is known once the endpoint is created; until then every request is refused."""

    secret: str | None = None
    received: dict[str, Received] = field(default_factory=dict)  # by notification id
    repeated: int = 0
    invalid: list[str] = field(default_factory=list)  # why a request was refused
    _runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listens on a free loopback port; returns the URL for the endpoint."""
        app = web.Application()
        app.router.add_post("/webhooks", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{port}/webhooks"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait_for(self, count: int, quiet_s: float) -> None:
        """Waits until ``count`` different notifications are here, or none came for ``quiet_s``."""
        loop = asyncio.get_running_loop()
        seen, since = len(self.received), loop.time()
        while len(self.received) < count and loop.time() - since < quiet_s:
            await asyncio.sleep(0.02)
            if len(self.received) > seen:
                seen, since = len(self.received), loop.time()

    async def _handle(self, request: web.Request) -> web.Response:
        at_s = clock.now_s()
        body = await request.read()  # the exact bytes: signatures cover them, not a parsed copy
        try:
            if self.secret is None:
                raise VerificationError("the secret is not known yet")
            verify(self.secret, request.headers, body)
        except VerificationError as error:
            self.invalid.append(str(error))
            return web.Response(status=401, text=str(error))
        notification = json.loads(body, parse_float=Decimal)
        if notification["id"] in self.received:
            self.repeated += 1
        else:
            self.received[notification["id"]] = Received(at_s, notification["type"], notification["properties"])
        return web.Response(status=204)
