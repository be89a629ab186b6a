"""The webhook payload: exact numbers, stable bytes, and models that say the same as the encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import TypeAdapter

from engine.catalog import USD_CENTS
from engine.effects import Evidence, Notification, TriggeredBy
from schemas.notifications import (
    BalanceProperties,
    InvoiceProperties,
    MonthProperties,
    PercentageProperties,
    SeatBalanceProperties,
    SegmentProperties,
    SpendProperties,
    UsageProperties,
    WebhookPayload,
    encode,
)

MARCH_2026_US = 1_772_323_200_000_000
APRIL_2026_US = 1_775_001_600_000_000

SPEND = Notification(
    id="0a6e6d0e-4f0c-5a37-8a35-0b2b3f4d5e61",
    type="alerts.spend_threshold_reached",
    customer_id="c-1",
    alert_id="a-1",
    alert_name='org "budget" – 50 %',
    alert_version=2,
    threshold=Decimal(500000),
    previous_value=Decimal("499999.9999999999999999999999"),
    value=Decimal("500120.50"),
    period_starting_us=MARCH_2026_US,
    period_ending_us=APRIL_2026_US,
    sequence=3,
    triggered_by=TriggeredBy.USAGE,
    timestamp_us=MARCH_2026_US + 1_234_567,
    measure={"current_spend": Decimal("500120.50"), "credit_type_id": USD_CENTS},
    group_values=(("organization_id", "finance"),),
    evidence=Evidence(
        transaction_id="t-9",
        topic="usage-events",
        partition=4,
        offset=12345678901234,
        event_timestamp_us=MARCH_2026_US + 1,
        appended_at_ms=MARCH_2026_US // 1000 + 1_230,
        evaluated_at_us=MARCH_2026_US + 1_234_000,
    ),
)
USAGE = replace(
    SPEND,
    type="alerts.usage_threshold_reached",
    measure={"current_usage": Decimal("1E+3"), "billable_metric_id": "m-1"},
    group_values=(),
    evidence=None,
    triggered_by=TriggeredBy.CREATION,
)


ENDLESS = replace(SPEND, period_starting_us=0, period_ending_us=2**62 // 3_600_000_000 * 3_600_000_000, group_values=())
LEFT: dict[str, object] = {"credit_type_id": USD_CENTS, "remaining_balance": Decimal("12.5"), "commit_id": "b-1"}
BALANCE = replace(ENDLESS, type="alerts.low_remaining_commit_balance_reached", measure=LEFT)
PERCENTAGE = replace(
    ENDLESS,
    type="alerts.low_remaining_commit_percentage_reached",
    measure={**LEFT, "remaining_percentage": Decimal("2.5"), "granted": Decimal(500)},
)
SEGMENT = replace(
    ENDLESS,
    type="alerts.low_remaining_days_for_commit_segment_reached",
    measure={
        "remaining_days": Decimal("2.5"),
        "commit_id": "b-1",
        "segment_id": "s-1",
        "segment_ending_before_us": APRIL_2026_US,
    },
)
INVOICE = replace(
    SPEND,
    type="alerts.invoice_total_resolved",
    measure={"invoice_id": "i-1", "invoice_total": Decimal(0), "invoice_type": "USAGE", "credit_type_id": USD_CENTS},
)
SEAT = replace(
    ENDLESS,
    type="alerts.low_remaining_seat_balance_reached",
    measure={
        "credit_type_id": USD_CENTS,
        "remaining_balance": Decimal("12.5"),
        "seat_filter": {"seat_group_key": "user", "seat_group_value": "ann", "value": "ann"},
    },
)
MONTH = replace(
    SPEND,
    type="alerts.monthly_invoice_total_spend_threshold_reached",
    measure={"monthly_invoice_total": Decimal("12.5"), "credit_type_id": USD_CENTS},
)
MODELS = [
    (SPEND, SpendProperties),
    (USAGE, UsageProperties),
    (BALANCE, BalanceProperties),
    (PERCENTAGE, PercentageProperties),
    (SEAT, SeatBalanceProperties),
    (SEGMENT, SegmentProperties),
    (INVOICE, InvoiceProperties),
    (MONTH, MonthProperties),
]


def decoded(notification: Notification) -> dict:
    return json.loads(encode(notification), parse_float=Decimal)


def test_envelope_and_documented_properties() -> None:
    payload = decoded(SPEND)
    assert list(payload) == ["id", "type", "properties"]
    properties = payload["properties"]
    documented = (
        "customer_id",
        "alert_id",
        "timestamp",
        "threshold",
        "alert_name",
        "triggered_by",
        "current_spend",
        "credit_type_id",
    )
    assert {name: properties[name] for name in documented} == {
        "customer_id": "c-1",
        "alert_id": "a-1",
        "timestamp": "2026-03-01T00:00:01.234Z",
        "threshold": 500000,
        "alert_name": 'org "budget" – 50 %',
        "triggered_by": "usage",
        "current_spend": Decimal("500120.5"),
        "credit_type_id": USD_CENTS,
    }
    assert properties["group_values"] == [{"key": "organization_id", "value": "finance"}]


def test_names_for_people_are_told_where_there_are_any() -> None:
    names = {"customer_name": "Acme", "customer_aliases": tuple("abcdefghijklmnopqrstuvwxyz"), "uniqueness_key": "budget-1"}
    properties = decoded(replace(USAGE, **names, metric_name="Tokens"))["properties"]
    assert (properties["customer_name"], properties["uniqueness_key"]) == ("Acme", "budget-1")
    assert (properties["billable_metric_name"], properties["customer_ingest_aliases"]) == ("Tokens", [*"abcdefghijklmnopqrst"])
    assert not {"customer_name", "customer_ingest_aliases", "uniqueness_key"} & decoded(SPEND)["properties"].keys()


def test_evidence_names_the_record_and_its_instants() -> None:
    assert decoded(SPEND)["properties"]["evidence"] == {
        "transaction_id": "t-9",
        "topic": "usage-events",
        "partition": 4,
        "offset": 12345678901234,
        "event_timestamp": "2026-03-01T00:00:00.000001Z",
        "appended_at": "2026-03-01T00:00:01.230Z",
        "evaluated_at": "2026-03-01T00:00:01.234Z",
    }


def test_period_is_half_open_and_in_utc() -> None:
    assert decoded(SPEND)["properties"]["period"] == {
        "starting_at": "2026-03-01T00:00:00.000Z",
        "ending_before": "2026-04-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", b"0"),
        ("-0.5", b"-0.5"),
        ("1E+3", b"1000"),
        ("1E-10", b"0.0000000001"),
        ("123456789012345678901234567890.123456789", b"123456789012345678901234567890.123456789"),
        ("0.1", b"0.1"),
    ],
)
def test_numbers_keep_every_digit(value: str, text: bytes) -> None:
    body = encode(replace(SPEND, value=Decimal(value)))
    assert b'"value":' + text + b',"period"' in body
    assert json.loads(body, parse_float=Decimal, parse_int=Decimal)["properties"]["value"] == Decimal(value)


def test_absent_parts_are_left_out() -> None:
    properties = decoded(USAGE)["properties"]
    assert "group_values" not in properties
    assert "evidence" not in properties
    assert properties["current_usage"] == 1000


def test_a_segment_names_its_end_and_has_no_period() -> None:
    properties = decoded(SEGMENT)["properties"]
    assert properties["segment_ending_before"] == "2026-04-01T00:00:00.000Z"
    assert "segment_ending_before_us" not in properties
    assert "period" not in properties


def test_same_notification_same_bytes() -> None:
    assert encode(SPEND) == encode(replace(SPEND, measure=dict(SPEND.measure)))


@pytest.mark.parametrize("notification", [*(each for each, _ in MODELS), replace(SPEND, type="alerts.spend_threshold_resolved")])
def test_models_read_what_is_sent(notification: Notification) -> None:
    read = TypeAdapter(WebhookPayload).validate_python(decoded(notification))
    assert read.id == notification.id
    assert read.properties.value == notification.value
    assert read.properties.sequence == notification.sequence


@pytest.mark.parametrize(("notification", "model"), MODELS)
def test_models_describe_every_field_that_is_sent(notification: Notification, model: type) -> None:
    sent = set(decoded(notification)["properties"])
    assert sent <= set(model.model_fields)
    assert {name for name, field in model.model_fields.items() if field.is_required()} <= sent


def test_schema_says_number_for_amounts() -> None:
    schema = TypeAdapter(WebhookPayload).json_schema()
    assert schema["$defs"]["SpendProperties"]["properties"]["current_spend"]["type"] == "number"
    assert schema["$defs"]["NotificationEvidence"]["properties"]["appended_at"]["format"] == "date-time"
