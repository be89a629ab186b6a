"""The webhook payload of an alert: ``{"id", "type": "alerts.<type>", "properties": {...}}``.

``encode`` writes it once, when the notification enters the outbox; every attempt sends those same bytes. The models
below describe the same payload for the OpenAPI document and for receivers; a test holds the two against each other.

Amounts are JSON numbers with all their digits (never through a float); those in US dollars are in cents.
``threshold``, the measure (``current_spend``, ``current_usage``), ``timestamp`` and ``group_values`` are the fields of the
product whose API we speak; ``previous_value`` to ``evidence`` are ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from engine.effects import Evidence, Notification
from schemas.numbers import json_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(notification: Notification) -> bytes:
    """The exact bytes to send. The same notification always gives the same bytes.

    Raises OverflowError for an instant outside of the years 1 to 9999, and orjson.JSONEncodeError (a TypeError) for a
    measure field that is neither text, integer, decimal, boolean nor null.
    """
    properties: dict[str, object] = {
        "customer_id": notification.customer_id,
        "alert_id": notification.alert_id,
        "timestamp": _milliseconds(notification.timestamp_us),
        "threshold": json_number(notification.threshold),
        "alert_name": notification.alert_name,
        "triggered_by": notification.triggered_by.value,
    }
    for name, value in notification.measure.items():
        properties[name] = json_number(value) if isinstance(value, Decimal) else value
    if notification.group_values:
        properties["group_values"] = [{"key": key, "value": value} for key, value in notification.group_values]
    properties |= {
        "previous_value": json_number(notification.previous_value),
        "value": json_number(notification.value),
        "period": {
            "starting_at": _milliseconds(notification.period_starting_us),
            "ending_before": _milliseconds(notification.period_ending_us),
        },
        "sequence": notification.sequence,
        "alert_version": notification.alert_version,
    }
    if notification.evidence is not None:
        properties["evidence"] = _evidence(notification.evidence)
    return orjson.dumps({"id": notification.id, "type": notification.type, "properties": properties})


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {
        "transaction_id": evidence.transaction_id,
        "topic": evidence.topic,
        "partition": evidence.partition,
        "offset": evidence.offset,
        "event_timestamp": _exact(evidence.event_timestamp_us),
        "appended_at": _milliseconds(evidence.appended_at_ms * 1000),
        "evaluated_at": _exact(evidence.evaluated_at_us),
    }


def _milliseconds(instant_us: int) -> str:
    """RFC 3339 in UTC with three digits of fraction; what is finer is cut off."""
    return _text(instant_us, "milliseconds")


def _exact(instant_us: int) -> str:
    """RFC 3339 in UTC with three digits of fraction, or six where three would lose something."""
    return _text(instant_us, "microseconds" if instant_us % 1000 else "milliseconds")


def _text(instant_us: int, timespec: str) -> str:
    instant = _EPOCH + timedelta(microseconds=instant_us)
    return instant.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
"""A JSON number to be read as a decimal."""

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class _Model(BaseModel):
    """Receivers must tolerate fields that they do not know: later versions add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class GroupValue(_Model):
    key: str
    value: str


class Period(_Model):
    """The billing period of the measured value, half-open."""

    starting_at: Instant
    ending_before: Instant


class NotificationEvidence(_Model):
    """The usage event that crossed the line: where it lies in Kafka, when it was appended and when it was evaluated."""

    transaction_id: str
    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    event_timestamp: Instant
    appended_at: Instant
    evaluated_at: Instant


class AlertProperties(_Model):
    """What all alert types have in common."""

    customer_id: str
    alert_id: str
    timestamp: Instant
    threshold: Number
    alert_name: str
    triggered_by: Literal[
        "usage",
        "invoice_generation",
        "period_reset",
        "balance_change",
        "contract_change",
        "time",
        "reset",
        "creation",
    ]
    group_values: list[GroupValue] | None = Field(
        default=None, description="The group that is meant; absent for an ungrouped alert."
    )
    previous_value: Number
    value: Number
    period: Period
    sequence: int = Field(
        ge=1, description="1, 2, ... for each customer, alert and group: whatever is lower than one already seen is out of date."
    )
    alert_version: int = Field(ge=1)
    evidence: NotificationEvidence | None = Field(default=None, description="Absent where no usage event crossed the line.")


class SpendProperties(AlertProperties):
    current_spend: Number
    credit_type_id: str


class UsageProperties(AlertProperties):
    current_usage: Number
    billable_metric_id: str


class _Payload(_Model):
    id: str = Field(description="The same for every attempt to deliver this notification: drop an id that you have seen.")


class SpendThresholdPayload(_Payload):
    """The spend of the current billing period reached the threshold, or fell below it again."""

    type: Literal["alerts.spend_threshold_reached", "alerts.spend_threshold_resolved"]
    properties: SpendProperties


class UsageThresholdPayload(_Payload):
    """The usage of the current billing period reached the threshold, or fell below it again."""

    type: Literal["alerts.usage_threshold_reached", "alerts.usage_threshold_resolved"]
    properties: UsageProperties


WebhookPayload = Annotated[SpendThresholdPayload | UsageThresholdPayload, Field(discriminator="type")]
"""Any payload that we send, for ``pydantic.TypeAdapter`` and the ``webhooks`` part of the OpenAPI document."""
