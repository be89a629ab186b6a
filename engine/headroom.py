"""Headroom of what is read from a statement: how much spend may change before a balance or an invoice can reach a threshold.

    full statement ──► margin of every alert not in alarm ──► Headroom(credit type) = the least of them
    event ──► a line's exact change of spend ──► taken off; used up ──► ``due``: a full statement again, right after that event

Why this cannot hide a crossing. Usage is paid from balances in one fixed order, each piece by what is left. So more usage in
one place never leaves more in any balance, and the sum of what is left, and the total of an invoice, move by no more than the
spend that was added. A headroom that takes off each change at its full amount is therefore pessimistic: with usage that no
balance pays, a statement is made too early, never too late.

What is left for one seat moves only with that seat's own spend where no other balance comes before the seat's
(engine.balances.seats.drawn_apart). It then has a headroom of its own, which only lines of that seat use up; and when it is used
up, a statement of that seat alone is enough. So what an event costs does not grow with the number of seats.

Where that reasoning does not hold, the statement is made at once:

- a rate card has composites: usage costs more than its own lines then, and a minimum gives back what usage adds;
- spend falls (a correction, a negative price), or part of it may have: a line is rated again that has a negative price among
  its tiers. Each tier is an item by itself, of which only those above zero are paid;
- usage of an hour before the line's latest one, where the line's spend is no plain sum over its hours (tiers, quantity
  rounding, an uneven DIVIDE, MAX, UNIQUE, LATEST): it changes what the later hours cost, which other segments may pay;
- a balance draws units of usage, or at a price of its own: cheap usage may then take the units that had covered dear usage, and
  an invoice rises by more than was spent. Such a customer's statement is made after every event (``exact``);
- a renewed contract is in its last grace period: usage changes what its successor has to draw (engine.balances.rollover). So it
  is done there, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from engine.catalog import Seat
from engine.numbers import ZERO

ENDLESS = Decimal("Infinity")


class Headroom:
    """``left``: units of one credit type. With nothing to reach it is endless, and only falling spend is of interest. ``seat``:
    the one whose spend alone it is for."""

    __slots__ = ("left", "seat")

    def __init__(self, seat: Seat | None = None) -> None:
        self.left = ENDLESS
        self.seat = seat


class Headrooms:
    """Of one customer, by credit type, and by credit type and seat. ``due``: a statement is wanted. ``due_seats``: statements of
    these seats are. ``hour``: that of the event being counted. ``seat_keys``: the group keys by which seats are told apart.
    ``exact``: there is no room at all, every change of usage wants a statement."""

    __slots__ = ("_by_seat", "by_credit_type", "due", "due_seats", "exact", "hour", "seat_keys")

    def __init__(self, credit_types: Iterable[str], seat_keys: Collection[str] = (), *, exact: bool = False) -> None:
        self.by_credit_type = {credit_type: Headroom() for credit_type in sorted(credit_types)}
        self.seat_keys = seat_keys
        self._by_seat: dict[tuple[str, Seat], Headroom] = {}
        self.exact = exact
        self.due = False
        self.due_seats: set[Seat] = set()
        self.hour = 0

    def settle(self, margins: Iterable[tuple[str, Seat | None, Decimal]]) -> None:
        """Takes new margins (credit type, seat whose spend alone matters, amount) after a statement."""
        for headroom in self.by_credit_type.values():
            headroom.left = ZERO if self.exact else ENDLESS
        for headroom in self._by_seat.values():
            headroom.left = ENDLESS
        for credit_type, seat, margin in margins:
            headroom = self.by_credit_type[credit_type] if seat is None else self._of_seat(credit_type, seat)
            headroom.left = min(headroom.left, margin)
        self.due = False
        self.due_seats.clear()

    def settle_seat(self, seat: Seat, margins: Iterable[tuple[str, Seat | None, Decimal]]) -> None:
        """Takes new margins after a statement of one seat: all of that seat."""
        for credit_type in self.by_credit_type:
            self._of_seat(credit_type, seat).left = ENDLESS
        for credit_type, _, margin in margins:
            headroom = self._of_seat(credit_type, seat)
            headroom.left = min(headroom.left, margin)
        self.due_seats.discard(seat)

    def _of_seat(self, credit_type: str, seat: Seat) -> Headroom:
        key = credit_type, seat
        found = self._by_seat.get(key)
        if found is None:
            found = self._by_seat[key] = Headroom(seat)
        return found

    def draft(self, credit_type: str, fiat: str, conversions: Sequence[tuple[str, Decimal]]) -> Draft | None:
        """What lines priced in a credit type on a rate card report to; None if nobody watches. Spend in custom units reaches
        balances and totals in the card's fiat currency, too, by its conversion."""
        parts: list[tuple[Headroom, Decimal]] = []
        own = self.by_credit_type.get(credit_type)
        if own is not None:
            parts.append((own, Decimal(1)))
        converted = self.by_credit_type.get(fiat)
        if converted is not None and credit_type != fiat:
            parts.extend((converted, factor) for unit, factor in conversions if unit == credit_type)
        return Draft(self, tuple(parts)) if parts else None

    def draft_of_seats(self, draft: Draft, credit_type: str, seats: Iterable[Seat]) -> Draft:
        """What lines of these seats report to. (Conversions are of no seat.)"""
        if credit_type not in self.by_credit_type:
            return draft
        parts = [(self._of_seat(credit_type, seat), Decimal(1)) for seat in seats]
        return Draft(self, (*draft.parts, *parts)) if parts else draft


class Draft:
    """Takes the changes of spend that go on a draft invoice. ``parts``: each headroom with how much of its credit type a unit of
    the draft's is."""

    __slots__ = ("headrooms", "parts")

    def __init__(self, headrooms: Headrooms, parts: tuple[tuple[Headroom, Decimal], ...]) -> None:
        self.headrooms = headrooms
        self.parts = parts

    def change(self, amount: Decimal) -> None:
        """Spend in the draft's credit type has changed by this much."""
        for headroom, factor in self.parts:
            left = headroom.left = headroom.left - amount * factor
            if amount < 0 or (left <= 0 and headroom.seat is None):
                self.headrooms.due = True
            elif left <= 0 and headroom.seat is not None:
                self.headrooms.due_seats.add(headroom.seat)
