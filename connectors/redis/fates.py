"""What became of events that were not simply applied: parked, held in quarantine, rejected, or counted for some metrics only.

    {p}:fates_at    zset: transaction id by the time of its latest note (ms)
    {p}:fates       hash: transaction id -> its latest note (JSON)

p is the partition of the transaction id, so that a search asks one place. Notes serve to answer /v1/events/search alone: a worker
writes them before the commit that they are about, and writes the same again if that commit is repeated. They are bounded by age
and in number; the oldest go first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import orjson
from redis.asyncio import Redis

from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.scripts import Argument, Script
from connectors.settings import Settings

_NOTE = Script("fates")
_TOGETHER = 250
"""So many notes go in one script: it is to hold Redis for less than 20 ms."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Fate:
    """``state``: parked, quarantined, rejected or partial. ``place``: where the event came from: topic/partition/offset/index.
    ``timestamp``: as the event has it. ``event``: its properties, JSON, if they are small. ``missed``: ids of the metrics that
    could not read a partial one. All texts may be anything that a producer can send."""

    transaction_id: str
    state: str
    reason: str
    detail: str
    customer_ref: str
    event_type: str
    timestamp: str
    place: str
    appended_at_ms: int
    properties: str = "{}"
    missed: tuple[str, ...] = ()


class FateStore:
    """Of all partitions. ``events_max``: so many are kept in each; ``days``: so long."""

    def __init__(self, redis: Redis, partitions: int, *, events_max: int, days: int) -> None:
        self._redis = redis
        self._partitions = partitions
        self._events_max = events_max
        self._days = days

    def _keys(self, transaction_id: str) -> tuple[str, str]:
        keys = PartitionKeys(partition_of(transaction_id, self._partitions))
        return keys.fates_at, keys.fates

    async def note(self, fates: Iterable[Fate], now_ms: int) -> None:
        """Of several for one transaction id the last one stays."""
        by_place: dict[tuple[str, str], list[Argument]] = {}
        for fate in {each.transaction_id: each for each in fates}.values():
            arguments = by_place.setdefault(self._keys(fate.transaction_id), [])
            arguments += [fate.transaction_id.encode("utf-8", "surrogatepass"), orjson.dumps(asdict(fate))]
        bounds: Sequence[Argument] = (now_ms, now_ms - self._days * _DAY_MS, self._events_max)
        for keys, arguments in by_place.items():
            for start in range(0, len(arguments), 2 * _TOGETHER):
                await _NOTE.run(self._redis, keys, *bounds, *arguments[start : start + 2 * _TOGETHER])

    async def find(self, transaction_ids: Sequence[str]) -> dict[str, Fate]:
        """By transaction id; those without a note are left out."""
        pipeline = self._redis.pipeline(transaction=False)
        for transaction_id in transaction_ids:
            pipeline.hget(self._keys(transaction_id)[1], transaction_id)
        found = zip(transaction_ids, await pipeline.execute(), strict=True)
        return {transaction_id: _decoded(raw) for transaction_id, raw in found if raw is not None}


def _decoded(raw: bytes) -> Fate:
    fields = orjson.loads(raw)
    return Fate(**{**fields, "missed": tuple(fields["missed"])})


def fates_of(redis: Redis, partitions: int, settings: Settings) -> FateStore:
    return FateStore(redis, partitions, events_max=settings.fates_max, days=settings.dedup_days)
