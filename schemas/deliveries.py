"""Webhook deliveries: what became of each notification at each endpoint, its attempts, and sending it again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.common import Answer, Body, Instant, OutInstant, PageQuery, Text

Status = Literal["waiting", "delivered", "exhausted", "superseded", "endpoint_removed", "unwanted"]
_STATUS = (
    "waiting: not ended yet. exhausted: a dead letter, given up after the maximum age. unwanted: a notification that no endpoint "
    "wanted; it can be sent to one."
)


class DeliveryQuery(PageQuery):
    endpoint_id: Text | None = None
    customer_id: Text | None = None
    alert_id: Text | None = None
    type: Text | None = None
    status: Status | None = Field(default=None, description=_STATUS)
    since: Instant | None = Field(default=None, description="Of the last change, included.")
    until: Instant | None = Field(default=None, description="Of the last change, excluded.")


class Refusal(Answer):
    endpoint_id: str | None = Field(description="Null: no endpoint was asked.")
    reason: str = Field(description="The part of the endpoint's filter that does not let it through; or why none was asked.")


class Delivery(Answer):
    id: str
    notification_id: str = Field(description="The same at all endpoints; the header webhook-id.")
    endpoint_id: str | None = Field(description="Null for what no endpoint wanted.")
    customer_id: str
    alert_id: str
    type: str
    status: Status = Field(description=_STATUS)
    unwanted: list[Refusal] | None = Field(description="Of what no endpoint wanted: why not, of the first 20 endpoints.")
    attempts: int = Field(description="Requests that the endpoint has refused or taken since it was last sent again by hand.")
    last_error: str | None
    next_attempt_at: OutInstant | None = Field(
        description="Of one that waits; it may wait longer behind an earlier one of its customer and alert."
    )
    traceparent: str | None = Field(description="Of the event that crossed the line, if its record had one; sent as a header.")
    written_at: OutInstant
    changed_at: OutInstant


class Attempt(Answer):
    at: OutInstant
    outcome: str
    status: int | None
    seconds: float
    dns_seconds: float | None = Field(default=None, description="Name look-up; null where no name had to be looked up.")
    connect_seconds: float | None = Field(description="Name look-up, connection and TLS; null for a kept-alive connection.")
    tls_seconds: float | None = Field(default=None, description="TLS handshake; null where there was none.")
    headers_seconds: float | None = Field(description="Until the answer's headers had arrived.")
    requests: int = Field(description="2 if a connection failed within the first second, and was tried again at once.")
    response: str = Field(description="The first 20,000 bytes of the answer's body.")


class DeliveryDetail(Delivery):
    body: str = Field(description="The exact text that is sent.")
    attempt_log: list[Attempt] = Field(description="The latest 50 attempts, the first one first.")


_TO = "To this endpoint, whatever its filter says; null: to the one that it was meant for."


class ResendOne(Body):
    endpoint_id: Text | None = Field(default=None, description=_TO)


class ResendOutcome(Answer):
    id: str
    outcome: Literal["resent", "hastened", "waits", "under way"] = Field(
        description="hastened: its next attempt is due now. waits: behind an earlier one. under way: nothing was changed."
    )


class Resend(Body):
    """What matches all fields that are given is sent again."""

    endpoint_id: Text | None = None
    customer_id: Text | None = None
    alert_id: Text | None = None
    type: Text | None = None
    status: list[Status] = Field(default=["exhausted"], min_length=1, description=_STATUS)
    since: Instant | None = None
    until: Instant | None = None
    to_endpoint_id: Text | None = Field(default=None, description=_TO + " What no endpoint wanted goes nowhere else.")
    dry_run: bool = Field(default=False, description="Only tell what would be sent.")

    @model_validator(mode="after")
    def _not_everything(self) -> Resend:
        if not {"endpoint_id", "customer_id", "alert_id", "type", "since"} & self.model_fields_set:
            raise ValueError("must name an endpoint_id, customer_id, alert_id, type or since")
        return self


class Recovery(Body):
    since: Instant
    dry_run: bool = Field(default=False, description="Only tell what would be sent.")


class ResendResult(Answer):
    count: int
    dry_run: bool
    complete: bool = Field(
        description="False: there are more; repeat the request, with `looked_until`, if there is one, as `since`."
    )
    looked_until: str | None = Field(default=None, description="Of a recovery: up to here the log was looked at.")
    delivery_ids: list[str] = Field(description="The first hundred.")
