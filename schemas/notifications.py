"""The webhook payload of an alert: ``{"id", "type": "alerts.<type>", "properties": {...}}``.

``encode`` writes it once, when the notification enters the outbox; every attempt sends those same bytes. The models
below describe the same payload for the OpenAPI document and for receivers; a test holds the two against each other.

Amounts are JSON numbers with all their digits (never through a float); those in US dollars are in cents.
``threshold``, the measure (``current_spend``, ``remaining_balance``, ...), ``timestamp`` and ``group_values`` are the fields of
the product whose API we speak; ``previous_value`` to ``evidence`` are ours, and so is most of what percentages and segments tell.
Names (``customer_name``, ``billable_metric_name``, ...) are for people: as they were when the alert was evaluated. Handlers tell
things apart by ids, and alerts also by their uniqueness key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from engine.alerts.kinds import ENDLESS
from engine.effects import Evidence, Notification
from engine.periods import HOUR_US
from schemas.notices import EndpointDisabledPayload, EndpointFailingPayload, EventErrorPayload, MessageExhaustedPayload
from schemas.numbers import json_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ALIASES_MAX = 20
"""So many ingest aliases of the customer are told: the first ones."""

_ENDLESS_US = ENDLESS.ending_hour * HOUR_US


def encode(notification: Notification) -> bytes:
    """The exact bytes to send. The same notification always gives the same bytes.

    Raises OverflowError for an instant outside of the years 1 to 9999, and orjson.JSONEncodeError (a TypeError) for a
    measure field that is neither text, integer, decimal, boolean nor null. An integer whose name ends in ``_us`` is an instant.
    """
    properties: dict[str, object] = {
        "customer_id": notification.customer_id,
        "alert_id": notification.alert_id,
        "timestamp": _milliseconds(notification.timestamp_us),
        "threshold": json_number(notification.threshold),
        "alert_name": notification.alert_name,
        "triggered_by": notification.triggered_by.value,
    }
    names = {
        "customer_name": notification.customer_name,
        "customer_ingest_aliases": notification.customer_aliases[:ALIASES_MAX] or None,
        "uniqueness_key": notification.uniqueness_key,
        "billable_metric_name": notification.metric_name,
    }
    properties |= {name: value for name, value in names.items() if value is not None}
    for name, value in notification.measure.items():
        if name.endswith("_us") and isinstance(value, int):
            properties[name.removesuffix("_us")] = _milliseconds(value)
        else:
            properties[name] = json_number(value) if isinstance(value, Decimal) else value
    if notification.group_values:
        properties["group_values"] = [{"key": key, "value": value} for key, value in notification.group_values]
    properties |= {
        "previous_value": json_number(notification.previous_value),
        "value": json_number(notification.value),
    }
    if notification.period_ending_us < _ENDLESS_US:
        properties["period"] = {
            "starting_at": _milliseconds(notification.period_starting_us),
            "ending_before": _milliseconds(notification.period_ending_us),
        }
    properties |= {"sequence": notification.sequence, "alert_version": notification.alert_version}
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
    customer_name: str | None = Field(default=None, description="At the time of the evaluation, as all names here.")
    customer_ingest_aliases: list[str] | None = Field(
        default=None,
        description=f"The customer's aliases, the first {ALIASES_MAX}; absent where it has none.",
    )
    alert_id: str
    uniqueness_key: str | None = Field(default=None, description="The alert's, if it was made with one.")
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
    period: Period | None = Field(default=None, description="Absent for balances and segments, which no billing period resets.")
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
    billable_metric_name: str | None = None


class ToldFilter(_Model):
    entity: str
    key: str
    value: str | None = None


class ToldExclusion(_Model):
    custom_field_filters: list[ToldFilter]


class ToldSpecifier(ToldExclusion):
    exclude: list[ToldExclusion] | None = None


class BalanceProperties(AlertProperties):
    """The ids are there where exactly one commit or credit, or one contract, is meant. ``access_type`` QUANTITY in the place of a
    credit type: the amounts are units of usage."""

    alert_specifiers: list[ToldSpecifier] | None = Field(
        default=None,
        description="Which balances are meant. An alert that is split by a custom field names the value that reached the line, "
        "and no value in the notification for the alert as a whole, whose figures are those of the lowest value.",
    )
    credit_type_id: str | None = None
    access_type: Literal["QUANTITY"] | None = None
    remaining_balance: Number
    commit_id: str | None = None
    credit_id: str | None = None
    contract_id: str | None = None


class ToldSeat(_Model):
    seat_group_key: str
    seat_group_value: str
    value: str = Field(description="The same as seat_group_value.")


class SeatBalanceProperties(AlertProperties):
    """``access_type`` as for balances."""

    credit_type_id: str | None = None
    access_type: Literal["QUANTITY"] | None = None
    remaining_balance: Number
    seat_filter: ToldSeat


class PercentageProperties(BalanceProperties):
    """``remaining_percentage``: 0 to 100 and more, of ``granted``; rounded to 18 fraction digits."""

    remaining_percentage: Number
    granted: Number


class SegmentProperties(AlertProperties):
    """A segment that is over (resolved) is named by its id alone."""

    remaining_days: Number
    segment_id: str
    segment_ending_before: Instant | None = None
    commit_id: str | None = None
    credit_id: str | None = None
    contract_id: str | None = None


class InvoiceProperties(AlertProperties):
    """``contract_id`` is absent once the invoice is final (resolved)."""

    invoice_id: str
    invoice_total: Number
    invoice_type: str
    credit_type_id: str
    contract_id: str | None = None


class MonthProperties(AlertProperties):
    """The month is the notification's period."""

    monthly_invoice_total: Number
    credit_type_id: str


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


