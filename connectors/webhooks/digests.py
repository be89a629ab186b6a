"""Digests: of many notifications of one alert within a short time an endpoint may want the first few at once, and the others as
one message at the window's end.

    admitted ── the first N of a window ──► lane
          └──── more: held until its end ──► one digest ──► lane ──► its end is the end of each that it lists

What is held stays in its lane in Redis, in its place, until the digest has ended: so order holds, and nothing is lost whatever
dies. A digest's id and body are stored before it is sent the first time, together with the note of what it lists, so every
attempt sends the same. Whoever takes something that is held finds there what has become of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

import orjson
from redis.asyncio import Redis

from connectors.metrics import WEBHOOK_DELIVERIES
from connectors.redis.digests import ALONE, DigestStore
from connectors.redis.outbox import Outbox, conclude_all, place_of
from connectors.redis.types import Delivery, Ending, OutboxEntry
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.outcomes import new_delivery
from connectors.webhooks.persist import clock_ms, persist
from schemas.documents import instant_text

DIGEST_TYPE = "alerts.digest"
LISTED_MAX = 500
"""How many notifications one digest lists; more make another one."""

_NAMESPACE = UUID("0b8f5c0e-7a53-4c55-9c47-1d2f6f0c7a12")
_LOOK_AGAIN_MS = 60_000  # at what a digest lists: its end ends that, too, and this is for what a crash has left
_ENDED_AT_ONCE = 250

Go = Callable[[Outbox, Delivery], None]


class Digests:
    """``go``: is given each delivery that may go on because one before it has ended."""

    def __init__(self, redis: Redis, outboxes: Sequence[Outbox], lease_ms: int, go: Go) -> None:
        self._redis = redis
        self._store = DigestStore(redis, outboxes)
        self._outboxes = outboxes
        self._lease_ms = lease_ms
        self._go = go
        self._making = asyncio.Lock()

    # --- into the lanes ---------------------------------------------------------------------------------------------

    async def held(self, wanted: Sequence[tuple[OutboxEntry, Sequence[Endpoint]]], now_ms: int) -> Mapping[tuple[str, str], int]:
        """(notification id, endpoint id) -> start of the window (ms), of those that are to be held. Raises RedisError."""
        asked: dict[tuple[str, str], tuple[Endpoint, list[str]]] = {}
        for entry, endpoints in wanted:
            for endpoint in endpoints:
                if endpoint.digest is not None and entry.type.startswith("alerts."):
                    asked.setdefault((endpoint.id, entry.alert_id), (endpoint, []))[1].append(entry.id)
        found = {}
        for (endpoint_id, alert_id), (endpoint, ids) in asked.items():
            assert endpoint.digest is not None
            free, window_ms = endpoint.digest
            start_ms, alone = await self._store.alone(endpoint_id, alert_id, ids, free, window_ms, now_ms)
            found.update({(each, endpoint_id): start_ms for each in ids if not alone[each]})
        return found

    # --- at the window's end ----------------------------------------------------------------------------------------

    async def settle(self, outbox: Outbox, taken: Delivery) -> Delivery | None:
        """What to go on with after something held was taken: itself, or what followed it if its digest has ended."""
        window = taken.digest
        if clock_ms() < taken.digest_at_ms:
            await self._later(outbox, taken, taken.digest_at_ms)
            return None
        while (number := await persist(lambda: self._store.digest_of(window, taken.id))) is None:
            async with self._making:
                if not await self._make(taken):
                    return None  # another dispatcher has ended it
        if number == ALONE:
            return replace(taken, digest="", digest_at_ms=0)
        digest_id = f"{_digest_id(window, number)}:{taken.endpoint_id}"
        if await persist(lambda: self._store.is_live(digest_id)):
            await self._later(outbox, taken, clock_ms() + int(_LOOK_AGAIN_MS * (1.0 + random.random())))
            return None
        status = await persist(lambda: self._store.ended_as(digest_id))
        ending = Ending(replace(taken, digest="", digest_at_ms=0), status or "delivered", _record(digest_id))
        (((_, follower),),) = await persist(lambda: conclude_all(self._redis, [(outbox, [ending])], clock_ms(), self._lease_ms))
        return follower

    async def _later(self, outbox: Outbox, taken: Delivery, due_ms: int) -> None:
        await persist(lambda: outbox.put_back(taken, replace(taken, due_ms=due_ms, lease_ms=0), clock_ms()))

    async def _make(self, taken: Delivery) -> bool:
        """A step towards a decision about ``taken``: it goes by itself, or in a digest with others. False: it has ended."""
        window = taken.digest
        number, held = await persist(lambda: self._store.held(window))
        if not held:
            return await persist(lambda: self._store.digest_of(window, taken.id)) is not None
        if len(held) == 1:
            await persist(lambda: self._store.let_go(window, held[0][1].id))
        else:
            held.sort(key=lambda each: each[1].entry.written_at_ms)  # stable: those of one partition stay in their order
            digest = _digest(window, number, taken, held[:LISTED_MAX], clock_ms())
            await persist(lambda: self._store.make(window, number, digest, digest.first_attempt_ms))
        return True

    # --- and its end ------------------------------------------------------------------------------------------------

    async def end(self, digest: Delivery, status: str) -> None:
        """End what a digest lists, before the digest itself is ended: after a crash in between it is sent again, and all that is
        left is ended then."""
        record = _record(digest.id)
        by_partition: dict[int, list[str]] = {}
        for partition, delivery_id in digest.members:
            by_partition.setdefault(partition, []).append(delivery_id)
        for partition, ids in by_partition.items():
            outbox = self._outboxes[partition]
            for start in range(0, len(ids), _ENDED_AT_ONCE):
                live = await persist(lambda o=outbox, some=ids[start : start + _ENDED_AT_ONCE]: o.deliveries(some))  # type: ignore[misc]
                endings = [Ending(replace(each, digest="", digest_at_ms=0), status, record) for each in live]
                if endings:
                    (ended,) = await persist(
                        lambda o=outbox, each=endings: conclude_all(self._redis, [(o, each)], clock_ms(), self._lease_ms)  # type: ignore[misc]
                    )
                    WEBHOOK_DELIVERIES.labels(status).inc(sum(each for each, _ in ended))
                    for _, follower in ended:
                        if follower is not None:
                            self._go(outbox, follower)


def _digest_id(window: str, number: int) -> str:
    return str(uuid5(_NAMESPACE, f"{window}:{number}"))


def _digest(window: str, number: int, taken: Delivery, listed: Sequence[tuple[int, Delivery]], now_ms: int) -> Delivery:
    """``listed``: with their partitions."""
    entries = [delivery.entry for _, delivery in listed]
    digest_id = _digest_id(window, number)
    properties: dict[str, Any] = {
        "alert_id": taken.entry.alert_id,
        "count": len(entries),
        "from": _text(min(entry.written_at_ms for entry in entries)),
        "to": _text(max(entry.written_at_ms for entry in entries)),
        "notifications": [orjson.Fragment(entry.body) for entry in entries],
    }
    body = orjson.dumps({"id": digest_id, "type": DIGEST_TYPE, "properties": properties})
    entry = OutboxEntry(digest_id, DIGEST_TYPE, "", taken.entry.alert_id, body, None, now_ms)
    members = tuple((partition, delivery.id) for partition, delivery in listed)
    digest = new_delivery(entry, taken.endpoint_id, now_ms)
    return replace(digest, place=place_of(entry, taken.endpoint_id, f"{now_ms}-{number}"), members=members)


def _record(digest_id: str) -> bytes:
    """What the log keeps with each notification that a digest lists."""
    fields = dict.fromkeys(("status", "dns_seconds", "connect_seconds", "tls_seconds", "headers_seconds"))
    return orjson.dumps(fields | {"at_ms": clock_ms(), "outcome": "digest", "seconds": 0.0, "requests": 0, "response": digest_id})


def _text(at_ms: int) -> str:
    return instant_text(at_ms * 1000)
