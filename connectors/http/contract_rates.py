"""A contract's own prices: amendments, its usage filter, and the schedule of what it is charged."""

from __future__ import annotations

from typing import Any

from connectors.http.contracts import contract_in, edit_contract
from connectors.http.editing import get_customer, no_longer, read_catalog
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from engine.periods import HOUR_US
from engine.rating.schedule import ScheduledRate, contract_schedule
from schemas.common import Data, IdAnswer, NoQuery, Page, rfc3339
from schemas.contract_rates import ContractRateRow, GetContractRateSchedule, contract_rate_row, is_selected
from schemas.contracts import ContractAmend
from schemas.documents import Document, contract_of, instant_us, product_of, rate_card_of
from schemas.override_rules import with_overrides, with_usage_filter
from schemas.overrides import SetUsageFilter, usage_filter_document
from schemas.products import CREATED_BY
from schemas.rate_cards import RatesQuery


async def amend(call: Call[ContractAmend, NoQuery]) -> Data[IdAnswer]:
    """The amendment keeps a copy of the overrides that it brought."""
    body, services = call.body, call.services
    catalog = await read_catalog(services)
    amendment_id = services.new_id()

    def change(contract: Document) -> Document:
        no_longer("contracts", contract)
        held = contract.get("overrides") or []
        changed = with_overrides(contract, body.overrides, (), catalog, services.new_id, call.now, "overrides")
        amendment = {
            "id": amendment_id,
            "created_at": call.now,
            "created_by": CREATED_BY,
            "starting_at": rfc3339(body.starting_at),
            "overrides": (changed.get("overrides") or [])[len(held) :],
        }
        return {**changed, "amendments": [*(contract.get("amendments") or ()), amendment]}

    await edit_contract(call, body.customer_id, body.contract_id, change)
    return Data(data=IdAnswer(id=amendment_id))


async def set_usage_filter(call: Call[SetUsageFilter, NoQuery]) -> None:
    body = call.body
    catalog = await read_catalog(call.services)
    usage_filter = usage_filter_document(body, rfc3339(body.starting_at), call.now)

    def change(contract: Document) -> Document:
        no_longer("contracts", contract)
        return with_usage_filter(contract, usage_filter, catalog)

    await edit_contract(call, body.customer_id, body.contract_id, change)


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
        and is_selected(rate, body.selectors)
    ]
    shown, cursor = page(rates, _position, call.query.limit, call.query.next_page)
    units = catalog.all("pricing_units")
    return Page(data=[contract_rate_row(rate, card.id, documents[rate.product.id], units) for rate in shown], next_page=cursor)


ROUTES: list[Route] = [
    route("POST", "/v1/contracts/amend", amend, "Add overrides to a contract"),
    route("POST", "/v1/contracts/setUsageFilter", set_usage_filter, "Bill only some usage on a contract"),
    route("POST", "/v1/contracts/getContractRateSchedule", get_schedule, "Get what a contract is charged at one time"),
]
