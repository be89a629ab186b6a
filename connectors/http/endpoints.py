"""/v1/webhook-endpoints: where notifications go. Not in the API that we speak."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from ipaddress import IPv4Address

import orjson

from connectors.http.deliveries import milliseconds_of, resend_result
from connectors.http.editing import unknown
from connectors.http.endpoint_warnings import warnings_of
from connectors.http.idempotency import kept_answer
from connectors.http.pages import page
from connectors.http.replies import Answered
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.asymmetric import SigningKey, new_signing_key
from connectors.webhooks.operations import DeliveryOperations
from schemas.common import Data, IdAnswer, NoBody, NoQuery, Page
from schemas.deliveries import Recovery, ResendResult
from schemas.documents import Document, encode, instant_text
from schemas.endpoints import (
    SECRET_BYTES,
    DeletedEndpoint,
    Endpoint,
    EndpointCreate,
    EndpointQuery,
    EndpointUpdate,
    EndpointWithSecret,
    SecretRotation,
    endpoint_answer,
    endpoint_document,
    endpoint_with_secret,
    new_secret,
    rotated_endpoint,
    updated_endpoint,
)
from schemas.errors import BadRequest, Conflict
from schemas.urls import parse_target

ENDPOINTS_MAX = 10_000
_BASE = "/v1/webhook-endpoints"
_ONE = f"{_BASE}/{{endpoint_id}}"


def _refuse_private(services: Services, url: str) -> None:
    """An early word to whoever registers a target that is plainly private: a literal address, or localhost.

    Other names are resolved only when a request is sent, and there the dispatcher checks the address that it dials.
    """
    settings, target = services.settings, parse_target(url)
    host, address = target.host.removesuffix("."), target.address
    if host == "localhost" or host.endswith(".localhost"):
        address = IPv4Address("127.0.0.1")
    if address is None:
        return
    if not TargetPolicy.parse(settings.webhook_allow_private, settings.webhook_allow_list).allows(host, address):
        raise BadRequest(f"url: {host} is not a public address; TIDEMARK_WEBHOOK_ALLOW_PRIVATE or _ALLOW_LIST can allow it")


_Any = Call[NoBody, NoQuery] | Call[EndpointUpdate, NoQuery] | Call[SecretRotation, NoQuery] | Call[Recovery, NoQuery]


async def _stored(call: _Any) -> bytes:
    endpoint_id = call.path["endpoint_id"]
    raw = await call.services.catalog.endpoint(endpoint_id)
    if raw is None:
        raise unknown("endpoints", endpoint_id)
    return raw


async def _find(call: _Any) -> Document:
    document: Document = orjson.loads(await _stored(call))
    return document


async def _edit(call: _Any, change: Callable[[Document], Document], answer: Callable[[Document], Answered] | None) -> Document:
    """Again from the start where somebody else (another request, or a dispatcher that disables the endpoint) was faster.
    ``answer`` is kept with the change, under the request's Idempotency-Key, if it may have one."""
    while True:
        raw = await _stored(call)
        document = change(orjson.loads(raw))
        kept = b"" if answer is None else kept_answer(answer(document))
        if await call.services.catalog.replace_endpoint(document["id"], raw, encode(document), kept):
            return document


async def create(call: Call[EndpointCreate, NoQuery]) -> Data[EndpointWithSecret]:
    if call.body.url is not None:
        _refuse_private(call.services, call.body.url)
    if await call.services.catalog.count_endpoints() >= ENDPOINTS_MAX:
        raise BadRequest(f"there may be at most {ENDPOINTS_MAX} webhook endpoints")
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    document = endpoint_document(call.body, call.services.new_id(), secret, call.now) | _key_pair(call.body.ed25519)
    (warnings,) = await warnings_of(call.services, [document])
    answer = Data(data=endpoint_with_secret(document, None, warnings))
    await call.services.catalog.put_endpoint(document["id"], encode(document), kept_answer(answer))
    return answer


def _key_pair(wanted: bool) -> Document:
    if not wanted:
        return {}
    key = SigningKey.parse(new_signing_key())
    return {"signing_key": key.text, "public_key": key.public}


