"""How much endpoints that hang slow the others: 1,000 endpoints, each with a customer of its own and asked for at the same steady
rate; some never answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median

from redis.asyncio import Redis

from benchmarks.measure import percentile
from benchmarks.webhooks.running import Receiver, dispatcher
from benchmarks.webhooks.throughput import write_steadily
from benchmarks.webhooks.traffic import register, write
from connectors.redis.client import connect
from connectors.settings import Settings
from tests.support.redis_server import RedisServer

WARM_UP_S = 6.0
"""Connections are opened, and the lanes of those that hang fill up."""

_LAST_ONES_S = 2.0
SHARES = (0.5, 0.99)


async def _run(server: RedisServer, receiver: Receiver, endpoints: int, hanging: int, per_s: float, seconds: float) -> int:
    """Returns the number of the first notification that counts."""
    redis: Redis = connect(Settings(redis_url=server.url))
    paths = [f"/hang/{number}" if number < hanging else f"/{number}" for number in range(endpoints)]
    await register(redis, [receiver.url(path) for path in paths], a_customer_each=True)
    with dispatcher(server.url) as role:
        role.start()
        await write(redis, range(endpoints), endpoints)
        while receiver.count() < endpoints - hanging:
            await asyncio.sleep(0.1)
        warm = endpoints + await write_steadily(redis, per_s, WARM_UP_S, endpoints, endpoints)
        await write_steadily(redis, per_s, seconds, warm, endpoints)
        await asyncio.sleep(_LAST_ONES_S)
    await redis.aclose()
    return warm


def measure(
    server: RedisServer, endpoints: int, hanging: Sequence[int], per_s: float, seconds: float, rounds: int
) -> dict[int, list[float]]:
    """By how many hang: p50 and p99 (ms) from the writing into the outbox to the first byte of the request, of the others. All
    take turns, and of each the median round counts: the machine may have other things to do."""
    found: dict[int, list[list[float]]] = {count: [] for count in hanging}
    for count in [*hanging] * rounds:
        with Receiver() as receiver:
            first = asyncio.run(_run(server, receiver, endpoints, count, per_s, seconds))
            values = [
                1000 * at - float(str(body["written_ms"])) for at, _, body in receiver.stop() if int(str(body["id"])[2:]) >= first
            ]
        found[count].append([percentile(values, share) for share in SHARES])
    return {count: [median(each) for each in zip(*figures, strict=True)] for count, figures in found.items()}
