"""Webhook endpoints: bodies, answers, and the stored document.

The secret is shown when it is made and never again. It is ``whsec_`` and the base64 of 32 random bytes: Standard Webhooks decodes
it, the Metronome signature uses the whole text.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from schemas.common import Answer, Body, Name, OutInstant, PageQuery
from schemas.documents import Document

SECRET_BYTES = 32
_URL_CHARACTERS_MAX = 2048


def _webhook_url(url: str) -> str:
    if len(url) > _URL_CHARACTERS_MAX or not url.isascii() or any(c.isspace() or ord(c) < 0x20 or c == "\\" for c in url):
        raise ValueError(f"must be a URL of at most {_URL_CHARACTERS_MAX} ASCII characters without spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    if port == 0:
        raise ValueError("must not have port 0")
    return url


Url = Annotated[str, AfterValidator(_webhook_url)]


class EndpointCreate(Body):
    url: Url
    name: Name | None = None
    enabled: bool = True


class EndpointUpdate(Body):
    url: Url | None = None
    name: Name | None = None
    enabled: bool | None = None


class EndpointQuery(PageQuery):
    pass


class Endpoint(Answer):
    id: str
    url: str
    name: str | None
    enabled: bool
    disabled_reason: str | None = Field(default=None, description="Why the endpoint was switched off, if nobody did it by hand.")
    created_at: OutInstant
    updated_at: OutInstant


class EndpointWithSecret(Endpoint):
    secret: str = Field(description="Shown only here: keep it.")


class DeletedEndpoint(Answer):
    id: str


def new_secret(random_bytes: bytes) -> str:
    return "whsec_" + base64.b64encode(random_bytes).decode()


def endpoint_document(body: EndpointCreate, endpoint_id: str, secret: str, now: str) -> Document:
    return {
        "id": endpoint_id,
        "url": body.url,
        "name": body.name,
        "enabled": body.enabled,
        "secret": secret,
        "created_at": now,
        "updated_at": now,
    }


def updated_endpoint(document: Document, body: EndpointUpdate, now: str) -> Document:
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("url", "enabled"):
        if changes.get(name, ...) is None:
            del changes[name]
    kept = {name: value for name, value in document.items() if name != "disabled_reason" or "enabled" not in changes}
    return {**kept, **changes, "updated_at": now}


def endpoint_answer(document: Document) -> Endpoint:
    return Endpoint.model_validate(document)


def endpoint_with_secret(document: Document) -> EndpointWithSecret:
    return EndpointWithSecret.model_validate(document)
