"""Documents of what is charged on given dates -> the engine's invoice items and scheduled charges.

schedule  {credit_type_id, do_not_invoice, schedule_items: [{id, timestamp, amount, unit_price, quantity, added_at?}]}
charge    {id, product_id, name, schedule, custom_fields, netsuite_sales_order_id, created_at, edit_id?, archived_at?};
          a contract holds them as scheduled_charges
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.catalog import InvoiceItem, ScheduledCharge
from schemas.timestamps import stored_instant_us

Document = dict[str, Any]


def invoice_items_of(schedule: Mapping[str, Any] | None, archived_at: str | None = None) -> tuple[InvoiceItem, ...]:
    """What is invoiced: of something that was archived, only what was due by then."""
    if schedule is None or schedule.get("do_not_invoice"):
        return ()
    until_us = None if archived_at is None else stored_instant_us(archived_at)
    items = (_item(each) for each in schedule["schedule_items"])
    return tuple(item for item in items if until_us is None or item.timestamp_us <= until_us)


def _item(document: Document) -> InvoiceItem:
    return InvoiceItem(
        id=document["id"],
        timestamp_us=stored_instant_us(document["timestamp"]),
        unit_price=Decimal(document["unit_price"]),
        quantity=Decimal(document["quantity"]),
        added_us=stored_instant_us(document["added_at"]) if "added_at" in document else 0,
    )


def scheduled_charges_of(contract: Document) -> tuple[ScheduledCharge, ...]:
    return tuple(_charge(each) for each in contract.get("scheduled_charges") or ())


def _charge(document: Document) -> ScheduledCharge:
    return ScheduledCharge(
        id=document["id"],
        product_id=document["product_id"],
        items=invoice_items_of(document["schedule"], document["archived_at"]),
        name=document["name"],
        credit_type_id=document["schedule"]["credit_type_id"],
        custom_fields=tuple(sorted(document["custom_fields"].items())),
        created_us=stored_instant_us(document["created_at"]),
    )
