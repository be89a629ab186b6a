"""/v1/billable-metrics"""

from __future__ import annotations

import orjson

from connectors.http.editing import CatalogEdit, edit_catalog, get_document, no_longer, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from schemas.billable_metrics import (
    Metric,
    MetricArchive,
    MetricCreate,
    MetricListQuery,
    MetricRename,
    metric_answer,
    metric_document,
)
from schemas.common import Data, IdAnswer, NoBody, NoQuery, Page

_PATH = "/v1/billable-metrics/{billable_metric_id}"


async def create(call: Call[MetricCreate, NoQuery]) -> Data[IdAnswer]:
    document = metric_document(call.body, call.services.new_id(), call.now)
    return await edit_catalog(call.services, lambda edit: edit.put("metrics", document), with_id(document["id"]))


async def get(call: Call[NoBody, NoQuery]) -> Data[Metric]:
    return Data(data=metric_answer(await get_document(call.services, "metrics", call.path["billable_metric_id"])))


async def list_all(call: Call[NoBody, MetricListQuery]) -> Page[Metric]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.list("metrics")).values()]
    if not call.query.include_archived:
        documents = [each for each in documents if each["archived_at"] is None]
    shown, cursor = page(documents, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    return Page(data=[metric_answer(each) for each in shown], next_page=cursor)


async def rename(call: Call[MetricRename, NoQuery]) -> Data[IdAnswer]:
    metric_id = call.path["billable_metric_id"]

    def change(edit: CatalogEdit) -> None:
        document = edit.need("metrics", metric_id)
        no_longer("metrics", document)
        edit.put("metrics", {**document, "name": call.body.name})

    return await edit_catalog(call.services, change, with_id(metric_id))


async def archive(call: Call[MetricArchive, NoQuery]) -> Data[IdAnswer]:
    """An archived metric goes on being measured, for the products and alerts that use it; nothing new may use it."""

    def change(edit: CatalogEdit) -> None:
        document = edit.need("metrics", call.body.id)
        if document["archived_at"] is None:
            edit.put("metrics", {**document, "archived_at": call.now})

    return await edit_catalog(call.services, change, with_id(call.body.id))


ROUTES: list[Route] = [
    route("POST", "/v1/billable-metrics/create", create, "Create a billable metric"),
    route("GET", "/v1/billable-metrics", list_all, "List billable metrics"),
    route("POST", "/v1/billable-metrics/archive", archive, "Archive a billable metric"),
    route("GET", _PATH, get, "Get a billable metric"),
    route("PUT", _PATH, rename, "Rename a billable metric"),
]
