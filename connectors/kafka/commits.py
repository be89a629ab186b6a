"""The partition's position as this worker knows it, and the one way in which it changes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from connectors.kafka.gathered import Gathered, slices
from connectors.kafka.patience import Patience
from connectors.kafka.quarantine import Quarantine
from connectors.metrics import (
    COMMIT_SECONDS,
    COMMITS_REFUSED,
    EVALUATIONS,
    EVENTS_AFTER_FINALIZATION,
    GROUP_VALUES_OTHER,
    LAST_COMMIT,
    TRANSITIONS,
)
from connectors.redis.partition import PartitionStore
from connectors.redis.types import Batch, Parked, Position, Refused
from engine.effects import Delta
from engine.metering.series import OTHER

_TOLD_MAX = 1_000

log = structlog.get_logger()


class CommitRefused(Exception):
    """Nothing was written: what this worker has in memory does not follow from what is stored."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.position = refused.position


class ConfigurationMoved(CommitRefused):
    """Read the changes, drop the customers that the batch touched, and do it again."""


class PositionMoved(CommitRefused):
    """The stored position is ahead (it was done already) or behind (Redis lost its tail): drop all, and take it up there."""


class OwnerChanged(CommitRefused):
    """Another worker claimed the partition."""


class Commits:
    """Holds the position, and moves it with each commit."""

    def __init__(self, store: PartitionStore, patience: Patience, quarantine: Quarantine, partition: int) -> None:
        self._store = store
        self._patience = patience
        self._quarantine = quarantine
        self._last_commit = LAST_COMMIT.labels(str(partition))
        self.position = Position(0, None, 0, 0, 0, 0)
        self._told_others: set[str] = set()

    def adopt(self, position: Position) -> None:
        self.position = position

    def rewound(self, next_offset: int, sequence: int) -> None:
        self.position = replace(self.position, next_offset=next_offset, sequence=sequence)

    def check(self, answer: Position) -> None:
        """Raises what a commit would be refused for, given what Redis just said."""
        mine = self.position
        if answer.epoch != mine.epoch:
            raise self._refusal(Refused("epoch", answer))
        if answer.sequence != mine.sequence:
            raise self._refusal(Refused("offset_ahead" if answer.sequence > mine.sequence else "offset_behind", answer))
        if answer.revision != mine.applied_revision:
            raise ConfigurationMoved(Refused("revision", answer))

    def refused(self, refused: Refused) -> CommitRefused:
        COMMITS_REFUSED.labels(refused.reason).inc()
        return self._refusal(refused)

    def _refusal(self, refused: Refused) -> CommitRefused:
        if refused.reason == "revision":
            return ConfigurationMoved(refused)
        if refused.reason == "epoch" and refused.position.epoch > self.position.epoch:
            return OwnerChanged(refused)
        return PositionMoved(refused)  # an epoch below mine: Redis lost my claim

    async def write(
        self,
        gathered: Gathered,
        now_us: int,
        *,
        next_offset: int | None = None,
        expected_revision: int | None = None,
        seen: Sequence[tuple[bytes, int]] = (),
        parked: Sequence[tuple[str, bytes]] = (),
        unparked: Mapping[str, Parked] | None = None,
        applied_revision: int | None = None,
        catalog_revision: int | None = None,
    ) -> None:
        """Commits what was gathered and all the rest, what has changed in quarantine included, or raises CommitRefused. None =
        unchanged.

        ``expected_revision``: of the configuration; None = what has been applied, which is the rule outside of changes.py.
        """
        mine = self.position
        batch = Batch(
            epoch=mine.epoch,
            expected_sequence=mine.sequence,
            expected_offset=mine.next_offset,
            next_offset=mine.next_offset if next_offset is None else next_offset,
            expected_revision=mine.applied_revision if expected_revision is None else expected_revision,
            now_ms=now_us // 1000,
            deltas=gathered.deltas,
            seen=seen,
            parked=parked,
            unparked=unparked or {},
            notifications=gathered.entries,
            applied_revision=applied_revision,
            catalog_revision=catalog_revision,
        )
        batch = self._quarantine.write_to(batch)
        started = time.perf_counter()
        outcome, repeated = await self._patience(lambda: self._store.commit(batch))
        if isinstance(outcome, Refused) and not (repeated and self._is_done(batch, outcome)):
            self._quarantine.refused()
            raise self.refused(outcome)
        self._quarantine.committed()
        COMMIT_SECONDS.observe(time.perf_counter() - started)
        self._last_commit.set(batch.now_ms / 1000)
        self.position = Position(
            epoch=mine.epoch,
            next_offset=batch.next_offset,
            sequence=batch.expected_sequence + 1,
            revision=batch.expected_revision,
            applied_revision=mine.applied_revision if applied_revision is None else applied_revision,
            catalog_revision=mine.catalog_revision if catalog_revision is None else catalog_revision,
        )
        _count(gathered.deltas.values())
        self._tell_others(gathered.deltas)

    async def write_in_slices(
        self,
        gathered: Gathered,
        now_us: int,
        *,
        expected_revision: int | None = None,
        catalog_revision: int | None = None,
    ) -> None:
        """Where many customers may have changed much: in as many commits as it takes (``slices``), each of which holds by itself.
        The last one writes ``catalog_revision``. Raises CommitRefused; then some customers may be written, and others not."""
        *most, last = slices(gathered)
        for each in most:
            await self.write(each, now_us, expected_revision=expected_revision)
        await self.write(last, now_us, expected_revision=expected_revision, catalog_revision=catalog_revision)

    def _tell_others(self, deltas: Mapping[str, Delta]) -> None:
        """Names a customer, once in this worker, whose group values are too many to be kept apart."""
        for customer_id, delta in deltas.items():
            if delta.merged:
                GROUP_VALUES_OTHER.inc(sum(each.times for each in delta.merged.values()))
                if customer_id not in self._told_others and len(self._told_others) < _TOLD_MAX:
                    self._told_others.add(customer_id)
                    log.warning(
                        "group values are too many to be kept apart: counted together",
                        customer_id=customer_id,
                        value=OTHER,
                        group_keys=[(each.metric_id, *each.group_key) for each in delta.merged.values()],
                    )

    def _is_done(self, batch: Batch, refused: Refused) -> bool:
        """Whether this very batch was written by an attempt whose reply was lost: under my epoch nobody else writes."""
        stored = refused.position
        return (
            refused.reason == "offset_ahead"
            and stored.epoch == batch.epoch
            and stored.sequence == batch.expected_sequence + 1
            and stored.next_offset == batch.next_offset
        )


def _count(deltas: Iterable[Delta]) -> None:
    evaluations = after_finalization = 0
    for delta in deltas:
        evaluations += delta.evaluations
        after_finalization += delta.after_finalization
        for notification in delta.notifications:
            resolved = notification.type.endswith("_resolved")
            TRANSITIONS.labels(notification.type.removeprefix("alerts."), "ok" if resolved else "in_alarm").inc()
    if evaluations:
        EVALUATIONS.inc(evaluations)
    if after_finalization:
        EVENTS_AFTER_FINALIZATION.inc(after_finalization)
