"""Webhook endpoints: bodies, answers, and the stored document. An endpoint may be a signed webhook, a channel of Slack, a Kafka
topic or (for development) the dispatcher's standard output; all of them share lanes, retries and the log.

The secret is shown when it is made and never again. It is ``whsec_`` and the base64 of 32 random bytes: Standard Webhooks decodes
it, the Metronome signature uses the whole text.
"""

from __future__ import annotations

import base64
import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from schemas.common import Answer, Body, Name, OutInstant, PageQuery
from schemas.documents import Document
from schemas.errors import BadRequest
from schemas.notifications import notification_types
from schemas.urls import parse_target

SECRET_BYTES = 32
EVENT_TYPES = (*notification_types(), "webhooks.test")
"""All that an endpoint may be sent."""


def _webhook_url(url: str) -> str:
    parse_target(url)  # what cannot be resolved is refused here, and again where it is used: older ones are stored
    return url


Url = Annotated[str, AfterValidator(_webhook_url)]


RateLimit = Annotated[int, Field(ge=1, le=10_000, description="Requests a second, of all dispatchers together; null = no limit.")]
SUPERSEDE = "Of several undelivered notifications of one customer and alert, send the latest only."
ROTATION_HOURS_MAX = 168
PREVIOUS_SECRETS_MAX = 9


SLACK_RATE_PER_S = 1
"""What Slack takes for one incoming webhook, short bursts aside."""

EndpointType = Literal["webhook", "slack", "kafka", "stdout"]
_TYPE = (
    "webhook: signed requests to `url`. slack: readable messages to `url`, an incoming webhook of Slack. kafka: records in the "
    "notifications topic, keyed by customer. stdout: lines on the dispatcher's standard output, for development."
)
_WITH_URL = frozenset({"webhook", "slack"})


def _pattern(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9_.*]{1,200}", text):
        raise ValueError("must consist of letters, digits, underscores and full stops; * stands for any text")
    if "*" not in text and text not in EVENT_TYPES:
        near = get_close_matches(text, EVENT_TYPES, 1)
        raise ValueError(f"there is no type {text}{f': did you mean {near[0]}?' if near else ''}")
    return text


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not name one twice")
    return values


FILTER_MAX = 1_000
_Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Ids = Annotated[list[_Id], Field(min_length=1, max_length=FILTER_MAX), AfterValidator(_distinct)]
_EventTypes = Annotated[
    list[Annotated[str, AfterValidator(_pattern)]],
    Field(min_length=1, max_length=100),
    AfterValidator(_distinct),
]
_TYPES = (
    "Types that the endpoint wants, exact or with * for any text: `alerts.*`. Null: all but notices (`endpoint.*`, `message.*`, "
    "`event.*`), which go only to endpoints that name them, and never to the one that they are about."
)
_CUSTOMERS = "Only of these customers; null: of all."
_ALERTS = "Only of these alerts; null: of all."


class Severity(Body):
    """The custom field of an alert that tells its severity. An alert without it does not pass."""

    key: _Id = "severity"
    minimum: _Id | None = Field(
        default=None, description="At least this: a number, or a word of the setting `severities` (lowest first)."
    )
    values: Annotated[list[_Id], Field(min_length=1, max_length=100)] | None = Field(default=None, description="One of these.")

    @model_validator(mode="after")
    def _one_rule(self) -> Severity:
        if (self.minimum is None) == (self.values is None):
            raise ValueError("must have either minimum or values")
        return self


class Digest(Body):
    """Of the notifications of one alert, the first ``more_than`` of a window are sent at once, and the others as one message
    (``alerts.digest``) at its end. The first notification after a window opens the next one."""

    more_than: int = Field(ge=1, le=1_000)
    window_seconds: int = Field(ge=1, le=86_400)


_EITHER = "an endpoint that wants the latest only (supersede) cannot have digests, which list all"


class EndpointCreate(Body):
    type: EndpointType = Field(default="webhook", description=_TYPE)
    url: Url | None = Field(default=None, description="Of webhook and slack, which need one; others have none.")
    name: Name | None = None
    enabled: bool = True
    rate_limit_per_second: RateLimit | None = Field(default=None, description="Of slack, where it is not given: 1.")
    supersede: bool = Field(default=False, description=SUPERSEDE)
    ed25519: bool = Field(default=False, description="Also sign with a key pair (v1a); the answer holds the public key.")
    event_types: _EventTypes | None = Field(default=None, description=_TYPES)
    customer_ids: _Ids | None = Field(default=None, description=_CUSTOMERS)
    alert_ids: _Ids | None = Field(default=None, description=_ALERTS)
    severity: Severity | None = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def _fits_type(self) -> EndpointCreate:
        if self.type in _WITH_URL and self.url is None:
            raise ValueError(f"url: an endpoint of type {self.type} needs one")
        if self.type not in _WITH_URL and self.url is not None:
            raise ValueError(f"url: an endpoint of type {self.type} has none")
        if self.ed25519 and self.type != "webhook":
            raise ValueError("ed25519: only webhooks are signed")
        if self.digest is not None and self.supersede:
            raise ValueError(f"digest: {_EITHER}")
        return self


