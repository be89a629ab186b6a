"""One partition of the events topic in Redis: its position, customers' states, parked events, timers, and the one commit.

Every write of the owner is guarded by (epoch, sequence, offset, revision), so that each can be sent again after a lost reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from redis.asyncio import Redis

from connectors.redis.types import Batch, Change, Claim, Committed, LoadedCustomer, Prepared, Refused


class PartitionStore:
    """``stored_days``: engine.customer.stored_days (which days' windows belong to a state). No method retries by itself."""

    def __init__(
        self,
        redis: Redis,
        partition: int,
        *,
        dedup_days: float,
        stored_days: Callable[[Mapping[str, str]], Iterable[int]],
    ) -> None:
        raise NotImplementedError

    async def claim(self, owner: str) -> Claim:
        """Take the partition: from now on every other epoch is refused. ``owner`` is a name for people."""
        raise NotImplementedError

    async def position(self) -> Claim:
        """The stored position, without a claim."""
        raise NotImplementedError

    async def prepare(self, epoch: int, seen_ids: Sequence[bytes], customers: Sequence[str], now_ms: int) -> Prepared | Refused:
        """Which ids were seen, and the customers' documents and states; refused (epoch) if the partition has another owner.

        One round trip; a second one only for the windows of customers that have any.
        """
        raise NotImplementedError

    async def load(self, customers: Sequence[str]) -> dict[str, LoadedCustomer]:
        """Documents, states and windows, without a claim."""
        raise NotImplementedError

    async def commit(self, batch: Batch) -> Committed | Refused:
        """Write the whole batch or nothing. After a lost reply send the same batch again: "offset_ahead" means that it was done."""
        raise NotImplementedError

    async def rewind(self, epoch: int, expected_sequence: int, next_offset: int) -> Committed | Refused:
        """Move the position to another offset, because the log no longer has the stored one. States stay as they are."""
        raise NotImplementedError

    async def changes(self, after_revision: int, limit: int) -> list[Change]:
        """Changes of the configuration with a revision above ``after_revision``, oldest first."""
        raise NotImplementedError

    async def wait_changes(self, after_revision: int, block_ms: int) -> bool:
        """Wait until there is a change above ``after_revision``; False after ``block_ms`` (1..5,000) without one."""
        raise NotImplementedError

    async def customers(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Ids of the partition's customers, about ``count`` at a time (SSCAN: an id may come twice). Start and end at cursor 0."""
        raise NotImplementedError

    async def due_timers(self, now_ms: int, limit: int) -> list[str]:
        """Customers whose timer is due, earliest first."""
        raise NotImplementedError

    async def parked_refs(self, refs: Sequence[str]) -> list[str]:
        """Those of ``refs`` for which events are parked here."""
        raise NotImplementedError

    async def parked_all(self, limit: int) -> list[str]:
        """References with parked events, oldest first."""
        raise NotImplementedError

    async def parked_expired(self, older_than_ms: int, limit: int) -> list[str]:
        """References whose first parked event was parked before ``older_than_ms``."""
        raise NotImplementedError

    async def parked_events(self, ref: str, limit: int) -> list[bytes]:
        """The oldest parked events of ``ref``, in order. They are removed by a commit (``Batch.unparked``)."""
        raise NotImplementedError

    async def find(self, transaction_ids: Sequence[str]) -> list[list[int]]:
        """For each transaction id the offsets of records that may hold it (32 bits are compared: read the record to be sure)."""
        raise NotImplementedError
