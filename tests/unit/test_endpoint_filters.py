"""Which endpoint wants which notification."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import orjson
import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from connectors.redis.types import OutboxEntry
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.filters import EndpointFilter, SeverityFilter, matches
from connectors.webhooks.routes import Routes, severity_order
from connectors.webhooks.signatures import Signing

ORDER = severity_order("info, warning,Error,critical")
REACHED = "alerts.spend_threshold_reached"


def endpoint(endpoint_id: str, **filters: object) -> Endpoint:
    made = EndpointFilter.of(filters)
    return Endpoint(endpoint_id, "https://example.com/", Signing((("whsec_AAAA", None),)), filter=made)


def entry(event_type: str = REACHED, customer_id: str = "c", alert_id: str = "a", about: str = "") -> OutboxEntry:
    body = orjson.dumps({"properties": {"endpoint_id": about}})
    return OutboxEntry("n", event_type, customer_id, alert_id, body, None, 0)


def wanting(given: OutboxEntry, *endpoints: Endpoint, fields: dict[str, str] | None = None) -> list[str]:
    routes = Routes({each.id: each for each in endpoints}, ORDER)
    return sorted(each.id for each in routes.wanted(given, {"a": fields or {}}))


@pytest.mark.parametrize(
    ("patterns", "event_type", "wanted"),
    [
        (None, REACHED, True),
        (None, "webhooks.test", True),
        (None, "endpoint.failing", False),
        (None, "message.exhausted", False),
        (None, "event.error", False),
        (["event.*"], "event.error", True),
        (["alerts.*"], REACHED, True),
        (["alerts.*"], "alerts", False),
        (["alerts.*"], "myalerts.x", False),
        (["alerts.*"], "endpoint.failing", False),
        (["endpoint.*"], "endpoint.failing", True),
        (["endpoint.*", "alerts.*_resolved"], "alerts.spend_threshold_resolved", True),
        (["endpoint.*", "alerts.*_resolved"], REACHED, False),
        ([REACHED], REACHED, True),
        ([REACHED], "alerts.spend_threshold_reached_", False),
        (["alerts.spend.threshold_reached"], REACHED, False),  # a full stop is no pattern
        (["*"], "message.exhausted", True),
    ],
)
def test_types(patterns: list[str] | None, event_type: str, wanted: bool) -> None:
    assert EndpointFilter.of({"event_types": patterns}).wants_type(event_type) is wanted


def reference(pattern: str, text: str) -> bool:
    """By the table of all prefixes of both."""
    row = [at == 0 for at in range(len(text) + 1)]
    for letter in pattern:
        if letter == "*":
            row = [any(row[: at + 1]) for at in range(len(text) + 1)]
        else:
            row = [at > 0 and row[at - 1] and text[at - 1] == letter for at in range(len(text) + 1)]
    return row[-1]


def steps(pattern: str, text: str) -> int:
    """Lines of code that one match takes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if frame.f_code is matches.__code__:
            count += event == "line"
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        matches(pattern, text)
    finally:
        sys.settrace(before)
    return count


@over(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_a_pattern_matches_what_the_reference_says(pattern: str, text: str) -> None:
    assert matches(pattern, text) is reference(pattern, text)


@over(st.text("a*", max_size=200), st.text("a", max_size=200), st.sampled_from(["", "Z", "*Z", "Z*"]))
def test_a_match_takes_no_more_steps_than_its_pattern_has_stars(pattern: str, text: str, end: str) -> None:
    assert steps(pattern + end, text) <= 12 + 6 * (pattern + end).count("*")


def test_stars_without_end_take_a_moment() -> None:
    assert not EndpointFilter.of({"event_types": ["*" * 30 + "Z"]}).wants_type(REACHED)
    assert EndpointFilter.of({"event_types": ["*a" * 99 + "*"]}).wants_type("a" * 99)


def test_customers_and_alerts() -> None:
    endpoints = [
        endpoint("all"),
        endpoint("customer", customer_ids=["c", "d"]),
        endpoint("alert", alert_ids=["a"]),
        endpoint("both", customer_ids=["d"], alert_ids=["a"]),
    ]
    assert wanting(entry(), *endpoints) == ["alert", "all", "customer"]
    assert wanting(entry(customer_id="d"), *endpoints) == ["alert", "all", "both", "customer"]
    assert wanting(entry(customer_id="e", alert_id="b"), *endpoints) == ["all"]


def test_notices_go_to_none_that_they_are_about_and_belong_to_no_alert() -> None:
    named = {"event_types": ["endpoint.*", "message.*"]}
    endpoints = [
        endpoint("me", **named),
        endpoint("other", **named, alert_ids=["b"], severity={"key": "severity", "minimum": "critical"}),
        endpoint("of d", **named, customer_ids=["d"]),
        endpoint("alerts"),
    ]
    assert wanting(entry("endpoint.failing", "", "", about="me"), *endpoints) == ["of d", "other"]
    assert wanting(entry("message.exhausted", "d", "a", about="me"), *endpoints) == ["of d", "other"]
    assert wanting(entry("message.exhausted", "c", "a", about="other"), *endpoints) == ["me"]


@pytest.mark.parametrize(
    ("value", "minimum", "passes"),
    [
        ("critical", "warning", True),
        ("Warning", "warning", True),
        ("info", "warning", False),
        ("error", "ERROR", True),
        (None, "info", False),
        ("grave", "info", False),
        ("3", "3", True),
        ("10", "9", True),
        ("2.5", "3", False),
        ("3", "info", False),
        ("critical", "3", False),
        ("NaN", "1", False),
        ("1", "grave", False),
    ],
)
def test_least_severity(value: str | None, minimum: str, passes: bool) -> None:
    wanted = endpoint("e", severity={"key": "level", "minimum": minimum})
    fields = {"severity": "critical"} | ({} if value is None else {"level": value})
    assert wanting(entry(), wanted, fields=fields) == (["e"] if passes else [])


def test_listed_severities() -> None:
    listed = SeverityFilter("severity", frozenset({"page", "critical"}))
    assert listed.passes({"severity": "Page"}, ORDER)
    assert not listed.passes({"severity": "error"}, ORDER)
    assert not listed.passes({}, ORDER)


def test_custom_fields_are_needed_only_where_one_of_the_endpoints_asks() -> None:
    severe = endpoint("severe", customer_ids=["c"], severity={"key": "severity", "values": ["critical"]})
    routes = Routes({"all": endpoint("all"), "severe": severe}, ORDER)
    assert routes.needs_fields(entry())
    assert not routes.needs_fields(entry(customer_id="d"))
    assert not routes.needs_fields(entry("message.exhausted"))
