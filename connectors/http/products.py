"""/v1/contract-pricing/products"""

from __future__ import annotations

import orjson

from connectors.http.editing import CatalogEdit, edit_catalog, get_document, no_longer, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from schemas.common import Data, IdAnswer, NoQuery, Page
from schemas.documents import Document
from schemas.errors import BadRequest
from schemas.products import (
    Product,
    ProductArchive,
    ProductCreate,
    ProductGet,
    ProductList,
    ProductListQuery,
    ProductUpdate,
    product_answer,
    product_document,
    updated_product,
)

_BASE = "/v1/contract-pricing/products"


def _check_metric(edit: CatalogEdit, body: ProductCreate) -> None:
    """The metric exists, and one of its group keys holds all keys by which the product is split."""
    if body.billable_metric_id is None:
        return
    metric = edit.get("metrics", body.billable_metric_id)
    if metric is None:
        raise BadRequest(f"billable_metric_id: there is no billable metric {body.billable_metric_id}")
    no_longer("metrics", metric)
    keys = {*(body.pricing_group_key or ()), *(body.presentation_group_key or ())}
    if keys and not any(keys <= set(declared) for declared in metric["group_keys"]):
        raise BadRequest(
            "pricing_group_key and presentation_group_key: one of the metric's group_keys must hold all of "
            + ", ".join(sorted(keys))
        )


def _check_composite(edit: CatalogEdit, body: ProductCreate) -> None:
    """The products that it charges on exist, and it can charge on them."""
    for product_id in body.composite_product_ids or ():
        product = edit.get("products", product_id)
        if product is None:
            raise BadRequest(f"composite_product_ids: there is no product {product_id}")
        allowed = ("USAGE", "COMPOSITE") if body.include_composite_spend else ("USAGE",)
        if product["type"] not in allowed:
            raise BadRequest(
                f"composite_product_ids: {product_id} is a {product['type']} product; only the spend of USAGE products counts, "
                "and that of COMPOSITE ones with include_composite_spend"
            )


async def create(call: Call[ProductCreate, NoQuery]) -> Data[IdAnswer]:
    document = product_document(call.body, call.services.new_id(), call.now)

    def change(edit: CatalogEdit) -> None:
        _check_metric(edit, call.body)
        _check_composite(edit, call.body)
        edit.put("products", document)

    return await edit_catalog(call.services, change, with_id(document["id"]))


async def get(call: Call[ProductGet, NoQuery]) -> Data[Product]:
    return Data(data=product_answer(await get_document(call.services, "products", call.body.id), call.now))


async def update(call: Call[ProductUpdate, NoQuery]) -> Data[IdAnswer]:
    def change(edit: CatalogEdit) -> None:
        document = edit.need("products", call.body.product_id)
        no_longer("products", document)
        edit.put("products", updated_product(document, call.body, call.now))

    return await edit_catalog(call.services, change, with_id(call.body.product_id))


def _listed(document: Document, archive_filter: str) -> bool:
    return archive_filter == "ALL" or (document["archived_at"] is not None) == (archive_filter == "ARCHIVED")


async def list_all(call: Call[ProductList, ProductListQuery]) -> Page[Product]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.list("products")).values()]
    listed = [each for each in documents if _listed(each, call.body.archive_filter)]
    shown, cursor = page(listed, lambda each: (each["initial"]["created_at"], each["id"]), call.query.limit, call.query.next_page)
    return Page(data=[product_answer(each, call.now) for each in shown], next_page=cursor)


async def archive(call: Call[ProductArchive, NoQuery]) -> Data[IdAnswer]:
    """Rates that use the product go on; new ones may not."""

    def change(edit: CatalogEdit) -> None:
        document = edit.need("products", call.body.product_id)
        if document["archived_at"] is None:
            edit.put("products", {**document, "archived_at": call.now})

    return await edit_catalog(call.services, change, with_id(call.body.product_id))


ROUTES: list[Route] = [
    route("POST", f"{_BASE}/create", create, "Create a product"),
    route("POST", f"{_BASE}/get", get, "Get a product"),
    route("POST", f"{_BASE}/update", update, "Update a product"),
    route("POST", f"{_BASE}/list", list_all, "List products"),
    route("POST", f"{_BASE}/archive", archive, "Archive a product"),
]
