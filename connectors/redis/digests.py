"""Digests in Redis: which notifications are held, what became of them, and the digest itself, made once.

A window is of one endpoint and alert. What is held lies in its customer's partition as every delivery does; which window is open
is known under the catalog's tag, and the digests lie in the partition of what belongs to no customer. Nothing spans these in one
step: what is held stays until its digest has ended, and a digest is made and its deliveries are noted in one script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from connectors.redis.batches import pack
from connectors.redis.keys import CatalogKeys, partition_of
from connectors.redis.outbox import Outbox, encode_delivery
from connectors.redis.scripts import Script
from connectors.redis.types import Delivery

REMEMBERED_MS = 20 * 86_400_000
"""How long after its last change a window is remembered: longer than any of its deliveries may wait."""

ALONE = -1

_WINDOW = Script("digest_window")
_DIGEST = Script("digest", "lanes")


class DigestStore:
    def __init__(self, redis: Redis, outboxes: Sequence[Outbox]) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._outboxes = outboxes
        self.home = outboxes[partition_of("", len(outboxes))]

    async def alone(
        self, endpoint_id: str, alert_id: str, ids: Sequence[str], free: int, window_ms: int, now_ms: int
    ) -> tuple[int, Mapping[str, bool]]:
        """When the open window began (ms), and which notifications go by themselves: ``free`` of a window."""
        key = CatalogKeys.digest_window(endpoint_id, alert_id)
        start, *alone = await _WINDOW.run(self._redis, [key], now_ms, window_ms, free, *ids)
        return int(start), {each: bool(one) for each, one in zip(ids, alone, strict=True)}

    async def digest_of(self, window: str, delivery_id: str) -> int | None:
        """The number of the digest that lists a delivery; ``ALONE``: it goes by itself; None: that is not decided yet."""
        number = await self._redis.hget(self.home.keys.digests(window), delivery_id)
        return None if number is None else int(number)

    async def held(self, window: str) -> tuple[int, list[tuple[int, Delivery]]]:
        """How many digests a window has, and, with their partitions, the deliveries that are held and in none of them: those of
        one partition in their order."""
        noted = await self._redis.hgetall(self.home.keys.digests(window))
        count = int(noted.get(b"#", 0))
        found = []
        for outbox in self._outboxes:
            ids = dict.fromkeys(await self._redis.lrange(outbox.keys.held(window), 0, -1))
            fresh = [each.decode() for each in ids if each not in noted]
            found += [(outbox.partition, delivery) for delivery in await outbox.deliveries(fresh) if delivery.digest == window]
        return count, found

    async def let_go(self, window: str, delivery_id: str) -> bool:
        """It goes by itself, whoever asks from now on. False: a digest lists it."""
        key = self.home.keys.digests(window)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hsetnx(key, delivery_id, ALONE)
        pipeline.hget(key, delivery_id)
        pipeline.pexpire(key, REMEMBERED_MS)
        _, number, _ = await pipeline.execute()
        return int(number) == ALONE

    async def make(self, window: str, number: int, digest: Delivery, now_ms: int) -> bool:
        """False: somebody else was faster, and nothing was changed."""
        keys = self.home.keys
        names = [keys.digests(window), keys.due(digest.endpoint_id), keys.delivery_lanes, keys.deliveries]
        names += [keys.delivery_log_at, keys.deliveries_at, keys.delivery_places]
        members = pack([delivery_id for _, delivery_id in digest.members])
        arguments = (number, digest.id, digest.endpoint_id, digest.place, encode_delivery(digest), now_ms, REMEMBERED_MS, members)
        return bool(await _DIGEST.run(self._redis, names, *arguments))

    async def is_live(self, delivery_id: str) -> bool:
        return bool(await self._redis.hexists(self.home.keys.deliveries, delivery_id))

    async def ended_as(self, delivery_id: str) -> str | None:
        """How a digest has ended, as far as the log reaches back."""
        raw = await self._redis.hget(self.home.keys.delivery_log, delivery_id)
        return None if raw is None else raw.split(b" ", 1)[0].decode()
