"""Parked events on their way out: back into the log once their reference resolves, or to the dead letters when it never did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from connectors.kafka.commits import Gathered
from connectors.kafka.context import Context
from connectors.kafka.parking import decode_parked
from connectors.metrics import EVENTS_CONSUMED, EVENTS_REJECTED
from connectors.redis.keys import partition_of
from engine.effects import Rejection
from schemas.events import Reason

_PAGE = 500
_REFS_MAX = 1_000
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
            for ref, customer_id in (await context.resolve(here)).items():
                await self._release_ref(ref, customer_id, revision)

    async def release_all(self, revision: int) -> None:
        """The same for everything that is parked here: after a claim, in case a change went by unseen."""
        context = self._context
        refs, _ = await context.patience(lambda: context.store.parked_all(_REFS_MAX))
        if refs:
            await self.release(refs, revision)

    async def bury_expired(self, now_us: int) -> None:
        """Dead-letters events that have waited for more than ``parked_days``.

        They were counted as parked when they came. Here they are counted once more, as consumed (from parking) and rejected.
        """
        context = self._context
        days = context.settings.parked_days
        oldest_ms = now_us // 1000 - days * _DAY_MS
        refs, _ = await context.patience(lambda: context.store.parked_expired(oldest_ms, _PAGE))
        rejection = Rejection(Reason.UNKNOWN_CUSTOMER, f"customer_id was unknown for {days} days")
        for ref in refs:
            while True:
                parked = [decode_parked(event) for event in await self._page(ref)]
                expired = list(takewhile(lambda event: event.appended_at_ms < oldest_ms, parked))
                if not expired:
                    break
                await context.outgoing.bury_parked(expired, rejection)
                await context.commits.write(Gathered(), now_us, unparked={ref: len(expired)})
                EVENTS_CONSUMED.inc(len(expired))
                EVENTS_REJECTED.labels(Reason.UNKNOWN_CUSTOMER).inc(len(expired))

    async def _release_ref(self, ref: str, customer_id: str, revision: int) -> None:
        context = self._context
        home = partition_of(customer_id, context.partitions)
        while stored := await self._page(ref):
            await context.outgoing.release([decode_parked(event) for event in stored], customer_id, home)
            await context.commits.write(Gathered(), context.clock_us(), expected_revision=revision, unparked={ref: len(stored)})

    async def _page(self, ref: str) -> list[bytes]:
        stored, _ = await self._context.patience(lambda: self._context.store.parked_events(ref, _PAGE))
        return stored
