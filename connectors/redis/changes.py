"""Changes of the configuration as entries of a partition's change stream."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from redis.asyncio import Redis

from connectors.redis.keys import PartitionKeys
from connectors.redis.scripts import Argument, Script
from connectors.redis.types import Change

ANNOUNCE = Script("announce", "audit", "once")


def announce_arguments(change: Change) -> list[Argument]:
    """ARGV of announce.lua."""
    fields: list[Argument] = ["kind", change.kind]
    if change.customer_id is not None:
        fields += ("customer_id", change.customer_id)
    if change.alert_id is not None:
        fields += ("alert_id", change.alert_id)
    if change.catalog_revision is not None:
        fields += ("catalog_revision", change.catalog_revision)
    if change.refs:
        fields += ("refs", orjson.dumps(change.refs))
    return ["" if change.catalog_revision is None else change.catalog_revision, len(fields), *fields]


def decode_change(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Change:
    """A stream entry; its id is "<revision>-0"."""
    customer_id, alert_id, catalog = fields.get(b"customer_id"), fields.get(b"alert_id"), fields.get(b"catalog_revision")
    return Change(
        kind=fields[b"kind"].decode(),  # type: ignore[arg-type]
        revision=int(entry_id.partition(b"-")[0]),
        customer_id=None if customer_id is None else customer_id.decode(),
        alert_id=None if alert_id is None else alert_id.decode(),
        catalog_revision=None if catalog is None else int(catalog),
        refs=tuple(orjson.loads(fields.get(b"refs", b"[]"))),
    )


async def broadcast(redis: Redis, partitions: int, change: Change) -> None:
    """Append a change to every partition's stream, in one round trip. Raises RedisError if any partition was not told."""
    arguments = announce_arguments(change)
    pipeline = redis.pipeline(transaction=False)
    for partition in range(partitions):
        keys = PartitionKeys(partition)
        pipeline.eval(ANNOUNCE.text, 2, keys.position, keys.changes, *arguments)
    await pipeline.execute()
