"""Seats of a subscription: bodies, and the log of their changes in the subscription's document.

    seats   {group_key, changes: [{starting_at, assign: [seat id]} | {starting_at, remove: [seat id]}
                                  | {starting_at, unassigned: <how many more, or fewer>}]}

``changes`` are by ``starting_at``, those of one instant in the order in which they came. Who has a seat, and how many there are,
is found by going through them (``seats_over_time``); so a change that is put before others, scheduled for later, moves those too:

- A seat id that is assigned takes an unassigned seat if there is one; else the subscription has one seat more.
- A seat id that is removed takes its seat with it. One that has none is passed over.
- Unassigned seats are taken away as far as there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from schemas.common import Body, HourInstant, Key, Number, Upper, rfc3339
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest

SEAT_IDS_MAX = 1_000
"""In one list of a request."""
UNASSIGNED_MAX = 1_000_000
CHANGES_MAX = 10_000
"""Of one subscription's seats: seat ids named, and changes of unassigned seats."""


def _distinct(seat_ids: list[str]) -> list[str]:
    if len(set(seat_ids)) != len(seat_ids):
        raise ValueError("must not name a seat twice")
    return seat_ids


def _whole(number: Decimal) -> Decimal:
    if number != int(number) or not 0 <= number <= UNASSIGNED_MAX:
        raise ValueError(f"must be a whole number from 0 to {UNASSIGNED_MAX}")
    return number


def _some(number: Decimal) -> Decimal:
    if not number:
        raise ValueError("must be greater than 0")
    return number


SeatIds = Annotated[list[Key], Field(max_length=SEAT_IDS_MAX), AfterValidator(_distinct)]
Count = Annotated[Number, AfterValidator(_whole)]


class SeatConfig(Body):
    """``seat_group_key``: the property of usage events that names the seat."""

    seat_group_key: Key
    initial_seat_ids: SeatIds = Field(default_factory=list)
    initial_unassigned_seats: Count = Decimal(0)


class SeatGroupKey(Body):
    seat_group_key: Key


class ModeUpdate(Body):
    """From QUANTITY_ONLY: all that there is becomes unassigned seats."""

    quantity_management_mode: Annotated[Literal["SEAT_BASED"], Upper]
    seat_config: SeatGroupKey


class SeatIdsFrom(Body):
    seat_ids: Annotated[SeatIds, Field(min_length=1)]
    starting_at: HourInstant


class UnassignedFrom(Body):
    quantity: Annotated[Count, AfterValidator(_some)]
    starting_at: HourInstant


Updates = Annotated[list[SeatIdsFrom], Field(max_length=100)]
UnassignedUpdates = Annotated[list[UnassignedFrom], Field(max_length=100)]


class SeatUpdates(Body):
    """Of one instant they are made in this order."""

    add_seat_ids: Updates = Field(default_factory=list)
    remove_seat_ids: Updates = Field(default_factory=list)
    add_unassigned_seats: UnassignedUpdates = Field(default_factory=list)
    remove_unassigned_seats: UnassignedUpdates = Field(default_factory=list)

    @model_validator(mode="after")
    def _not_both(self) -> SeatUpdates:
        added = {(each.starting_at, seat_id) for each in self.add_seat_ids for seat_id in each.seat_ids}
        for each in self.remove_seat_ids:
            for seat_id in each.seat_ids:
                if (each.starting_at, seat_id) in added:
                    raise ValueError(f"must not add and remove the seat {seat_id!r} at the same time")
        return self


def seats_document(config: SeatConfig, starting_at: str) -> Document:
    """The unassigned ones come last: the seat ids do not take them."""
    changes: list[Document] = []
    if config.initial_seat_ids:
        changes.append({"starting_at": starting_at, "assign": config.initial_seat_ids})
    if config.initial_unassigned_seats:
        changes.append({"starting_at": starting_at, "unassigned": int(config.initial_unassigned_seats)})
    return {"group_key": config.seat_group_key, "changes": changes}


