"""Subscriptions as they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from engine.catalog import USD_CENTS
from engine.periods import HOUR_US, Period, next_period, period_at, previous_period
from schemas.common import Answer, OutInstant, OutNumber
from schemas.documents import Document, instant_text, instant_us
from schemas.recurring_documents import subscription_of


class _Named(Answer):
    id: str
    name: str


class _RateAnswer(Answer):
    billing_frequency: str
    product: _Named


class RoundingAnswer(Answer):
    rounding_method: str
    decimal_places: int


class _ProrationAnswer(Answer):
    is_prorated: bool
    invoice_behavior: str
    rounding: RoundingAnswer | None = None


class _PeriodAnswer(Answer):
    starting_at: OutInstant
    ending_before: OutInstant


class _PeriodsAnswer(Answer):
    previous: _PeriodAnswer | None = None
    current: _PeriodAnswer | None = None
    next: _PeriodAnswer | None = None


class _QuantityAnswer(Answer):
    quantity: OutNumber
    starting_at: OutInstant
    ending_before: OutInstant | None = None


class _CycleAnswer(Answer):
    anchor_date: OutInstant
    invoice_placement: str


class _SeatConfigAnswer(Answer):
    seat_group_key: str


class SubscriptionAnswer(Answer):
    """``quantity_schedule``: the quantity now (before the start, and after the end, the nearest one), and those scheduled."""

    id: str
    created_at: OutInstant
    starting_at: OutInstant
    ending_before: OutInstant | None = None
    name: str | None = None
    description: str | None = None
    subscription_rate: _RateAnswer
    collection_schedule: str
    proration: _ProrationAnswer
    quantity_management_mode: str
    quantity_schedule: list[_QuantityAnswer]
    seat_config: _SeatConfigAnswer | None = None
    billing_periods: _PeriodsAnswer
    billing_cycle_config: _CycleAnswer
    custom_fields: dict[str, str]
    product_custom_fields: dict[str, str]
    fiat_credit_type_id: str


def subscription_answer(
    document: Document, contract: Document, products: Mapping[str, Document], now_us: int
) -> SubscriptionAnswer:
    product = products[document["product_id"]]
    return SubscriptionAnswer.model_validate(
        {
            **{name: value for name, value in document.items() if value is not None},
            "subscription_rate": {
                "billing_frequency": document["billing_frequency"],
                "product": {"id": product["id"], "name": product["current"]["name"]},
            },
            "proration": {name: value for name, value in document["proration"].items() if value is not None},
            "quantity_schedule": _schedule(document, now_us),
            **({} if document.get("seats") is None else {"seat_config": {"seat_group_key": document["seats"]["group_key"]}}),
            "billing_periods": _periods(document, contract, now_us),
            "billing_cycle_config": {"anchor_date": document["anchor_date"], "invoice_placement": "ON_USAGE_INVOICE"},
            "product_custom_fields": product["custom_fields"],
            "fiat_credit_type_id": USD_CENTS,
        }
    )


def _schedule(document: Document, now_us: int) -> list[Document]:
    quantities = document["quantities"]
    ends = [each["starting_at"] for each in quantities[1:]] + [document["ending_before"]]
    rows = [{**each, **({} if end is None else {"ending_before": end})} for each, end in zip(quantities, ends, strict=True)]
    past = sum(instant_us(each["starting_at"]) <= now_us for each in quantities[1:])
    return rows[past:]


def _periods(document: Document, contract: Document, now_us: int) -> Document:
    subscription = subscription_of(document)
    end = contract["ending_before"]
    ends = [hour for hour in (subscription.ending_hour, None if end is None else instant_us(end) // HOUR_US) if hour is not None]
    span = subscription.billing, subscription.starting_hour, min(ends, default=None)
    current = period_at(*span, now_us // HOUR_US)
    if current is None:
        return {}
    found = {"previous": previous_period(*span, current), "current": current, "next": next_period(*span, current)}
    return {name: _period(period) for name, period in found.items() if period is not None}


def _period(period: Period) -> Document:
    start, end = period
    return {"starting_at": instant_text(start * HOUR_US), "ending_before": instant_text(end * HOUR_US)}