class EndpointUpdate(Body):
    url: Url | None = None
    name: Name | None = None
    enabled: bool | None = None
    rate_limit_per_second: RateLimit | None = None
    supersede: bool | None = Field(default=None, description=SUPERSEDE)
    event_types: _EventTypes | None = Field(default=None, description=_TYPES)
    customer_ids: _Ids | None = Field(default=None, description=_CUSTOMERS)
    alert_ids: _Ids | None = Field(default=None, description=_ALERTS)
    severity: Severity | None = None
    digest: Digest | None = None


class SecretRotation(Body):
    overlap_hours: int = Field(
        default=24,
        ge=0,
        le=ROTATION_HOURS_MAX,
        description="How long the old secret still signs beside the new one (Standard Webhooks only). 0: not at all.",
    )


class EndpointQuery(PageQuery):
    pass


class SeverityAnswer(Answer):
    key: str
    minimum: str | None = None
    values: list[str] | None = None


class DigestAnswer(Answer):
    more_than: int
    window_seconds: int


class Endpoint(Answer):
    id: str
    warnings: list[str] = Field(description="What the filter names and does not exist: of that nothing will ever come.")
    type: EndpointType = Field(description=_TYPE)
    url: str | None
    name: str | None
    enabled: bool
    disabled_reason: str | None = Field(default=None, description="Why the endpoint was switched off, if nobody did it by hand.")
    state: Literal["active", "failing", "disabled"] = Field(description="failing: the latest attempts have all failed.")
    failing_since: OutInstant | None
    rate_limit_per_second: int | None
    supersede: bool
    event_types: list[str] | None
    customer_ids: list[str] | None
    alert_ids: list[str] | None
    severity: SeverityAnswer | None
    digest: DigestAnswer | None
    public_key: str | None = Field(description="whpk_...: verifies the v1a signatures, where the endpoint has a key pair.")
    created_at: OutInstant
    updated_at: OutInstant


class EndpointWithSecret(Endpoint):
    secret: str | None = Field(description="Shown only here: keep it. Null where nothing is signed.")


class DeletedEndpoint(Answer):
    id: str


def new_secret(random_bytes: bytes) -> str:
    return "whsec_" + base64.b64encode(random_bytes).decode()


def endpoint_document(body: EndpointCreate, endpoint_id: str, secret: str, now: str) -> Document:
    rate = body.rate_limit_per_second
    if body.type == "slack" and "rate_limit_per_second" not in body.model_fields_set:
        rate = SLACK_RATE_PER_S
    return {
        "id": endpoint_id,
        "type": body.type,
        "url": body.url or "",
        "name": body.name,
        "enabled": body.enabled,
        "rate_limit_per_second": rate,
        "supersede": body.supersede,
        **{name: value for name, value in body.model_dump(exclude_none=True).items() if name in _OPTIONS},
        "secret": secret,
        "created_at": now,
        "updated_at": now,
    }


_OPTIONS = ("event_types", "customer_ids", "alert_ids", "severity", "digest")
_DEFAULTS = {"type": "webhook", "rate_limit_per_second": None, "supersede": False, "public_key": None} | dict.fromkeys(_OPTIONS)


def is_signed(document: Document) -> bool:
    return bool(document.get("type", "webhook") == "webhook")


def updated_endpoint(document: Document, body: EndpointUpdate, now: str) -> Document:
    """Raises BadRequest for what the endpoint's type does not have."""
    if body.url is not None and document.get("type", "webhook") not in _WITH_URL:
        raise BadRequest(f"url: an endpoint of type {document['type']} has none")
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    if body.severity is not None:
        changes["severity"] = body.severity.model_dump(exclude_none=True)
    for name in ("url", "enabled", "supersede"):
        if changes.get(name, ...) is None:
            del changes[name]
    gone = {"disabled_reason", "disabled_at_ms"} if "enabled" in changes else set()
    kept = {name: value for name, value in document.items() if name not in gone}
    updated = {**kept, **changes, "updated_at": now}
    if updated.get("digest") is not None and updated.get("supersede"):
        raise BadRequest(f"digest: {_EITHER}")
    return updated


def rotated_endpoint(document: Document, secret: str, body: SecretRotation, now: str, now_s: float) -> Document:
    """The new secret signs at once; those before it until their time is over, the latest ``PREVIOUS_SECRETS_MAX`` of them."""
    if not is_signed(document):
        raise BadRequest(f"an endpoint of type {document['type']} has no secret: nothing is signed")
    previous = [each for each in document.get("previous_secrets", []) if each["valid_until_s"] > now_s]
    if body.overlap_hours:
        previous = [{"secret": document["secret"], "valid_until_s": now_s + body.overlap_hours * 3600}, *previous]
    return {**document, "secret": secret, "previous_secrets": previous[:PREVIOUS_SECRETS_MAX], "updated_at": now}


def endpoint_fields(document: Document, failing_since: str | None, warnings: list[str]) -> dict[str, Any]:
    enabled = document["enabled"]
    state = "disabled" if not enabled else "active" if failing_since is None else "failing"
    shown = {"url": document["url"] or None, "state": state, "failing_since": failing_since, "warnings": warnings}
    return {**_DEFAULTS, **document, **shown}


def endpoint_answer(document: Document, failing_since: str | None, warnings: list[str]) -> Endpoint:
    return Endpoint.model_validate(endpoint_fields(document, failing_since, warnings))


def endpoint_with_secret(document: Document, failing_since: str | None, warnings: list[str]) -> EndpointWithSecret:
    fields = endpoint_fields(document, failing_since, warnings)
    return EndpointWithSecret.model_validate(fields if is_signed(document) else fields | {"secret": None})
