"""Recurring commits and credits: the balances ("children") that one of them makes, period by period.

    period of the schedule   |─────0─────|─────1─────|─────2─────|
    children, duration 1     |── child 0 ┤── child 1 ┤── child 2 ┤
    children, duration 2     |──────── child 0 ──────┤
                                         |──────── child 1 ──────┤

A child is an ordinary balance that belongs to the recurring one's contract. Its id follows from the recurring one's and the
period's number, so it is the same whenever it is made; one that was changed by itself (edited, archived) is in the configuration
under that id, and is taken from there. Rules (sections 1.6 and 5.4 of the reference, the guide on recurring grants):

- Periods follow the recurrence frequency, counted from the recurring one's start; without a frequency, the contract's billing
  periods. Children begin within the contract's time.
- A period that is cut short at its start or end grants its share, if that is prorated (engine.proration); the child's access
  then ends with it. A longer duration counts whole periods from the child's own on. All access ends with the contract.
- A change of terms reaches the children that begin after it; those that have begun stay.
- Linked to a subscription and POOLED: times the subscription's quantity at the child's start. A quantity that grows above all
  that was granted for within the child's own period adds a segment from that hour on, with the difference, or its share of the
  rest of the period. One that falls counts from the next period on. The last quantity goes on after the subscription's end: the
  recurring one is to be ended by itself.
- Linked to seats and INDIVIDUAL: every seat id that is assigned within the period has a child of its own, for its share. One that
  was assigned by the period's start is granted all that the period grants, one assigned later as a seat that adds to a quantity:
  all of it, or its share of the rest. Removal ends the seat's access. A seat is granted something once in a period: one that is
  removed and assigned again has what it had. Unassigned seats have nothing. The shares of a period have the same segments' ids.
- Children appear at most one period ahead (``balances_at``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from engine.balances.seats import Assigned
from engine.balances.shares import assigned_within, named, one_share, seats_of
from engine.catalog import (
    Balance,
    Contract,
    CustomerConfig,
    InvoiceItem,
    ManualEntry,
    QuantityStep,
    RecurringBalance,
    RecurringTerms,
    Segment,
)
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period, cycle_at
from engine.proration import prorated

_ONE = Decimal(1)


def balances_at(config: CustomerConfig, now_us: int) -> tuple[Balance, ...]:
    """All balances that there are at a moment: the configured ones, and the children up to one period ahead."""
    hour = now_us // HOUR_US
    return _with_children(config, lambda recurring, _: cycle_at(recurring.schedule, hour).ending_hour + 1)


def balances_until(config: CustomerConfig, until_hour: int) -> tuple[Balance, ...]:
    """The configured balances, and the children that begin before an hour, whether they appear yet or not."""
    return _with_children(config, lambda recurring, contract: until_hour)


def balances_ahead(config: CustomerConfig, now_us: int) -> tuple[Balance, ...]:
    """As ``balances_at``, and the first child of each recurring one that has none yet: whatever begins or ends next is here. (Not
    all shares of seats that are over.)"""
    hour = now_us // HOUR_US
    return _with_children(
        config,
        lambda recurring, contract: cycle_at(recurring.schedule, max(hour, _first_hour(recurring, contract))).ending_hour + 1,
        from_hour=hour,
    )


def balance_kinds(config: CustomerConfig) -> Iterator[Balance]:
    """The configured balances, and for each recurring one what its children have in common."""
    yield from config.balances
    for contract in config.contracts:
        for recurring in contract.recurring:
            seats = seats_of(recurring, contract)
            yield recurring.child if seats is None else replace(recurring.child, seat=(seats.group_key, ""))


def with_children(config: CustomerConfig, until_hour: int, from_hour: int = 0) -> CustomerConfig:
    """The configuration with ``balances_until`` as its balances, and nothing left that recurs. ``from_hour``: of seats' shares
    that are over by then, and charge nothing, only the latest of each seat is there: each month may have a thousand more."""
    if not any(contract.recurring for contract in (*config.contracts, *config.archived_contracts)):
        return config
    return replace(
        config,
        balances=_with_children(config, lambda recurring, contract: until_hour, from_hour),
        contracts=tuple(replace(contract, recurring=()) for contract in config.contracts),
        archived_contracts=tuple(replace(contract, recurring=()) for contract in config.archived_contracts),
    )


Until = Callable[[RecurringBalance, Contract], int]


def _with_children(config: CustomerConfig, until_hour: Until, from_hour: int = 0) -> tuple[Balance, ...]:
    known = {balance.id for balance in config.balances}
    made = [
        child
        for contract in config.contracts
        for recurring in contract.recurring
        for child in children(recurring, contract, until_hour(recurring, contract), from_hour)
        if child.id not in known
    ]
    return (*config.balances, *made, *(child for child in _of_archived(config) if child.id not in known))


def _of_archived(config: CustomerConfig) -> Iterator[Balance]:
    """What archived contracts had made by then: archived with them, but their charges were due."""
    for contract in config.archived_contracts:
        until_hour = (contract.archived_us or 0) // HOUR_US + 1
        for recurring in contract.recurring:
            yield from (replace(child, archived=True) for child in children(recurring, contract, until_hour))


def children(recurring: RecurringBalance, contract: Contract, until_hour: int, from_hour: int = 0) -> Iterator[Balance]:
    """The children that begin before an hour, oldest first. ``from_hour``: as for ``with_children``."""
    link = recurring.link
    steps = () if link is None else _steps_of(contract, link.subscription_id)
    entries: dict[str, list[ManualEntry]] = {}
    for entry in recurring.child.manual_entries:
        entries.setdefault(entry.segment_id, []).append(entry)
    seats = seats_of(recurring, contract)
    if seats is None:
        for own in _own_periods(recurring, contract, until_hour):
            yield _child(recurring, contract, own, _grants(recurring, own, steps), entries)
        return
    for own, every in _seats_by_period(recurring, contract, seats.spans, until_hour, from_hour):
        wholes: dict[int, Balance] = {}
        for assigned in every:
            grant = _grant_of_seat(recurring, own, assigned.starting_hour)
            if grant.hour not in wholes:
                wholes[grant.hour] = _child(recurring, contract, own, [grant], entries)
            yield one_share(wholes[grant.hour], assigned, seats.group_key)


def _seats_by_period(
    recurring: RecurringBalance, contract: Contract, spans: Sequence[Assigned], until_hour: int, from_hour: int
) -> list[tuple[_Own, Iterable[Assigned]]]:
    """Whose shares there are of each child, oldest first."""
    found: list[tuple[_Own, Iterable[Assigned]]] = []
    seen: set[str] = set()
    for own in reversed(list(_own_periods(recurring, contract, until_hour))):
        every = assigned_within(own.period, spans)
        if own.terms.invoice_unit_price is None and _access_end(recurring, contract, own) <= from_hour:
            every = [assigned for assigned in every if assigned.seat_id not in seen]
        seen.update(assigned.seat_id for assigned in every)
        found.append((own, every))
    return found[::-1]


class _Own(NamedTuple):
    """A child's own period. ``cycle``: the same before it was cut short."""

    number: int
    cycle: Period
    period: Period
    terms: RecurringTerms


