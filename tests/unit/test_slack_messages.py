"""What Slack is sent, and how its answers are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.slack import SlackForm, message

SPEND = {
    "alert_name": "Budget <b> & more",
    "threshold": 49,
    "previous_value": 48.5,
    "value": 49.85,
    "credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2",
    "group_values": [{"key": "model", "value": "large"}],
    "period": {"starting_at": "2026-01-01T00:00:00.000Z", "ending_before": "2026-02-01T00:00:00.000Z"},
    "timestamp": "2026-01-05T00:00:00.000Z",
}


def entry(properties: object, event_type: str = "alerts.spend_threshold_reached") -> OutboxEntry:
    body = orjson.dumps({"id": "n-1", "type": event_type, "properties": properties})
    return OutboxEntry("n-1", event_type, "customer 1/2", "a-1", body, None, 0, traceparent="00-trace")


def texts(blocks: Iterable[dict[str, Any]]) -> list[str]:
    parts = [part for block in blocks for part in (block.get("text"), *block.get("fields", ()), *block.get("elements", ()))]
    return [part["text"] for part in parts if part]


def test_an_alert_is_told_in_words_with_amounts_in_dollars_and_a_link() -> None:
    told = message(entry(SPEND), "https://x.example/c/{customer_id}/a/{alert_id}?n={id}")
    assert told["text"] == (
        "Budget &lt;b&gt; &amp; more: spend threshold reached: customer customer 1/2, value $0.4985, threshold $0.49"
    )
    assert texts(told["blocks"]) == [
        "Budget <b> & more: spend threshold reached",  # plain text has nothing to be escaped
        "*Customer*\ncustomer 1/2",
        "*Value*\n$0.4985",
        "*Threshold*\n$0.49",
        "*Before*\n$0.485",
        "*model*\nlarge",
        "*Period*\n2026-01-01T00:00:00.000Z to 2026-02-01T00:00:00.000Z",
        "*At*\n2026-01-05T00:00:00.000Z",
        "<https://x.example/c/customer%201%2F2/a/a-1?n=n-1|Open>",
        "alerts.spend_threshold_reached  n-1",
    ]


def test_customer_alert_and_metric_are_told_by_the_names_that_people_know() -> None:
    named = SPEND | {
        "customer_name": "Acme <Inc>",
        "customer_ingest_aliases": ["acme", "acme-2"],
        "uniqueness_key": "budget-1",
        "billable_metric_name": "Tokens",
        "group_values": [{"key": "<!channel>", "value": "<!here>"}],
    }
    told = texts(message(entry(named), "")["blocks"])
    assert told[1:3] == ["*Customer*\nAcme &lt;Inc&gt; / acme (customer 1/2)", "*Metric*\nTokens"]
    assert "*Key*\nbudget-1" in told
    assert not any("<!" in text for text in told)
    digest = {"notifications": [{"type": "alerts.spend_threshold_reached", "properties": named | {"customer_id": "c"}}] * 2}
    assert "*Acme &lt;Inc&gt; / acme (c)*\nreached at $0.4985" in texts(message(entry(digest, "alerts.digest"), "")["blocks"])


def test_units_other_than_dollars_are_shown_as_they_are() -> None:
    usage = {name: value for name, value in SPEND.items() if name != "credit_type_id"} | {"value": 2**60 + 1}
    told = texts(message(entry(usage, "alerts.usage_threshold_resolved"), "")["blocks"])
    assert told[0] == "Budget <b> & more: usage threshold resolved"
    assert f"*Value*\n{2**60 + 1}" in told
    assert not any("Open" in text for text in told)


def test_a_seat_is_named() -> None:
    properties = {name: value for name, value in SPEND.items() if name not in ("group_values", "period")}
    properties["seat_filter"] = {"seat_group_key": "user", "seat_group_value": "ann", "value": "ann"}
    assert "*user*\nann" in texts(message(entry(properties, "alerts.low_remaining_seat_balance_reached"), "")["blocks"])


def test_slacks_limits_hold_for_names_of_any_length() -> None:
    blocks = message(entry(SPEND | {"alert_name": "n" * 500, "group_values": [{"key": "k", "value": "&" * 3000}] * 20}), "")[
        "blocks"
    ]
    assert len(blocks[0]["text"]["text"]) == 150
    assert len(blocks[1]["fields"]) == 10
    assert max(len(field["text"]) for field in blocks[1]["fields"]) <= 2000


@pytest.mark.parametrize(
    ("event_type", "properties", "title"),
    [
        ("webhooks.test", {}, "webhooks.test"),
        ("alerts.of_later_versions", {"something": 1}, "alerts.of_later_versions"),
        (
            "endpoint.failing",
            {"endpoint_id": "e-1", "failing_since": "2026-01-01T00:00:00.000Z"},
            "A webhook endpoint is failing",
        ),
    ],
)
def test_everything_else_has_a_title(event_type: str, properties: dict[str, object], title: str) -> None:
    told = message(entry(properties, event_type), "")
    assert told["text"] == title
    assert len(texts(told["blocks"])) == 2 + (len(properties) if event_type.startswith("endpoint.") else 0)


def test_only_ok_is_a_success() -> None:
    form = SlackForm()
    assert form.request(entry(SPEND), 0.0)[0]["traceparent"] == "00-trace"
    assert form.outcome(200, b"ok") == form.outcome(200, b"ok\n") == "success"
    assert form.outcome(200, b"<html>login</html>") == form.outcome(200, b"") == "refused"
    assert (form.outcome(400, b"invalid_payload"), form.gone(400, b"invalid_payload")) == ("http_4xx", "")
    assert form.gone(404, b"no_service") == "Slack answered no_service"
    assert form.gone(410, b"channel_is_archived") == "Slack answered channel_is_archived"
    assert form.gone(410, b"") == "the endpoint answered 410 Gone"
    assert form.outcome(429, b"rate_limited") == "http_4xx"


def test_a_digest_is_told_in_lines() -> None:
    listed = [{"type": "alerts.spend_threshold_reached", "properties": SPEND | {"customer_id": f"c-{n}"}} for n in range(12)]
    listed[1] = listed[1] | {"type": "alerts.spend_threshold_resolved"}
    told = message(entry({"count": 12, "notifications": listed}, "alerts.digest"), "")
    assert told["text"] == "Budget &lt;b&gt; &amp; more: 12 notifications"
    lines = texts(told["blocks"])[1:-1]
    assert lines[:2] == ["*c-0*\nreached at $0.4985", "*c-1*\nresolved at $0.4985"]
    assert (len(lines), lines[-1]) == (10, "*And*\n3 more")
