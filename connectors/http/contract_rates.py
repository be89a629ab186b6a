"""A contract's own prices: amendments, its usage filter, and the schedule of what it is charged."""

from __future__ import annotations

from typing import Any

from connectors.http.contract_balances import new_balances, placed, real_ids
from connectors.http.contracts import contract_in, edit_contract
from connectors.http.editing import edit_customer, empty, get_customer, no_longer, read_catalog, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.scheduled_charges import new_charges
from engine.periods import HOUR_US
from engine.rating.schedule import ScheduledRate, contract_schedule
from schemas.balance_rules import with_balances
from schemas.common import Data, IdAnswer, NoQuery, Page, rfc3339
from schemas.contract_rates import ContractRateRow, GetContractRateSchedule, contract_rate_row, is_selected
from schemas.contracts import ContractAmend
from schemas.documents import Document, contract_of, instant_text, instant_us, product_of, rate_card_of
from schemas.override_rules import with_overrides, with_real_ids, with_usage_filter
from schemas.overrides import SetUsageFilter, usage_filter_document
from schemas.product_states import as_of
from schemas.products import CREATED_BY
from schemas.rate_cards import RatesQuery
from schemas.scheduled_charges import with_charges


async def amend(call: Call[ContractAmend, NoQuery]) -> Data[IdAnswer]:
    """The amendment keeps a copy of the overrides that it brought; its balances and charges keep its id."""
    body, services = call.body, call.services
    catalog = await read_catalog(services)
    amendment_id = services.new_id()
    bodies = placed("", body.commits, body.credits)
    added = await new_balances(services, bodies, body.contract_id, call.now, amendment_id)
    charges = await new_charges(services, body.scheduled_charges, "scheduled_charges", call.now, amendment_id)

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        contract = contract_in(customer, body.contract_id)
        no_longer("contracts", contract)
        held = contract.get("overrides") or []
        changed = with_overrides(contract, body.overrides, (), catalog, services.new_id, call.now, "overrides")
        changed = with_real_ids(changed, real_ids(bodies, added))
        changed = with_charges(changed, charges, (), (), services.new_id, call.now)
        amendment = {
            "id": amendment_id,
            "created_at": call.now,
            "created_by": CREATED_BY,
            "starting_at": rfc3339(body.starting_at),
            "overrides": (changed.get("overrides") or [])[len(held) :],
            "netsuite_sales_order_id": body.netsuite_sales_order_id,
            "salesforce_opportunity_id": body.salesforce_opportunity_id,
        }
        changed = {**changed, "amendments": [*(contract.get("amendments") or ()), amendment]}
        contracts = [changed if each is contract else each for each in customer["contracts"]]
        return with_balances({**customer, "contracts": contracts, "updated_at": call.now}, added)

    return await edit_customer(services, body.customer_id, change, with_id(amendment_id))


async def set_usage_filter(call: Call[SetUsageFilter, NoQuery]) -> None:
    body = call.body
    catalog = await read_catalog(call.services)
    usage_filter = usage_filter_document(body, rfc3339(body.starting_at), call.now)

    def change(contract: Document) -> Document:
        no_longer("contracts", contract)
        return with_usage_filter(contract, usage_filter, catalog)

    await edit_contract(call, body.customer_id, body.contract_id, change, empty)


def _position(rate: ScheduledRate) -> tuple[str, str]:
    """Unique within a schedule, and in a fixed order."""
    return "\x1f".join((rate.product.id, *rate.pricing_values)), f"{rate.stretch.starting_hour:010d}"


async def get_schedule(call: Call[GetContractRateSchedule, RatesQuery]) -> Page[ContractRateRow]:
    body = call.body
    document = contract_in(await get_customer(call.services, body.customer_id), body.contract_id)
    if document["rate_card_id"] is None:
        return Page(data=[], next_page=None)
    catalog = await read_catalog(call.services)
    documents: dict[str, Any] = catalog.all("products")
    products = {found.id: found for each in documents.values() if (found := product_of(each)) is not None}
    card = rate_card_of(catalog.need("rate_cards", document["rate_card_id"]))
    hour = (call.now_us if body.at is None else instant_us(rfc3339(body.at))) // HOUR_US
    rates = [
        rate
        for rate in contract_schedule(card, products, contract_of(document))
        if rate.stretch.starting_hour <= hour
        and (rate.stretch.ending_hour is None or hour < rate.stretch.ending_hour)
        and is_selected(rate, body.selectors, hour)
    ]
    shown, cursor = page(rates, _position, call.query.limit, call.query.next_page)
    units, at = catalog.all("pricing_units"), instant_text(hour * HOUR_US)
    named = [(rate, as_of(documents[rate.product.id], at)) for rate in shown]
    return Page(data=[contract_rate_row(rate, card.id, product, units) for rate, product in named], next_page=cursor)


ROUTES: list[Route] = [
    route("POST", "/v1/contracts/amend", amend, "Add to a contract"),
    route("POST", "/v1/contracts/setUsageFilter", set_usage_filter, "Bill only some usage on a contract"),
    route("POST", "/v1/contracts/getContractRateSchedule", get_schedule, "Get what a contract is charged at one time"),
]
