"""The stored text of a finalized invoice, a field of the customer's state: ``i|<contract>|<start>-<end>`` and JSON. One that was
made again in the place of a voided one adds ``|<its id>``.

Decimals are strings in their canonical form; what is None, empty or zero is left out of an item. Increments are kept by UTC day,
not by hour: about 40 bytes for each item and day with usage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.catalog import BalanceType
from engine.invoices.breakdown import by_days
from engine.invoices.items import Increment, Invoice, InvoiceStatus, ItemType, LineItem, TierOfItem, invoice_id
from engine.numbers import decimal_text
from engine.periods import HOUR_US, Period

INVOICE_PREFIX = "i|"


def invoice_field(invoice: Invoice) -> str:
    """The field's name."""
    field = f"{INVOICE_PREFIX}{invoice.contract_id}|{invoice.period.starting_hour}-{invoice.period.ending_hour}"
    return field if invoice.id == invoice_id(invoice.contract_id, invoice.period) else f"{field}|{invoice.id}"


def encode_invoice(invoice: Invoice) -> str:
    """The field's text."""
    document = {
        "id": invoice.id,
        "customer_id": invoice.customer_id,
        "contract_id": invoice.contract_id,
        "period": list(invoice.period),
        "issued_hour": invoice.issued_us // HOUR_US,
        "status": invoice.status,
        "credit_type_id": invoice.credit_type_id,
        "total": decimal_text(invoice.total),
        "line_items": [_item_document(item) for item in invoice.line_items],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def decode_invoice(text: str) -> Invoice:
    """Reads ``encode_invoice`` back; by days. Raises KeyError or ValueError for a text that it has not written."""
    document = json.loads(text)
    start, end = document["period"]
    return Invoice(
        id=document["id"],
        customer_id=document["customer_id"],
        contract_id=document["contract_id"],
        period=Period(start, end),
        issued_us=document["issued_hour"] * HOUR_US,
        status=InvoiceStatus(document["status"]),
        credit_type_id=document["credit_type_id"],
        total=Decimal(document["total"]),
        line_items=tuple(_item(item) for item in document["line_items"]),
        by_days=True,
    )


def decode_invoices(state: Mapping[str, str]) -> list[Invoice]:
    """All invoices in a customer's state, in the order in which they drew."""
    invoices = [decode_invoice(text) for field, text in state.items() if field.startswith(INVOICE_PREFIX)]
    return sorted(invoices, key=lambda invoice: (invoice.period.ending_hour, invoice.period.starting_hour, invoice.contract_id))


def as_stored(invoice: Invoice) -> Invoice:
    """The invoice as it will be read back: by days."""
    items = tuple(replace(item, increments=by_days(item.increments)) for item in invoice.line_items)
    return replace(invoice, line_items=items, by_days=True)


def _item_document(item: LineItem) -> dict[str, object]:
    tier = item.tier
    document: dict[str, object] = {
        "type": item.type,
        "name": item.name,
        "credit_type_id": item.credit_type_id,
        "total": decimal_text(item.total),
        "hours": [item.starting_hour, item.ending_hour],
        "quantity": None if item.quantity is None else decimal_text(item.quantity),
        "unit_price": None if item.unit_price is None else decimal_text(item.unit_price),
        "product_id": item.product_id,
        "product_tags": sorted(item.product_tags),
        "pricing": item.pricing_group_values,
        "presentation": item.presentation_group_values,
        "tier": None if tier is None else [tier.level, decimal_text(tier.starting_at), tier.size and decimal_text(tier.size)],
        "custom_credit_type_id": item.custom_credit_type_id,
        "balance_id": item.balance_id,
        "balance_type": item.balance_type,
        "segment_id": item.segment_id,
        "scheduled_charge_id": item.scheduled_charge_id,
        "item_id": item.item_id,
        "composite": item.is_composite or None,
        "subscription_id": item.subscription_id,
        "days": [[hour // 24, decimal_text(units), decimal_text(amount)] for hour, units, amount in by_days(item.increments)],
    }
    return {name: value for name, value in document.items() if value is not None and value not in ([], ())}


def _item(document: Mapping[str, Any]) -> LineItem:
    start, end = document["hours"]
    tier = document.get("tier")
    balance_type = document.get("balance_type")
    return LineItem(
        type=ItemType(document["type"]),
        name=document["name"],
        credit_type_id=document["credit_type_id"],
        total=Decimal(document["total"]),
        starting_hour=start,
        ending_hour=end,
        quantity=_number(document.get("quantity")),
        unit_price=_number(document.get("unit_price")),
        product_id=document.get("product_id"),
        product_tags=frozenset(document.get("product_tags", ())),
        pricing_group_values=tuple((name, value) for name, value in document.get("pricing", ())),
        presentation_group_values=tuple((name, value) for name, value in document.get("presentation", ())),
        tier=None if tier is None else TierOfItem(tier[0], Decimal(tier[1]), _number(tier[2])),
        custom_credit_type_id=document.get("custom_credit_type_id"),
        balance_id=document.get("balance_id"),
        balance_type=None if balance_type is None else BalanceType(balance_type),
        segment_id=document.get("segment_id"),
        scheduled_charge_id=document.get("scheduled_charge_id"),
        item_id=document.get("item_id"),
        is_composite=document.get("composite", False),
        subscription_id=document.get("subscription_id"),
        increments=tuple(Increment(day * 24, Decimal(units), Decimal(amount)) for day, units, amount in document.get("days", ())),
    )


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
