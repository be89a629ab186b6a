"""/v2/contracts/commits and /v2/contracts/credits: changing or archiving one commit or credit"""

from __future__ import annotations

from typing import Any

from connectors.http.balances import balance_in, replaced
from connectors.http.editing import edit_customer, no_longer, read_catalog, unknown, with_id
from connectors.http.routing import Call, Route, route
from schemas.balance_edits import CommitArchive, CommitEdit, CreditArchive, CreditEdit, edited_balance
from schemas.balance_rules import check_balance, check_contracts
from schemas.common import Data, IdAnswer, NoQuery
from schemas.documents import Document
from schemas.recurring_answers import with_own_document


def balance_to_change(customer: Document, balance_id: str, *, credit: bool) -> Document:
    """A balance of this kind. Raises NotFound."""
    balance = balance_in(customer, balance_id)
    if (balance["type"] == "CREDIT") != credit:
        raise unknown("balances", balance_id)
    return balance


async def _edit(call: Call[CommitEdit, NoQuery] | Call[CreditEdit, NoQuery], balance_id: str, *, credit: bool) -> Data[IdAnswer]:
    """Drafts and balances are computed anew from it at once; final invoices stay."""
    catalog = await read_catalog(call.services)
    products, units = catalog.all("products"), catalog.all("pricing_units")

    def change(customer: Document) -> Document | None:
        no_longer("customers", customer)
        customer = with_own_document(customer, balance_id, call.now_us)
        balance = balance_to_change(customer, balance_id, credit=credit)
        no_longer("balances", balance)
        changed = edited_balance(balance, call.body, call.services.new_id, call.now)
        if changed == balance:
            return None
        check_balance("", changed, products, units, before=balance)
        check_contracts(changed, customer, before=balance)
        return replaced(customer, changed, call.now)

    return await edit_customer(call.services, call.body.customer_id, change, with_id(balance_id))


async def _archive(call: Call[Any, NoQuery], balance_id: str, *, credit: bool) -> Data[IdAnswer]:
    """Nothing is left of it, and drafts draw on it no more; what final invoices drew stays. Again: nothing happens."""

    def change(customer: Document) -> Document | None:
        customer = with_own_document(customer, balance_id, call.now_us)
        balance = balance_to_change(customer, balance_id, credit=credit)
        return None if balance["archived_at"] is not None else replaced(customer, {**balance, "archived_at": call.now}, call.now)

    return await edit_customer(call.services, call.body.customer_id, change, with_id(balance_id))


async def archive_commit(call: Call[CommitArchive, NoQuery]) -> Data[IdAnswer]:
    return await _archive(call, call.body.commit_id, credit=False)


async def archive_credit(call: Call[CreditArchive, NoQuery]) -> Data[IdAnswer]:
    return await _archive(call, call.body.credit_id, credit=True)


async def edit_commit(call: Call[CommitEdit, NoQuery]) -> Data[IdAnswer]:
    return await _edit(call, call.body.commit_id, credit=False)


async def edit_credit(call: Call[CreditEdit, NoQuery]) -> Data[IdAnswer]:
    return await _edit(call, call.body.credit_id, credit=True)


ROUTES: list[Route] = [
    route("POST", "/v2/contracts/commits/edit", edit_commit, "Edit a commit"),
    route("POST", "/v2/contracts/credits/edit", edit_credit, "Edit a credit"),
    route("POST", "/v2/contracts/commits/archive", archive_commit, "Archive a commit"),
    route("POST", "/v2/contracts/credits/archive", archive_credit, "Archive a credit"),
]
