"""/v1/webhook-deliveries: the log of deliveries, and sending them again. Not in the API that we speak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from connectors.http.pages import decode_cursor, encode_cursor
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.types import LoggedDelivery
from connectors.webhooks.operations import START, STATUSES, Cursor, DeliveryFilter, DeliveryOperations, Selection, for_endpoint
from schemas.common import Data, NoBody, NoQuery, Page
from schemas.deliveries import (
    Attempt,
    Delivery,
    DeliveryDetail,
    DeliveryQuery,
    Resend,
    ResendOne,
    ResendOutcome,
    ResendResult,
)
from schemas.documents import instant_text
from schemas.errors import BadRequest, Conflict, NotFound

_BASE = "/v1/webhook-deliveries"
_ONE = f"{_BASE}/{{delivery_id}}"
_IDS_SHOWN = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds_of(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _text(at_ms: int) -> str:
    return instant_text(at_ms * 1000)


def _filter(given: DeliveryQuery | Resend, statuses: Sequence[str]) -> DeliveryFilter:
    return DeliveryFilter(
        given.endpoint_id,
        given.customer_id,
        given.alert_id,
        given.type,
        frozenset(statuses),
        0 if given.since is None else milliseconds_of(given.since),
        2**53 if given.until is None else milliseconds_of(given.until),
    )


def _fields(logged: LoggedDelivery) -> dict[str, Any]:
    delivery, entry = logged.delivery, logged.delivery.entry
    return {
        "id": delivery.id,
        "notification_id": entry.id,
        "endpoint_id": delivery.endpoint_id or None,
        "customer_id": entry.customer_id,
        "alert_id": entry.alert_id,
        "type": entry.type,
        "status": logged.status,
        "unwanted": [{"endpoint_id": each or None, "reason": why} for each, why in delivery.unwanted] or None,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error or None,
        "next_attempt_at": _text(delivery.due_ms) if logged.status == "waiting" else None,
        "traceparent": entry.traceparent or None,
        "written_at": _text(entry.written_at_ms),
        "changed_at": _text(logged.changed_ms),
    }


def _attempt(raw: bytes) -> Attempt:
    fields = orjson.loads(raw)
    return Attempt(at=_text(fields.pop("at_ms")), **fields)


def resend_result(selection: Selection, dry_run: bool) -> ResendResult:
    ids = [logged.delivery.id for logged in reversed(selection.deliveries)]
    until_ms = selection.looked_until_ms
    return ResendResult(
        count=len(ids),
        dry_run=dry_run,
        complete=selection.complete,
        looked_until=None if until_ms is None else _text(until_ms),
        delivery_ids=ids[:_IDS_SHOWN],
    )


def _operations(services: Services) -> DeliveryOperations:
    return DeliveryOperations(services.redis, services.partitions, services.settings)


async def _find(call: Call[NoBody, NoQuery] | Call[ResendOne, NoQuery]) -> tuple[LoggedDelivery, list[bytes]]:
    found = await _operations(call.services).find(call.path["delivery_id"])
    if found is None:
        raise NotFound(f"there is no delivery {call.path['delivery_id']}")
    return found


async def list_all(call: Call[NoBody, DeliveryQuery]) -> Page[Delivery]:
    """The latest change first. A page may hold fewer than ``limit`` and still have a next one."""
    query = call.query
    cursor: Cursor = START
    position = decode_cursor(query.next_page, (int, str))
    if position is not None:
        cursor = int(position[0]), str(position[1])
    statuses = STATUSES if query.status is None else (query.status,)
    shown, after = await _operations(call.services).page(_filter(query, statuses), cursor, query.limit)
    next_page = None if after is None else encode_cursor(after[0], after[1] or "")
    return Page(data=[Delivery.model_validate(_fields(each)) for each in shown], next_page=next_page)


async def get(call: Call[NoBody, NoQuery]) -> Data[DeliveryDetail]:
    logged, attempts = await _find(call)
    more = {"body": logged.delivery.entry.body.decode(), "attempt_log": [_attempt(raw) for raw in attempts]}
    return Data(data=DeliveryDetail.model_validate(_fields(logged) | more))


async def resend_one(call: Call[ResendOne, NoQuery]) -> Data[ResendOutcome]:
    """Under the same id, with the whole schedule again. One that waits for its next attempt makes it now."""
    logged, _ = await _find(call)
    to = call.body.endpoint_id
    if to is not None:
        await _known_endpoint(call.services, to)
        logged = for_endpoint(logged, to)
    if not logged.delivery.endpoint_id:
        raise BadRequest("endpoint_id: no endpoint wanted this notification: name the one that it is to be sent to")
    if await call.services.catalog.endpoint(logged.delivery.endpoint_id) is None:
        raise Conflict("the endpoint of this delivery was deleted")
    outcome = await _operations(call.services).resend(logged, call.now_ms)
    return Data(data=ResendOutcome(id=logged.delivery.id, outcome=outcome))


async def _known_endpoint(services: Services, endpoint_id: str) -> None:
    if await services.catalog.endpoint(endpoint_id) is None:
        raise NotFound(f"there is no webhook endpoint {endpoint_id}")


async def resend_matching(call: Call[Resend, NoQuery]) -> Data[ResendResult]:
    """Dead letters, unless other statuses are named; the oldest first."""
    to = call.body.to_endpoint_id
    if to is not None:
        await _known_endpoint(call.services, to)
    selection = await _operations(call.services).select(_filter(call.body, call.body.status))
    if to is not None:
        selection = Selection([for_endpoint(each, to) for each in selection.deliveries], selection.complete)
    known = await call.services.catalog.endpoints()
    selection = Selection([each for each in selection.deliveries if each.delivery.endpoint_id in known], selection.complete)
    if not call.body.dry_run:
        await _operations(call.services).resend_all(selection, call.now_ms)
    return Data(data=resend_result(selection, call.body.dry_run))


ROUTES: list[Route] = [
    route("GET", _BASE, list_all, "List webhook deliveries"),
    route("POST", f"{_BASE}/resend", resend_matching, "Send webhook deliveries again"),
    route("GET", _ONE, get, "Get a webhook delivery with its attempts"),
    route("POST", f"{_ONE}/resend", resend_one, "Send a webhook delivery again"),
]
