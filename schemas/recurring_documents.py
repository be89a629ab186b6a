"""Documents of subscriptions and of recurring commits and credits, parts of their contract's -> the engine's.

    contract      {..., subscriptions?: [subscription], recurring?: [recurring]}
    subscription  {id, product_id, billing_frequency, anchor_date, collection_schedule, starting_at, ending_before?,
                   quantity_management_mode, quantities: [{starting_at, quantity}], name?, description?, custom_fields,
                   seats? (schemas.seats; quantities then follow from them),
                   proration: {is_prorated, invoice_behavior, rounding?}, created_at, edit_id?}
    recurring     {id, balance: <a balance's document without schedule items>, starting_at, recurrence_frequency?,
                   duration_periods, proration, proration_rounding?: {access?, invoice?}, invoice_credit_type_id?,
                   subscription_config?: {subscription_id, allocation, is_prorated}, edit_id?,
                   terms: [{set_at?, unit_price, quantity?, invoice_unit_price?, invoice_quantity?, ending_before?}]}

``quantities`` are by ``starting_at``. ``terms`` are in the order in which they were set; the first has no ``set_at``. Manual
entries of a recurring one's children are among the customer's ``ledger_entries``, with its id as their ``recurring_id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.catalog import (
    Allocation,
    AmountRounding,
    BillingSchedule,
    Collection,
    Frequency,
    ProrationRounding,
    QuantityStep,
    RecurringBalance,
    RecurringTerms,
    SeatStep,
    Subscription,
    SubscriptionLink,
)
from schemas.balance_documents import balance_of
from schemas.timestamps import stored_hour, stored_instant_us

Document = dict[str, Any]


def _optional_hour(text: str | None) -> int | None:
    return None if text is None else stored_hour(text)


def _optional_number(text: object) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _rounding(document: Document | None) -> AmountRounding | None:
    return (
        None if document is None else AmountRounding(ProrationRounding(document["rounding_method"]), document["decimal_places"])
    )


def subscription_of(document: Document) -> Subscription:
    proration, seats = document["proration"], document.get("seats")
    return Subscription(
        id=document["id"],
        product_id=document["product_id"],
        billing=BillingSchedule(Frequency(document["billing_frequency"]), stored_instant_us(document["anchor_date"])),
        collection=Collection(document["collection_schedule"]),
        starting_hour=stored_hour(document["starting_at"]),
        ending_hour=_optional_hour(document["ending_before"]),
        quantity_steps=tuple(
            QuantityStep(stored_hour(each["starting_at"]), Decimal(each["quantity"])) for each in document["quantities"]
        ),
        is_prorated=proration["is_prorated"],
        bill_immediately=proration["invoice_behavior"] == "BILL_IMMEDIATELY",
        rounding=_rounding(proration.get("rounding")),
        seat_group_key=None if seats is None else seats["group_key"],
        seat_steps=() if seats is None else tuple(_seat_steps(seats["changes"])),
        name=document["name"],
        custom_fields=tuple(sorted(document["custom_fields"].items())),
        created_us=stored_instant_us(document["created_at"]),
    )


def _seat_steps(changes: Iterable[Document]) -> Iterator[SeatStep]:
    for change in changes:
        hour = stored_hour(change["starting_at"])
        yield from (SeatStep(hour, seat_id, assigned=True) for seat_id in change.get("assign", ()))
        yield from (SeatStep(hour, seat_id, assigned=False) for seat_id in change.get("remove", ()))


def subscriptions_of(contract: Document) -> tuple[Subscription, ...]:
    return tuple(subscription_of(each) for each in contract.get("subscriptions") or ())


def recurring_of(document: Document, contract: Document, entries: Iterable[Document]) -> RecurringBalance:
    """``entries``: the manual ledger entries of its children."""
    frequency = document["recurrence_frequency"]
    usage = contract["usage_statement_schedule"]
    anchor = usage["billing_anchor_date"] if frequency is None else document["starting_at"]
    rounding = document["proration_rounding"] or {}
    link = document["subscription_config"]
    child = balance_of(document["balance"], entries)
    return RecurringBalance(
        child=replace(child, invoice_credit_type_id=document["invoice_credit_type_id"] or child.invoice_credit_type_id),
        schedule=BillingSchedule(Frequency(frequency or usage["frequency"]), stored_instant_us(anchor)),
        starting_hour=stored_hour(document["starting_at"]),
        terms=tuple(_terms(each) for each in document["terms"]),
        duration_periods=document["duration_periods"],
        prorates_first=document["proration"] in ("FIRST", "FIRST_AND_LAST"),
        prorates_last=document["proration"] in ("LAST", "FIRST_AND_LAST"),
        access_rounding=_rounding(rounding.get("access")),
        invoice_rounding=_rounding(rounding.get("invoice")),
        link=link and SubscriptionLink(link["subscription_id"], Allocation(link["allocation"]), link["is_prorated"]),
    )


def _terms(document: Document) -> RecurringTerms:
    one = Decimal(1)
    return RecurringTerms(
        after_us=0 if document["set_at"] is None else stored_instant_us(document["set_at"]),
        unit_price=Decimal(document["unit_price"]),
        quantity=one if document["quantity"] is None else Decimal(document["quantity"]),
        invoice_unit_price=_optional_number(document["invoice_unit_price"]),
        invoice_quantity=one if document["invoice_quantity"] is None else Decimal(document["invoice_quantity"]),
        ending_hour=_optional_hour(document["ending_before"]),
    )


def recurring_in(contract: Document, entries: Iterable[Document] = ()) -> tuple[RecurringBalance, ...]:
    """``entries``: manual ledger entries; those of other balances are left out."""
    documents = contract.get("recurring") or ()
    if not documents:
        return ()
    own: dict[str, list[Document]] = {}
    for entry in entries:
        if entry.get("recurring_id") is not None:
            own.setdefault(entry["recurring_id"], []).append(entry)
    return tuple(recurring_of(each, contract, own.get(each["id"], ())) for each in documents)
