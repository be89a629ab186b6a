"""What a commit or credit may name: checked against the catalog and the customer before it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.catalog import USD_CENTS
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest

BALANCES_MAX = 2_000
"""Of one customer, archived ones and those of its contracts included. They are one document with it."""
ENTRIES_MAX = 10_000
"""Manual ledger entries of one customer."""


def _need_products(place: str, product_ids: Iterable[str], products: Mapping[str, Document]) -> None:
    for product_id in product_ids:
        if product_id not in products:
            raise BadRequest(f"{place}: there is no product {product_id}")


def check_balance(
    place: str,
    balance: Document,
    products: Mapping[str, Document],
    units: Mapping[str, Document],
    before: Document | None = None,
) -> None:
    """``place``: what stands before the names of fields in messages, "commits[0]." for example. ``before``: the balance that is
    edited; it may keep a product or credit type that was archived meanwhile."""
    product_id = balance["product_id"]
    _need_products(f"{place}product_id", [product_id], products)
    product = products[product_id]
    if product["type"] != "FIXED":
        raise BadRequest(f"{place}product_id: must be a FIXED product; {product_id} is a {product['type']} product")
    if product["archived_at"] is not None and (before is None or before["product_id"] != product_id):
        raise BadRequest(f"{place}product_id: the product {product_id} is archived")
    _need_products(f"{place}applicable_product_ids", balance["applicable_product_ids"], products)
    named = [each["product_id"] for each in balance["specifiers"] if "product_id" in each]
    _need_products(f"{place}specifiers", named, products)
    credit_type_id = balance["access_schedule"]["credit_type_id"]
    unit = units.get(credit_type_id)
    if before is None and credit_type_id != USD_CENTS and (unit is None or unit["archived_at"] is not None):
        raise BadRequest(f"{place}access_schedule.credit_type_id: there is no credit type {credit_type_id}")
    invoices = balance["invoice_schedule"]
    if invoices is not None and invoices["credit_type_id"] != USD_CENTS:
        raise BadRequest(f"{place}invoice_schedule.credit_type_id: only US dollars in cents are supported")


def check_contracts(balance: Document, customer: Document, before: Document | None = None) -> None:
    """That the contracts which a balance names are the customer's own. ``before``: the balance that is edited; what it named
    already, it may keep."""
    known = () if before is None else (*(before["applicable_contract_ids"] or ()), before["invoice_contract_id"])
    own = {contract["id"] for contract in customer["contracts"] if contract["archived_at"] is None} | {*known}
    for contract_id in balance["applicable_contract_ids"] or ():
        if contract_id not in own:
            raise BadRequest(f"applicable_contract_ids: the customer has no contract {contract_id}")
    invoicing = balance["invoice_contract_id"]
    if invoicing is not None and invoicing not in own:
        raise BadRequest(f"invoice_contract_id: the customer has no contract {invoicing}")


def with_balances(customer: Document, balances: list[Document]) -> Document:
    """The customer's document with more balances. Raises BadRequest if they would be too many."""
    if not balances:
        return customer
    held = customer.get("balances") or []
    if len(held) + len(balances) > BALANCES_MAX:
        raise BadRequest(f"customer_id: a customer has at most {BALANCES_MAX} commits and credits")
    return {**customer, "balances": [*held, *balances]}


def check_not_trued_up(balance: Document, now_us: int) -> None:
    """Raises BadRequest for a postpaid commit whose true-up was due: what it was granted and what was left of it is billed."""
    schedule = balance["invoice_schedule"]
    if balance["type"] != "POSTPAID" or schedule is None or schedule["do_not_invoice"]:
        return
    for item in schedule["schedule_items"]:
        if instant_us(item["timestamp"]) <= now_us:
            raise BadRequest(f"id: the commit {balance['id']} was trued up at {item['timestamp']}, its invoice is final")


def with_entry(customer: Document, entry: Document) -> Document:
    held = customer.get("ledger_entries") or []
    if len(held) >= ENTRIES_MAX:
        raise BadRequest(f"customer_id: a customer has at most {ENTRIES_MAX} manual ledger entries")
    return {**customer, "ledger_entries": [*held, entry]}


def ended_at(balance: Document, access_end: str | None, invoices_end: str | None, now: str) -> Document:
    """The balance with an earlier end: segments and invoices after it are gone, a segment that holds it is cut.
    Invoices that are due already stay.

    Raises BadRequest if its last segment ends before ``access_end`` already, or if nothing of it would be left."""
    if access_end is not None:
        balance = {**balance, "access_schedule": _cut(balance["access_schedule"], access_end)}
    schedule = balance["invoice_schedule"]
    if invoices_end is None or schedule is None:
        return balance
    limit = instant_us(invoices_end)
    kept = [item for item in schedule["schedule_items"] if instant_us(item["timestamp"]) < max(limit, instant_us(now) + 1)]
    return {**balance, "invoice_schedule": {**schedule, "schedule_items": kept}}


def _cut(schedule: Document, access_end: str) -> Document:
    limit = instant_us(access_end)
    items = schedule["schedule_items"]
    if limit > max(instant_us(item["ending_before"]) for item in items):
        raise BadRequest("access_ending_before: can only move the end to an earlier time")
    kept = [item for item in items if instant_us(item["starting_at"]) < limit]
    if not kept:
        raise BadRequest("access_ending_before: must be after the start of the first segment")
    cut = [{**item, "ending_before": access_end} if instant_us(item["ending_before"]) > limit else item for item in kept]
    return {**schedule, "schedule_items": cut}
