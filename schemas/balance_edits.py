"""Editing one commit or credit: the bodies, and what becomes of its document."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, model_validator

from engine.catalog import USD_CENTS
from engine.numbers import exact
from schemas.commits import (
    SPECIFIERS_MAX,
    AccessItem,
    Description,
    Fraction,
    RateType,
    SpecifierBody,
    access_item,
)
from schemas.common import Body, HourInstant, Id, Instant, Key, Name, NotNegative, Number, Unsupported, rfc3339
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest, NotFound
from schemas.invoice_schedules import SCHEDULE_ITEMS_MAX, InvoiceItem, NewId, invoice_item
from schemas.products import Ids, Tags


class ItemId(Body):
    id: Id


class AccessItemUpdate(Body):
    id: Id
    amount: NotNegative | None = None
    starting_at: HourInstant | None = None
    ending_before: HourInstant | None = None


class InvoiceItemUpdate(Body):
    id: Id
    timestamp: Instant | None = None
    amount: NotNegative | None = None
    unit_price: NotNegative | None = None
    quantity: NotNegative | None = None

    @model_validator(mode="after")
    def _one_way(self) -> InvoiceItemUpdate:
        if self.amount is not None and (self.unit_price is not None or self.quantity is not None):
            raise ValueError("give either amount, or unit_price and quantity")
        return self


_Few: Any = Field(max_length=SCHEDULE_ITEMS_MAX, default_factory=list)


class AccessEdit(Body):
    add_schedule_items: list[AccessItem] = _Few
    remove_schedule_items: list[ItemId] = _Few
    update_schedule_items: list[AccessItemUpdate] = _Few


class InvoiceEdit(Body):
    add_schedule_items: list[InvoiceItem] = _Few
    remove_schedule_items: list[ItemId] = _Few
    update_schedule_items: list[InvoiceItemUpdate] = _Few


class _BalanceChange(Body):
    """What is absent stays. Null takes back what the balance was limited to, and its priority."""

    access_schedule: AccessEdit | None = None
    applicable_product_ids: Ids | None = None
    applicable_product_tags: Tags | None = None
    priority: Number | None = None
    product_id: Id | None = None
    name: Name | None = None
    description: Description | None = None
    rate_type: RateType | None = None
    hierarchy_configuration: Unsupported = None


class CommitUpdate(_BalanceChange):
    """A part of an edit of the commit's contract."""

    commit_id: Id
    invoice_schedule: InvoiceEdit | None = None
    netsuite_sales_order_id: Key | None = None
    rollover_fraction: Fraction | None = None


class CreditUpdate(_BalanceChange):
    credit_id: Id
    netsuite_sales_order_id: Key | None = None
    rollover_fraction: Fraction | None = None


class _BalanceEdit(_BalanceChange):
    """As an edit by itself; null takes back who the balance was limited to, too."""

    customer_id: Id
    applicable_contract_ids: Ids | None = None
    specifiers: Annotated[list[SpecifierBody], Field(max_length=SPECIFIERS_MAX)] | None = None


class CommitEdit(_BalanceEdit):
    commit_id: Id
    invoice_schedule: InvoiceEdit | None = None
    invoice_contract_id: Id | None = None


class CreditEdit(_BalanceEdit):
    credit_id: Id


AnyEdit = CommitEdit | CreditEdit | CommitUpdate | CreditUpdate


class CommitArchive(Body):
    customer_id: Id
    commit_id: Id


class CreditArchive(Body):
    customer_id: Id
    credit_id: Id


def edited_balance(balance: Document, body: AnyEdit, new_id: NewId, now: str) -> Document:
    """Raises BadRequest for a balance that could not have been made like this, NotFound for a schedule item that is not there."""
    given = body.model_fields_set
    changes: Document = {}
    for name in ("name", "description", "product_id", "invoice_contract_id", "rate_type"):
        if getattr(body, name, None) is not None:
            changes[name] = getattr(body, name)
    for name in ("priority", "netsuite_sales_order_id", "rollover_fraction"):
        if name in given:
            changes[name] = getattr(body, name)
    if isinstance(body, _BalanceEdit) and "applicable_contract_ids" in given:
        if balance["contract_id"] is not None:
            raise BadRequest("applicable_contract_ids: does not apply to a balance of a contract")
        changes["applicable_contract_ids"] = body.applicable_contract_ids
    limits = ("applicable_product_ids", "applicable_product_tags")
    changes |= {name: getattr(body, name) or [] for name in limits if name in given}
    if isinstance(body, _BalanceEdit) and "specifiers" in given:
        changes["specifiers"] = [each.model_dump(exclude_none=True) for each in body.specifiers or ()]
    if body.access_schedule is not None:
        if balance.get("rolled_over_from") is not None:
            raise BadRequest("access_schedule: what was rolled over is computed, and cannot be edited")
        changes["access_schedule"] = _edited_access(balance["access_schedule"], body.access_schedule, new_id)
    if isinstance(body, CommitEdit | CommitUpdate) and body.invoice_schedule is not None:
        schedule = balance["invoice_schedule"] or {"credit_type_id": USD_CENTS, "do_not_invoice": False, "schedule_items": []}
        changes["invoice_schedule"] = edited_invoices(schedule, body.invoice_schedule, new_id, now, "invoice_schedule")
    changed = {**balance, **changes}
    if changed["specifiers"] and (changed["applicable_product_ids"] or changed["applicable_product_tags"]):
        raise BadRequest("specifiers: cannot be used together with applicable_product_ids or applicable_product_tags")
    if changed["type"] == "POSTPAID":
        _check_postpaid(changed)
    return changed


