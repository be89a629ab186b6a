"""The dispatcher's side of a partition's outbox: first attempts from a stream, retries from a sorted set.

A notification's entry stays in the stream until the first attempt to each endpoint was a success or is kept as a delivery for
a retry; both happen in one script (``finish``). Whoever dies on the way leaves the entry pending: ``autoclaim`` gives it to
another. The stream is never trimmed by length: that would drop what nobody has delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from connectors.redis.client import BLOCK_MS_MAX
from connectors.redis.keys import PartitionKeys
from connectors.redis.scripts import Argument, Script
from connectors.redis.types import Delivery, OutboxDepth, OutboxEntry

GROUP = "dispatcher"

GIVEN_UP_DAYS = 30
"""How long deliveries that were given up are kept for people to look at."""

_FINISH = Script("finish")
_DUE = Script("due")
_RETRY_DONE = Script("retry_done")
_RETRY_AGAIN = Script("retry_again")


class Outbox:
    """The outbox of one partition."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self.partition = partition
        self.keys = PartitionKeys(partition)
        self._redis: Any = redis  # its own types name every shape a reply has under any setting

    # --- first attempts -------------------------------------------------------------------------------------------------

    async def ensure_group(self) -> None:
        """Create the consumer group, from the stream's beginning, where it is missing. Call again after a NoGroup error."""
        try:
            await self._redis.xgroup_create(self.keys.outbox, GROUP, id="0", mkstream=True)
        except ResponseError as problem:
            if not str(problem).startswith("BUSYGROUP"):
                raise

    async def autoclaim(self, consumer: str, idle_ms: int, count: int) -> list[OutboxEntry]:
        """Take over entries whose consumer has not finished them for ``idle_ms``."""
        _, rows, *_ = await self._redis.xautoclaim(self.keys.outbox, GROUP, consumer, idle_ms, count=count)
        return [_entry(entry_id, fields) for entry_id, fields in rows if fields]  # Redis 6.2 names deleted entries, too

    async def finish(self, entry_id: str, retries: Sequence[Delivery] = ()) -> bool:
        """The first attempts of an entry are over: remove it and keep ``retries`` (each with its ``due_ms``), in one step.

        False: it was finished already (a repeated call, or another dispatcher): nothing was changed, ``retries`` are not kept.
        """
        keys = [self.keys.outbox, self.keys.retries, self.keys.retries_written, self.keys.deliveries]
        arguments: list[Argument] = [GROUP, entry_id]
        for delivery in retries:
            arguments += (delivery.id, delivery.due_ms, delivery.entry.written_at_ms, _encode(delivery))
        return bool(await _FINISH.run(self._redis, keys, *arguments))

    async def expire(self, older_than_ms: int, limit: int) -> list[OutboxEntry]:
        """Remove and return entries added before ``older_than_ms`` (server time): for notifications that no endpoint took."""
        rows = await self._redis.xrange(self.keys.outbox, max=f"{max(older_than_ms, 1) - 1}", count=limit)
        expired = []
        for entry_id, fields in rows:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.xack(self.keys.outbox, GROUP, entry_id)
            pipeline.xdel(self.keys.outbox, entry_id)
            _, removed = await pipeline.execute()
            if removed:
                expired.append(_entry(entry_id, fields))
        return expired

    # --- retries --------------------------------------------------------------------------------------------------------

    async def due(self, now_ms: int, limit: int, lease_ms: int) -> list[Delivery]:
        """Take deliveries that are due, earliest first. Each is held for ``lease_ms`` (a duration, longer than a request may
        take); one that is neither removed nor put back until then is due again."""
        lease_ends_ms = now_ms + lease_ms
        taken = await _DUE.run(self._redis, [self.keys.retries, self.keys.deliveries], now_ms, limit, lease_ends_ms)
        return [replace(_decode(raw), lease_ms=lease_ends_ms) for raw in taken]

    async def next_due_ms(self) -> int | None:
        """When the earliest delivery (or lease) is due; None where none waits."""
        first = await self._redis.zrange(self.keys.retries, 0, 0, withscores=True)
        return int(first[0][1]) if first else None

    async def retry_done(self, delivery: Delivery) -> bool:
        """Remove a delivery: it succeeded, or was given up. False: it was gone."""
        keys = [self.keys.retries, self.keys.retries_written, self.keys.deliveries]
        return bool(await _RETRY_DONE.run(self._redis, keys, delivery.id))

    async def retry_again(self, taken: Delivery, again: Delivery) -> bool:
        """Put a taken delivery back as ``again``, due at ``again.due_ms``. False (nothing changed) if the lease was lost."""
        if taken.id != again.id:
            raise ValueError(f"{again.id} cannot stand for {taken.id}")
        keys = [self.keys.retries, self.keys.deliveries]
        return bool(await _RETRY_AGAIN.run(self._redis, keys, again.id, taken.lease_ms, again.due_ms, _encode(again)))

    async def record_given_up(self, delivery: Delivery, now_ms: int) -> None:
        """Keep a delivery that failed for too long where people can look at it (``given_up``), before it is removed from the
        stream or the retries: whoever dies in between shows it twice."""
        keep_from = f"{now_ms - GIVEN_UP_DAYS * 86_400_000}-0"
        await self._redis.xadd(self.keys.exhausted, {"delivery": _encode(delivery)}, minid=keep_from, approximate=True)

    async def given_up(self, limit: int) -> list[Delivery]:
        """The latest deliveries that were given up, the last one first."""
        rows = await self._redis.xrevrange(self.keys.exhausted, count=limit)
        return [_decode(fields[b"delivery"]) for _, fields in rows]

    async def depth(self) -> OutboxDepth:
        """How much waits, and since when."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xlen(self.keys.outbox)
        pipeline.zcard(self.keys.retries)
        pipeline.xrange(self.keys.outbox, count=1)
        pipeline.zrange(self.keys.retries_written, 0, 0, withscores=True)
        entries, retries, first, first_retry = await pipeline.execute()
        oldest = [_entry(*row).written_at_ms for row in first] + [int(score) for _, score in first_retry]
        return OutboxDepth(entries, retries, min(oldest, default=None))


async def read_new(
    redis: Redis, outboxes: Sequence[Outbox], consumer: str, count: int, block_ms: int | None
) -> list[tuple[Outbox, OutboxEntry]]:
    """New entries of several partitions in one call, at most ``count`` of each; waits up to ``block_ms`` (1..5,000; None = not).

    Raises ResponseError "NOGROUP ..." where a group is missing (see ``Outbox.ensure_group``).
    """
    by_stream = {outbox.keys.outbox: outbox for outbox in outboxes}
    block = None if block_ms is None else min(max(block_ms, 1), BLOCK_MS_MAX)
    streams: Mapping[str, str] = dict.fromkeys(by_stream, ">")
    client: Any = redis
    reply = await client.xreadgroup(GROUP, consumer, dict(streams), count=count, block=block)
    return [(by_stream[stream.decode()], _entry(entry_id, fields)) for stream, rows in reply or () for entry_id, fields in rows]


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> OutboxEntry:
    appended = fields[b"appended_at_ms"]
    return OutboxEntry(
        id=fields[b"id"].decode(),
        type=fields[b"type"].decode(),
        customer_id=fields[b"customer_id"].decode(),
        alert_id=fields[b"alert_id"].decode(),
        body=fields[b"body"],
        appended_at_ms=int(appended) if appended else None,
        written_at_ms=int(fields[b"written_at_ms"]),
        entry_id=entry_id.decode(),
    )


def _encode(delivery: Delivery) -> bytes:
    entry = delivery.entry
    packed: bytes = msgpack.packb(
        {
            "entry": [getattr(entry, name) for name in OutboxEntry.__slots__],
            "endpoint_id": delivery.endpoint_id,
            "attempts": delivery.attempts,
            "first_attempt_ms": delivery.first_attempt_ms,
            "due_ms": delivery.due_ms,
            "last_error": delivery.last_error,
        }
    )
    return packed


def _decode(raw: bytes) -> Delivery:
    fields = msgpack.unpackb(raw, raw=False)
    return Delivery(entry=OutboxEntry(*fields.pop("entry")), **fields)
