"""/v1/credit-types"""

from __future__ import annotations

import orjson

from connectors.http.all_customers import customers_holding
from connectors.http.editing import CatalogEdit, edit_catalog, read_catalog, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from engine.catalog import USD_CENTS
from schemas.common import Data, IdAnswer, NoBody, NoQuery, Page
from schemas.errors import BadRequest
from schemas.pricing_units import (
    PricingUnit,
    PricingUnitArchive,
    PricingUnitCreate,
    PricingUnitQuery,
    pricing_unit_document,
    pricing_units,
    refuse_held,
    refuse_used,
)


async def create(call: Call[PricingUnitCreate, NoQuery]) -> Data[IdAnswer]:
    document = pricing_unit_document(call.body, call.services.new_id(), call.now)
    return await edit_catalog(call.services, lambda edit: edit.put("pricing_units", document), with_id(document["id"]))


async def list_all(call: Call[NoBody, PricingUnitQuery]) -> Page[PricingUnit]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.list("pricing_units")).values()]
    created = {USD_CENTS: "", **{each["id"]: each["created_at"] for each in documents}}
    units = pricing_units(documents)
    shown, cursor = page(units, lambda unit: (created[unit.id], unit.id), call.query.limit, call.query.next_page)
    return Page(data=shown, next_page=cursor)


async def _refuse_held(services: Services, unit_id: str) -> None:
    """Raises BadRequest if a customer's commit, credit or alert is in the unit. (One that another request is making at this very
    moment may be missed: it goes on, as those of archived products do.)"""
    async for customer in customers_holding(services, unit_id.encode()):
        refuse_held(unit_id, customer)


async def archive(call: Call[PricingUnitArchive, NoQuery]) -> Data[IdAnswer]:
    if call.body.id == USD_CENTS:
        raise BadRequest("id: US dollars cannot be archived")

    def change(edit: CatalogEdit) -> None:
        document = edit.need("pricing_units", call.body.id)
        if document["archived_at"] is None:
            refuse_used(call.body.id, edit.all)
            edit.put("pricing_units", {**document, "archived_at": call.now})

    (await read_catalog(call.services)).need("pricing_units", call.body.id)
    await _refuse_held(call.services, call.body.id)
    return await edit_catalog(call.services, change, with_id(call.body.id))


ROUTES: list[Route] = [
    route("GET", "/v1/credit-types/list", list_all, "List credit types"),
    route("POST", "/v1/credit-types/create", create, "Create a custom pricing unit"),
    route("POST", "/v1/credit-types/archive", archive, "Archive a custom pricing unit"),
]
