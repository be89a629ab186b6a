"""Webhook endpoints: bodies, answers, and the stored document.

The secret is shown when it is made and never again. It is ``whsec_`` and the base64 of 32 random bytes: Standard Webhooks decodes
it, the Metronome signature uses the whole text.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal
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


RateLimit = Annotated[int, Field(ge=1, le=10_000, description="Requests a second, of all dispatchers together; null = no limit.")]
SUPERSEDE = "Of several undelivered notifications of one customer and alert, send the latest only."
ROTATION_HOURS_MAX = 168
PREVIOUS_SECRETS_MAX = 9


class EndpointCreate(Body):
    url: Url
    name: Name | None = None
    enabled: bool = True
    rate_limit_per_second: RateLimit | None = None
    supersede: bool = Field(default=False, description=SUPERSEDE)
    ed25519: bool = Field(default=False, description="Also sign with a key pair (v1a); the answer holds the public key.")


class EndpointUpdate(Body):
    url: Url | None = None
    name: Name | None = None
    enabled: bool | None = None
    rate_limit_per_second: RateLimit | None = None
    supersede: bool | None = Field(default=None, description=SUPERSEDE)


class SecretRotation(Body):
    overlap_hours: int = Field(
        default=24,
        ge=0,
        le=ROTATION_HOURS_MAX,
        description="How long the old secret still signs beside the new one (Standard Webhooks only). 0: not at all.",
    )


class EndpointQuery(PageQuery):
    pass


class Endpoint(Answer):
    id: str
    url: str
    name: str | None
    enabled: bool
    disabled_reason: str | None = Field(default=None, description="Why the endpoint was switched off, if nobody did it by hand.")
    state: Literal["active", "failing", "disabled"] = Field(description="failing: the latest attempts have all failed.")
    failing_since: OutInstant | None
    rate_limit_per_second: int | None
    supersede: bool
    public_key: str | None = Field(description="whpk_...: verifies the v1a signatures, where the endpoint has a key pair.")
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
        "rate_limit_per_second": body.rate_limit_per_second,
        "supersede": body.supersede,
        "secret": secret,
        "created_at": now,
        "updated_at": now,
    }


def updated_endpoint(document: Document, body: EndpointUpdate, now: str) -> Document:
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("url", "enabled", "supersede"):
        if changes.get(name, ...) is None:
            del changes[name]
    kept = {name: value for name, value in document.items() if name != "disabled_reason" or "enabled" not in changes}
    return {**kept, **changes, "updated_at": now}


def rotated_endpoint(document: Document, secret: str, body: SecretRotation, now: str, now_s: float) -> Document:
    """The new secret signs at once; those before it until their time is over, the latest ``PREVIOUS_SECRETS_MAX`` of them."""
    previous = [each for each in document.get("previous_secrets", []) if each["valid_until_s"] > now_s]
    if body.overlap_hours:
        previous = [{"secret": document["secret"], "valid_until_s": now_s + body.overlap_hours * 3600}, *previous]
    return {**document, "secret": secret, "previous_secrets": previous[:PREVIOUS_SECRETS_MAX], "updated_at": now}


def endpoint_fields(document: Document, failing_since: str | None) -> dict[str, Any]:
    enabled = document["enabled"]
    defaults = {"rate_limit_per_second": None, "supersede": False, "public_key": None}
    state = "disabled" if not enabled else "active" if failing_since is None else "failing"
    return {**defaults, **document, "state": state, "failing_since": failing_since}


def endpoint_answer(document: Document, failing_since: str | None) -> Endpoint:
    return Endpoint.model_validate(endpoint_fields(document, failing_since))


def endpoint_with_secret(document: Document, failing_since: str | None = None) -> EndpointWithSecret:
    return EndpointWithSecret.model_validate(endpoint_fields(document, failing_since))
