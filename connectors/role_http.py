"""`/healthz`, `/readyz` and `/metrics` of a role that has no API: worker and dispatcher, on ``metrics_port``.

It runs in the role's own event loop, and nothing is answered from anywhere else: a role whose loop hangs does not answer, which
is what a probe is to see. In `tidemark up` it is off, since several roles share the settings; the API's `/readyz` shows them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import structlog
from aiohttp import web

from connectors.exposition import MULTIPROCESS_VARIABLE, metrics
from connectors.health import Health
from connectors.settings import Settings


class PortInUse(OSError):
    """Somebody else listens there; the text names the setting."""


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def application(health: Health) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        report = health.report()
        body = {"ready": report.ready, "checks": dict(report.checks), "warnings": list(report.warnings)}
        return _json(200 if report.ready else 503, body)

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(settings: Settings, health: Health) -> AsyncIterator[None]:
    """Raises PortInUse."""
    if MULTIPROCESS_VARIABLE in os.environ:
        yield
        return
    runner = web.AppRunner(application(health), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                where = f"{settings.metrics_host} port {settings.metrics_port}"
                raise PortInUse(f"TIDEMARK_METRICS_PORT: {where} is in use") from error
            raise
        structlog.get_logger().info(
            "health and metrics are served", port=runner.addresses[0][1], paths=["/healthz", "/readyz", "/metrics"]
        )
        yield
    finally:
        await runner.cleanup()
