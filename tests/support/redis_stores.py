"""What the tests of the Redis stores share: batches in one line, and pictures of all that a server holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from redis.asyncio import Redis

from connectors.redis.customers import CustomerStore
from connectors.redis.partition import PartitionStore
from connectors.redis.types import Batch, OutboxEntry, Position, Taken
from engine.effects import Delta

NOW_MS = 1_767_225_600_000  # 2026-01-01


def days_of(state: Mapping[str, str]) -> Iterable[int]:
    """Stands for engine.customer.stored_days: the days are listed in a field of the state."""
    return map(int, state.get("days", "").split())


def partition_store(redis: Redis, partition: int = 3, *, dedup_days: float = 34) -> PartitionStore:
    return PartitionStore(redis, partition, dedup_days=dedup_days, stored_days=days_of)


async def set_aliases(customers: CustomerStore, customer_id: str, aliases: list[str], now_ms: int = NOW_MS) -> Taken | None:
    """As the API does, but for the document."""
    changed = await customers.take_aliases(customer_id, aliases, now_ms)
    if isinstance(changed, Taken):
        return changed
    await customers.announce_refs(customer_id, changed)
    return None


def batch_at(position: Position, next_offset: int | None = None, **parts: object) -> Batch:
    """A batch that fits ``position``; without ``next_offset`` one that leaves the offset alone."""
    batch = Batch(
        epoch=position.epoch,
        expected_sequence=position.sequence,
        expected_offset=position.next_offset,
        next_offset=position.next_offset if next_offset is None else next_offset,
        expected_revision=position.revision,
        now_ms=NOW_MS,
    )
    return replace(batch, **parts)  # type: ignore[arg-type]


def delta_of(timer_us: int | None = None, **state: str) -> Delta:
    return Delta(state_set=state, timer_us=timer_us)


def entry_of(number: int, body: bytes = b"{}") -> OutboxEntry:
    return OutboxEntry(
        id=f"notification-{number}",
        type="alerts.spend_threshold_reached",
        customer_id="acme",
        alert_id="alert",
        body=body,
        appended_at_ms=NOW_MS - 5,
        written_at_ms=NOW_MS + number,
    )


async def snapshot(redis: Redis) -> dict[bytes, bytes | None]:
    """Every key with its value, serialized by the server: equal if and only if nothing was written."""
    keys = sorted([key async for key in redis.scan_iter(count=1000)])
    return {key: await redis.dump(key) for key in keys}
