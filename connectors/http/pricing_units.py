"""/v1/credit-types"""

from __future__ import annotations

import orjson

from connectors.http.editing import CatalogEdit, edit_catalog
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
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
)


async def create(call: Call[PricingUnitCreate, NoQuery]) -> Data[IdAnswer]:
    document = pricing_unit_document(call.body, call.services.new_id(), call.now)
    await edit_catalog(call.services, lambda edit: edit.put("pricing_units", document))
    return Data(data=IdAnswer(id=document["id"]))


async def list_all(call: Call[NoBody, PricingUnitQuery]) -> Page[PricingUnit]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.list("pricing_units")).values()]
    created = {USD_CENTS: "", **{each["id"]: each["created_at"] for each in documents}}
    units = pricing_units(documents)
    shown, cursor = page(units, lambda unit: (created[unit.id], unit.id), call.query.limit, call.query.next_page)
    return Page(data=shown, next_page=cursor)


async def archive(call: Call[PricingUnitArchive, NoQuery]) -> Data[IdAnswer]:
    if call.body.id == USD_CENTS:
        raise BadRequest("id: US dollars cannot be archived")

    def change(edit: CatalogEdit) -> None:
        document = edit.need("pricing_units", call.body.id)
        if document["archived_at"] is None:
            edit.put("pricing_units", {**document, "archived_at": call.now})

    await edit_catalog(call.services, change)
    return Data(data=IdAnswer(id=call.body.id))


ROUTES: list[Route] = [
    route("GET", "/v1/credit-types/list", list_all, "List credit types"),
    route("POST", "/v1/credit-types/create", create, "Create a custom pricing unit"),
    route("POST", "/v1/credit-types/archive", archive, "Archive a custom pricing unit"),
]
