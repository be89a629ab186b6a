"""Updates of products hold from their date on, in drafts, draw-downs, rates and answers; lines of quantity 0."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_balances import access, make_customer, make_fixed, segment
from tests.conformance.test_invoices import NOVEMBER, OCTOBER, Clock, clock, make_priced

__all__ = ["clock"]
MIDDLE = "2024-10-16T00:00:00Z"


async def previewed(http: httpx.AsyncClient, customer: str, *days: int, **options: Any) -> dict[str, Any]:
    """The draft of a request with 100 cents of usage at noon of each of these days of October."""
    events = [
        {"event_type": "call", "timestamp": f"2024-10-{day:02}T12:00:00Z", "properties": {"units": 1, "region": "eu"}}
        for day in days
    ]
    answer = await http.post(f"/v1/customers/{customer}/previewEvents", json={"events": events, **options})
    assert answer.status_code == 200, answer.text
    (draft,) = answer.json()["data"]
    return dict(draft)


async def test_tags_and_names_from_their_date_on(sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock) -> None:
    """A credit for a tag pays only usage from the tag's date on; an override for the tag holds only from then on."""
    clock.set("2024-10-10T00:00:00")
    card, product = await make_priced(sdk)
    customer, reward = await make_customer(sdk), await make_fixed(sdk, "Reward credit")
    contract: Any = {"customer_id": customer, "starting_at": OCTOBER, "rate_card_id": card}
    promo: Any = {
        "product_id": reward,
        "priority": 1,
        "access_schedule": access(segment(10_000, OCTOBER, NOVEMBER)),
        "applicable_product_tags": ["promo"],
    }
    await sdk.v1.contracts.create(**contract, credits=[promo])
    await sdk.v1.contracts.products.update(product_id=product, starting_at=MIDDLE, tags=["promo"], name="Promoted")
    shown = (await sdk.v1.contracts.products.retrieve(id=product)).data
    assert (shown.current.name, shown.current.tags) == ("My Product", ["core"])
    assert [(each.starting_at.day, each.name, each.tags) for each in shown.updates if each.starting_at] == [
        (16, "Promoted", ["promo"])
    ]
    assert (await previewed(http, customer, 9, 10))["total"] == 200
    clock.set("2024-10-20T00:00:00")
    draft = await previewed(http, customer, 9, 10, 17, 18)
    assert draft["total"] == 200
    assert [(each["name"], each["total"]) for each in draft["line_items"]] == [
        ("My Product", 200),
        ("Promoted", 200),
        ("Reward credit applied", -200),
    ]
    shown = (await sdk.v1.contracts.products.retrieve(id=product)).data
    assert (shown.initial.name, shown.current.name, shown.current.tags) == ("My Product", "Promoted", ["promo"])
    rates = sdk.v1.contracts.rate_cards.rates
    for at, name in ((OCTOBER, "My Product"), (MIDDLE, "Promoted")):
        rows = [each async for each in rates.list(rate_card_id=card, at=at)]
        assert [each.product_name for each in rows] == [name]
    other = await make_customer(sdk)
    halved: Any = {"starting_at": OCTOBER, "type": "MULTIPLIER", "multiplier": 0.5, "applicable_product_tags": ["promo"]}
    await sdk.v1.contracts.create(**{**contract, "customer_id": other}, overrides=[halved])
    assert (await previewed(http, other, 9, 10, 17, 18))["total"] == 300


async def test_of_two_updates_each_holds_from_its_own_date(sdk: AsyncMetronome, clock: Clock) -> None:
    """Whichever was made first; what an update does not name stays as the one before it says."""
    clock.set("2024-10-10T00:00:00")
    _, product = await make_priced(sdk)
    products = sdk.v1.contracts.products
    await products.update(product_id=product, starting_at=NOVEMBER, name="November")
    await products.update(product_id=product, starting_at=MIDDLE, name="October", tags=["late"])
    for now, name, tags in (
        ("2024-10-15T23:59:59", "My Product", ["core"]),
        ("2024-10-16T00:00:00", "October", ["late"]),
        ("2024-11-01T00:00:00", "November", ["late"]),
    ):
        clock.set(now)
        current = (await products.retrieve(id=product)).data.current
        assert (current.name, current.tags) == (name, tags)
        assert [each.current.name async for each in products.list()] == [name]


@pytest.mark.parametrize("skip", [False, True])
async def test_lines_of_quantity_0(sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock, skip: bool) -> None:
    """For a product without a pricing group key that nobody used; the same total either way."""
    clock.set("2024-10-20T00:00:00")
    card, _ = await make_priced(sdk)
    metric = (await sdk.v1.billable_metrics.create(name="unused", aggregation_type="COUNT", group_keys=[["region"]])).data.id
    rate: Any = {"rate_card_id": card, "entitled": True, "rate_type": "FLAT", "price": 7, "starting_at": OCTOBER}
    for name, more in (("Unused", {}), ("By region", {"pricing_group_key": ["region"]})):
        extra: Any = more
        product = await sdk.v1.contracts.products.create(name=name, type="USAGE", billable_metric_id=metric, **extra)
        values: Any = {"pricing_group_values": {"region": "eu"}} if more else {}
        await sdk.v1.contracts.rate_cards.rates.add(product_id=product.data.id, **rate, **values)
    customer = await make_customer(sdk)
    await sdk.v1.contracts.create(customer_id=customer, starting_at=OCTOBER, rate_card_id=card)
    (draft,) = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer, skip_zero_qty_line_items=skip)]
    names = [] if skip else ["My Product", "Unused"]
    assert ([each.name for each in draft.line_items], draft.total) == (names, 0)
    assert [(each.quantity, each.unit_price) for each in draft.line_items] == ([] if skip else [(0, 100), (0, 7)])
    one = await sdk.v1.customers.invoices.retrieve(customer_id=customer, invoice_id=draft.id, skip_zero_qty_line_items=skip)
    assert one.data.line_items == draft.line_items
    assert one.data.billable_status == "billable"
