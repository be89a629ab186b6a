"""COMPOSITE products through the official SDK in strict mode: their rates, their lines after real usage, what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_api_refusals import UNKNOWN, post
from tests.conformance.test_balances import all_of, make_customer, make_fixed
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker  # noqa: F401
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

START = "2024-01-01T00:00:00Z"


async def make_composite(sdk: AsyncMetronome, *product_ids: str, **more: Any) -> str:
    fields: Any = {"name": "Support", "type": "COMPOSITE", "composite_product_ids": list(product_ids), **more}
    return (await sdk.v1.contracts.products.create(**fields)).data.id


async def test_a_percentage_with_a_minimum(
    sdk: AsyncMetronome,
    worker: RunningWorker,  # noqa: F811
    clock: Clock,  # noqa: F811
) -> None:
    card, product = await make_priced(sdk)
    composite = await make_composite(sdk, product, composite_tags=["core"])
    added = await sdk.v1.contracts.rate_cards.rates.add(
        rate_card_id=card,
        product_id=composite,
        entitled=True,
        rate_type="TIERED_PERCENTAGE",
        tiers=[{"size": 1000, "price": 0.1}, {"price": 0.05}],
        starting_at=START,
        extra_body={"minimum_config": {"minimum": 60}},
    )
    assert (added.data.rate_type, (added.data.model_extra or {})["minimum_config"]) == ("TIERED_PERCENTAGE", {"minimum": 60})
    (row,) = [
        each
        for each in await all_of(sdk.v1.contracts.rate_cards.rates.list(rate_card_id=card, at=START))
        if each.product_id == composite
    ]
    assert [(each.size, each.price) for each in row.rate.tiers or []] == [(1000, 0.1), (None, 0.05)]
    customer = await make_customer(sdk)
    await sdk.v1.contracts.create(customer_id=customer, starting_at="2024-09-01T00:00:00Z", rate_card_id=card)

    async def lines() -> list[Any]:
        (invoice,) = await all_of(sdk.v1.customers.invoices.list(customer_id=customer))
        return [(each.total, each.quantity) for each in invoice.line_items if each.product_id == composite]

    assert await lines() == [(60, 1)]
    clock.set("2024-09-15T13:00:00")
    await use(sdk, customer, "2024-09-15", ("eu", 5))
    await until(lines, [(50, 500), (10, 1)])
    await use(sdk, customer, "2024-09-16", ("eu", 10), ("us", 5))
    await until(lines, [(100, 1000), (50, 1000)])
    (invoice,) = await all_of(sdk.v1.customers.invoices.list(customer_id=customer))
    assert invoice.total == 2150
    line = next(each for each in invoice.line_items if each.product_id == composite)
    assert (line.type, line.name, line.product_type) == ("usage", "Support", "CompositeProductListItem")


async def test_refused_composites(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    fixed = await make_fixed(sdk)
    card, product = await make_priced(sdk)
    path, body = "/v1/contract-pricing/products/create", {"name": "x", "type": "COMPOSITE"}
    for change, message in (
        ({}, "composite_product_ids or composite_tags are required"),
        ({"composite_product_ids": [UNKNOWN]}, "composite_product_ids: there is no product"),
        ({"composite_product_ids": [fixed]}, "is a FIXED product"),
    ):
        assert message in (await post(http, path, {**body, **change}, 400))["message"]
    composite = await make_composite(sdk, product)
    with pytest.raises(metronome.BadRequestError, match="is a COMPOSITE product"):
        await make_composite(sdk, composite)
    assert await make_composite(sdk, composite, include_composite_spend=True)
    rate: Any = {"rate_card_id": card, "product_id": composite, "entitled": True, "starting_at": START}
    for change, message in (
        ({"rate_type": "FLAT", "price": 1}, "rate_type: a COMPOSITE product, and only one, has PERCENTAGE"),
        ({"rate_type": "PERCENTAGE", "price": 1, "product_id": product}, "has PERCENTAGE or TIERED_PERCENTAGE rates"),
        ({"rate_type": "PERCENTAGE", "price": 1e-39}, "at most 38 digits after the decimal point"),
        ({"rate_type": "PERCENTAGE"}, "price is required for a PERCENTAGE rate"),
        ({"rate_type": "TIERED_PERCENTAGE", "tiers": [{"size": 1, "price": 1}]}, "every tier but the last"),
        ({"rate_type": "FLAT", "price": 1, "minimum_config": {"minimum": 1}}, "minimum_config does not apply to a FLAT rate"),
    ):
        assert message in (await post(http, "/v1/contract-pricing/rate-cards/addRate", {**rate, **change}, 400))["message"]
    update = {"product_id": composite, "starting_at": START, "composite_tags": ["y"]}
    assert "composite_tags" in (await post(http, "/v1/contract-pricing/products/update", update, 501))["message"]
