"""One partition of the events topic, served by one task.

    take ──► fetch ──► batch ──► between ──► fetch ...
    (claim, place)     │           (changes, timers, walk, parking)
                       └ classify, prepare, evaluate, produce, commit

What is stored is the truth. Whenever it turns out not to be what this task thinks, the task drops what it has in memory and
takes the partition again; a batch in flight is then done again from the stored state, which gives the same result.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError, RecordTooLargeError

from connectors.agreement import PROCESS
from connectors.clock import shifted_ms
from connectors.kafka.changes import Changes
from connectors.kafka.commits import ConfigurationMoved, OwnerChanged, PositionMoved
from connectors.kafka.context import Context
from connectors.kafka.ends import Ends
from connectors.kafka.errors import UNREADABLE, UnreadableRecords, told
from connectors.kafka.evaluate import Evaluated, evaluate
from connectors.kafka.event_errors import EventErrors
from connectors.kafka.fates import of_arrived, of_partial, of_rejected
from connectors.kafka.gathered import Gathered
from connectors.kafka.intake import LOG_APPEND_TIME, Arrived, Plan, Record, Rejected
from connectors.kafka.outgoing import Sent
from connectors.kafka.pace import Pace
from connectors.kafka.parking import within_bounds
from connectors.kafka.patience import Abandoned
from connectors.kafka.position import place
from connectors.kafka.quarantine import held_event
from connectors.kafka.released import Released
from connectors.kafka.releases import Releases
from connectors.metrics import (
    BATCH_EVENTS,
    BATCH_SECONDS,
    EVENTS_APPLIED,
    EVENTS_CONSUMED,
    EVENTS_DUPLICATE,
    EVENTS_FORWARDED,
    EVENTS_PARKED,
    EVENTS_PARTIAL,
    EVENTS_REJECTED,
)
from connectors.redis.types import Claim, LoadedCustomer, Refused
from engine import numbers
from engine.effects import Rejection
from schemas.events import Reason

_TIMERS_MAX = 500
_PARKING_EVERY_S = 60.0
STUCK_S = 30.0
"""A turn that lasts longer is told: Redis is away, or a batch takes very long."""
_PLACE_AGAIN_S = 0.2
_READABLE_MAX = 1 << 20
_TAKE_AGAIN_S = 0.05
_CLAIM_AGAIN_S = 5.0
"""After another worker claimed the partition. Usually the group has revoked it by then. If a worker that had lost it claimed it
late, nobody would serve it until the next rebalance: so the one that still has it assigned claims it again."""

_NO_ROOM = Rejection(Reason.QUARANTINED, "its customer is in quarantine, and as many events as may wait for it do")

log = structlog.get_logger()


class PartitionTask:
    """``run`` until ``stop``. What it raises is for the worker to deal with: a defect, of ours or of what is stored, stops this
    partition alone (stopped.py)."""

    def __init__(
        self, context: Context, consumer: AIOKafkaConsumer, ends: Ends, topic: str, owner: str, stopping: asyncio.Event
    ) -> None:
        self._context = context
        self._consumer = consumer
        self._ends = ends
        self._owner = owner
        self._stopping = stopping
        self._here = TopicPartition(topic, context.partition)
        self._log = log.bind(partition=context.partition)
        self._released = Released(context)
        self._event_errors = EventErrors(context.settings.group_values_max)
        self._changes = Changes(context, self._released)
        self._releases = Releases(context, self._event_errors)
        self._pace = Pace(context.settings.batch_records_max, context.settings.batch_target_ms * context.assigned)
        self._waiting: list[Record] = []
        self._begun_offset = 0  # where this task began to read
        self._fetch_offset = 0  # where the next fetch begins, behind all that was fetched (position.py)
        self._turned_s = time.monotonic()
        self._tick_due_s = 0.0
        self._parking_due_s = 0.0
        self._fetching = False
        self._readable_max = _READABLE_MAX  # records of one fetch; halved while it holds something that cannot be read
        self.placed = asyncio.Event()  # it knows where to read on, or it ended before it did
        self._task: asyncio.Task[None] | None = None

    @property
    def next_offset(self) -> int | None:
        """What is committed in Redis."""
        return self._context.commits.position.next_offset

    @property
    def read_from(self) -> int | None:
        """Where it reads on, or would after a restart; None while it does not know."""
        return self._begun_offset if self.next_offset is None and self.placed.is_set() else self.next_offset

    def problem(self) -> str:
        """What keeps it from its work, in words; empty if nothing does."""
        if not self.placed.is_set():
            return "looking where to read on"
        seconds = time.monotonic() - self._turned_s
        return f"has not got on for {seconds:.0f} s" if seconds > STUCK_S else ""

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def customers_quarantined(self) -> int:
        return len(self._context.quarantine)

    @property
    def customers_cached(self) -> int:
        return len(self._context.aggregates)

    def start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run(), name=f"partition-{self._here.partition}")
        return self._task

    def stop(self) -> None:
        """Lets the batch in flight end (its commit included), and then the task."""
        self._stopping.set()
        if self._fetching and self._task is not None:
            self._task.cancel()  # it waits for records: there is nothing to finish

    async def _run(self) -> None:
        numbers.activate()
        try:
            while not self._stopping.is_set():
                try:
                    await self._take()
                    await self._serve()
                except PositionMoved as moved:
                    self._log.warning(
                        "not what is stored: taking it up from there", reason=str(moved), stored=str(moved.position)
                    )
                    await self._context.patience.pause(_TAKE_AGAIN_S)
                except OwnerChanged as changed:
                    self._log.warning("another worker claimed this partition", epoch=changed.position.epoch)
                    self._drop()
                    await self._context.patience.pause(_CLAIM_AGAIN_S)
        except Abandoned:
            self._log.warning("stopping while Redis does not answer: the batch in flight will be read again")
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            self._drop()
            if self._stopping.is_set():  # else it has stopped, and those in quarantine are still its own
                self._context.quarantine.let_go()
            self.placed.set()

    # --- taking the partition -------------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._context.aggregates.drop_all()
        self._context.intake.forget_all()
        self._waiting = []

    async def _take(self) -> None:
        self._drop()
        context = self._context
        before = context.commits.position
        claim: Claim
        claim, _ = await context.patience(lambda: context.store.claim(self._owner))
        if claim.sequence < before.sequence:
            context.shared_catalog.forget()  # Redis went back: the same revisions may come to mean something else
        context.commits.adopt(claim)
        context.proofs.adopt((await context.patience(context.catalog_store.proof_key))[0])
        stored, _ = await context.patience(context.store.quarantined)
        context.quarantine.adopt(stored)
        await self._place()
        self.placed.set()
        await self._changes.start()
        while True:
            try:
                await self._released.release_all(context.commits.position.applied_revision)
                return
            except ConfigurationMoved as moved:
                await self._changes.catch_up(moved.position.revision)

    async def _place(self) -> None:
        context = self._context
        position = context.commits.position
        stored_id, _ = await context.patience(context.store.topic_id)
        topic_id = context.topic_id or stored_id
        placement = await place(
            self._consumer,
            self._ends,
            self._here,
            position.next_offset,
            context.settings.unknown_offset_policy,
            made_anew=stored_id not in {None, topic_id},
        )
        if placement.moved:
            answer, repeated = await context.patience(
                lambda: context.store.rewind(position.epoch, position.sequence, placement.offset, topic_id)
            )
            if isinstance(answer, Refused):
                raise PositionMoved(answer) if repeated else context.commits.refused(answer)
            context.commits.rewound(placement.offset, answer.sequence)
        elif topic_id is not None and topic_id != stored_id:
            await context.patience(functools.partial(context.store.set_topic_id, topic_id))
        self._waiting = []
        self._fetch_offset = self._begun_offset = placement.offset
        self._consumer.seek(self._here, placement.offset)
        self._consumer.resume(self._here)

    # --- serving it -----------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            self._turned_s = time.monotonic()
            records = self._waiting or await self._fetch()
            if records:
                taken = self._pace.cut(records)
                self._waiting = records[taken:]
                await self._batch(records[:taken], self._waiting[0].offset if self._waiting else self._fetch_offset)
            elif self._fetch_offset > (self._begun_offset if self.next_offset is None else self.next_offset):
                await self._skip()
            await self._between()

    async def _skip(self) -> None:
        """Moves the stored position over what nobody ever sees: the markers of transactions, and records of aborted ones."""
        try:
            await self._context.commits.write(Gathered(), self._context.clock_us(), next_offset=self._fetch_offset)
        except ConfigurationMoved:
            pass  # again after the changes, which come next

    async def _fetch(self) -> list[Record]:
        busy = (self._changes.walking or self._releases.waiting) and PROCESS.agrees
        timeout_ms = 0 if busy else self._context.settings.tick_ms
        max_records = min(self._pace.fetch, self._readable_max)
        self._fetching = True
        try:
            fetched = await self._consumer.getmany(self._here, timeout_ms=timeout_ms, max_records=max_records)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError):
            await self._context.patience.pause(_PLACE_AGAIN_S)
            await self._place()
            return []
        except UNREADABLE as error:
            if max_records == 1 or isinstance(error, RecordTooLargeError):
                where = f"{self._here.topic}[{self._here.partition}] at offset {self._fetch_offset}"
                raise UnreadableRecords(f"what is in {where} cannot be read: {told(error)}") from error
            self._readable_max = max_records // 2  # until only what cannot be read is left: what is before it counts
            self._consumer.seek(self._here, self._fetch_offset)
            return []
        finally:
            self._fetching = False
        records: list[Record] = fetched.get(self._here, [])
        if records:
            self._readable_max = min(2 * self._readable_max, _READABLE_MAX)
            self._pace.weigh(records)
        self._fetch_offset = await self._consumer.position(self._here)
        return records

    async def _batch(self, records: Sequence[Record], next_offset: int) -> None:
        """All of the records, in one commit, which moves the position to ``next_offset``."""
        started = time.perf_counter()
        newest = records[-1]
        if newest.timestamp_type == LOG_APPEND_TIME and newest.timestamp is not None:
            PROCESS.observe_log(shifted_ms(newest.timestamp))
        arrived, undecodable = self._context.intake.decode(records, self._context.clock_us() // 1000)
        sent: Sent = set()
        counts = None
        while counts is None:
            try:
                counts = await self._attempt(arrived, undecodable, next_offset, sent)
            except ConfigurationMoved as moved:
                await self._changes.catch_up(moved.position.revision)
        elapsed_s = time.perf_counter() - started
        events = len(arrived) + len(undecodable)
        self._pace.learn(len(records), elapsed_s)
        self._context.aggregates.trim()
        _count(counts, events)
        BATCH_EVENTS.observe(events)
        BATCH_SECONDS.observe(elapsed_s)

    async def _attempt(
        self, arrived: Sequence[Arrived], undecodable: Sequence[Rejected], next_offset: int, sent: Sent
    ) -> Counter[str] | None:
        """What became of the events; None: a customer went into quarantine, and the batch has to be done again without it."""
        context = self._context
        unknown = context.intake.unknown(arrived)
        if unknown:
            context.intake.learn(await context.resolve(unknown))
        plan = context.intake.classify(arrived)
        customer_ids = dict.fromkeys(plan.customers)
        now_us = context.clock_us()
        missing = context.aggregates.missing(context.quarantine.outside(customer_ids))
        duplicates, loaded = await self._prepare(plan, missing, now_us // 1000)
        touched = context.touch(context.quarantine.outside(customer_ids), loaded, now_us)
        done = evaluate(plan, duplicates, touched, context.quarantine, now_us)
        for customer_id, (error, transaction_id) in done.faults.items():
            context.fail(customer_id, "apply", error, now_us, transaction_id)
            del touched[customer_id]
        gathered = context.gather(touched, now_us, context.intake.traces)
        if len(gathered.deltas) < len(touched):
            context.aggregates.drop(touched)  # they were asked what has changed, and say it only once
            return None
        held, no_room = self._hold(plan, done.held)
        try:
            parked, over = await self._park([*plan.parked, *done.parked])
            rejected = [*undecodable, *plan.rejected, *done.rejected, *no_room, *over]
            rejected += await context.outgoing.forward(plan.forwards, sent)
            letters = [*rejected, *map(context.outgoing.partial_copy, done.partial)]
            await context.outgoing.bury(letters, sent)
            gathered.entries += self._event_errors.notices(letters, now_us // 1000)
            gathered.entries += self._event_errors.merged(gathered.deltas, lambda: _places(plan), now_us // 1000)
            await context.note(
                [
                    *of_arrived([*plan.parked, *done.parked], "parked"),
                    *of_arrived([plan.here[at] for at in done.held], "quarantined"),
                    *of_partial(done.partial),
                    *of_rejected(rejected),
                ]
            )
            await context.commits.write(
                gathered,
                now_us,
                next_offset=next_offset,
                seen=done.seen,
                parked=parked,
            )
        except ConfigurationMoved:
            context.aggregates.drop(touched)
            raise
        self._event_errors.told(letters, gathered.deltas)
        for partial in done.partial:
            EVENTS_PARTIAL.labels(partial.rejection.reason).inc()
        return _outcomes(done, rejected, len(parked) + held, len(arrived) + len(undecodable))

    async def _prepare(self, plan: Plan, missing: Sequence[str], now_ms: int) -> tuple[list[bool], dict[str, LoadedCustomer]]:
        """Raises CommitRefused where a commit would be refused anyway."""
        if not plan.here:
            return [], {}
        context = self._context
        epoch = context.commits.position.epoch
        prepared, _ = await context.patience(lambda: context.store.prepare(epoch, plan.seen_ids, missing, now_ms))
        if isinstance(prepared, Refused):
            raise context.commits.refused(prepared)
        context.commits.check(prepared.position)
        return prepared.duplicates, prepared.customers

    def _hold(self, plan: Plan, places: Sequence[int]) -> tuple[int, list[Rejected]]:
        """The events of customers in quarantine into their queues: how many, and those for which there is no room."""
        no_room: list[Rejected] = []
        for at in places:
            item = plan.here[at]
            if not self._context.quarantine.hold(plan.customers[at], held_event(plan, at)):
                no_room.append(Rejected(_NO_ROOM, item.record, item.place, item.appended_at_ms))
        return len(places) - len(no_room), no_room

    async def _park(self, arrived: Sequence[Arrived]) -> tuple[list[tuple[str, bytes]], list[Rejected]]:
        """What of it is parked, and what is beyond the bounds of parking."""
        if not arrived:
            return [], []
        context = self._context
        refs = list(dict.fromkeys(item.event.customer_ref for item in arrived))
        sizes, _ = await context.patience(lambda: context.store.parked_sizes(refs))
        return within_bounds(arrived, sizes, context.settings)

    # --- between batches ------------------------------------------------------------------------------------------

    async def _between(self) -> None:
        at_s = time.monotonic()
        agreed = PROCESS.agrees
        if at_s >= self._tick_due_s:
            self._tick_due_s = at_s + self._context.settings.tick_ms / 1000
            await self._changes.follow_catalog()
            await self._changes.catch_up()
            if agreed:
                await self._timers(self._context.clock_us())
        if not agreed:
            return  # what follows would be dated by a time that may not be (agreement.py)
        if at_s >= self._parking_due_s:
            self._parking_due_s = at_s + _PARKING_EVERY_S
            await self._bury_expired(self._context.clock_us())
        await self._changes.walk()
        try:
            await self._releases.turn()
        except ConfigurationMoved as moved:
            await self._changes.catch_up(moved.position.revision)

    async def _timers(self, now_us: int) -> None:
        """Lets time pass for the customers for whom it matters now."""
        context = self._context
        due, _ = await context.patience(lambda: context.store.due_timers(now_us // 1000, _TIMERS_MAX))
        if not due:
            return
        touched = await context.bring(due, now_us)
        for customer_id, aggregate in list(touched.items()):
            try:
                aggregate.advance(now_us)
            except Exception as error:  # noqa: BLE001 - one customer's: it goes into quarantine, the others go on
                del touched[customer_id]
                context.fail(customer_id, "advance", error, now_us)
        try:
            await context.commits.write_in_slices(context.gather(touched, now_us), now_us)
        except ConfigurationMoved:  # those that are not written are still due after the changes
            context.aggregates.drop(touched)

    async def _bury_expired(self, now_us: int) -> None:
        try:
            if await self._released.bury_expired(now_us):
                self._parking_due_us = now_us  # the next page, after a batch
        except ConfigurationMoved:
            self._parking_due_s = 0.0  # again, after the changes


def _places(plan: Plan) -> dict[tuple[int, str], int]:
    """Of two of one record and transaction id the first, which is the one that counts."""
    return {(item.record.offset, item.event.transaction_id): item.place for item in reversed(plan.here)}


def _outcomes(done: Evaluated, rejected: Sequence[Rejected], parked: int, events: int) -> Counter[str]:
    """Events by what became of them; those under a reason were rejected for it."""
    counts = Counter(str(item.rejection.reason) for item in rejected)
    forwarded = events - len(done.seen) - done.duplicates - parked - len(rejected)
    counts.update(_applied=len(done.seen), _duplicate=done.duplicates, _parked=parked, _forwarded=forwarded)
    return counts


def _count(counts: Counter[str], events: int) -> None:
    EVENTS_CONSUMED.inc(events)
    EVENTS_APPLIED.inc(counts.pop("_applied"))
    EVENTS_DUPLICATE.inc(counts.pop("_duplicate"))
    EVENTS_PARKED.inc(counts.pop("_parked"))
    EVENTS_FORWARDED.inc(counts.pop("_forwarded"))
    for reason, number in counts.items():
        EVENTS_REJECTED.labels(reason).inc(number)
