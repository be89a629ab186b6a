"""The metrics as Prometheus reads them."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # set by `tidemark up`: all of its processes write there


def _exposition() -> bytes:
    """Of this process, or in multi-process mode the sum over all of them."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


async def metrics(_: web.Request) -> web.Response:
    body = await asyncio.to_thread(_exposition)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