async def _failing_since(services: Services, endpoint_id: str) -> str | None:
    return _instant((await services.catalog.failing()).get(endpoint_id))


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant_text(at_ms * 1000)


async def get(call: Call[NoBody, NoQuery]) -> Data[Endpoint]:
    return await _shown(call.services, await _find(call))


async def _shown(services: Services, document: Document) -> Data[Endpoint]:
    (warnings,) = await warnings_of(services, [document])
    return Data(data=endpoint_answer(document, await _failing_since(services, document["id"]), warnings))


async def list_all(call: Call[NoBody, EndpointQuery]) -> Page[Endpoint]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.endpoints()).values()]
    shown, cursor = page(documents, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    failing = await call.services.catalog.failing()
    warnings = await warnings_of(call.services, shown)
    data = [endpoint_answer(each, _instant(failing.get(each["id"])), told) for each, told in zip(shown, warnings, strict=True)]
    return Page(data=data, next_page=cursor)


async def update(call: Call[EndpointUpdate, NoQuery]) -> Data[Endpoint]:
    """Who switches an endpoint on, or sends it elsewhere, gives it new time until it is switched off for failing."""
    if call.body.url is not None:
        _refuse_private(call.services, call.body.url)
    document = await _edit(call, lambda stored: updated_endpoint(stored, call.body, call.now), None)
    if call.body.enabled or call.body.url is not None:
        await call.services.catalog.recovered(document["id"])
    return await _shown(call.services, document)


async def rotate_secret(call: Call[SecretRotation, NoQuery]) -> Data[EndpointWithSecret]:
    """Metronome's header is signed with the new secret at once; it has room for one signature."""
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    now_s = call.now_us / 1_000_000
    failing_since = await _failing_since(call.services, call.path["endpoint_id"])
    (warnings,) = await warnings_of(call.services, [await _find(call)])

    def answer(document: Document) -> Data[EndpointWithSecret]:
        return Data(data=endpoint_with_secret(document, failing_since, warnings))

    return answer(await _edit(call, lambda stored: rotated_endpoint(stored, secret, call.body, call.now, now_s), answer))


async def send_test(call: Call[NoBody, NoQuery]) -> Data[IdAnswer]:
    """The answer's id is the delivery's, whose attempts tell what the endpoint said."""
    document = await _find(call)
    if not document["enabled"]:
        raise Conflict("the endpoint is disabled: nothing is sent to it")
    operations = DeliveryOperations(call.services.redis, call.services.partitions, call.services.settings)
    return Data(data=IdAnswer(id=await operations.send_test(document["id"], call.services.new_id(), call.now_ms)))


async def recover(call: Call[Recovery, NoQuery]) -> Data[ResendResult]:
    """Send what the endpoint has not got since then, as far as the log reaches back; from the earliest on, and so much of it as
    one request may take."""
    document = await _find(call)
    operations = DeliveryOperations(call.services.redis, call.services.partitions, call.services.settings)
    selection = await operations.missed(document["id"], milliseconds_of(call.body.since))
    if not call.body.dry_run:
        await operations.resend_all(selection, call.now_ms)
    return Data(data=resend_result(selection, call.body.dry_run))


async def delete(call: Call[NoBody, NoQuery]) -> Data[DeletedEndpoint]:
    document = await _find(call)
    await call.services.catalog.delete_endpoint(document["id"])
    return Data(data=DeletedEndpoint(id=document["id"]))


ROUTES: list[Route] = [
    route("POST", _BASE, create, "Create a webhook endpoint"),
    route("GET", _BASE, list_all, "List webhook endpoints"),
    route("GET", _ONE, get, "Get a webhook endpoint"),
    route("PATCH", _ONE, update, "Update a webhook endpoint"),
    route("DELETE", _ONE, delete, "Delete a webhook endpoint"),
    route("POST", f"{_ONE}/rotate-secret", rotate_secret, "Give a webhook endpoint a new secret"),
    route("POST", f"{_ONE}/test", send_test, "Send a test message to a webhook endpoint"),
    route("POST", f"{_ONE}/recover", recover, "Send again what a webhook endpoint has missed"),
]
