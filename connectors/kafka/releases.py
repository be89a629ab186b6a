"""Customers on their way out of quarantine: what waits for them is counted in its order, a page in each commit.

Time passes for such a customer as it would have passed without the quarantine: each event is counted at its arrival, and the
timers that were passed over meanwhile are made up for in between. So its alerts are told under the same ids; only the
configuration is that of now. Events that arrive during a release are held behind the others, until none is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.kafka.commits import ConfigurationMoved
from connectors.kafka.context import Context
from connectors.kafka.event_errors import EventErrors
from connectors.kafka.fates import of_buried
from connectors.kafka.gathered import Gathered
from connectors.kafka.parking import Parked
from connectors.kafka.proofs import replayed_metrics
from connectors.metrics import EVENTS_APPLIED, EVENTS_CONSUMED, EVENTS_DUPLICATE, EVENTS_PARTIAL, EVENTS_REJECTED
from connectors.redis.quarantine import HeldEvent, Record, decode_held
from connectors.redis.types import LoadedCustomer, Refused
from engine.customer import CustomerAggregate
from engine.effects import Rejection, UsageEvent
from schemas.events import Decoded, EventDecoder, EventLimits, Reason

_PAGE = 500
_HOUR_US = 3_600_000_000
_ANY_SIZE = 1 << 40
_LEFT_OUT = Rejection(Reason.QUARANTINED, "left out of its customer's release, as it was asked for")


@dataclass(slots=True)
class _Counted:
    """What became of a page. ``transaction_id``: the event that is being counted."""

    seen: list[tuple[bytes, int]] = field(default_factory=list)
    rejected: list[tuple[HeldEvent, Rejection]] = field(default_factory=list)
    duplicates: int = 0
    transaction_id: str = ""


class _Raised(Exception):
    """The engine has raised again."""

    def __init__(self, stage: str, error: Exception, transaction_id: str = "") -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error
        self.transaction_id = transaction_id


class Releases:
    """Tries those again who are due, one page at a turn."""

    def __init__(self, context: Context, event_errors: EventErrors) -> None:
        self._context = context
        self._event_errors = event_errors
        self._decoder = EventDecoder(EventLimits(_ANY_SIZE, 1, _ANY_SIZE))  # they were within the limits when they came

    @property
    def waiting(self) -> bool:
        return self._context.quarantine.due(self._context.catalog.revision) is not None

    async def turn(self) -> None:
        """One page of one customer, if one is due. Raises CommitRefused; then nothing was done."""
        context = self._context
        customer_id = context.quarantine.due(context.catalog.revision)
        record = None if customer_id is None else context.quarantine.record(customer_id)
        if customer_id is None or record is None:
            return
        now_us = context.clock_us()
        try:
            await self._try(customer_id, record, now_us)
        except _Raised as raised:
            context.fail(customer_id, raised.stage, raised.error, now_us, raised.transaction_id)
            await context.commits.write(Gathered(), now_us)
        except ConfigurationMoved:
            context.aggregates.drop((customer_id,))
            raise

    async def _try(self, customer_id: str, record: Record, now_us: int) -> None:
        """Raises _Raised."""
        context = self._context
        page, _ = await context.patience(lambda: context.store.held_events(customer_id, _PAGE))
        try:
            held = [decode_held(raw) for raw in page]
            ids = [bytes.fromhex(each.seen_id) for each in held]
        except (ValueError, TypeError) as error:  # of a newer release, or none of ours
            raise _Raised("load", error) from error
        events = [self._decoder.decode(each.event)[0] for each in held]
        duplicates, loaded = await self._prepare(customer_id, ids, now_us)
        started_us = min([now_us, *(each.appended_at_ms * 1000 for each in held)])
        aggregate = self._load(customer_id, loaded, started_us)
        counted = _Counted()
        last = len(page) < _PAGE
        try:
            self._count(aggregate, list(zip(held, events, ids, strict=True)), duplicates, record, now_us, counted)
            if last:
                for alert_id in record.resets:
                    aggregate.reset(alert_id, now_us)
                aggregate.advance(now_us)
        except Exception as error:
            raise _Raised("apply" if counted.transaction_id else "advance", error, counted.transaction_id) from error
        gathered = context.gather({customer_id: aggregate}, now_us, _traces(held))
        if not gathered.deltas:
            await context.commits.write(gathered, now_us)  # it is noted already
            return
        for each, rejection in counted.rejected:
            letter = self._letter(customer_id, each, rejection)
            await context.outgoing.bury_parked([letter], rejection)
            await context.note(of_buried([letter], rejection))
        context.quarantine.counted(customer_id, page, leaves=last)
        gathered.entries += self._event_errors.merged(gathered.deltas, lambda: _places(held, events), now_us // 1000)
        await context.commits.write(gathered, now_us, seen=counted.seen)
        self._event_errors.told((), gathered.deltas)
        if not last:
            context.aggregates.drop((customer_id,))
        EVENTS_CONSUMED.inc(len(page))
        EVENTS_APPLIED.inc(len(counted.seen))
        EVENTS_DUPLICATE.inc(counted.duplicates)
        for _, rejection in counted.rejected:
            (EVENTS_PARTIAL if rejection.missed else EVENTS_REJECTED).labels(rejection.reason).inc()

    def _letter(self, customer_id: str, held: HeldEvent, rejection: Rejection) -> Parked:
        """As it is dead-lettered."""
        letter = _as_parked(held)
        event = self._decoder.decode(held.event)[0]
        if rejection.missed and isinstance(event, Decoded):
            return letter._replace(event=self._context.outgoing.replayable(event, customer_id, rejection.missed))
        return letter

    async def _prepare(self, customer_id: str, ids: Sequence[bytes], now_us: int) -> tuple[set[bytes], LoadedCustomer]:
        """Which of the ids were seen, and the customer as it is stored. Raises CommitRefused where a commit would be refused."""
        context = self._context
        epoch = context.commits.position.epoch
        prepared, _ = await context.patience(lambda: context.store.prepare(epoch, ids, [customer_id], now_us // 1000))
        if isinstance(prepared, Refused):
            raise context.commits.refused(prepared)
        context.commits.check(prepared.position)
        seen = {each for each, duplicate in zip(ids, prepared.duplicates, strict=True) if duplicate}
        return seen, prepared.customers[customer_id]

    def _load(self, customer_id: str, loaded: LoadedCustomer, now_us: int) -> CustomerAggregate:
        context = self._context
        context.aggregates.drop((customer_id,))
        try:
            aggregate = context.aggregates.put(customer_id, loaded, context.catalog, now_us)
        except Exception as error:
            raise _Raised("load", error) from error
        if aggregate is None:
            raise _Raised("load", LookupError("the customer has no document"))
        return aggregate

    def _count(
        self,
        aggregate: CustomerAggregate,
        items: Sequence[tuple[HeldEvent, Decoded | Rejection, bytes]],
        seen: set[bytes],
        record: Record,
        now_us: int,
        counted: _Counted,
    ) -> None:
        """Counts the events one by one, each at its arrival."""
        at_us = 0
        for held, event, event_id in items:
            at_us = max(at_us, min(held.appended_at_ms * 1000, now_us))
            if isinstance(event, Rejection):
                counted.rejected.append((held, event))
            elif event.transaction_id in record.without:
                counted.rejected.append((held, _LEFT_OUT))
            elif event_id in seen:
                counted.duplicates += 1
            else:
                counted.transaction_id = event.transaction_id
                rejection = aggregate.apply(_usage_event(held, event), at_us)
                if rejection is None or rejection.missed:
                    seen.add(event_id)
                    counted.seen.append((event_id, held.offset))
                if rejection is not None:
                    counted.rejected.append((held, rejection))
        counted.transaction_id = ""


def _usage_event(held: HeldEvent, event: Decoded) -> UsageEvent:
    return UsageEvent(
        transaction_id=event.transaction_id,
        event_type=event.event_type,
        timestamp_us=event.timestamp_us,
        hour=event.timestamp_us // _HOUR_US,
        properties=event.properties,
        topic=held.topic,
        partition=held.partition,
        offset=held.offset,
        appended_at_ms=held.appended_at_ms,
        only=replayed_metrics(event.mark.replay) if event.mark is not None and event.mark.replay else None,
    )


def _places(held: Sequence[HeldEvent], events: Sequence[Decoded | Rejection]) -> dict[tuple[int, str], int]:
    decoded = [(each, event) for each, event in zip(held, events, strict=True) if isinstance(event, Decoded)]
    return {(each.offset, event.transaction_id): each.place for each, event in reversed(decoded)}


def _traces(held: Sequence[HeldEvent]) -> dict[int, str]:
    return {each.offset: each.traceparent for each in held if each.traceparent}


def _as_parked(held: HeldEvent) -> Parked:
    return Parked(held.appended_at_ms, held.hops, held.origin, held.event, held.traceparent)
