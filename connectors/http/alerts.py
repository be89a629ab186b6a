"""/v1/alerts: making and archiving alerts, for all customers (in the catalog) or for one (in its document)."""

from __future__ import annotations

import orjson

from connectors.http.editing import (
    CatalogEdit,
    claim_of,
    edit_catalog,
    edit_catalog_on_the_way,
    edit_customer,
    edit_customer_on_the_way,
    get_customer,
    no_longer,
    read_catalog,
    unknown,
)
from connectors.http.reach import OWNERS, warnings_of
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.named import forget_alert, note_alert, read_names
from connectors.redis.types import KeyClaim
from engine.catalog import USD_CENTS
from schemas.alert_reach import named_by, names_in
from schemas.alert_rules import AlertLimits, check_limits, check_type
from schemas.alerts import AlertArchive, AlertCreate, alert_document
from schemas.common import Data, IdAnswer, NoQuery, Warned, warned
from schemas.documents import Document
from schemas.errors import BadRequest


def _limits(services: Services) -> AlertLimits:
    settings = services.settings
    return AlertLimits(
        for_all_max=settings.alerts_for_all_max,
        per_customer_max=settings.alerts_per_customer_max,
        group_value_keys_max=settings.group_value_keys_max,
        keyed_alerts_max=settings.keyed_alerts_max,
    )


def _check_references(catalog: CatalogEdit, body: AlertCreate) -> None:
    if body.billable_metric_id is not None:
        metric = catalog.get("metrics", body.billable_metric_id)
        if metric is None:
            raise BadRequest(f"billable_metric_id: there is no billable metric {body.billable_metric_id}")
        no_longer("metrics", metric)
    if body.credit_type_id not in (None, USD_CENTS):
        unit = catalog.get("pricing_units", body.credit_type_id or "")
        if unit is None or unit["archived_at"] is not None:
            raise BadRequest(f"credit_type_id: there is no credit type {body.credit_type_id}")


async def create(call: Call[AlertCreate, NoQuery]) -> Warned[IdAnswer]:
    """``warnings`` say why an alert cannot fire as everything is configured now."""
    check_type(call.body)
    alert_id = call.services.new_id()
    if call.body.customer_id is None:
        return await _create_for_all(call, alert_id)
    return await _create_for_customer(call, alert_id, call.body.customer_id)


async def _create_for_all(call: Call[AlertCreate, NoQuery], alert_id: str) -> Warned[IdAnswer]:
    body = call.body
    names = await read_names(call.services.redis)

    def change(edit: CatalogEdit) -> list[str]:
        _check_references(edit, body)
        check_limits(body, edit.all("alerts").values(), (), _limits(call.services))
        alert = alert_document(body, alert_id, edit.next_revision, call.now)
        edit.put("alerts", alert)
        if body.uniqueness_key is not None:
            edit.claims.append(KeyClaim("alerts", body.uniqueness_key, alert_id))
        return warnings_of(alert, edit, names)

    return await edit_catalog(call.services, change, lambda warnings: warned(IdAnswer(id=alert_id), warnings))


async def _create_for_customer(call: Call[AlertCreate, NoQuery], alert_id: str, customer_id: str) -> Warned[IdAnswer]:
    services, body = call.services, call.body
    no_longer("customers", await get_customer(services, customer_id))
    catalog = await read_catalog(services)
    _check_references(catalog, body)
    for_all = catalog.all("alerts").values()
    alert = alert_document(body, alert_id, 0, call.now)
    await note_alert(services.redis, alert_id, named_by(alert))

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        check_limits(body, for_all, customer["alerts"], _limits(services))
        made = {**alert, "created_version": customer["version"] + 1}
        return {**customer, "alerts": [*customer["alerts"], made]}

    def answer(customer: Document) -> Warned[IdAnswer]:
        return warned(IdAnswer(id=alert_id), warnings_of(alert, catalog, names_in(customer)))

    owner = KeyClaim(OWNERS, alert_id, customer_id, customer_id)
    claims = claim_of("alerts", body.uniqueness_key, alert_id, customer_id), owner
    return await edit_customer(services, customer_id, change, answer, claims)


def _archived(alert: Document, body: AlertArchive, now: str) -> Document:
    """Whether the key is released is decided the first time; it is remembered, so that a repetition can finish the job."""
    if alert["archived_at"] is not None:
        return alert
    return {**alert, "archived_at": now, "key_released": body.release_uniqueness_key}


async def archive(call: Call[AlertArchive, NoQuery]) -> Data[IdAnswer]:
    """Evaluation stops for every customer. Archiving again changes nothing and succeeds."""
    owner = await call.services.catalog.claimed(OWNERS, call.body.id)
    if owner is None:
        await edit_catalog_on_the_way(call.services, lambda edit: _archive_for_all(edit, call.body, call.now))
    else:
        await _archive_for_customer(call, owner)
    return Data(data=IdAnswer(id=call.body.id))


def _archive_for_all(edit: CatalogEdit, body: AlertArchive, now: str) -> None:
    alert = edit.need("alerts", body.id)
    if alert["archived_at"] is not None:
        return
    edit.put("alerts", _archived(alert, body, now))
    if body.release_uniqueness_key and alert["uniqueness_key"] is not None:
        edit.releases.append(KeyClaim("alerts", alert["uniqueness_key"], body.id))


async def _archive_for_customer(call: Call[AlertArchive, NoQuery], customer_id: str) -> None:
    def change(customer: Document) -> Document | None:
        alerts = [_archived(each, call.body, call.now) if each["id"] == call.body.id else each for each in customer["alerts"]]
        return None if alerts == customer["alerts"] else {**customer, "alerts": alerts}

    customer = await edit_customer_on_the_way(call.services, customer_id, change)
    alert = own_alert(customer, call.body.id)
    await forget_alert(call.services.redis, call.body.id)
    if alert["key_released"] and alert["uniqueness_key"] is not None:
        await call.services.customers.release_key(KeyClaim("alerts", alert["uniqueness_key"], call.body.id, customer_id))


def own_alert(customer: Document, alert_id: str) -> Document:
    for alert in customer["alerts"]:
        if alert["id"] == alert_id:
            found: Document = alert
            return found
    raise unknown("alerts", alert_id)


async def alert_for(services: Services, customer: Document, alert_id: str) -> Document:
    """An alert that the customer meets: its own, or one for all customers."""
    raw = await services.catalog.get("alerts", alert_id)
    if raw is not None:
        document: Document = orjson.loads(raw)
        return document
    return own_alert(customer, alert_id)


ROUTES: list[Route] = [
    route("POST", "/v1/alerts/create", create, "Create an alert"),
    route("POST", "/v1/alerts/archive", archive, "Archive an alert"),
]
