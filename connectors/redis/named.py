"""What alerts of single customers name, and which names customers have had, so that both are known without reading any customer.

Both only serve to tell of alerts that cannot fire. A note may outlive its alert, or come without one, if its writer dies; so who
counts them looks the alert up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgpack
import orjson
from redis.asyncio import Redis

from connectors.redis.keys import CatalogKeys

_PAGE = 500


async def note_names(redis: Redis, names: Iterable[tuple[str, str]]) -> None:
    """Keeps (entity, key) pairs for good."""
    packed = [msgpack.packb(name) for name in sorted(names)]
    if packed:
        await redis.sadd(CatalogKeys.NAMES, *packed)


async def read_names(redis: Redis) -> set[tuple[str, str]]:
    return {tuple(msgpack.unpackb(raw)) for raw in await redis.smembers(CatalogKeys.NAMES)}


async def note_alert(redis: Redis, alert_id: str, named: Mapping[str, Any]) -> None:
    if named:
        await redis.hset(CatalogKeys.ALERT_NAMES, alert_id, orjson.dumps(named))


async def forget_alert(redis: Redis, alert_id: str) -> None:
    await redis.hdel(CatalogKeys.ALERT_NAMES, alert_id)


async def read_alerts(redis: Redis) -> dict[str, dict[str, Any]]:
    """What each noted alert names, by its id; read in pages."""
    return {key.decode(): orjson.loads(raw) async for key, raw in redis.hscan_iter(CatalogKeys.ALERT_NAMES, count=_PAGE)}


async def change_mark(redis: Redis) -> tuple[int, ...]:
    """Moves whenever the answer of one of the readers, or the catalog, may have changed."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.get(CatalogKeys.REVISION)
    pipeline.scard(CatalogKeys.NAMES)
    pipeline.hlen(CatalogKeys.ALERT_NAMES)
    return tuple(int(each or 0) for each in await pipeline.execute())
