"""Scheduled charges of contracts: bodies, answers, documents (parts of their contract's), and the rules of changing them.

What is due already has been invoiced: an edit changes only what is to come. An archived charge keeps what was due until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from engine.catalog import USD_CENTS
from schemas.balance_edits import InvoiceEdit, edited_invoices
from schemas.common import Answer, Body, CustomFields, Id, Key, Name, OutInstant, OutNumber
from schemas.documents import Document
from schemas.errors import BadRequest, NotFound
from schemas.invoice_schedules import InvoiceSchedule, InvoiceScheduleAnswer, NewId, schedule_answer, schedule_document

CHARGES_MAX = 200
"""Of one contract, archived ones included. They are one document with its customer."""


class ScheduledChargeBody(Body):
    product_id: Id = Field(description="A FIXED product.")
    schedule: InvoiceSchedule
    name: Name | None = Field(default=None, description="Shown on invoices. Absent: the product's.")
    custom_fields: CustomFields = Field(default_factory=dict)
    netsuite_sales_order_id: Key | None = None

    @model_validator(mode="after")
    def _has_dates(self) -> ScheduledChargeBody:
        if self.schedule.is_empty():
            raise ValueError("schedule must have schedule_items or a recurring_schedule")
        if self.schedule.do_not_invoice:
            raise ValueError("schedule.do_not_invoice applies to commits only")
        return self


class ScheduledChargeUpdate(Body):
    scheduled_charge_id: Id
    invoice_schedule: InvoiceEdit | None = None
    netsuite_sales_order_id: Key | None = None


Charges = Annotated[list[ScheduledChargeBody], Field(max_length=CHARGES_MAX)]
ChargeUpdates = Annotated[list[ScheduledChargeUpdate], Field(max_length=CHARGES_MAX)]


class _Product(Answer):
    id: str
    name: str


class ScheduledChargeAnswer(Answer):
    id: str
    product: _Product
    schedule: InvoiceScheduleAnswer
    name: str | None = None
    custom_fields: dict[str, str]
    netsuite_sales_order_id: str | None = None
    archived_at: OutInstant | None = None


class ItemEditAnswer(Answer):
    id: str | None = None
    timestamp: OutInstant | None = None
    amount: OutNumber | None = None
    unit_price: OutNumber | None = None
    quantity: OutNumber | None = None


class ScheduleEditAnswer(Answer):
    add_schedule_items: list[ItemEditAnswer] | None = None
    remove_schedule_items: list[ItemEditAnswer] | None = None
    update_schedule_items: list[ItemEditAnswer] | None = None


class ChargeUpdateAnswer(Answer):
    """What an edit asked for."""

    id: str
    invoice_schedule: ScheduleEditAnswer | None = None
    netsuite_sales_order_id: str | None = None


def charge_documents(
    bodies: Sequence[ScheduledChargeBody],
    products: Mapping[str, Document],
    new_id: NewId,
    now: str,
    place: str,
    edit_id: str | None = None,
) -> list[Document]:
    """``place``: the field that names them. ``edit_id``: of the edit that adds them. Raises BadRequest."""
    return [_document(body, products, new_id, now, f"{place}[{index}].", edit_id) for index, body in enumerate(bodies)]


def _document(
    body: ScheduledChargeBody, products: Mapping[str, Document], new_id: NewId, now: str, place: str, edit_id: str | None
) -> Document:
    product = products.get(body.product_id)
    if product is None:
        raise BadRequest(f"{place}product_id: there is no product {body.product_id}")
    if product["type"] != "FIXED":
        raise BadRequest(f"{place}product_id: must be a FIXED product; {body.product_id} is a {product['type']} product")
    if product["archived_at"] is not None:
        raise BadRequest(f"{place}product_id: the product {body.product_id} is archived")
    if body.schedule.credit_type_id != USD_CENTS:
        raise BadRequest(f"{place}schedule.credit_type_id: only US dollars in cents are supported")
    return {
        "id": new_id(),
        "product_id": body.product_id,
        "name": body.name,
        "schedule": schedule_document(body.schedule, new_id),
        "custom_fields": body.custom_fields,
        "netsuite_sales_order_id": body.netsuite_sales_order_id,
        "created_at": now,
        "edit_id": edit_id,
        "archived_at": None,
    }


def with_charges(
    contract: Document,
    add: Sequence[Document],
    update: Sequence[ScheduledChargeUpdate],
    archive: Sequence[str],
    new_id: NewId,
    now: str,
) -> Document:
    """The contract's document with its charges changed, archived and added. Raises BadRequest or NotFound."""
    held: list[Document] = list(contract.get("scheduled_charges") or ())
    known = {each["id"]: each for each in held}
    for charge_id in (*(each.scheduled_charge_id for each in update), *archive):
        if charge_id not in known:
            raise NotFound(f"the contract has no scheduled charge {charge_id}")
    if len(held) + len(add) > CHARGES_MAX:
        raise BadRequest(f"add_scheduled_charges: a contract has at most {CHARGES_MAX} scheduled charges")
    for index, body in enumerate(update):
        known[body.scheduled_charge_id] = _updated(known[body.scheduled_charge_id], body, index, new_id, now)
    for charge_id in archive:
        if known[charge_id]["archived_at"] is None:
            known[charge_id] = {**known[charge_id], "archived_at": now}
    changed = [*(known[each["id"]] for each in held), *add]
    return contract if changed == held else {**contract, "scheduled_charges": changed}


def _updated(charge: Document, body: ScheduledChargeUpdate, index: int, new_id: NewId, now: str) -> Document:
    place = f"update_scheduled_charges[{index}]"
    if charge["archived_at"] is not None:
        raise BadRequest(f"{place}.scheduled_charge_id: the scheduled charge {charge['id']} is archived")
    if "netsuite_sales_order_id" in body.model_fields_set:
        charge = {**charge, "netsuite_sales_order_id": body.netsuite_sales_order_id}
    if body.invoice_schedule is None:
        return charge
    schedule = edited_invoices(charge["schedule"], body.invoice_schedule, new_id, now, f"{place}.invoice_schedule")
    return {**charge, "schedule": schedule}


def charge_answer(
    document: Document, products: Mapping[str, Document], units: dict[str, Document], contract_id: str
) -> ScheduledChargeAnswer:
    product = products[document["product_id"]]
    shown = {
        **document,
        "product": {"id": product["id"], "name": product["current"]["name"]},
        "schedule": schedule_answer(document["schedule"], units, contract_id, document["created_at"]),
    }
    return ScheduledChargeAnswer.model_validate({name: value for name, value in shown.items() if value is not None})
