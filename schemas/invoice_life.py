"""Voiding invoices, and making them again: bodies, and what becomes of the customer's document.

customer  {..., voided_invoices?: [{id, voided_at, regenerated_at?}]}
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.balances.recurring import with_children
from engine.catalog import CustomerConfig
from engine.invoices.items import Invoice, InvoiceStatus, InvoiceType, invoice_id, regenerated_id
from engine.invoices.scheduled import dues, invoice_id_of
from engine.invoices.statement import reach_hour
from engine.invoices.voids import until_end
from engine.periods import periods_between
from schemas.common import Body, Id
from schemas.documents import Document
from schemas.errors import BadRequest

VOIDED_MAX = 1_000
"""Of one customer. They are one document with it."""


class InvoiceLife(Body):
    id: Id


def invoice_ids(config: CustomerConfig, now_hour: int) -> Iterator[str]:
    """The ids that invoices of a customer have, if it has them: it takes no more than its configuration to tell them. (Not
    those of periods that begin within a billing period, because the contract's end was moved after an invoice was final.)"""
    for contract in (*config.contracts, *config.archived_contracts):
        start, end = contract.starting_hour, contract.ending_hour
        for period in periods_between(contract.schedule, start, end, start, now_hour + 1):
            yield invoice_id(contract.id, period)
    for due in dues(with_children(config, reach_hour(config, now_hour))):
        yield invoice_id_of(due)
    for voided_id, _ in config.voided:
        yield regenerated_id(voided_id)


def with_void(customer: Document, invoice: Invoice, now: str) -> Document:
    """Raises BadRequest for a draft: it would be made anew at once."""
    if invoice.status is InvoiceStatus.DRAFT:
        raise BadRequest(f"id: the invoice {invoice.id} is a draft; only a final one can be voided")
    voided = customer.get("voided_invoices") or []
    if len(voided) >= VOIDED_MAX:
        raise BadRequest(f"id: at most {VOIDED_MAX} invoices of a customer can be voided")
    return {**customer, "voided_invoices": [*voided, {"id": invoice.id, "voided_at": now}]}


def with_regenerated(customer: Document, config: CustomerConfig, invoice: Invoice, folded_before: int, now: str) -> Document:
    """``folded_before``: the hours before this one are no longer told apart. Raises BadRequest."""
    contract = next((each for each in config.contracts if each.id == invoice.contract_id), None)
    if contract is None:
        raise BadRequest(f"id: the contract of the invoice {invoice.id} is archived")
    voided = {each["id"]: each for each in customer.get("voided_invoices") or ()}
    own = voided.get(invoice.id)
    if own is None:
        raise BadRequest(f"id: the invoice {invoice.id} is not void; only a void one can be made again")
    if "regenerated_at" in own:
        raise BadRequest(f"id: the invoice {invoice.id} was made again already, as {regenerated_id(invoice.id)}")
    if invoice.type is InvoiceType.USAGE:
        start, end = until_end(invoice.period, contract)
        if end <= start:
            raise BadRequest(f"id: the contract now ends before the billing period of the invoice {invoice.id}")
        if start < folded_before:
            raise BadRequest(f"id: the usage of the invoice {invoice.id} is too old, its hours are no longer kept")
    voided[invoice.id] = {**own, "regenerated_at": now}
    return {**customer, "voided_invoices": list(voided.values())}
