"""Webhook endpoints through the API: kinds of destination and filters, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

ENDPOINTS = "/v1/webhook-endpoints"
URL = "https://example.com/hook"
NO_FILTER = {"event_types": None, "customer_ids": None, "alert_ids": None, "severity": None}


async def create(http: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await http.post(ENDPOINTS, json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["data"]
    return made


async def shown(http: httpx.AsyncClient, endpoint_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"{ENDPOINTS}/{endpoint_id}")).json()["data"]
    return found


@pytest.mark.parametrize(
    ("given", "url", "rate", "signed"),
    [
        ({"url": URL}, URL, None, True),
        ({"type": "webhook", "url": URL, "rate_limit_per_second": 5}, URL, 5, True),
        ({"type": "slack", "url": URL}, URL, 1, False),
        ({"type": "slack", "url": URL, "rate_limit_per_second": None}, URL, None, False),
        ({"type": "kafka"}, None, None, False),
        ({"type": "stdout"}, None, None, False),
    ],
)
async def test_kinds(http: httpx.AsyncClient, given: dict[str, object], url: str | None, rate: int | None, signed: bool) -> None:
    made = await create(http, **given)
    assert (made["type"], made["url"], made["rate_limit_per_second"]) == (given.get("type", "webhook"), url, rate)
    assert (made.pop("secret") is not None) is signed
    assert await shown(http, made["id"]) == made
    assert {name: made[name] for name in NO_FILTER} == NO_FILTER
    if not signed:
        answer = await http.post(f"{ENDPOINTS}/{made['id']}/rotate-secret", json={})
        assert (answer.status_code, "has no secret" in answer.text) == (400, True)


async def test_filters_are_kept_changed_and_removed(http: httpx.AsyncClient) -> None:
    filters = {
        "event_types": ["alerts.*", "endpoint.failing"],
        "customer_ids": ["c-1", "c-2"],
        "alert_ids": ["a-1"],
        "severity": {"key": "severity", "minimum": "error"},
    }
    made = await create(http, url=URL, **filters)
    found = await shown(http, made["id"])
    assert {name: found[name] for name in filters} == filters
    changes: dict[str, object] = {"event_types": None, "severity": {"minimum": "3"}}
    answer = await http.patch(f"{ENDPOINTS}/{made['id']}", json=changes)
    assert answer.status_code == 200, answer.text
    found = await shown(http, made["id"])
    assert (found["event_types"], found["customer_ids"]) == (None, ["c-1", "c-2"])
    assert found["severity"] == {"key": "severity", "minimum": "3"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "url: an endpoint of type webhook needs one"),
        ({"type": "slack"}, "url: an endpoint of type slack needs one"),
        ({"type": "kafka", "url": URL}, "url: an endpoint of type kafka has none"),
        ({"type": "slack", "url": URL, "ed25519": True}, "ed25519: only webhooks are signed"),
        ({"type": "pager", "url": URL}, "type"),
        ({"url": URL, "event_types": []}, "event_types"),
        ({"url": URL, "event_types": ["alerts.(a|b)"]}, "event_types"),
        ({"url": URL, "event_types": ["alerts.*", "alerts.*"]}, "event_types"),
        ({"url": URL, "event_types": ["spend_threshold_reached"]}, "did you mean alerts.spend_threshold_reached?"),
        ({"url": URL, "event_types": ["alerts.spend_treshold_reached"]}, "did you mean alerts.spend_threshold_reached?"),
        ({"url": URL, "event_types": ["alerts.*", "nothing.like.it"]}, "there is no type nothing.like.it"),
        ({"url": "http://hooks..example.com/in"}, "empty label"),
        ({"type": "slack", "url": "http://xn--/"}, "url"),
        ({"url": URL, "customer_ids": [""]}, "customer_ids"),
        ({"url": URL, "alert_ids": ["a"] * 1001}, "alert_ids"),
        ({"url": URL, "severity": {"key": "severity"}}, "severity"),
        ({"url": URL, "severity": {"minimum": "1", "values": ["2"]}}, "severity"),
    ],
)
async def test_what_makes_no_sense_is_refused(http: httpx.AsyncClient, given: dict[str, object], message: str) -> None:
    answer = await http.post(ENDPOINTS, json=given)
    assert (answer.status_code, message in answer.json()["message"]) == (400, True), answer.text
    assert (await http.get(ENDPOINTS)).json()["data"] == []


async def test_a_topic_has_no_url_to_change(http: httpx.AsyncClient) -> None:
    made = await create(http, type="kafka")
    answer = await http.patch(f"{ENDPOINTS}/{made['id']}", json={"url": URL})
    assert (answer.status_code, answer.json()["message"]) == (400, "url: an endpoint of type kafka has none")


async def test_the_openapi_document_describes_them(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    for name in ("type", "event_types", "customer_ids", "alert_ids"):
        assert schemas["EndpointCreate"]["properties"][name].get("description"), name


async def test_digests_are_switched_on_and_off_and_exclude_superseding(http: httpx.AsyncClient) -> None:
    digest = {"more_than": 5, "window_seconds": 60}
    made = await create(http, url=URL, digest=digest)
    assert (made["digest"], (await create(http, url=URL))["digest"]) == (digest, None)
    one = f"{ENDPOINTS}/{made['id']}"
    answer = await http.patch(one, json={"supersede": True})
    assert (answer.status_code, "cannot have digests" in answer.json()["message"]) == (400, True)
    assert (await http.patch(one, json={"digest": None, "supersede": True})).json()["data"]["digest"] is None
    for given in ({"more_than": 0, "window_seconds": 60}, {"more_than": 1, "window_seconds": 86_401}, {"more_than": 1}):
        assert (await http.post(ENDPOINTS, json={"url": URL, "digest": given})).status_code == 400
    assert (await http.post(ENDPOINTS, json={"url": URL, "digest": digest, "supersede": True})).status_code == 400


async def test_what_a_filter_names_and_does_not_exist_is_warned_of(http: httpx.AsyncClient) -> None:
    customer = (await http.post("/v1/customers", json={"name": "c", "ingest_aliases": ["acme"]})).json()["data"]["id"]
    other = (await http.post("/v1/customers", json={"name": "d"})).json()["data"]["id"]
    metric = (await http.post("/v1/billable-metrics/create", json={"name": "n", "aggregation_type": "COUNT"})).json()["data"][
        "id"
    ]
    body = {"alert_type": "usage_threshold_reached", "name": "a", "threshold": 1, "billable_metric_id": metric}
    mine = (await http.post("/v1/alerts/create", json=body | {"customer_id": customer})).json()["data"]["id"]
    all_of_us = (await http.post("/v1/alerts/create", json=body)).json()["data"]["id"]

    sound = await create(http, url=URL, customer_ids=[customer], alert_ids=[mine, all_of_us], event_types=["alerts.*"])
    assert sound["warnings"] == []
    odd = await create(
        http,
        url=URL,
        event_types=["*" * 30 + "Z", "alerts.*"],
        customer_ids=["nobody", "acme", other],
        alert_ids=["none", mine],
        severity={"minimum": "eror"},
    )
    assert odd["warnings"] == [
        f"event_types: '{'*' * 30}Z': match no type of notification",
        "customer_ids: 'nobody': are no customers",
        f"customer_ids: 'acme' is an ingest alias; the customer's id is {customer}",
        "alert_ids: 'none': are no alerts",
        f"alert_ids: '{mine}': belong to customers that customer_ids does not name",
        "severity: no alert passes 'eror', which is neither a number nor one of info, warning, error, critical",
    ]
    assert (await shown(http, odd["id"]))["warnings"] == odd["warnings"]
    listed = {each["id"]: each["warnings"] for each in (await http.get(ENDPOINTS)).json()["data"]}
    assert listed == {sound["id"]: [], odd["id"]: odd["warnings"]}
    answer = await http.patch(f"{ENDPOINTS}/{odd['id']}", json={"customer_ids": None, "alert_ids": None, "severity": None})
    assert answer.json()["data"]["warnings"] == odd["warnings"][:1]
    answer = await http.patch(f"{ENDPOINTS}/{odd['id']}", json={"event_types": ["spend_threshold_reached"]})
    assert (answer.status_code, "did you mean" in answer.json()["message"]) == (400, True)
