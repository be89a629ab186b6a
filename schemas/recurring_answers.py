"""Recurring commits and credits as they are shown, and the balances that they make, as documents.

Such a balance ("child") is in no document until it is changed by itself: then it is put among its customer's balances, under
the id that it always had, with ``recurring_id``, and no longer follows the recurring one or its subscription.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from engine.balances.recurring import balances_at, balances_until
from engine.balances.shares import whole_balance
from engine.catalog import Balance, CustomerConfig
from engine.numbers import exact
from engine.periods import HOUR_US
from schemas.balance_rules import with_balances
from schemas.balances import SpecifierAnswer
from schemas.common import Answer, OutInstant, OutNumber
from schemas.documents import Document, customer_of, instant_text
from schemas.errors import NotSupported
from schemas.subscription_answers import RoundingAnswer


class _Named(Answer):
    id: str
    name: str


class _Ref(Answer):
    id: str


class _AccessAnswer(Answer):
    credit_type_id: str
    unit_price: OutNumber
    quantity: OutNumber | None = None
    access_type: str


class _InvoiceAnswer(Answer):
    credit_type_id: str
    unit_price: OutNumber
    quantity: OutNumber


class _DurationAnswer(Answer):
    value: int
    unit: str


class _RoundingAnswer(Answer):
    access: RoundingAnswer | None = None
    invoice: RoundingAnswer | None = None


class _LinkAnswer(Answer):
    subscription_id: str
    allocation: str
    apply_seat_increase_config: dict[str, bool]


class RecurringAnswer(Answer):
    """A recurring commit or credit under its latest terms."""

    id: str
    product: _Named
    contract: _Ref
    access_amount: _AccessAnswer
    invoice_amount: _InvoiceAnswer | None = None
    anchor_date: OutInstant
    commit_duration: _DurationAnswer
    priority: OutNumber
    rate_type: str
    starting_at: OutInstant
    ending_before: OutInstant | None = None
    recurrence_frequency: str | None = None
    proration: str
    proration_rounding: _RoundingAnswer | None = None
    subscription_config: _LinkAnswer | None = None
    applicable_product_ids: list[str] | None = None
    applicable_product_tags: list[str] | None = None
    specifiers: list[SpecifierAnswer] | None = None
    name: str | None = None
    description: str | None = None
    netsuite_sales_order_id: str | None = None


def recurring_answer(
    document: Document, contract: Document, products: Mapping[str, Document], *, as_made: bool = False
) -> RecurringAnswer:
    """``as_made``: under the terms that it was made with."""
    terms, child = document["terms"][0 if as_made else -1], document["balance"]
    product, link, rounding = products[child["product_id"]], document["subscription_config"], document["proration_rounding"]
    frequency = document["recurrence_frequency"]
    anchor = contract["usage_statement_schedule"]["billing_anchor_date"] if frequency is None else document["starting_at"]
    shown: dict[str, Any] = {
        **child,
        "product": {"id": product["id"], "name": product["current"]["name"]},
        "contract": {"id": contract["id"]},
        "access_amount": _given(
            credit_type_id=child["access_schedule"]["credit_type_id"],
            access_type=child["access_schedule"].get("access_type") or "SPEND",
            unit_price=terms["unit_price"],
            quantity=terms["quantity"],
        ),
        "anchor_date": anchor,
        "commit_duration": {"value": document["duration_periods"], "unit": "PERIODS"},
        "rate_type": child.get("rate_type") or "LIST_RATE",
        "starting_at": document["starting_at"],
        "ending_before": terms["ending_before"],
        "recurrence_frequency": frequency,
        "proration": document["proration"],
        "proration_rounding": rounding,
    }
    if terms["invoice_unit_price"] is not None:
        price, quantity = terms["invoice_unit_price"], terms["invoice_quantity"]
        shown["invoice_amount"] = {
            "credit_type_id": document["invoice_credit_type_id"],
            "unit_price": price,
            "quantity": quantity,
        }
    if link is not None:
        shown["subscription_config"] = {**link, "apply_seat_increase_config": {"is_prorated": link["is_prorated"]}}
    return RecurringAnswer.model_validate(_given(**shown))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def with_children(customer: Document, now_us: int) -> Document:
    """The customer's document with all balances that there are now, the children of recurring ones included."""
    return _with(customer, lambda config: balances_at(config, now_us))


def with_children_until(customer: Document, until_hour: int) -> Document:
    """The same with all that begin before an hour: an invoice may be paid by one that has not appeared yet."""
    return _with(customer, lambda config: balances_until(config, until_hour))


def with_own_document(customer: Document, balance_id: str, now_us: int) -> Document:
    """The customer's document in which this balance, if it is a child of a recurring one, is put among the others, to be changed
    by itself. Raises NotSupported for one with a share for each seat."""
    held = customer.get("balances") or []
    if any(each["id"] == balance_id for each in held):
        return customer
    made = (with_children(customer, now_us).get("balances") or [])[len(held) :]
    chosen = [each for each in made if each["id"] == balance_id]
    if any("shares" in each for each in chosen):
        raise NotSupported(f"{balance_id}: a commit or credit with INDIVIDUAL allocation cannot be changed by itself yet")
    return with_balances(customer, chosen)


def _with(customer: Document, balances: Callable[[CustomerConfig], Iterable[Balance]]) -> Document:
    recurring = {each["id"]: each for contract in customer["contracts"] for each in contract.get("recurring") or ()}
    if not recurring:
        return customer
    held = customer.get("balances") or []
    stored = {each["id"] for each in held}
    made: dict[str, list[Balance]] = {}
    with exact():
        for balance in balances(customer_of(customer)):
            if balance.recurring_id is not None and balance.id not in stored:
                made.setdefault(balance.share_of or balance.id, []).append(balance)
        children = [_child_or_whole(recurring[shares[0].recurring_id or ""], shares) for shares in made.values()]
    return {**customer, "balances": [*held, *children]}


def _child_or_whole(recurring: Document, shares: Sequence[Balance]) -> Document:
    """The document of a child; of one with a share for each seat, that of the whole, with its shares:
    ``shares: {seat id: {id, segment_ids}}``."""
    if shares[0].share_of is None:
        return _child(recurring, shares[0])
    seats = {
        share.seat[1]: {"id": share.id, "segment_ids": [segment.id for segment in share.segments]}
        for share in shares
        if share.seat is not None
    }
    return {**_child(recurring, whole_balance(shares)), "shares": seats}


def _child(recurring: Document, balance: Balance) -> Document:
    common = recurring["balance"]
    segments = [
        {
            "id": each.id,
            "amount": each.amount,
            "starting_at": instant_text(each.starting_hour * HOUR_US),
            "ending_before": instant_text(each.ending_hour * HOUR_US),
            "seat_increase": each.seat_increase,
        }
        for each in balance.segments
    ]
    charges = [
        {
            "id": each.id,
            "timestamp": instant_text(each.timestamp_us),
            "amount": each.unit_price * each.quantity,
            "unit_price": each.unit_price,
            "quantity": each.quantity,
        }
        for each in balance.invoice_items
    ]
    unit = balance.invoice_credit_type_id
    return {
        **common,
        "id": balance.id,
        "recurring_id": balance.recurring_id,
        "access_schedule": {**common["access_schedule"], "schedule_items": segments},
        "invoice_schedule": {"credit_type_id": unit, "do_not_invoice": False, "schedule_items": charges} if charges else None,
        "created_at": instant_text(balance.created_us),
    }
