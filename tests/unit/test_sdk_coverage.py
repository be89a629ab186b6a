"""Every method of the official client has a route, and the README names those that answer 501."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.http.server import ROUTES
from tests.support.sdk_methods import SdkMethod, pattern, sdk_methods

README = Path(__file__).parents[2] / "README.md"
METHODS = sdk_methods()
IN_SCOPE = (
    "v1.alerts",
    "v1.customers",
    "v1.contracts",
    "v2.contracts",
    "v1.billable_metrics",
    "v1.usage",
    "v1.custom_fields",
    "v1.pricing_units",
    "v1.audit_logs",
    "v1.packages",
    "v1.services",
)
BY_PATTERN = {(each.method, pattern(each.path)): each for each in ROUTES}


def test_the_client_is_read_in_full() -> None:
    """What the client of another release brings is noticed, and a walk that finds nothing cannot pass for a success."""
    assert len(METHODS) == 126
    for resource in IN_SCOPE:
        assert any(each.name.startswith(f"{resource}.") for each in METHODS), resource
    assert SdkMethod("v2.contracts.edit", "POST", "/v2/contracts/edit") in METHODS
    assert SdkMethod("v1.customers.invoices.retrieve", "GET", "/v1/customers/{}/invoices/{}") in METHODS


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_each_method_has_a_route(method: SdkMethod) -> None:
    route = BY_PATTERN.get((method.method, method.path))
    assert route is not None, f"{method.method} {method.path} would answer 404"
    if route.tag == "unsupported":
        named = f"`{route.method} {route.path}`"
        assert named in README.read_text("utf-8"), f"{route.path} answers 501, and the README does not say so"


def test_no_path_has_two_routes() -> None:
    assert len(BY_PATTERN) == len(ROUTES)
