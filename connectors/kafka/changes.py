"""Configuration changes: read from the partition's stream, evaluated, and committed together with how far they were read.

A catalog change touches every customer. So it is taken over at once, and a walk over the partition's customers brings those up
to date that get no usage meanwhile, in chunks between the batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from connectors.kafka.commits import ConfigurationMoved
from connectors.kafka.context import Context
from connectors.kafka.gathered import WEIGHT_MAX, Gathered, weight
from connectors.kafka.released import Released
from connectors.redis.types import Change
from engine.customer import CustomerAggregate

_PAGE = 5_000
_CHUNK = 200

log = structlog.get_logger()


class Changes:
    """Follows the configuration for one partition."""

    def __init__(self, context: Context, released: Released) -> None:
        self._context = context
        self._released = released
        self._walk_cursor: int | None = None
        self._log = log.bind(partition=context.partition)

    @property
    def walking(self) -> bool:
        return self._walk_cursor is not None

    async def start(self) -> None:
        """After a claim: the catalog as it is now, and a walk if the stored states may be older."""
        await self._take_catalog(0)
        if self._context.commits.position.catalog_revision >= self._context.catalog.revision:
            self._walk_cursor = None
        await self.catch_up(self._context.commits.position.revision)

    async def catch_up(self, stored_revision: int = 0) -> None:
        """Applies all changes that are written by now.

        ``stored_revision``: what the partition's revision is known to have reached. Raises PositionMoved and OwnerChanged.
        """
        while True:
            changes = await self._read()
            try:
                if changes:
                    await self._apply(changes)
                elif self._context.commits.position.applied_revision < stored_revision:
                    await self._apply_lost(stored_revision)
                else:
                    return
            except ConfigurationMoved as moved:
                stored_revision = max(stored_revision, moved.position.revision)

    async def follow_catalog(self) -> None:
        """Takes over a newer catalog that another partition has loaded, or that the safety net has found."""
        current = self._context.shared_catalog.current
        if current is not None and current.revision > self._context.catalog.revision:
            await self._take_catalog(current.revision)

    async def walk(self) -> None:
        """One chunk of the walk, if there is one to do."""
        if self._walk_cursor is None:
            return
        context = self._context
        cursor, customer_ids = await self._scan(self._walk_cursor)
        now_us = context.clock_us()
        touched = await context.bring(customer_ids, now_us)
        finished = context.catalog.revision if cursor == 0 else None
        try:
            await context.commits.write_in_slices(context.gather(touched, now_us), now_us, catalog_revision=finished)
        except ConfigurationMoved:  # this chunk again, after the changes
            context.aggregates.drop(touched)
            return
        self._walk_cursor = None if finished is not None else cursor
        context.aggregates.trim()

    async def _scan(self, cursor: int) -> tuple[int, list[str]]:
        answer, _ = await self._context.patience(lambda: self._context.store.customers(cursor, _CHUNK))
        return answer

    async def _read(self) -> list[Change]:
        context = self._context
        changes: list[Change] = []
        while True:
            after = changes[-1].revision if changes else context.commits.position.applied_revision
            page, _ = await context.patience(lambda after=after: context.store.changes(after, _PAGE))  # type: ignore[misc]
            changes += page
            if len(page) < _PAGE:
                return changes

    async def _apply(self, changes: Sequence[Change]) -> None:
        revision = changes[-1].revision
        refs = list(dict.fromkeys(ref for change in changes if change.kind == "refs" for ref in change.refs))
        self._context.intake.forget(refs)
        catalog_revision = max((change.catalog_revision or 0 for change in changes), default=0)
        if catalog_revision > self._context.catalog.revision:
            await self._take_catalog(catalog_revision)
        if refs:
            await self._released.release(refs, revision)
        resets = [change for change in changes if change.kind == "reset" and change.customer_id and change.alert_id]
        reset_ids = {change.customer_id for change in resets}
        customer_ids = list(dict.fromkeys(c.customer_id for c in changes if c.customer_id and c.customer_id not in reset_ids))
        self._release(changes)
        for start in range(0, len(customer_ids), _CHUNK):
            await self._evaluate(customer_ids[start : start + _CHUNK], revision)
        for start in range(0, len(resets), _CHUNK):
            await self._reset(resets[start : start + _CHUNK], revision)
        if self._context.commits.position.applied_revision < revision:
            await self._write(Gathered(), self._context.clock_us(), revision, revision)

    def _release(self, changes: Sequence[Change]) -> None:
        """Customers in quarantine are tried again when somebody asks for it, or changes their document, which may have mended it.
        They are not evaluated here: what waits for them comes first."""
        quarantine = self._context.quarantine
        for change in changes if quarantine else ():
            if change.customer_id is None:
                continue
            if change.kind == "reset" and change.alert_id is not None:
                quarantine.reset(change.customer_id, change.alert_id)
            else:
                quarantine.release(change.customer_id, change.refs)

    async def _evaluate(self, customer_ids: Sequence[str], revision: int) -> None:
        context = self._context
        now_us = context.clock_us()
        touched = await context.reload(customer_ids, now_us)
        try:
            await context.commits.write_in_slices(context.gather(touched, now_us), now_us, expected_revision=revision)
        except ConfigurationMoved:
            context.aggregates.drop(touched)
            raise

    async def _reset(self, resets: Sequence[Change], revision: int) -> None:
        """A breach that still holds after a reset is told again, so each reset has to happen once: it is committed together with
        the revision up to which changes are applied by it. As many go into one commit as it may hold. Of a customer whose reset
        comes later, an earlier change of its document may count as applied: the reset reads the document, too."""
        context = self._context
        now_us = context.clock_us()
        touched = await context.reload(list(dict.fromkeys(str(change.customer_id) for change in resets)), now_us)
        pending, applied_revision = Gathered(), 0
        try:
            for change in resets:
                own = self._reset_one(touched, str(change.customer_id), str(change.alert_id), now_us)
                again = not own.deltas.keys().isdisjoint(pending.deltas)
                if pending.deltas and (again or weight(pending) + weight(own) > WEIGHT_MAX):
                    await self._write(pending, now_us, revision, applied_revision)
                    pending = Gathered()
                pending.add(own)
                applied_revision = change.revision
            await self._write(pending, now_us, revision, applied_revision)
        except ConfigurationMoved:
            context.aggregates.drop(touched)
            raise

    def _reset_one(self, touched: dict[str, CustomerAggregate], customer_id: str, alert_id: str, now_us: int) -> Gathered:
        """What it changes; nothing if the customer is in quarantine, or gets there: then its release sees to it."""
        context = self._context
        aggregate = touched.get(customer_id)
        gathered = Gathered()
        if aggregate is not None:
            try:
                aggregate.reset(alert_id, now_us)
            except Exception as error:  # noqa: BLE001 - one customer's: it goes into quarantine, the others go on
                context.fail(customer_id, "reset", error, now_us)
            else:
                gathered = context.gather({customer_id: aggregate}, now_us)
        if not gathered.deltas:
            touched.pop(customer_id, None)
            context.quarantine.reset(customer_id, alert_id)
        return gathered

    async def _write(self, gathered: Gathered, now_us: int, revision: int, applied_revision: int) -> None:
        await self._context.commits.write(gathered, now_us, expected_revision=revision, applied_revision=applied_revision)

    async def _apply_lost(self, revision: int) -> None:
        """The revision is ahead of the stream: changes are missing from it. Then anything may have changed."""
        self._log.warning("the change stream does not reach the partition's revision: reading the whole configuration again")
        context = self._context
        context.intake.forget_all()
        context.aggregates.drop_all()
        context.shared_catalog.forget()
        await self._take_catalog(0)
        await self._released.release_all(revision)
        self._walk_cursor = 0
        context.quarantine.release_all()
        await self._write(Gathered(), context.clock_us(), revision, revision)

    async def _take_catalog(self, revision: int) -> None:
        context = self._context
        context.catalog, _ = await context.patience(lambda: context.shared_catalog.at_least(revision))
        self._walk_cursor = 0
