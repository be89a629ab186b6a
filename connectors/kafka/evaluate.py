"""The events of a batch into their customers' aggregates: the hot loop."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.kafka.intake import Arrived, Plan, Rejected
from engine.customer import CustomerAggregate
from engine.effects import Rejection, UsageEvent

_HOUR_US = 3_600_000_000
new = tuple.__new__  # half the cost of calling the NamedTuple


class Partial(NamedTuple):
    """An applied event that some metrics could not read."""

    arrived: Arrived
    customer_id: str
    rejection: Rejection


@dataclass(slots=True)
class Evaluated:
    """``seen``: (id, record offset) of each applied event. ``parked``: their customer has a reference, but no document yet.
    ``partial``: of the applied events those that some metrics could not read.
    ``held``: places in the plan of events of customers in quarantine. ``faults``: what the engine raised, by customer, and the
    transaction id if it was for one event; nothing of these is in the other fields, and their events are in ``held``."""

    seen: list[tuple[bytes, int]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    parked: list[Arrived] = field(default_factory=list)
    partial: list[Partial] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    faults: dict[str, tuple[Exception, str]] = field(default_factory=dict)
    duplicates: int = 0


def evaluate(
    plan: Plan,
    duplicates: Sequence[bool],
    aggregates: Mapping[str, CustomerAggregate],
    quarantine: Container[object],
    now_us: int,
) -> Evaluated:
    """Applies the plan's events customer by customer, those of each in their order. (Which of two customers' events came first
    cannot be seen; a customer's objects are touched once, while they are in the processor's cache.)
    ``duplicates`` runs parallel to ``plan.here``. An aggregate that raises is of no use any more: its customer is to be dropped.

    An event that is rejected is not remembered as seen: mended, it may be sent again under its id.
    """
    here, seen_ids = plan.here, plan.seen_ids
    result = Evaluated()
    not_applied: set[int] = set()
    rejections: dict[int, Rejection] = {}
    for customer_id, places in _places_by_customer(plan.customers, duplicates).items():
        aggregate = aggregates.get(customer_id)
        if aggregate is None:
            not_applied.update(places)
            if customer_id in quarantine:
                result.held += places
            else:
                result.parked += [here[place] for place in places]
            continue
        try:
            if len(places) == 1:
                rejection = aggregate.apply(_usage_event_at(plan, places[0]), now_us)
                if rejection is not None:
                    rejections[places[0]] = rejection
            elif len({seen_ids[place] for place in places}) == len(places) and plan.replayed.keys().isdisjoint(places):
                events = [here[place][0] for place in places]  # their ``event``
                refused = aggregate.apply_all(events, _events_at(here, places), now_us)
                if refused:
                    rejections.update((places[number], rejection) for number, rejection in refused.items())
            else:
                again = _apply_distinct(plan, places, aggregate, rejections, now_us)
                not_applied.update(again)
                result.duplicates += len(again)
        except Exception as error:  # noqa: BLE001 - one customer's: it goes into quarantine, the others go on
            result.faults[customer_id] = (error, here[places[0]].event.transaction_id if len(places) == 1 else "")
            result.held += places
            not_applied.update(places)
            for place in places:
                rejections.pop(place, None)
    _conclude(result, plan, duplicates, not_applied, rejections)
    return result


def _conclude(
    result: Evaluated, plan: Plan, duplicates: Sequence[bool], not_applied: set[int], rejections: Mapping[int, Rejection]
) -> None:
    """Fills in what was rejected, seen before, and applied."""
    here, seen_ids = plan.here, plan.seen_ids
    for place, rejection in sorted(rejections.items()):
        item = here[place]
        if rejection.missed:
            result.partial.append(Partial(item, plan.customers[place], rejection))
            continue
        known = plan.customers[place], item.event.transaction_id
        result.rejected.append(Rejected(rejection, item.record, item.place, item.appended_at_ms, None, *known))
        not_applied.add(place)
    for place, duplicate in enumerate(duplicates):
        if duplicate:
            not_applied.add(place)
            result.duplicates += 1
        elif place not in not_applied:
            result.seen.append((seen_ids[place], here[place].record.offset))


def _places_by_customer(customers: Sequence[str], duplicates: Sequence[bool]) -> dict[str, list[int]]:
    """Where each customer's events are in the plan, without those seen before."""
    places_of: dict[str, list[int]] = {}
    for place, (customer_id, duplicate) in enumerate(zip(customers, duplicates, strict=True)):
        if duplicate:
            continue
        places = places_of.get(customer_id)
        if places is None:
            places_of[customer_id] = [place]
        else:
            places.append(place)
    return places_of


def _apply_distinct(
    plan: Plan, places: Sequence[int], aggregate: CustomerAggregate, rejections: dict[int, Rejection], now_us: int
) -> list[int]:
    """One customer's events, among which an id comes twice: one by one, since the second is a duplicate only if the first
    was applied; and those among which one counts for some metrics only. Returns the places of duplicates; notes rejections."""
    applied: set[bytes] = set()
    again: list[int] = []
    for place in places:
        seen_id = plan.seen_ids[place]
        if seen_id in applied:
            again.append(place)
            continue
        rejection = aggregate.apply(_usage_event_at(plan, place), now_us)
        if rejection is not None:
            rejections[place] = rejection
        if rejection is None or rejection.missed:
            applied.add(seen_id)
    return again


def _events_at(here: Sequence[Arrived], places: Sequence[int]) -> Callable[[int], UsageEvent]:
    return lambda number: _usage_event(here[places[number]])


def _usage_event_at(plan: Plan, place: int) -> UsageEvent:
    event = _usage_event(plan.here[place])
    return event._replace(only=plan.replayed[place]) if place in plan.replayed else event


def _usage_event(item: Arrived) -> UsageEvent:
    event, record, _, appended_at_ms, _ = item
    transaction_id, _, event_type, timestamp_us, properties, _ = event
    return new(
        UsageEvent,
        (
            transaction_id,
            event_type,
            timestamp_us,
            timestamp_us // _HOUR_US,
            properties,
            record.topic,
            record.partition,
            record.offset,
            appended_at_ms,
            None,
        ),
    )
