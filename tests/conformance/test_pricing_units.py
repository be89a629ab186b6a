"""Archiving pricing units, and the order of a rate card's products, through the official client."""

from __future__ import annotations

from typing import Any

import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_balances import access, make_customer, make_fixed, segment
from tests.conformance.test_sdk import START, UNKNOWN, make_metric, make_product

YEAR = segment(100, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")


async def test_a_unit_in_use_cannot_be_archived(sdk: AsyncMetronome) -> None:
    unit = (await sdk.v1.pricing_units.create(name="Credits")).data.id

    async def refused(reason: str) -> None:
        with pytest.raises(metronome.BadRequestError, match=reason):
            await sdk.v1.pricing_units.archive(id=unit)
        assert len([each async for each in sdk.v1.pricing_units.list()]) == 2

    conversion: Any = [{"custom_credit_type_id": unit, "fiat_per_custom_credit": 2}]
    card = (await sdk.v1.contracts.rate_cards.create(name="Card", credit_type_conversions=conversion)).data.id
    await refused(f"the rate card {card} uses the credit type")
    await sdk.v1.contracts.rate_cards.archive(id=card)

    customer = await make_customer(sdk)
    product = await make_fixed(sdk)
    alert: Any = {"alert_type": "spend_threshold_reached", "name": "a", "threshold": 1, "credit_type_id": unit}
    for more in ({}, {"customer_id": customer}):
        made = (await sdk.v1.alerts.create(**alert, **more)).data.id
        await refused(f"the alert {made} is on the credit type")
        await sdk.v1.alerts.archive(id=made)

    in_unit: Any = {**access(YEAR), "credit_type_id": unit}
    await sdk.v1.customers.credits.create(customer_id=customer, product_id=product, priority=1, access_schedule=in_unit)
    await refused("is in the credit type")
    await sdk.v1.customers.archive(id=customer)
    for _ in range(2):
        assert (await sdk.v1.pricing_units.archive(id=unit)).data.id == unit
    assert [each.name async for each in sdk.v1.pricing_units.list()] == ["USD (cents)"]
    with pytest.raises(metronome.BadRequestError, match="there is no"):
        await sdk.v1.alerts.create(**alert)


async def test_the_order_of_products(sdk: AsyncMetronome) -> None:
    metric = await make_metric(sdk)
    products = sorted([await make_product(sdk, metric) for _ in range(4)])
    cards = sdk.v1.contracts.rate_cards
    card = (await cards.create(name="Card")).data.id

    async def price(product: str) -> None:
        await cards.rates.add(rate_card_id=card, product_id=product, entitled=True, rate_type="FLAT", price=1, starting_at=START)

    async def order() -> list[int]:
        listed = [products.index(row.product_id) async for row in cards.rates.list(rate_card_id=card, at=START, limit=2)]
        schedule = (await cards.retrieve_rate_schedule(rate_card_id=card, starting_at=START)).data
        assert [products.index(row.product_id) for row in schedule] == listed
        return listed

    for product in products[:3]:
        await price(product)
    assert await order() == [0, 1, 2]
    assert (await cards.product_orders.set(rate_card_id=card, product_order=[products[2], products[0]])).data.id == card
    assert await order() == [2, 0, 1]
    await price(products[3])
    assert await order() == [2, 0, 1, 3]
    moves: Any = [{"product_id": products[3], "position": 0}, {"product_id": products[2], "position": 3}]
    assert (await cards.product_orders.update(rate_card_id=card, product_moves=moves)).data.id == card
    assert await order() == [3, 0, 1, 2]

    with pytest.raises(metronome.BadRequestError, match=r"product_moves\[1\].position: must be below 4"):
        await cards.product_orders.update(
            rate_card_id=card,
            product_moves=[{"product_id": products[0], "position": 0}, {"product_id": products[0], "position": 4}],
        )
    with pytest.raises(metronome.BadRequestError, match=r"product_order\[0\]: the rate card has no rate"):
        await cards.product_orders.set(rate_card_id=card, product_order=[UNKNOWN])
    with pytest.raises(metronome.BadRequestError, match="twice"):
        await cards.product_orders.set(rate_card_id=card, product_order=[products[0], products[0]])
    assert await order() == [3, 0, 1, 2]
    await cards.archive(id=card)
    with pytest.raises(metronome.BadRequestError, match="is archived"):
        await cards.product_orders.set(rate_card_id=card, product_order=products)
