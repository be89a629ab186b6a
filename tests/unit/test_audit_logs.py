"""What a request's entry of the audit log says it changes, and the cursor of a reader."""

from __future__ import annotations

import pytest

from connectors.http.audit import audited_subject
from connectors.http.audit_logs import CLOCKS_APART_MS_MAX, _Position
from connectors.http.server import ROUTES
from schemas.audit_logs import Subject, named_resource, subject_of


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/customers", Subject("customer", "create")),
        ("POST", "/v1/customers/{customer_id}/setIngestAliases", Subject("customer", "set_ingest_aliases")),
        ("POST", "/v1/contracts/updateEndDate", Subject("contract", "update_end_date")),
        ("POST", "/v2/contracts/edit", Subject("contract", "edit")),
        ("POST", "/v2/contracts/commits/edit", Subject("commit", "edit")),
        ("POST", "/v1/contracts/customerCredits/create", Subject("credit", "create")),
        ("POST", "/v1/contract-pricing/rate-cards/addRate", Subject("rate_card", "add_rate")),
        ("PUT", "/v1/billable-metrics/{billable_metric_id}", Subject("billable_metric", "update")),
        ("DELETE", "/v1/webhook-endpoints/{endpoint_id}", Subject("webhook_endpoint", "delete")),
        ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret", Subject("webhook_endpoint", "rotate_secret")),
        ("POST", "/v1/customer-alerts/reset", Subject("alert", "reset")),
        ("POST", "/v1/anythingNew/doIt", Subject("anything_new", "do_it")),
        ("GET", "/v1/customers", None),
        ("POST", "/v1/contracts/get", None),
        ("POST", "/v1/contracts/customerBalances/getNetBalance", None),
        ("POST", "/v1/customFields/listKeys", None),
        ("POST", "/v1/events/search", None),
        ("POST", "/v1/usage/groups", None),
        ("POST", "/v1/ingest", None),
        ("POST", "/v1/customers/{customer_id}/previewEvents", None),
    ],
)
def test_what_a_route_changes(method: str, path: str, expected: Subject | None) -> None:
    assert subject_of(method, path) == expected


def test_routes_that_are_not_served_leave_no_entry() -> None:
    for route in ROUTES:
        if route.tag == "unsupported":
            assert audited_subject(route) is None
        elif route.method in {"PUT", "PATCH", "DELETE"} or route.path.endswith(("/create", "/archive", "/edit")):
            assert audited_subject(route) is not None


@pytest.mark.parametrize(
    ("subject", "path", "body", "expected"),
    [
        (Subject("customer", "create"), {}, {"id": "mine"}, {"resource_type": "customer"}),
        (Subject("customer", "archive"), {}, {"id": "c"}, {"resource_type": "customer", "resource_id": "c"}),
        (
            Subject("customer", "set_name"),
            {"customer_id": "c"},
            {"customer_id": "x"},
            {"resource_type": "customer", "resource_id": "c"},
        ),
        (
            Subject("contract", "edit"),
            {},
            {"customer_id": "c", "contract_id": "k"},
            {"resource_type": "contract", "resource_id": "k"},
        ),
        (Subject("contract", "edit"), {}, ["not", "an", "object"], {"resource_type": "contract"}),
        (Subject("contract", "edit"), {}, {"contract_id": 7}, {"resource_type": "contract"}),
        (
            Subject("custom_field", "set_values"),
            {},
            {"entity": "rate_card", "entity_id": "r"},
            {"resource_type": "rate_card", "resource_id": "r"},
        ),
        (
            Subject("custom_field", "add_key"),
            {},
            {"entity": "rate_card", "key": "k"},
            {"resource_type": "custom_field", "resource_id": "rate_card/k"},
        ),
        (
            Subject("webhook_endpoint", "delete"),
            {"endpoint_id": "e"},
            None,
            {"resource_type": "webhook_endpoint", "resource_id": "e"},
        ),
    ],
)
def test_which_resource(subject: Subject, path: dict[str, str], body: object, expected: dict[str, str]) -> None:
    assert named_resource(subject, path, body) == expected


def test_a_cursor_keeps_no_position_that_a_bound_replaces() -> None:
    now = 10 * CLOCKS_APART_MS_MAX
    old = now - CLOCKS_APART_MS_MAX - 1
    after = {"c": f"{now}-3", "0": f"{old}-0", "1": f"{now - 5}-0"}
    ascending = _Position("date_asc", 7, None, 7, None, {}).advanced(after)
    assert ascending == _Position("date_asc", 7, None, now - CLOCKS_APART_MS_MAX, None, {"c": f"{now}-3", "1": f"{now - 5}-0"})
    descending = _Position("date_desc", 7, None, 7, None, {}).advanced(after)
    assert descending == _Position("date_desc", 7, None, 7, old + 1, {"0": f"{old}-0"})
    assert _Position("date_asc", 7, 9, 7, 9, {}).advanced({}) == _Position("date_asc", 7, 9, 7, 9, {})
