"""The payloads of notices about endpoints and deliveries, for receivers that read them with pydantic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class _Model(BaseModel):
    """Receivers must tolerate fields that they do not know: later versions add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FailingProperties(_Model):
    endpoint_id: str
    timestamp: Instant
    failing_since: Instant = Field(description="Of the first attempt after the last success.")


class DisabledProperties(_Model):
    endpoint_id: str
    timestamp: Instant
    reason: str


class ExhaustedProperties(_Model):
    endpoint_id: str
    timestamp: Instant
    delivery_id: str = Field(description="Of `/v1/webhook-deliveries`, which shows its attempts and can send it again.")
    notification_id: str
    notification_type: str
    customer_id: str
    alert_id: str
    attempts: int
    last_error: str


class EventErrorProperties(_Model):
    timestamp: Instant = Field(description="When the event was appended to the topic.")
    customer_id: str = Field(description="Empty where the event does not say it.")
    transaction_id: str
    reason: str
    detail: str
    counted: Literal["yes", "partially", "no"] = Field(
        description="`partially`: for all metrics but those that are named. `yes`: for all of them, with exact totals; only its "
        "group values were not kept apart (reason `group_values_merged`)."
    )
    billable_metric_ids: tuple[str, ...]
    topic: str
    partition: int
    offset: int
    index: int = Field(description="The event's place in its record.")


class _Notice(_Model):
    id: str = Field(description="The same for every attempt to deliver this notice: drop an id that you have seen.")


class EndpointFailingPayload(_Notice):
    """Every attempt at an endpoint has failed for some time, or one has succeeded after that."""

    type: Literal["endpoint.failing", "endpoint.recovered"]
    properties: FailingProperties


class EndpointDisabledPayload(_Notice):
    """An endpoint was switched off: it has failed for days, or said that it is gone."""

    type: Literal["endpoint.disabled"]
    properties: DisabledProperties


class MessageExhaustedPayload(_Notice):
    """A notification was given up at an endpoint. Of many, one within an hour and partition is told."""

    type: Literal["message.exhausted"]
    properties: ExhaustedProperties


class EventErrorPayload(_Notice):
    """A usage event was rejected, or some metrics could not read it. Of one customer and reason, the first of a day is told; the
    dead-letter topic holds all of them. Or a group key of a metric has too many values of a customer to keep them apart, told
    once a day, too."""

    type: Literal["event.error"]
    properties: EventErrorProperties
