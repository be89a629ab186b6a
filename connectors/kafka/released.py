"""Parked events on their way out: back into the log once their reference resolves, or to the dead letters when it never did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import takewhile

from connectors.kafka.context import Context
from connectors.kafka.fates import of_buried
from connectors.kafka.gathered import Gathered
from connectors.kafka.parking import decode_parked
from connectors.metrics import EVENTS_CONSUMED, EVENTS_REJECTED, PARKED_BYTES, PARKED_EVENTS
from connectors.redis.keys import partition_of
from connectors.redis.types import Parked
from engine.effects import Rejection
from schemas.events import Reason

_REFS_PAGE = 500
_REFS_TOGETHER = 40
_EVENTS_OF_EACH = 4
"""References that are dealt with in one commit, and events of each: with the largest properties that the settings allow by
default, such a page has 11 MB. (One reference a commit: 1,200 references took over 30 s.)"""
_DAY_MS = 86_400_000


class Released:
    """Takes events out of one partition's parking. Each page is produced, acknowledged, and only then removed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def release(self, refs: Sequence[str], revision: int) -> None:
        """Those of ``refs`` that resolve now; ``revision`` of the configuration is expected."""
        context = self._context
        here, _ = await context.patience(lambda: context.store.parked_refs(refs))
        if here:
            customers = list((await context.resolve(here)).items())
            for start in range(0, len(customers), _REFS_TOGETHER):
                await self._release(dict(customers[start : start + _REFS_TOGETHER]), revision)

    async def release_all(self, revision: int) -> None:
        """The same for everything that is parked here: after a claim, in case a change went by unseen."""
        context = self._context
        cursor = 0
        while True:
            (cursor, refs), _ = await context.patience(lambda at=cursor: context.store.parked_page(at, _REFS_PAGE))  # type: ignore[misc]
            if refs:
                await self.release(refs, revision)
            if not cursor:
                break
        await self.measure()

    async def bury_expired(self, now_us: int) -> bool:
        """Dead-letters events that have waited for more than ``parked_days``, of one page of references. Returns whether there
        may be more.

        They were counted as parked when they came. Here they are counted once more, as consumed (from parking) and rejected.
        """
        context = self._context
        days = context.settings.parked_days
        oldest_ms = now_us // 1000 - days * _DAY_MS
        page, _ = await context.patience(lambda: context.store.parked_expired(oldest_ms, _REFS_TOGETHER))
        rejection = Rejection(Reason.UNKNOWN_CUSTOMER, f"customer_id was unknown for {days} days")
        refs: Sequence[str] = page
        limit = _EVENTS_OF_EACH
        while refs:
            stored = await self._events(refs, limit)
            expired = {ref: _expired(events, oldest_ms) for ref, events in stored.items()}
            buried_now = [decode_parked(event) for events in expired.values() for event in events]
            await context.outgoing.bury_parked(buried_now, rejection)
            await context.note(of_buried(buried_now, rejection))
            # Each is then looked at again by the arrival of its first event that is left (commit.lua sees to that).
            await context.commits.write(Gathered(), now_us, unparked={ref: _size(events) for ref, events in expired.items()})
            buried = sum(map(len, expired.values()))
            EVENTS_CONSUMED.inc(buried)
            EVENTS_REJECTED.labels(Reason.UNKNOWN_CUSTOMER).inc(buried)
            refs, limit = _with_more([ref for ref in refs if len(expired[ref]) == limit])
        await self.measure()
        return len(page) == _REFS_TOGETHER

    async def measure(self) -> None:
        """How much is parked, for the metrics."""
        context = self._context
        sizes, _ = await context.patience(lambda: context.store.parked_sizes(()))
        partition = str(context.partition)
        PARKED_EVENTS.labels(partition).set(sizes.total.events)
        PARKED_BYTES.labels(partition).set(sizes.total.bytes)

    async def _release(self, customers: Mapping[str, str], revision: int) -> None:
        """``customers``: reference -> the customer that it now means; a few at a time, until nothing of them is parked."""
        context = self._context
        refs: Sequence[str] = list(customers)
        limit = _EVENTS_OF_EACH
        while refs:
            stored = await self._events(refs, limit)
            released = []
            for ref, events in stored.items():
                home = partition_of(customers[ref], context.partitions)
                released.append(context.outgoing.release(list(map(decode_parked, events)), customers[ref], home))
            await asyncio.gather(*released)
            unparked = {ref: _size(events) for ref, events in stored.items()}
            await context.commits.write(Gathered(), context.clock_us(), expected_revision=revision, unparked=unparked)
            refs, limit = _with_more([ref for ref in refs if len(stored[ref]) == limit])

    async def _events(self, refs: Sequence[str], limit: int) -> dict[str, list[bytes]]:
        stored, _ = await self._context.patience(lambda: self._context.store.parked_events(refs, limit))
        return stored


def _with_more(refs: list[str]) -> tuple[list[str], int]:
    """Those that may have more events, and how many of each to take next: one alone gets a page for itself."""
    return refs, _EVENTS_OF_EACH if len(refs) > 1 else _REFS_TOGETHER * _EVENTS_OF_EACH


def _expired(events: Sequence[bytes], oldest_ms: int) -> list[bytes]:
    return list(takewhile(lambda event: decode_parked(event).appended_at_ms < oldest_ms, events))


def _size(stored: Sequence[bytes]) -> Parked:
    return Parked(len(stored), sum(map(len, stored)))
