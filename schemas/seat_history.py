"""How the seats and the quantity of a subscription have changed: bodies and answers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from engine.numbers import exact
from schemas.common import Answer, Body, Cursor, Id, Instant, OutInstant, OutNumber, rfc3339
from schemas.documents import Document, instant_text, instant_us
from schemas.seats import seats_over_time

ENTRIES_MAX = 10
"""Of one page."""


class QuantityHistoryBody(Body):
    customer_id: Id
    contract_id: Id
    subscription_id: Id


class SeatsHistoryBody(QuantityHistoryBody):
    covering_date: Instant | None = None
    starting_at: Instant | None = None
    ending_before: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=ENTRIES_MAX)] | None = None
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SeatsHistoryBody:
        if self.covering_date is not None and (self.starting_at is not None or self.ending_before is not None):
            raise ValueError("covering_date cannot be used together with starting_at or ending_before")
        return self


class SeatsEntry(Answer):
    """The seats in [starting_at, ending_before); without an end: until further notice."""

    starting_at: OutInstant
    ending_before: OutInstant | None = None
    assigned_seat_ids: list[str]
    total_quantity: int


class SeatsHistory(Answer):
    data: list[SeatsEntry]
    next_page: str | None = None


class _QuantityPart(Answer):
    quantity: OutNumber
    unit_price: OutNumber
    total: OutNumber


class _QuantityEntry(Answer):
    starting_at: OutInstant
    data: list[_QuantityPart]


class QuantityHistory(Answer):
    subscription_id: str
    fiat_credit_type_id: str
    history: list[_QuantityEntry]


def seats_entries(subscription: Document, contract: Document, body: SeatsHistoryBody) -> list[SeatsEntry]:
    """By time, scheduled ones included."""
    ends = [each for each in (subscription["ending_before"], contract["ending_before"]) if each is not None]
    last = min(ends, key=instant_us, default=None)
    parts = seats_over_time(subscription["seats"], subscription["starting_at"])
    if last is not None:
        parts = [each for each in parts if instant_us(each.starting_at) < instant_us(last)]
    entries = [
        SeatsEntry(
            starting_at=part.starting_at, ending_before=end, assigned_seat_ids=list(part.assigned), total_quantity=part.total
        )
        for part, end in zip(parts, [*(each.starting_at for each in parts[1:]), last], strict=True)
    ]
    return [each for each in entries if _in_time(each, body)]


def _in_time(entry: SeatsEntry, body: SeatsHistoryBody) -> bool:
    start_us = instant_us(entry.starting_at)
    end_us = None if entry.ending_before is None else instant_us(entry.ending_before)

    def still_at(at_us: int) -> bool:
        return end_us is None or at_us < end_us

    if body.covering_date is not None:
        at_us = instant_us(rfc3339(body.covering_date))
        return start_us <= at_us and still_at(at_us)
    return (body.starting_at is None or still_at(instant_us(rfc3339(body.starting_at)))) and (
        body.ending_before is None or start_us <= instant_us(rfc3339(body.ending_before))
    )


def quantity_entries(
    subscription: Document, price_at: Callable[[int], Decimal], price_changes_us: set[int], now_us: int
) -> list[_QuantityEntry]:
    """What the quantity and its price were, up to now: an entry for each change of either. ``price_at``: by instant."""
    quantities = [(instant_us(each["starting_at"]), Decimal(each["quantity"])) for each in subscription["quantities"]]
    start_us, end = quantities[0][0], subscription["ending_before"]
    end_us = now_us + 1 if end is None else min(now_us + 1, instant_us(end))
    instants = {at for at, _ in quantities} | {start_us} | price_changes_us
    entries: list[_QuantityEntry] = []
    before: tuple[Decimal, Decimal] | None = None
    with exact():
        for at_us in sorted(at for at in instants if start_us <= at < end_us):
            quantity, price = [quantity for at, quantity in quantities if at <= at_us][-1], price_at(at_us)
            if (quantity, price) != before:
                part = _QuantityPart(quantity=quantity, unit_price=price, total=quantity * price)
                entries.append(_QuantityEntry(starting_at=instant_text(at_us), data=[part]))
            before = quantity, price
    return entries