class _Grant(NamedTuple):
    """So many units from ``hour`` on, for the share ``hours`` / ``of_hours`` of a period."""

    hour: int
    units: Decimal
    hours: int
    of_hours: int


def _own_periods(recurring: RecurringBalance, contract: Contract, until_hour: int) -> Iterator[_Own]:
    hour, number = _first_hour(recurring, contract), 0
    while hour < until_hour:
        terms = _terms_at(recurring, hour)
        cycle = cycle_at(recurring.schedule, hour)
        end = _earliest(cycle.ending_hour, terms.ending_hour, contract.ending_hour)
        if end <= hour:
            return
        yield _Own(number, cycle, Period(hour, end), terms)
        hour, number = cycle.ending_hour, number + 1


def _first_hour(recurring: RecurringBalance, contract: Contract) -> int:
    return max(recurring.starting_hour, contract.starting_hour)


def _earliest(hour: int, *ends: int | None) -> int:
    return min([hour, *(end for end in ends if end is not None)])


def _terms_at(recurring: RecurringBalance, hour: int) -> RecurringTerms:
    """The latest terms that were there before a child that begins in that hour."""
    found = recurring.terms[0]
    for terms in recurring.terms[1:]:
        if terms.after_us < hour * HOUR_US:
            found = terms
    return found


