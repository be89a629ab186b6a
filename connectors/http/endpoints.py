"""/v1/webhook-endpoints: where notifications go. Not in the API that we speak."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import orjson

from connectors.http.editing import unknown
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.webhooks.addresses import TargetPolicy
from schemas.common import Data, NoBody, NoQuery, Page
from schemas.documents import Document, encode
from schemas.endpoints import (
    SECRET_BYTES,
    DeletedEndpoint,
    Endpoint,
    EndpointCreate,
    EndpointQuery,
    EndpointUpdate,
    EndpointWithSecret,
    endpoint_answer,
    endpoint_document,
    endpoint_with_secret,
    new_secret,
    updated_endpoint,
)
from schemas.errors import BadRequest

ENDPOINTS_MAX = 100
_BASE = "/v1/webhook-endpoints"
_ONE = f"{_BASE}/{{endpoint_id}}"


def _refuse_private(services: Services, url: str) -> None:
    """An early word to whoever registers a target that is plainly private: a literal address, or localhost.

    Other names are resolved only when a request is sent, and there the dispatcher checks the address that it dials.
    """
    settings = services.settings
    host = (urlsplit(url).hostname or "").rstrip(".")
    address: IPv4Address | IPv6Address
    if host == "localhost" or host.endswith(".localhost"):
        address = IPv4Address("127.0.0.1")
    else:
        try:
            address = ip_address(host)
        except ValueError:
            return
    if not TargetPolicy.parse(settings.webhook_allow_private, settings.webhook_allow_list).allows(host, address):
        raise BadRequest(f"url: {host} is not a public address; TIDEMARK_WEBHOOK_ALLOW_PRIVATE or _ALLOW_LIST can allow it")


async def _find(call: Call[NoBody, NoQuery] | Call[EndpointUpdate, NoQuery]) -> Document:
    endpoint_id = call.path["endpoint_id"]
    raw = (await call.services.catalog.endpoints()).get(endpoint_id)
    if raw is None:
        raise unknown("endpoints", endpoint_id)
    document: Document = orjson.loads(raw)
    return document


async def create(call: Call[EndpointCreate, NoQuery]) -> Data[EndpointWithSecret]:
    _refuse_private(call.services, call.body.url)
    if len(await call.services.catalog.endpoints()) >= ENDPOINTS_MAX:
        raise BadRequest(f"there may be at most {ENDPOINTS_MAX} webhook endpoints")
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    document = endpoint_document(call.body, call.services.new_id(), secret, call.now)
    await call.services.catalog.put_endpoint(document["id"], encode(document))
    return Data(data=endpoint_with_secret(document))


async def get(call: Call[NoBody, NoQuery]) -> Data[Endpoint]:
    return Data(data=endpoint_answer(await _find(call)))


async def list_all(call: Call[NoBody, EndpointQuery]) -> Page[Endpoint]:
    documents = [orjson.loads(raw) for raw in (await call.services.catalog.endpoints()).values()]
    shown, cursor = page(documents, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    return Page(data=[endpoint_answer(each) for each in shown], next_page=cursor)


async def update(call: Call[EndpointUpdate, NoQuery]) -> Data[Endpoint]:
    if call.body.url is not None:
        _refuse_private(call.services, call.body.url)
    document = updated_endpoint(await _find(call), call.body, call.now)
    await call.services.catalog.put_endpoint(document["id"], encode(document))
    return Data(data=endpoint_answer(document))


async def rotate_secret(call: Call[NoBody, NoQuery]) -> Data[EndpointWithSecret]:
    """The old secret stops signing at once."""
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    document = {**await _find(call), "secret": secret, "updated_at": call.now}
    await call.services.catalog.put_endpoint(document["id"], encode(document))
    return Data(data=endpoint_with_secret(document))


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
]