class LowBalancePayload(_Payload):
    """What is left of commits, credits or both fell to the threshold, or rose above it again."""

    type: Literal[
        "alerts.low_remaining_contract_credit_balance_reached",
        "alerts.low_remaining_contract_credit_balance_resolved",
        "alerts.low_remaining_commit_balance_reached",
        "alerts.low_remaining_commit_balance_resolved",
        "alerts.low_remaining_contract_credit_and_commit_balance_reached",
        "alerts.low_remaining_contract_credit_and_commit_balance_resolved",
    ]
    properties: BalanceProperties


class LowPercentagePayload(_Payload):
    """The share of what was granted that is left fell to the threshold, or rose above it again."""

    type: Literal[
        "alerts.low_remaining_contract_credit_percentage_reached",
        "alerts.low_remaining_contract_credit_percentage_resolved",
        "alerts.low_remaining_commit_percentage_reached",
        "alerts.low_remaining_commit_percentage_resolved",
        "alerts.low_remaining_contract_credit_and_commit_percentage_reached",
        "alerts.low_remaining_contract_credit_and_commit_percentage_resolved",
    ]
    properties: PercentageProperties


class LowSeatBalancePayload(_Payload):
    """What is left of one seat's commits and credits fell to the threshold; resolved: it rose again, or the seat was removed."""

    type: Literal["alerts.low_remaining_seat_balance_reached", "alerts.low_remaining_seat_balance_resolved"]
    properties: SeatBalanceProperties


class LowDaysPayload(_Payload):
    """A segment of a commit or credit has only this many days left; resolved: it is over, or was prolonged."""

    type: Literal[
        "alerts.low_remaining_days_for_commit_segment_reached",
        "alerts.low_remaining_days_for_commit_segment_resolved",
        "alerts.low_remaining_days_for_contract_credit_segment_reached",
        "alerts.low_remaining_days_for_contract_credit_segment_resolved",
    ]
    properties: SegmentProperties


class InvoiceTotalPayload(_Payload):
    """The total of an invoice reached the threshold; resolved: it fell below it again, or its billing period is over."""

    type: Literal["alerts.invoice_total_reached", "alerts.invoice_total_resolved"]
    properties: InvoiceProperties


class DigestProperties(_Model):
    alert_id: str
    count: int = Field(ge=2)
    notifications: list[dict[str, Any]] = Field(description="Each as it would have come by itself; a customer's in order.")


class DigestPayload(_Payload):
    """Notifications of one alert that came in quick succession, for an endpoint that wants digests."""

    type: Literal["alerts.digest"]
    properties: DigestProperties


class MonthTotalPayload(_Payload):
    """The totals of a calendar month's invoices reached the threshold; resolved: they fell below it again, or it is over."""

    type: Literal["alerts.monthly_invoice_total_spend_threshold_reached", "alerts.monthly_invoice_total_spend_threshold_resolved"]
    properties: MonthProperties


WebhookPayload = Annotated[
    SpendThresholdPayload
    | UsageThresholdPayload
    | LowBalancePayload
    | LowPercentagePayload
    | LowSeatBalancePayload
    | LowDaysPayload
    | InvoiceTotalPayload
    | DigestPayload
    | MonthTotalPayload
    | EndpointFailingPayload
    | EndpointDisabledPayload
    | MessageExhaustedPayload
    | EventErrorPayload,
    Field(discriminator="type"),
]
"""Any payload that we send, for ``pydantic.TypeAdapter`` and the ``webhooks`` part of the OpenAPI document."""


def notification_types() -> tuple[str, ...]:
    """Of all payloads."""
    models = get_args(get_args(WebhookPayload)[0])
    return tuple(name for model in models for name in get_args(model.model_fields["type"].annotation))
