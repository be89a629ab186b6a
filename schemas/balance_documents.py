"""Documents of commits and credits -> the engine's balances.

    customer  {..., balances?: [balance], ledger_entries?: [entry]}
    balance   {id, type, product_id, contract_id?, priority?, access_schedule: {credit_type_id, access_type?,
               schedule_items: [{id, amount, starting_at, ending_before}]}, invoice_schedule?: {schedule_items: [{amount, ...}]},
               rate_type?, rollover_fraction?, rolled_over_from?: {balance_id, contract_id, fraction, already_paid},
               applicable_contract_ids?, applicable_product_ids, applicable_product_tags, specifiers, custom_fields,
               created_at, archived_at?}
    entry     {id, balance_id, segment_id, amount, timestamp, reason}

Both lists are absent from the documents of customers that were made before there were balances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from engine.catalog import AccessType, Balance, BalanceType, Frequency, ManualEntry, RateTarget, RolledOver, Segment, Specifier
from schemas.charge_documents import invoice_items_of
from schemas.timestamps import stored_hour, stored_instant_us

Document = dict[str, Any]


def _pairs(values: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((values or {}).items()))


def segment_of(item: Document) -> Segment:
    amount, increase = Decimal(item["amount"]), bool(item.get("seat_increase"))
    return Segment(
        item["id"], stored_hour(item["starting_at"]), stored_hour(item["ending_before"]), amount, seat_increase=increase
    )


def specifier_of(document: Document) -> Specifier:
    return Specifier(
        product_id=document.get("product_id"),
        product_tags=frozenset(document.get("product_tags") or ()),
        pricing_group_values=_pairs(document.get("pricing_group_values")),
        presentation_group_values=_pairs(document.get("presentation_group_values")),
        billing_frequency=None if document.get("billing_frequency") is None else Frequency(document["billing_frequency"]),
    )


def _cost_nothing(document: Document) -> bool:
    """A credit, or a commit whose invoices come to 0 (or that has none)."""
    schedule = document.get("invoice_schedule")
    return schedule is None or not any(Decimal(item["amount"]) for item in schedule["schedule_items"])


def _rolled_over(document: Document | None) -> RolledOver | None:
    if document is None:
        return None
    fraction = Decimal(document["fraction"])
    return RolledOver(document["balance_id"], document["contract_id"], fraction, document["already_paid"])


def balance_of(document: Document, entries: Iterable[Document], *, archived: bool = False) -> Balance:
    """``entries``: the manual ledger entries of this balance. ``archived``: as a whole, because its contract is."""
    contract_ids = document.get("applicable_contract_ids")
    return Balance(
        id=document["id"],
        type=BalanceType(document["type"]),
        product_id=document["product_id"],
        segments=tuple(segment_of(item) for item in document["access_schedule"]["schedule_items"]),
        credit_type_id=document["access_schedule"]["credit_type_id"],
        priority=Decimal(document.get("priority") or 0),
        contract_id=document.get("contract_id"),
        applicable_contract_ids=None if contract_ids is None else frozenset(contract_ids),
        applicable_product_ids=frozenset(document["applicable_product_ids"]),
        applicable_product_tags=frozenset(document["applicable_product_tags"]),
        specifiers=tuple(specifier_of(each) for each in document["specifiers"]),
        cost_basis_free=_cost_nothing(document),
        manual_entries=tuple(
            ManualEntry(
                each["segment_id"],
                Decimal(each["amount"]),
                stored_instant_us(each["timestamp"]),
                each["reason"],
                each.get("seat_id"),
            )
            for each in entries
        ),
        custom_fields=_pairs(document["custom_fields"]),
        created_us=stored_instant_us(document["created_at"]),
        archived=archived or document.get("archived_at") is not None,
        rate_type=RateTarget(document.get("rate_type", "LIST_RATE")),
        recurring_id=document.get("recurring_id"),
        invoice_items=invoice_items_of(document.get("invoice_schedule"), document.get("archived_at")),
        invoice_contract_id=document.get("invoice_contract_id"),
        rolled_over=_rolled_over(document.get("rolled_over_from")),
        access_type=AccessType(document["access_schedule"].get("access_type", "SPEND")),
    )


def balances_of(customer: Document) -> tuple[Balance, ...]:
    """All balances of a customer's document, archived ones included."""
    entries: dict[str, list[Document]] = {}
    for entry in customer.get("ledger_entries") or ():
        entries.setdefault(entry["balance_id"], []).append(entry)
    gone = {contract["id"] for contract in customer["contracts"] if contract.get("archived_at") is not None}
    return tuple(
        balance_of(document, entries.get(document["id"], ()), archived=document.get("contract_id") in gone)
        for document in customer.get("balances") or ()
    )
