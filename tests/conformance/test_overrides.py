"""Overrides, usage filters and contract rate schedules through the official SDK in strict mode, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=31)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Shop:
    """``plain`` is listed at 10 cents; ``grouped`` by region at 20 (eu) and 30 (us)."""

    customer: str
    card: str
    plain: str
    grouped: str
    unit: str


@pytest.fixture
async def shop(sdk: AsyncMetronome) -> Shop:
    metric = (
        await sdk.v1.billable_metrics.create(
            name="tokens",
            aggregation_type="SUM",
            aggregation_key="tokens",
            property_filters=[{"name": "tokens", "exists": True}],
            group_keys=[["project"], ["project", "region"]],
        )
    ).data.id
    products = sdk.v1.contracts.products
    plain = (await products.create(name="Plain", type="USAGE", billable_metric_id=metric, tags=["ai", "text"])).data.id
    grouped = (
        await products.create(name="Grouped", type="USAGE", billable_metric_id=metric, pricing_group_key=["region"], tags=["ai"])
    ).data.id
    unit = (await sdk.v1.pricing_units.create(name="Credits")).data.id
    conversions: Any = [{"custom_credit_type_id": unit, "fiat_per_custom_credit": 2}]
    card = (await sdk.v1.contracts.rate_cards.create(name="List", credit_type_conversions=conversions)).data.id
    flat: dict[str, Any] = {"entitled": True, "rate_type": "FLAT", "starting_at": START}
    rates: list[Any] = [
        {**flat, "product_id": plain, "price": 10},
        {**flat, "product_id": grouped, "price": 20, "pricing_group_values": {"region": "eu"}},
        {**flat, "product_id": grouped, "price": 30, "pricing_group_values": {"region": "us"}},
    ]
    await sdk.v1.contracts.rate_cards.rates.add_many(rate_card_id=card, rates=rates)
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    return Shop(customer, card, plain, grouped, unit)


async def make(sdk: AsyncMetronome, shop: Shop, **more: Any) -> str:
    created = await sdk.v1.contracts.create(customer_id=shop.customer, rate_card_id=shop.card, starting_at=START, **more)
    return created.data.id


async def schedule(sdk: AsyncMetronome, shop: Shop, contract: str, at: datetime = START, **more: Any) -> list[Any]:
    pages = sdk.v1.contracts.retrieve_rate_schedule(customer_id=shop.customer, contract_id=contract, at=at, **more)
    return (await pages).data


async def prices(sdk: AsyncMetronome, shop: Shop, contract: str, at: datetime = START) -> dict[str, float | None]:
    """What is charged, by region ("" for the plain product); None where it is not entitled."""
    found = {}
    for row in await schedule(sdk, shop, contract, at):
        rate = row.override_rate or row.list_rate
        found[(row.pricing_group_values or {}).get("region", "")] = rate.price if row.entitled else None
    return found


async def test_a_contract_with_every_kind_of_override(sdk: AsyncMetronome, shop: Shop) -> None:
    overrides: list[Any] = [
        {
            "starting_at": START,
            "type": "overwrite",
            "product_id": shop.plain,
            "overwrite_rate": {"rate_type": "FLAT", "price": 3},
        },
        {"starting_at": START, "ending_before": LATER, "type": "MULTIPLIER", "multiplier": 0.5, "priority": 2},
        {
            "starting_at": START,
            "type": "TIERED",
            "tiers": [{"size": 5, "multiplier": 0.9}, {"multiplier": 0.1}],
            "priority": 1,
            "override_specifiers": [{"product_id": shop.grouped, "pricing_group_values": {"region": "us"}}],
        },
        {"starting_at": LATER, "entitled": False, "applicable_product_tags": ["text", "other"]},
        {
            "starting_at": LATER,
            "type": "OVERWRITE",
            "override_specifiers": [{"product_tags": ["ai"], "pricing_group_values": {"region": "eu"}}],
            "overwrite_rate": {
                "rate_type": "TIERED",
                "credit_type_id": shop.unit,
                "tiers": [{"size": 10, "price": 2}, {"price": 1}],
            },
        },
    ]
    contract = await make(sdk, shop, overrides=overrides, multiplier_override_prioritization="EXPLICIT")

    shown = (await sdk.v2.contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data.overrides
    assert [(each.type, each.multiplier, each.priority, each.entitled) for each in shown] == [
        ("OVERWRITE", None, None, None),
        ("MULTIPLIER", 0.5, 2, None),
        ("TIERED", None, 1, None),
        (None, None, None, False),
        ("OVERWRITE", None, None, None),
    ]
    assert shown[0].product is not None
    assert (shown[0].product.name, shown[1].ending_before, shown[3].applicable_product_tags) == (
        "Plain",
        LATER,
        ["text", "other"],
    )
    assert [(tier.size, tier.multiplier) for tier in shown[2].override_tiers or []] == [(5, 0.9), (None, 0.1)]
    assert [each.pricing_group_values for each in shown[2].override_specifiers or []] == [{"region": "us"}]
    assert shown[4].overwrite_rate is not None
    assert shown[4].overwrite_rate.credit_type is not None
    assert shown[4].overwrite_rate.credit_type.name == "Credits"
    v1 = (await sdk.v1.contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data
    assert [each.id for each in v1.current.overrides] == [each.id for each in v1.initial.overrides] == [each.id for each in shown]
    assert (v1.current.overrides[0].rate_type, v1.current.overrides[0].price) == ("FLAT", 3)

    assert await prices(sdk, shop, contract) == {"": 3, "eu": 10, "us": None}  # us has tiers
    [us] = await schedule(sdk, shop, contract, selectors=[{"pricing_group_values": {"region": "us"}}])
    assert (us.list_rate.rate_type, us.list_rate.price) == ("FLAT", 30)
    assert [(tier.size, tier.price) for tier in us.override_rate.tiers] == [(5, 27), (None, 3)]
    later = {
        row.pricing_group_values and row.pricing_group_values["region"]: row for row in await schedule(sdk, shop, contract, LATER)
    }
    assert (later[None].entitled, later["eu"].entitled) == (False, True)
    assert (later["eu"].override_rate.credit_type.name, later["eu"].starting_at) == ("Credits", LATER)


async def test_the_schedule_is_paged_selected_and_bounded_by_the_contract(sdk: AsyncMetronome, shop: Shop) -> None:
    override: Any = {"starting_at": LATER, "type": "MULTIPLIER", "multiplier": 0.5, "product_id": shop.plain}
    contract = await make(sdk, shop, ending_before=LATER + timedelta(days=31), overrides=[override])
    first = await sdk.v1.contracts.retrieve_rate_schedule(customer_id=shop.customer, contract_id=contract, at=START, limit=2)
    assert (len(first.data), first.next_page is not None) == (2, True)
    rest = await sdk.v1.contracts.retrieve_rate_schedule(
        customer_id=shop.customer, contract_id=contract, at=START, next_page=first.next_page or ""
    )
    assert (len(rest.data), rest.next_page) == (1, None)
    [row] = await schedule(sdk, shop, contract, selectors=[{"product_tags": ["text", "other"]}])
    assert (row.product_id, row.product_name, row.rate_card_id) == (shop.plain, "Plain", shop.card)
    assert (row.override_rate, row.starting_at, row.ending_before) == (None, START, LATER)
    [row] = await schedule(sdk, shop, contract, LATER, selectors=[{"product_id": shop.plain}])
    assert (row.override_rate.price, row.list_rate.price) == (5, 10)
    assert (row.starting_at, row.ending_before) == (LATER, LATER + timedelta(days=31))
    assert await schedule(sdk, shop, contract, LATER + timedelta(days=31)) == []
    assert await schedule(sdk, shop, contract, START - timedelta(hours=1)) == []


async def test_the_lowest_multiplier_wins_unless_priorities_are_explicit(sdk: AsyncMetronome, shop: Shop) -> None:
    overrides: list[Any] = [
        {"starting_at": START, "type": "MULTIPLIER", "multiplier": 0.9, "priority": 1},
        {"starting_at": START, "type": "MULTIPLIER", "multiplier": 0.5, "priority": 2},
    ]
    lowest = await make(sdk, shop, overrides=overrides)
    explicit = await make(sdk, shop, overrides=overrides, multiplier_override_prioritization="EXPLICIT")
    assert await prices(sdk, shop, lowest) == {"": 5, "eu": 10, "us": 15}
    assert await prices(sdk, shop, explicit) == {"": 9, "eu": 18, "us": 27}


async def test_edits_and_amendments(sdk: AsyncMetronome, shop: Shop) -> None:
    half: Any = {"starting_at": START, "type": "MULTIPLIER", "multiplier": 0.5}
    overwrite: Any = {
        "starting_at": START,
        "type": "OVERWRITE",
        "product_id": shop.plain,
        "overwrite_rate": {"rate_type": "FLAT", "price": 7},
    }
    contract = await make(sdk, shop, overrides=[half])
    contracts = sdk.v2.contracts
    edited = (await contracts.edit(customer_id=shop.customer, contract_id=contract, add_overrides=[overwrite])).data
    assert edited.edit is not None
    assert [each.type for each in edited.edit.add_overrides or []] == ["OVERWRITE"]
    assert (await prices(sdk, shop, contract))[""] == 7
    first = (await contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data.overrides[0].id
    added = (edited.edit.add_overrides or [])[0].id
    await contracts.edit(customer_id=shop.customer, contract_id=contract, remove_overrides=[{"id": first}, {"id": added}])
    assert await prices(sdk, shop, contract) == {"": 10, "eu": 20, "us": 30}
    with pytest.raises(metronome.NotFoundError):
        await contracts.edit(customer_id=shop.customer, contract_id=contract, remove_overrides=[{"id": first}])

    amendment = (
        await sdk.v1.contracts.amend(customer_id=shop.customer, contract_id=contract, starting_at=START, overrides=[half])
    ).data.id
    v1 = (await sdk.v1.contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data
    assert [(each.id, len(each.overrides)) for each in v1.amendments] == [(amendment, 1)]
    assert ([each.id for each in v1.initial.overrides], len(v1.current.overrides)) == ([first], 1)
    assert (await prices(sdk, shop, contract))["us"] == 15
    history = (await contracts.get_edit_history(customer_id=shop.customer, contract_id=contract)).data
    assert [len(each.remove_overrides or []) for each in history] == [0, 2]


async def test_usage_filters(sdk: AsyncMetronome, shop: Shop) -> None:
    contract = await make(sdk, shop, usage_filter={"group_key": "project", "group_values": ["a"]})
    await sdk.v1.contracts.set_usage_filter(
        customer_id=shop.customer, contract_id=contract, group_key="project", group_values=["b", "c"], starting_at=LATER
    )
    v2 = (await sdk.v2.contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data
    assert [(each.group_values, each.starting_at, each.ending_before) for each in v2.usage_filter] == [
        (["a"], START, LATER),
        (["b", "c"], LATER, None),
    ]
    v1 = (await sdk.v1.contracts.retrieve(customer_id=shop.customer, contract_id=contract)).data
    assert v1.current.usage_filter is not None
    assert v1.current.usage_filter.current is not None
    assert v1.initial.usage_filter is not None
    assert (v1.current.usage_filter.initial.group_values, v1.current.usage_filter.current.group_values) == (["a"], ["b", "c"])
    assert (v1.initial.usage_filter.initial.group_values, v1.initial.usage_filter.updates) == (["a"], [])
    plain = await make(sdk, shop)
    assert [each.usage_filter async for each in sdk.v2.contracts.list(customer_id=shop.customer) if each.id == plain] == [[]]


AT = "2026-01-01T00:00:00Z"
FLAT = {"rate_type": "FLAT", "price": 1}
TIERS = [{"multiplier": 1}]


@pytest.mark.parametrize(
    ("override", "status", "message"),
    [
        ({"type": "MULTIPLIER"}, 400, "multiplier is required when type is MULTIPLIER"),
        ({"multiplier": 0.5}, 400, "type is required unless entitled is given"),
        ({"entitled": True, "multiplier": 0.5}, 400, "multiplier is required when type is MULTIPLIER, and only then"),
        ({"type": "MULTIPLIER", "multiplier": -1}, 400, "multiplier: must not be negative"),
        ({"type": "MULTIPLIER", "multiplier": 10**38}, 400, "multiplier: must have at most 38 digits before the decimal point"),
        ({"type": "MULTIPLIER", "multiplier": 0.5, "priority": 0}, 400, "priority: must be greater than 0"),
        ({"type": "MULTIPLIER", "multiplier": 0.5, "ending_before": AT}, 400, "ending_before must be after starting_at"),
        ({"type": "MULTIPLIER", "multiplier": 0.5, "starting_at": "2026-01-01T00:30:00Z"}, 400, "must be on the hour"),
        ({"type": "MULTIPLIER", "multiplier": 0.5, "product_id": UNKNOWN}, 400, "overrides[0].product_id: there is no product"),
        ({"type": "MULTIPLIER", "multiplier": 0.5, "override_specifiers": [{}]}, 400, "must name a product"),
        ({"type": "TIERED", "tiers": TIERS, "priority": 1}, 400, "TIERED needs a contract with"),
        ({"type": "TIERED", "tiers": [{"multiplier": 1}, {"multiplier": 2}]}, 400, "every tier but the last must have a size"),
        ({"type": "OVERWRITE", "overwrite_rate": {"rate_type": "FLAT"}}, 400, "a FLAT rate has a price and no tiers"),
        ({"type": "OVERWRITE", "overwrite_rate": {**FLAT, "credit_type_id": UNKNOWN}}, 400, "there is no credit type"),
        (
            {"type": "OVERWRITE", "overwrite_rate": {"rate_type": "PERCENTAGE", "price": 1}},
            501,
            "PERCENTAGE is not supported yet",
        ),
        ({"type": "OVERWRITE", "overwrite_rate": FLAT, "target": "COMMIT_RATE"}, 400, "need is_commit_specific"),
        ({"is_commit_specific": True, "entitled": True}, 400, "it has a type, and no entitled"),
        (
            {
                "type": "MULTIPLIER",
                "multiplier": 1,
                "is_commit_specific": True,
                "override_specifiers": [{"product_tags": ["ai"], "commit_ids": ["a"], "any_commit_or_credit_ids": ["a"]}],
            },
            400,
            "any_commit_or_credit_ids excludes",
        ),
        (
            {"type": "MULTIPLIER", "multiplier": 1, "override_specifiers": [{"product_tags": ["ai"], "commit_ids": ["a"]}]},
            400,
            "need is_commit_specific",
        ),
    ],
)
async def test_overrides_that_are_refused(
    http: httpx.AsyncClient, shop: Shop, override: dict[str, Any], status: int, message: str
) -> None:
    body = {
        "customer_id": shop.customer,
        "rate_card_id": shop.card,
        "starting_at": AT,
        "overrides": [{"starting_at": AT, **override}],
    }
    answer = await http.post("/v1/contracts/create", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["message"]
    listed = (await http.post("/v2/contracts/list", json={"customer_id": shop.customer})).json()["data"]
    assert listed == []


async def test_more_that_is_refused(http: httpx.AsyncClient, shop: Shop) -> None:
    async def refused(path: str, body: dict[str, Any], status: int = 400) -> str:
        answer = await http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return str(answer.json()["message"])

    base = {"customer_id": shop.customer, "rate_card_id": shop.card, "starting_at": AT}
    half = {"starting_at": AT, "type": "MULTIPLIER", "multiplier": 0.5}
    explicit = {**base, "multiplier_override_prioritization": "EXPLICIT", "overrides": [half]}
    assert "overrides[0].priority: is required" in await refused("/v1/contracts/create", explicit)
    without_card = {"customer_id": shop.customer, "starting_at": AT, "overrides": [half]}
    assert "has no rate card" in await refused("/v1/contracts/create", without_card)
    specifier = {"product_id": shop.grouped, "pricing_group_values": {"color": "red"}}
    named = {**base, "overrides": [{**half, "override_specifiers": [specifier]}]}
    assert "not in the product's pricing_group_key" in await refused("/v1/contracts/create", named)
    color = {**base, "usage_filter": {"group_key": "color", "group_values": ["red"]}}
    assert "usage_filter.group_key: the metric of the product" in await refused("/v1/contracts/create", color)

    contract = (await http.post("/v1/contracts/create", json=base)).json()["data"]["id"]
    change = {"customer_id": shop.customer, "contract_id": contract}
    early = {**change, "group_key": "project", "group_values": ["a"], "starting_at": "2025-12-31T00:00:00Z"}
    assert "starting_at: must lie in the contract's time" in await refused("/v1/contracts/setUsageFilter", early)
    empty = {**early, "group_values": []}
    assert "group_values" in await refused("/v1/contracts/setUsageFilter", empty)
    unknown = {**early, "contract_id": UNKNOWN}
    await refused("/v1/contracts/setUsageFilter", unknown, 404)
    await refused("/v1/contracts/getContractRateSchedule", {**change, "contract_id": UNKNOWN}, 404)
    amend = {**change, "starting_at": AT, "discounts": [{}]}
    assert "discounts" in await refused("/v1/contracts/amend", amend, 501)