def _kept(items: list[Document], edit: AccessEdit | InvoiceEdit, field: str) -> tuple[list[Document], dict[str, Any]]:
    """The items that are not removed, and the updates by item."""
    known = {item["id"] for item in items}
    removed = {each.id for each in edit.remove_schedule_items}
    updates = {each.id: each for each in edit.update_schedule_items}
    for item_id in (*removed, *updates):
        if item_id not in known:
            raise NotFound(f"{field}: there is no schedule item {item_id}")
    return [item for item in items if item["id"] not in removed], updates


def _edited_access(schedule: Document, edit: AccessEdit, new_id: NewId) -> Document:
    kept, updates = _kept(schedule["schedule_items"], edit, "access_schedule")
    items = [_updated_segment(item, updates[item["id"]]) if item["id"] in updates else item for item in kept]
    items += [access_item(item, new_id) for item in edit.add_schedule_items]
    if not 0 < len(items) <= SCHEDULE_ITEMS_MAX:
        raise BadRequest(f"access_schedule: must keep 1 to {SCHEDULE_ITEMS_MAX} schedule items")
    return {**schedule, "schedule_items": items}


def _updated_segment(item: Document, update: AccessItemUpdate) -> Document:
    item = dict(item)
    if update.amount is not None:
        item["amount"] = update.amount
    if update.starting_at is not None:
        item["starting_at"] = rfc3339(update.starting_at)
    if update.ending_before is not None:
        item["ending_before"] = rfc3339(update.ending_before)
    if instant_us(item["ending_before"]) <= instant_us(item["starting_at"]):
        raise BadRequest(f"access_schedule: ending_before of the schedule item {update.id} must be after its starting_at")
    return item


def edited_invoices(schedule: Document, edit: InvoiceEdit, new_id: NewId, now: str, place: str) -> Document:
    """``place``: the field's name. Raises BadRequest for an item whose invoice is final."""
    kept, updates = _kept(schedule["schedule_items"], edit, place)
    changed = {*updates, *(each.id for each in edit.remove_schedule_items)}
    for item in schedule["schedule_items"]:
        if item["id"] in changed and instant_us(item["timestamp"]) <= instant_us(now) and not schedule["do_not_invoice"]:
            raise BadRequest(f"{place}: the schedule item {item['id']} was due at {item['timestamp']}, its invoice is final")
    items = [_updated_charge(item, updates[item["id"]]) if item["id"] in updates else item for item in kept]
    items += [invoice_item(item, new_id, now) for item in edit.add_schedule_items]
    if len(items) > SCHEDULE_ITEMS_MAX:
        raise BadRequest(f"{place}: must have at most {SCHEDULE_ITEMS_MAX} schedule items")
    return {**schedule, "schedule_items": items}


def _updated_charge(item: Document, update: InvoiceItemUpdate) -> Document:
    """A unit price without a quantity keeps the quantity that there was, and the other way round."""
    item = dict(item)
    if update.timestamp is not None:
        item["timestamp"] = rfc3339(update.timestamp)
    if update.amount is not None:
        item |= {"unit_price": update.amount, "quantity": Decimal(1)}
    if update.unit_price is not None:
        item["unit_price"] = update.unit_price
    if update.quantity is not None:
        item["quantity"] = update.quantity
    with exact():
        item["amount"] = Decimal(item["unit_price"]) * Decimal(item["quantity"])
    return item


def _check_postpaid(balance: Document) -> None:
    """One segment, one true-up, of one amount."""
    segments = balance["access_schedule"]["schedule_items"]
    charges = balance["invoice_schedule"]["schedule_items"]
    if len(segments) != 1 or len(charges) != 1 or Decimal(segments[0]["amount"]) != Decimal(charges[0]["amount"]):
        raise BadRequest("a POSTPAID commit has one schedule item in each schedule, both of the same amount")