def seats_of_quantities(group_key: str, quantities: Iterable[Document]) -> Document:
    """What a subscription without seats has, now or scheduled, as seats that nobody has. Raises BadRequest for a quantity that is
    no whole number."""
    changes: list[Document] = []
    before = 0
    for each in quantities:
        quantity = Decimal(each["quantity"])
        if quantity != int(quantity) or quantity > UNASSIGNED_MAX:
            raise BadRequest(f"quantity_management_mode_update: the quantity {quantity} is no number of seats")
        if int(quantity) != before:
            changes.append({"starting_at": each["starting_at"], "unassigned": int(quantity) - before})
        before = int(quantity)
    return {"group_key": group_key, "changes": changes}


def with_seat_updates(seats: Document, updates: SeatUpdates, in_time: Callable[[str, str], None]) -> Document:
    """``in_time``: raises BadRequest for an instant outside of the subscription's time; takes the field's name and the instant.
    Raises BadRequest also for too many changes."""
    added: list[Document] = []

    def add(name: str, entries: Iterable[SeatIdsFrom | UnassignedFrom], kind: str, sign: int = 1) -> None:
        for index, each in enumerate(entries):
            at = rfc3339(each.starting_at)
            in_time(f"{name}[{index}].starting_at", at)
            value = each.seat_ids if isinstance(each, SeatIdsFrom) else sign * int(each.quantity)
            added.append({"starting_at": at, kind: value})

    add("add_seat_ids", updates.add_seat_ids, "assign")
    add("remove_seat_ids", updates.remove_seat_ids, "remove")
    add("add_unassigned_seats", updates.add_unassigned_seats, "unassigned")
    add("remove_unassigned_seats", updates.remove_unassigned_seats, "unassigned", -1)
    changes = sorted([*seats["changes"], *added], key=lambda each: instant_us(each["starting_at"]))  # stable
    if sum(len(each.get("assign") or each.get("remove") or [None]) for each in changes) > CHANGES_MAX:
        raise BadRequest(f"seat_updates: the seats of a subscription can be changed {CHANGES_MAX} times at most")
    return {**seats, "changes": changes}


class SeatsFrom(NamedTuple):
    """From ``starting_at`` on: who has a seat, in the order in which they got it, and how many seats nobody has."""

    starting_at: str
    assigned: tuple[str, ...]
    unassigned: int

    @property
    def total(self) -> int:
        return len(self.assigned) + self.unassigned


def seats_over_time(seats: Document, starting_at: str) -> list[SeatsFrom]:
    """One for each instant of a change, by time; the first from ``starting_at``, the subscription's start, on."""
    assigned: dict[str, None] = {}
    unassigned = 0
    found: dict[str, SeatsFrom] = {starting_at: SeatsFrom(starting_at, (), 0)}
    for change in seats["changes"]:
        for seat_id in change.get("assign", ()):
            if seat_id not in assigned:
                assigned[seat_id] = None
                unassigned = max(unassigned - 1, 0)
        for seat_id in change.get("remove", ()):
            assigned.pop(seat_id, None)
        unassigned = max(unassigned + change.get("unassigned", 0), 0)
        found[change["starting_at"]] = SeatsFrom(change["starting_at"], tuple(assigned), unassigned)
    return list(found.values())


def quantities_of(seats: Document, starting_at: str) -> list[Document]:
    """The subscription's quantities, as its document holds them: how many seats there are, from when on."""
    quantities: list[Document] = []
    for each in seats_over_time(seats, starting_at):
        if not quantities or quantities[-1]["quantity"] != each.total:
            quantities.append({"starting_at": each.starting_at, "quantity": each.total})
    return quantities


def assigned_max(seats: Document, starting_at: str) -> int:
    """How many seat ids are assigned at the same time, at most."""
    return max(len(each.assigned) for each in seats_over_time(seats, starting_at))
