"""On which dates a commit or a scheduled charge is invoiced, and with how much: bodies, documents, answers.

    schedule_items       dated amounts
    recurring_schedule   the same amount (EACH), or equal parts of it (DIVIDED), at regular dates; kept as dated amounts

    document   {credit_type_id, do_not_invoice, schedule_items: [{id, timestamp, amount, unit_price, quantity, added_at?}]}

``added_at``: of an item that an edit has added.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.catalog import USD_CENTS
from engine.invoices.scheduled import scheduled_invoice_id
from engine.numbers import exact
from engine.rounding import PLACES, quotient, shortest
from schemas.common import Answer, Body, Id, Instant, NotNegative, OutInstant, OutNumber, Upper, rfc3339
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest
from schemas.pricing_units import CreditType, credit_type

SCHEDULE_ITEMS_MAX = 1_000

NewId = Callable[[], str]

_STEP_MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "SEMI_ANNUAL": 6, "ANNUAL": 12}
_WEEK = timedelta(days=7)
_PLACES = {"DIVIDED": PLACES, "DIVIDED_ROUNDED": 0}
"""To which the parts of an amount are rounded down."""


class Amount(Body):
    """An amount, or a unit price and a quantity."""

    amount: NotNegative | None = None
    unit_price: NotNegative | None = None
    quantity: NotNegative | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Amount:
        by_unit = self.unit_price is not None and self.quantity is not None
        if (self.amount is None) != by_unit or (
            self.amount is not None and (self.unit_price is not None or self.quantity is not None)
        ):
            raise ValueError("give either amount, or unit_price and quantity")
        return self

    def price_and_quantity(self) -> tuple[Decimal, Decimal]:
        if self.amount is not None:
            return self.amount, Decimal(1)
        assert self.unit_price is not None
        assert self.quantity is not None
        return self.unit_price, self.quantity

    def total(self) -> Decimal:
        price, quantity = self.price_and_quantity()
        with exact():
            return price * quantity


class InvoiceItem(Amount):
    """One charge."""

    timestamp: Instant


class RecurringSchedule(Amount):
    """Charges at ``starting_at`` and at every step from it that lies before ``ending_before``; steps of months keep the day of
    the month, or take the last one of a shorter month.

    EACH charges the amount each time. DIVIDED charges equal parts, to 18 digits after the point, DIVIDED_ROUNDED equal parts in
    whole units (cents); the last part is what is left then, so that all parts together are the amount exactly."""

    starting_at: Instant
    ending_before: Instant
    frequency: Annotated[Literal["WEEKLY", "MONTHLY", "QUARTERLY", "SEMI_ANNUAL", "ANNUAL"], Upper]
    amount_distribution: Annotated[Literal["DIVIDED", "DIVIDED_ROUNDED", "EACH"], Upper]

    @model_validator(mode="after")
    def _in_order(self) -> RecurringSchedule:
        if self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        return self

    def dates(self) -> list[datetime]:
        """Raises BadRequest if there are too many."""
        found: list[datetime] = []
        for date in self._steps():
            if date >= self.ending_before:
                break
            if len(found) >= SCHEDULE_ITEMS_MAX:
                raise BadRequest(f"recurring_schedule: has more than {SCHEDULE_ITEMS_MAX} dates")
            found.append(date)
        return found

    def _steps(self) -> Iterator[datetime]:
        step = 0
        while True:
            if self.frequency == "WEEKLY":
                yield self.starting_at + step * _WEEK
            else:
                yield _months_later(self.starting_at, step * _STEP_MONTHS[self.frequency])
            step += 1

    def parts(self, count: int) -> list[tuple[Decimal, Decimal]]:
        """(unit price, quantity) of each of ``count`` charges."""
        if self.amount_distribution == "EACH":
            return [self.price_and_quantity()] * count
        total, places = self.total(), _PLACES[self.amount_distribution]
        part = shortest(quotient(total, Decimal(count), places, ROUND_DOWN))
        with exact():
            last = total - part * (count - 1)
        return [(amount, Decimal(1)) for amount in (*[part] * (count - 1), last)]


def _months_later(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


class InvoiceSchedule(Body):
    schedule_items: Annotated[list[InvoiceItem], Field(max_length=SCHEDULE_ITEMS_MAX)] = Field(default_factory=list)
    recurring_schedule: RecurringSchedule | None = None
    credit_type_id: Id = USD_CENTS
    do_not_invoice: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> InvoiceSchedule:
        if self.schedule_items and self.recurring_schedule is not None:
            raise ValueError("schedule_items and recurring_schedule exclude each other")
        return self

    def is_empty(self) -> bool:
        return not self.schedule_items and self.recurring_schedule is None


class InvoiceItemAnswer(Answer):
    id: str
    timestamp: OutInstant
    amount: OutNumber
    unit_price: OutNumber
    quantity: OutNumber
    invoice_id: str | None = None


class InvoiceScheduleAnswer(Answer):
    credit_type: CreditType
    do_not_invoice: bool
    schedule_items: list[InvoiceItemAnswer]


def invoice_item(item: InvoiceItem, new_id: NewId, added_at: str | None = None) -> Document:
    """``added_at``: set for an item that an edit adds."""
    price, quantity = item.price_and_quantity()
    document = _item(new_id(), item.timestamp, price, quantity)
    return document if added_at is None else {**document, "added_at": added_at}


def _item(item_id: str, timestamp: datetime, unit_price: Decimal, quantity: Decimal) -> Document:
    with exact():
        amount = unit_price * quantity
    return {
        "id": item_id,
        "timestamp": rfc3339(timestamp),
        "amount": amount,
        "unit_price": unit_price,
        "quantity": quantity,
    }


def schedule_document(schedule: InvoiceSchedule, new_id: NewId) -> Document:
    """Raises BadRequest for a recurring schedule with too many dates."""
    if schedule.recurring_schedule is None:
        items = [invoice_item(item, new_id) for item in schedule.schedule_items]
    else:
        dates = schedule.recurring_schedule.dates()
        parts = schedule.recurring_schedule.parts(len(dates))
        items = [_item(new_id(), date, *part) for date, part in zip(dates, parts, strict=True)]
    return {"credit_type_id": schedule.credit_type_id, "do_not_invoice": schedule.do_not_invoice, "schedule_items": items}


def schedule_answer(schedule: Document, units: dict[str, Document], contract_id: str | None, created_at: str) -> Document:
    """``contract_id``: whose invoices bill it; items that nothing bills name no invoice. ``created_at``: of what it belongs to.
    A date at the end of a billing period is billed on that period's invoice instead, where the contract wants that."""
    items = schedule["schedule_items"]
    if contract_id is not None and not schedule["do_not_invoice"]:
        items = [{**item, "invoice_id": _invoice_id(item, schedule, contract_id, created_at)} for item in items]
    return {**schedule, "credit_type": credit_type(units, schedule["credit_type_id"]), "schedule_items": items}


def _invoice_id(item: Document, schedule: Document, contract_id: str, created_at: str) -> str:
    at_us, added_us = instant_us(item["timestamp"]), instant_us(item.get("added_at") or created_at)
    return scheduled_invoice_id(contract_id, at_us, added_us if added_us > at_us else 0, schedule["credit_type_id"])
