"""/v1/invoices: voiding an invoice, and making it again

Requests name an invoice only, so its customer is looked for: invoice ids follow from the configuration, and the customers are
gone through in pages (about 0.1 ms each).
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from connectors.http.accounts import Account, account_of
from connectors.http.editing import CatalogEdit, edit_customer, no_longer, read_catalog, unknown, with_id
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from engine.customer import stored_days
from engine.invoices.items import Invoice, InvoiceStatus, regenerated_id
from engine.numbers import exact
from engine.periods import HOUR_US
from schemas.common import Data, IdAnswer, NoQuery
from schemas.documents import Document, customer_of
from schemas.invoice_life import InvoiceLife, invoice_ids, with_regenerated, with_void

_PAGE = 200


async def _owner_of(services: Services, invoice_id: str, now_us: int) -> str:
    """The customer that has, or would have, the invoice. Raises NotFound."""
    after: str | None = None
    while ids := await services.customers.list(after, _PAGE):
        found = await services.customers.get_many(ids)
        with exact():
            for customer_id in ids:
                if customer_id in found and invoice_id in _ids(orjson.loads(found[customer_id][1]), now_us):
                    return customer_id
        after = ids[-1]
    raise unknown("invoices", invoice_id)


def _ids(customer: Document, now_us: int) -> frozenset[str]:
    return frozenset(invoice_ids(customer_of(customer), now_us // HOUR_US)) if customer["contracts"] else frozenset()


def _invoice(account: Account, invoice_id: str) -> Invoice:
    for invoice in account.invoices:
        if invoice.id == invoice_id:
            return invoice
    raise unknown("invoices", invoice_id)


async def _change(
    call: Call[InvoiceLife, NoQuery], changed: Callable[[Document, Account, Invoice], Document | None], answer_id: str
) -> Data[IdAnswer]:
    """Changes the document of the invoice's customer, by what the invoice is at that moment."""
    services = call.services
    customer_id = await _owner_of(services, call.body.id, call.now_us)
    catalog: CatalogEdit = await read_catalog(services)
    stored = await services.customers.stored(customer_id, stored_days)

    def change(customer: Document) -> Document | None:
        no_longer("customers", customer)
        with exact():
            account = account_of(customer, catalog, stored, call.now_us, services.settings.grace_period_hours)
        new = changed(customer, account, _invoice(account, call.body.id))
        return None if new is None else {**new, "updated_at": call.now}

    return await edit_customer(services, customer_id, change, with_id(answer_id))


async def void(call: Call[InvoiceLife, NoQuery]) -> Data[IdAnswer]:
    """What it drew from balances is given back at once. Voiding a void invoice changes nothing."""

    def changed(customer: Document, account: Account, invoice: Invoice) -> Document | None:
        return None if invoice.status is InvoiceStatus.VOID else with_void(customer, invoice, call.now)

    return await _change(call, changed, call.body.id)


async def regenerate(call: Call[InvoiceLife, NoQuery]) -> Data[IdAnswer]:
    """From usage, prices and balances as they are now; final at once, under an id of its own."""

    def changed(customer: Document, account: Account, invoice: Invoice) -> Document:
        return with_regenerated(customer, customer_of(customer), invoice, account.folded_before, call.now)

    return await _change(call, changed, regenerated_id(call.body.id))


ROUTES: list[Route] = [
    route("POST", "/v1/invoices/void", void, "Void an invoice"),
    route("POST", "/v1/invoices/regenerate", regenerate, "Make a void invoice again"),
]
