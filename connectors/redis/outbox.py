"""The dispatcher's side of a partition's outbox: first attempts from a stream, retries from a sorted set.

A notification's entry stays in the stream until the first attempt to each endpoint was a success or is kept as a delivery for
a retry; both happen in one script (``finish``). Whoever dies on the way leaves the entry pending: ``autoclaim`` gives it to another.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis

from connectors.redis.types import Delivery, OutboxDepth, OutboxEntry


class Outbox:
    """The outbox of one partition."""

    def __init__(self, redis: Redis, partition: int) -> None:
        raise NotImplementedError

    async def ensure_group(self) -> None:
        """Create the consumer group, from the stream's beginning, where it is missing. Call again after a NoGroup error."""
        raise NotImplementedError

    async def autoclaim(self, consumer: str, idle_ms: int, count: int) -> list[OutboxEntry]:
        """Take over entries whose consumer has not finished them for ``idle_ms``."""
        raise NotImplementedError

    async def finish(self, entry_id: str, retries: Sequence[Delivery] = ()) -> bool:
        """The first attempts of an entry are over: remove it and keep ``retries`` (each with its ``due_ms``), in one step.

        False: it was finished already (a repeated call, or another dispatcher): nothing was changed, ``retries`` are not kept.
        """
        raise NotImplementedError

    async def due(self, now_ms: int, limit: int, lease_ms: int) -> list[Delivery]:
        """Take deliveries that are due, earliest first. Each is held for ``lease_ms`` (a duration, longer than a request may take);
        one that is neither removed nor put back until then is due again."""
        raise NotImplementedError

    async def retry_done(self, delivery: Delivery) -> bool:
        """Remove a delivery: it succeeded, or was given up. False: it was gone."""
        raise NotImplementedError

    async def retry_again(self, taken: Delivery, again: Delivery) -> bool:
        """Put a taken delivery back as ``again``, to be due at ``again.due_ms``. False (nothing changed) if the lease was lost."""
        raise NotImplementedError

    async def depth(self) -> OutboxDepth:
        """How much waits, and since when."""
        raise NotImplementedError

    async def expire(self, older_than_ms: int, limit: int) -> list[OutboxEntry]:
        """Remove and return entries written before ``older_than_ms``: for notifications that no endpoint ever took."""
        raise NotImplementedError


async def read_new(
    redis: Redis, outboxes: Sequence[Outbox], consumer: str, count: int, block_ms: int | None
) -> list[tuple[Outbox, OutboxEntry]]:
    """New entries of several partitions in one call, at most ``count`` of each; waits up to ``block_ms`` (1..5,000; None = not)."""
    raise NotImplementedError