def _child(
    recurring: RecurringBalance,
    contract: Contract,
    own: _Own,
    grants: Iterable[_Grant],
    entries: Mapping[str, list[ManualEntry]],
) -> Balance:
    child_id = named(recurring.id, own.number)
    ending_hour = _access_end(recurring, contract, own)
    segments: list[Segment] = []
    items: list[InvoiceItem] = []
    for grant in grants:
        increase = grant.hour > own.period.starting_hour
        name = f"increase:{grant.hour}" if increase else "grant"
        amount = prorated(own.terms.amount * grant.units, grant.hours, grant.of_hours, recurring.access_rounding)
        segment_id = named(child_id, name)
        segments.append(Segment(segment_id, grant.hour, ending_hour, amount, seat_increase=increase))
        if own.terms.invoice_unit_price is not None:
            price = prorated(own.terms.invoice_unit_price, grant.hours, grant.of_hours, recurring.invoice_rounding)
            quantity = own.terms.invoice_quantity * grant.units
            items.append(InvoiceItem(named(child_id, f"{name}:invoice"), grant.hour * HOUR_US, price, quantity))
    appeared = cycle_at(recurring.schedule, own.cycle.starting_hour - 1).starting_hour * HOUR_US
    return replace(
        recurring.child,
        id=child_id,
        recurring_id=recurring.id,
        segments=tuple(segments),
        invoice_items=tuple(items),
        cost_basis_free=not any(item.unit_price * item.quantity for item in items),
        manual_entries=tuple(entry for segment in segments for entry in entries.get(segment.id, ())),
        created_us=max(recurring.child.created_us, appeared),
    )


def _access_end(recurring: RecurringBalance, contract: Contract, own: _Own) -> int:
    if recurring.duration_periods == 1:
        return own.period.ending_hour
    cycle = own.cycle
    for _ in range(recurring.duration_periods - 1):
        cycle = cycle_at(recurring.schedule, cycle.ending_hour)
    return _earliest(cycle.ending_hour, contract.ending_hour)


def _grants(recurring: RecurringBalance, own: _Own, steps: Sequence[QuantityStep]) -> Iterator[_Grant]:
    """The child's first one, then those of a growing quantity."""
    (cycle_start, cycle_end), (start, end) = own.cycle, own.period
    full = cycle_end - cycle_start
    last = end if recurring.prorates_last else cycle_end
    hours = last - (start if recurring.prorates_first else cycle_start)
    link = recurring.link
    granted = _ONE if link is None else quantity_at(steps, start)
    yield _Grant(start, granted, hours, full)
    if link is None:
        return
    for hour, quantity in steps:
        if start < hour < end and quantity > granted:
            yield _Grant(hour, quantity - granted, last - hour if link.is_prorated else full, full)
            granted = quantity


def _grant_of_seat(recurring: RecurringBalance, own: _Own, assigned_hour: int) -> _Grant:
    (cycle_start, cycle_end), (start, end) = own.cycle, own.period
    full = cycle_end - cycle_start
    last = end if recurring.prorates_last else cycle_end
    if assigned_hour <= start:
        return _Grant(start, _ONE, last - (start if recurring.prorates_first else cycle_start), full)
    link = recurring.link
    return _Grant(assigned_hour, _ONE, last - assigned_hour if link is not None and link.is_prorated else full, full)


def quantity_at(steps: Sequence[QuantityStep], hour: int) -> Decimal:
    """A subscription's quantity in an hour; 0 before its first step. ``steps``: by hour."""
    found = ZERO
    for step in steps:
        if step.hour <= hour:
            found = step.quantity
    return found


def _steps_of(contract: Contract, subscription_id: str) -> tuple[QuantityStep, ...]:
    return next((each.quantity_steps for each in contract.subscriptions if each.id == subscription_id), ())
