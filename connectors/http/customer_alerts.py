"""/v1/customer-alerts: how alerts stand for a customer."""

from __future__ import annotations

from typing import Any

import orjson

from connectors.http.alerts import alert_for
from connectors.http.editing import get_customer
from connectors.http.idempotency import kept_answer
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from engine.alerts.status import read_status, split_by_alert
from engine.effects import StoredCustomer
from engine.metering.series import OTHER
from schemas.alert_specifiers import chosen_value, with_value
from schemas.alerts import (
    CustomerAlert,
    CustomerAlertGet,
    CustomerAlertList,
    CustomerAlertQuery,
    CustomerAlertReset,
    alert_answer,
)
from schemas.common import NoQuery, Warned, WarnedPage, warned, warned_page
from schemas.documents import Document, alert_of, instant_text
from schemas.errors import BadRequest
from schemas.pricing_units import credit_type

PAGE_ALERTS = 100

_MERGED = (
    "the customer has too many values of what the alert {alert_id} is split by to keep them apart (TIDEMARK_GROUP_VALUES_MAX): "
    f"those that came later are counted together, and are in alarm together, as {OTHER}"
)

PartitionState = tuple[StoredCustomer, int, int, int]
"""As CustomerStore.state gives it: state, and the partition's applied revision, revision and catalog revision."""


def _is_evaluating(alert: Document, evaluated_version: int, partition: PartitionState) -> bool:
    """Whether the change that brought the alert has not reached this customer yet.

    It has if the customer was evaluated under it. A customer that was never evaluated is reached when its partition's walk
    through all customers (an alert for all), or its reading of the change stream (an own alert), is past the change.
    """
    if evaluated_version >= alert["created_version"]:
        return False
    _, applied_revision, revision, catalog_revision = partition
    if alert["customer_id"] is None:
        return catalog_revision < int(alert["created_version"])
    return applied_revision < revision


def _customer_alert(
    document: Document,
    partition: PartitionState,
    units: dict[str, Document],
    now_us: int,
    group_values: tuple[tuple[str, str], ...] | None = None,
    value: str | None = None,
) -> tuple[CustomerAlert, list[str]]:
    """And warnings. ``value``: of an alert's key, or the seat, whose state is meant."""
    if value is not None and document.get("seat_filter") is not None:
        document = {**document, "seat_filter": {**document["seat_filter"], "seat_group_value": value}}
    elif value is not None:
        document = with_value(document, value)
    unit = None if document["credit_type_id"] is None else credit_type(units, document["credit_type_id"])
    if document["archived_at"] is not None:
        return CustomerAlert(customer_status=None, triggered_by=None, alert=alert_answer(document, unit, None)), []
    status = read_status(partition[0].state, alert_of(document), now_us, group_values, value)
    changed = None if status.changed_at_us is None else instant_text(status.changed_at_us)
    shown = CustomerAlert(
        customer_status="evaluating" if _is_evaluating(document, status.evaluated_version, partition) else status.status,
        triggered_by=status.triggered_by,
        alert=alert_answer(document, unit, changed),
    )
    return shown, [_MERGED.format(alert_id=document["id"])] if status.merged else []


async def _units(services: Services) -> dict[str, Any]:
    return {unit_id: orjson.loads(raw) for unit_id, raw in (await services.catalog.list("pricing_units")).items()}


def _chosen(body: CustomerAlertGet, alert: Document) -> tuple[tuple[str, str], ...] | None:
    """The group that the request picks, checked against what the alert is split by."""
    if not body.group_values:
        return None
    configured = {group["key"]: group.get("value") for group in alert["group_values"]}
    for group in body.group_values:
        if group.key not in configured:
            raise BadRequest(f"group_values: the alert is not split by {group.key!r}")
        if configured[group.key] not in (None, group.value):
            raise BadRequest(f"group_values: the alert watches only {configured[group.key]!r} of {group.key!r}")
    return tuple((group.key, group.value) for group in body.group_values)


def _chosen_seat(body: CustomerAlertGet, alert: Document) -> str | None:
    """The seat that the request picks, checked against those that the alert watches."""
    if body.seat_filter is None:
        return None
    watched = alert.get("seat_filter")
    if watched is None:
        raise BadRequest(f"seat_filter: does not apply to {alert['type']}")
    if body.seat_filter.seat_group_key != watched["seat_group_key"]:
        raise BadRequest(f"seat_filter.seat_group_key: the alert watches seats by {watched['seat_group_key']!r}")
    only = watched.get("seat_group_value")
    if only not in (None, body.seat_filter.seat_group_value):
        raise BadRequest(f"seat_filter.seat_group_value: the alert watches only the seat {only!r}")
    return body.seat_filter.seat_group_value


async def get(call: Call[CustomerAlertGet, NoQuery]) -> Warned[CustomerAlert]:
    """``warnings`` say that a state is of group values that were too many to be kept apart."""
    services, body = call.services, call.body
    if body.plans_or_contracts == "PLANS":
        raise BadRequest("plans_or_contracts: there are no plans, only contracts")
    customer = await get_customer(services, body.customer_id)
    alert = await alert_for(services, customer, body.alert_id)
    chosen, value, seat = _chosen(body, alert), chosen_value(body, alert), _chosen_seat(body, alert)
    partition = await services.customers.state(body.customer_id)
    return warned(*_customer_alert(alert, partition, await _units(services), call.now_us, chosen, value or seat))


async def list_all(call: Call[CustomerAlertList, CustomerAlertQuery]) -> WarnedPage[CustomerAlert]:
    services, body = call.services, call.body
    customer = await get_customer(services, body.customer_id)
    shared = [orjson.loads(raw) for raw in (await services.catalog.list("alerts")).values()]
    listed = [
        each
        for each in (*shared, *customer["alerts"])
        if ("ENABLED" if each["archived_at"] is None else "ARCHIVED") in body.alert_statuses
    ]
    shown, cursor = page(listed, lambda each: (each["created_at"], each["id"]), PAGE_ALERTS, call.query.next_page)
    partition = await services.customers.state(body.customer_id)
    units = await _units(services)
    parts = split_by_alert(partition[0].state)

    def shown_as(alert: Document) -> tuple[CustomerAlert, list[str]]:
        own = StoredCustomer({**parts[""], **parts.get(alert["id"], {})})
        return _customer_alert(alert, (own, *partition[1:]), units, call.now_us)

    answers = [shown_as(each) for each in shown]
    return warned_page([alert for alert, _ in answers], cursor, [warning for _, told in answers for warning in told])


async def reset(call: Call[CustomerAlertReset, NoQuery]) -> None:
    """Drops the alert's state for the customer and evaluates at once; a breach that still holds is notified again."""
    customer = await get_customer(call.services, call.body.customer_id)
    alert = await alert_for(call.services, customer, call.body.alert_id)
    if alert["archived_at"] is None:
        await call.services.customers.request_reset(call.body.customer_id, call.body.alert_id, kept_answer(None))


ROUTES: list[Route] = [
    route("POST", "/v1/customer-alerts/get", get, "Get an alert's status for a customer"),
    route("POST", "/v1/customer-alerts/list", list_all, "List a customer's alerts and their status"),
    route("POST", "/v1/customer-alerts/reset", reset, "Reset an alert for a customer"),
]
