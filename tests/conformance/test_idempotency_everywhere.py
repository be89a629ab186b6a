"""Idempotency-Key on methods of packages, billing configurations, product orders and previews: one effect, one answer."""

from __future__ import annotations

from typing import Any

import httpx
from metronome import AsyncMetronome

from tests.conformance.test_sdk import START, make_card, make_metric, make_product


async def test_one_effect_and_one_answer(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    product = await make_product(sdk, await make_metric(sdk))
    card = await make_card(sdk, product)
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    package = (await sdk.v1.packages.create(name="First", rate_card_id=card)).data.id
    billing = {"customer_id": customer, "billing_provider": "stripe", "delivery_method": "aws_sqs"}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/packages/create": {"name": "P", "rate_card_id": card, "uniqueness_key": "p"},
        "/v1/packages/archive": {"package_id": package},
        "/v1/setCustomerBillingProviderConfigurations": {"data": [billing]},
        "/v1/contract-pricing/rate-cards/setRateCardProductsOrder": {"rate_card_id": card, "product_order": [product]},
        "/v1/contract-pricing/rate-cards/moveRateCardProducts": {
            "rate_card_id": card,
            "product_moves": [{"product_id": product, "position": 0}],
        },
        f"/v1/customers/{customer}/previewEvents": {"events": [{"event_type": "call", "properties": {"tokens": 1}}]},
        "/v1/credit-types/create": {"name": "Credits"},
        "/v1/contracts/create": {"customer_id": customer, "starting_at": START.isoformat(), "package_alias": "none"},  # refused
    }
    for path, body in bodies.items():
        key = {"Idempotency-Key": f"key of {path}"}
        first, again = [await http.post(path, json=body, headers=key) for _ in range(2)]
        expected = 400 if path == "/v1/contracts/create" else 200
        assert (first.status_code, again.status_code) == (expected, expected), (path, first.json())
        assert first.content == again.content, path
        assert "Idempotency-Replayed" not in first.headers
        assert ("Idempotency-Replayed" in again.headers) == (expected == 200), path
        if expected != 200:
            continue  # a refusal keeps nothing
        other = await http.post(path, json={**body, "more": 1}, headers=key)
        assert (other.status_code, other.headers["x-should-retry"]) == (409, "false"), path
        unknown = await http.post(path, json={**body, "more": 1})
        assert (unknown.status_code, unknown.json()["message"]) == (400, "more: is not a known field"), path

    assert len((await sdk.v1.customers.retrieve_billing_configurations(customer_id=customer)).data) == 1
    assert sorted([each.name async for each in sdk.v1.packages.list(archive_filter="ALL")]) == ["First", "P"]
    assert [each.name async for each in sdk.v1.pricing_units.list()] == ["USD (cents)", "Credits"]
