"""The README's list of what is taken and does nothing, or is refused, is the one that the routes give."""

from __future__ import annotations

from connectors.http.server import ROUTES
from tests.support.supported import END, README, START, block, refused_by_route


def test_the_readme_says_what_the_routes_do() -> None:
    text = README.read_text("utf-8")
    assert block() in text, "python -m tests.support.supported --write"


def test_the_list_is_read_from_the_models() -> None:
    refused = refused_by_route()
    assert "as_of_date" in refused["POST /v2/contracts/get"]
    assert "subscriptions.billing_cycle_config.invoice_placement: ON_SCHEDULED_INVOICE" in refused["POST /v1/contracts/create"]
    assert set(refused) <= {f"{route.method} {route.path}" for route in ROUTES}
    assert block().startswith(START)
    assert block().endswith(END)
