"""/v2/contracts/edit: several changes of one contract as one, and its edit history"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.http.balance_edits import balance_to_change
from connectors.http.balances import replaced
from connectors.http.closed import closed_hour
from connectors.http.contract_balances import new_balances, placed, real_ids
from connectors.http.contract_recurring import edited
from connectors.http.contracts import contract_in, with_end
from connectors.http.editing import CatalogEdit, claim_of, edit_customer, get_customer, no_longer, read_catalog, unknown
from connectors.http.routing import Call, Route, route
from connectors.http.scheduled_charges import new_charges
from schemas.balance_edits import CommitUpdate, CreditUpdate, edited_balance
from schemas.balance_rules import check_balance, with_balances
from schemas.closed_periods import closed_warnings
from schemas.common import Answer, NoQuery, Warned, warned
from schemas.documents import Document
from schemas.edits import (
    EDITS_MAX,
    ContractEdit,
    Edit,
    EditDone,
    EditHistoryBody,
    IdBody,
    added_to_record,
    edit_answer,
    edit_record,
)
from schemas.errors import BadRequest
from schemas.override_rules import with_overrides, with_real_ids
from schemas.recurring_answers import with_own_document
from schemas.renewals import check_renewals
from schemas.scheduled_charges import with_charges


class EditHistory(Answer):
    data: list[Edit]


def _archived(customer: Document, contract_id: str, chosen: Sequence[IdBody], *, credit: bool, now: str) -> Document:
    """The customer's document with these balances of the contract archived; those that are already stay as they are."""
    ids = {each.id for each in chosen}
    own = {
        each["id"]
        for each in customer.get("balances") or ()
        if each["contract_id"] == contract_id and (each["type"] == "CREDIT") == credit
    }
    for each in chosen:
        if each.id not in own:
            raise unknown("balances", each.id)
    if not ids:
        return customer
    balances = [
        {**each, "archived_at": now} if each["id"] in ids and each["archived_at"] is None else each
        for each in customer["balances"]
    ]
    return {**customer, "balances": balances}


def _updated(
    customer: Document,
    update: CommitUpdate | CreditUpdate,
    place: str,
    contract_id: str,
    catalog: CatalogEdit,
    call: Call[Any, Any],
) -> Document:
    """The customer's document with one balance of the contract changed."""
    credit = isinstance(update, CreditUpdate)
    balance_id = update.credit_id if isinstance(update, CreditUpdate) else update.commit_id
    customer = with_own_document(customer, balance_id, call.now_us)
    balance = balance_to_change(customer, balance_id, credit=credit)
    if balance["contract_id"] != contract_id:
        raise unknown("balances", balance_id)
    no_longer("balances", balance)
    changed = edited_balance(balance, update, call.services.new_id, call.now)
    check_balance(place, changed, catalog.all("products"), catalog.all("pricing_units"), before=balance)
    return replaced(customer, changed, call.now)


def _changed_contract(contract: Document, body: ContractEdit, now_us: int, grace_hours: int) -> Document:
    no_longer("contracts", contract)
    if body.given("update_contract_end_date"):
        allow_final = body.allow_contract_ending_before_finalized_invoice
        ending = body.update_contract_end_date
        contract = with_end(contract, "update_contract_end_date", ending, now_us, grace_hours, allow_final=allow_final)
    if body.given("update_contract_name"):
        contract = {**contract, "name": body.update_contract_name}
    if body.given("update_net_payment_terms_days"):
        contract = {**contract, "net_payment_terms_days": body.update_net_payment_terms_days}
    return contract


async def edit(call: Call[ContractEdit, NoQuery]) -> Warned[EditDone]:
    """All of it or nothing; the draft invoices are computed anew from it at once. ``warnings`` name the time before now whose
    usage will be on no invoice."""
    services, body = call.services, call.body
    contract_in(await get_customer(services, body.customer_id), body.contract_id)
    edit_id = services.new_id()
    bodies = placed("add_", body.add_commits, body.add_credits)
    added = await new_balances(services, bodies, body.contract_id, call.now, edit_id)
    charges = await new_charges(services, body.add_scheduled_charges, "add_scheduled_charges", call.now, edit_id)
    record = edit_record(body, edit_id, added, charges, call.now)
    catalog = await read_catalog(services)
    closed = await closed_hour(services, body.customer_id, call.now_us)
    warnings: list[str] = []

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        old = contract_in(customer, body.contract_id)
        new = _changed_contract(old, body, call.now_us, services.settings.grace_period_hours)
        removed = [each.id for each in body.remove_overrides]
        new = with_overrides(new, body.add_overrides, removed, catalog, services.new_id, call.now, "add_overrides")
        new = with_real_ids(new, real_ids(bodies, added))
        archived = [each.id for each in body.archive_scheduled_charges]
        new = with_charges(new, charges, body.update_scheduled_charges, archived, services.new_id, call.now)
        if body.add_overrides:
            record["add_overrides"] = new["overrides"][-len(body.add_overrides) :]
        new = edited(new, body, edit_id, catalog, services, call.now)
        record.update(added_to_record(new, edit_id, catalog.all("products"), call.now_us))
        edits = customer.get("contract_edits") or []
        if len(edits) >= EDITS_MAX:
            raise BadRequest(f"customer_id: a customer's contracts have at most {EDITS_MAX} edits")
        for index, update in enumerate(body.update_commits):
            customer = _updated(customer, update, f"update_commits[{index}].", body.contract_id, catalog, call)
        for index, change_of in enumerate(body.update_credits):
            customer = _updated(customer, change_of, f"update_credits[{index}].", body.contract_id, catalog, call)
        for each in (*body.archive_commits, *body.archive_credits):
            customer = with_own_document(customer, each.id, call.now_us)
        customer = _archived(customer, body.contract_id, body.archive_commits, credit=False, now=call.now)
        customer = _archived(customer, body.contract_id, body.archive_credits, credit=True, now=call.now)
        contracts = [new if each is old else each for each in customer["contracts"]]
        changed = {**customer, "contracts": contracts, "contract_edits": [*edits, record], "updated_at": call.now}
        check_renewals(changed, "update_contract_end_date")
        warnings[:] = closed_warnings("update_contract_end_date", old, new, closed)
        return with_balances(changed, added)

    claim = claim_of("contract_edits", body.uniqueness_key, edit_id, body.customer_id)

    def answer(_: Document) -> Warned[EditDone]:
        shown = edit_answer(record, catalog.all("products"), catalog.all("pricing_units"))
        return warned(EditDone(id=edit_id, edit=shown), warnings)

    return await edit_customer(services, body.customer_id, change, answer, [claim])


async def edit_history(call: Call[EditHistoryBody, NoQuery]) -> EditHistory:
    """The oldest first."""
    customer = await get_customer(call.services, call.body.customer_id)
    contract_in(customer, call.body.contract_id)
    records = [each for each in customer.get("contract_edits") or () if each["contract_id"] == call.body.contract_id]
    if not records:
        return EditHistory(data=[])
    catalog = await read_catalog(call.services)
    products, units = catalog.all("products"), catalog.all("pricing_units")
    return EditHistory(data=[edit_answer(each, products, units) for each in records])


ROUTES: list[Route] = [
    route("POST", "/v2/contracts/edit", edit, "Edit a contract"),
    route("POST", "/v2/contracts/getEditHistory", edit_history, "The edits of a contract"),
]
