"""Deliveries a second of one dispatcher against a bare sender (same receiver, same run), and latency at half that rate."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass

import orjson
from redis.asyncio import Redis

from benchmarks.measure import cpu_s, percentile
from benchmarks.webhooks.running import Receiver, dispatcher
from benchmarks.webhooks.traffic import register, write
from connectors.redis.client import connect
from connectors.settings import Settings
from tests.support.redis_server import RedisServer

AT_A_TIME = 8
"""Requests under way at once to one endpoint: the default setting."""

_PATIENCE_S = 120.0
_TICK_S = 0.005


@dataclass(frozen=True, slots=True)
class Speed:
    per_s: float
    cpu_us_each: float


def bare(receiver: Receiver, requests: int, endpoints: int) -> Speed:
    command = [sys.executable, "-m", "benchmarks.webhooks.bare", receiver.url("/bare"), str(requests), str(AT_A_TIME * endpoints)]
    done = orjson.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE_S).stdout)
    return Speed(requests / done["elapsed_s"], 1e6 * done["cpu_s"] / requests)


async def dispatched(server: RedisServer, receiver: Receiver, notifications: int, endpoints: int) -> Speed:
    """All notifications are there when the dispatcher starts; the clock runs from the first request to the last."""
    redis = connect(Settings(redis_url=server.url))
    urls = [receiver.url(f"/{number}") for number in range(endpoints)]
    await register(redis, urls)
    await write(redis, range(notifications))
    await redis.aclose()
    before = receiver.count()
    with dispatcher(server.url) as role:
        role.start()
        while receiver.count() == before:
            await asyncio.sleep(_TICK_S)
        first, begun_s, cpu_before_s = receiver.count(), time.perf_counter(), cpu_s(role.pid)
        await until_received(receiver, before + notifications * endpoints)
        elapsed_s = time.perf_counter() - begun_s
        deliveries = before + notifications * endpoints - first
        return Speed(deliveries / elapsed_s, 1e6 * (cpu_s(role.pid) - cpu_before_s) / deliveries)


async def until_received(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while receiver.count() < count:
            await asyncio.sleep(0.02)


async def steady(server: RedisServer, receiver: Receiver, endpoints: int, rate_per_s: float, seconds: float, first: int) -> None:
    """Write notifications at a steady rate, numbered from ``first``; the receiver's stamps tell the rest."""
    redis = connect(Settings(redis_url=server.url))
    await register(redis, [receiver.url(f"/{number}") for number in range(endpoints)])
    before = receiver.count()
    with dispatcher(server.url) as role:
        role.start()
        await write(redis, [first])
        await until_received(receiver, before + endpoints)
        written = await write_steadily(redis, rate_per_s / endpoints, seconds, first + 1)
        await until_received(receiver, before + endpoints * (1 + written))
    await redis.aclose()


async def write_steadily(redis: Redis, per_s: float, seconds: float, first: int, customers: int = 2**53) -> int:
    """Returns how many were written."""
    begun_s, written = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - begun_s) < seconds:
        due = int(elapsed_s * per_s)
        await write(redis, range(first + written, first + due), customers)
        written = due
        await asyncio.sleep(_TICK_S)
    return written


def latencies_ms(received: list[tuple[float, str, dict[str, object]]], first: int) -> list[float]:
    """From the writing into the outbox to the request's first byte, of notifications numbered from ``first``."""
    values = [1000 * at - float(str(body["written_ms"])) for at, _, body in received if int(str(body["id"])[2:]) > first]
    return [percentile(values, share) for share in (0.5, 0.99)]
