"""/v2/contracts/commits/edit and /v2/contracts/credits/edit: changing one commit or credit"""

from __future__ import annotations

from connectors.http.balances import balance_in, replaced
from connectors.http.editing import edit_customer, no_longer, read_catalog, unknown
from connectors.http.routing import Call, Route, route
from schemas.balance_edits import CommitEdit, CreditEdit, edited_balance
from schemas.balance_rules import check_balance, check_contracts
from schemas.common import Data, IdAnswer, NoQuery
from schemas.documents import Document
from schemas.recurring_answers import with_own_document


async def _edit(call: Call[CommitEdit, NoQuery] | Call[CreditEdit, NoQuery], balance_id: str, *, credit: bool) -> Data[IdAnswer]:
    """Drafts and balances are computed anew from it at once; final invoices stay."""
    catalog = await read_catalog(call.services)
    products, units = catalog.all("products"), catalog.all("pricing_units")

    def change(customer: Document) -> Document | None:
        no_longer("customers", customer)
        customer = with_own_document(customer, balance_id, call.now_us)
        balance = balance_in(customer, balance_id)
        if (balance["type"] == "CREDIT") != credit:
            raise unknown("balances", balance_id)
        no_longer("balances", balance)
        changed = edited_balance(balance, call.body, call.services.new_id, call.now)
        if changed == balance:
            return None
        check_balance("", changed, products, units, before=balance)
        check_contracts(changed, customer, before=balance)
        return replaced(customer, changed, call.now)

    await edit_customer(call.services, call.body.customer_id, change)
    return Data(data=IdAnswer(id=balance_id))


async def edit_commit(call: Call[CommitEdit, NoQuery]) -> Data[IdAnswer]:
    return await _edit(call, call.body.commit_id, credit=False)


async def edit_credit(call: Call[CreditEdit, NoQuery]) -> Data[IdAnswer]:
    return await _edit(call, call.body.credit_id, credit=True)


ROUTES: list[Route] = [
    route("POST", "/v2/contracts/commits/edit", edit_commit, "Edit a commit"),
    route("POST", "/v2/contracts/credits/edit", edit_credit, "Edit a credit"),
]
