"""The official metronome-sdk, in strict mode, makes everything in scope and reads it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import metronome
import pytest
from metronome import AsyncMetronome

from connectors import clock

UNKNOWN = "00000000-0000-4000-8000-000000000000"
START = datetime(2026, 1, 1, tzinfo=UTC)


async def make_metric(sdk: AsyncMetronome, **more: Any) -> str:
    created = await sdk.v1.billable_metrics.create(
        name="tokens",
        **{
            "aggregation_type": "SUM",
            "aggregation_key": "tokens",
            "event_type_filter": {"in_values": ["call"]},
            "property_filters": [{"name": "tokens", "exists": True}, {"name": "region", "not_in_values": ["test"]}],
            "group_keys": [["region"], ["region", "model"]],
            **more,
        },
    )
    return created.data.id


async def make_product(sdk: AsyncMetronome, metric_id: str, **more: Any) -> str:
    created = await sdk.v1.contracts.products.create(name="Tokens", type="USAGE", billable_metric_id=metric_id, **more)
    return created.data.id


async def make_card(sdk: AsyncMetronome, product_id: str, **more: Any) -> str:
    card = await sdk.v1.contracts.rate_cards.create(name="List prices", **more)
    await sdk.v1.contracts.rate_cards.rates.add(
        rate_card_id=card.data.id, product_id=product_id, entitled=True, rate_type="FLAT", price=0.1, starting_at=START
    )
    return card.data.id


async def test_customers(sdk: AsyncMetronome) -> None:
    created = (await sdk.v1.customers.create(name="Acme", ingest_aliases=["acme@example.com"], custom_fields={"tier": "1"})).data
    assert created.external_id == "acme@example.com"
    second = (await sdk.v1.customers.create(name="Second")).data
    detail = (await sdk.v1.customers.retrieve(customer_id=created.id)).data
    assert (detail.name, detail.ingest_aliases, detail.custom_fields, detail.archived_at) == (
        "Acme",
        ["acme@example.com"],
        {"tier": "1"},
        None,
    )
    assert [each.id async for each in sdk.v1.customers.list(limit=1)] == [created.id, second.id]
    assert [each.id async for each in sdk.v1.customers.list(ingest_alias="acme@example.com")] == [created.id]
    assert {each.id async for each in sdk.v1.customers.list(customer_ids=[created.id, second.id])} == {created.id, second.id}

    await sdk.v1.customers.set_ingest_aliases(customer_id=created.id, ingest_aliases=["other"])
    await sdk.v1.customers.set_ingest_aliases(customer_id=second.id, ingest_aliases=["acme@example.com"])
    renamed = (await sdk.v1.customers.set_name(customer_id=created.id, name="n" * 200)).data
    assert renamed.name == "n" * 160
    await sdk.v1.customers.update_config(customer_id=created.id, salesforce_account_id="sf")
    detail = (await sdk.v1.customers.retrieve(customer_id=created.id)).data
    assert (detail.ingest_aliases, detail.customer_config.salesforce_account_id) == (["other"], "sf")

    for _ in range(2):  # archiving is idempotent
        assert (await sdk.v1.customers.archive(id=created.id)).data.id == created.id
    assert [each.id async for each in sdk.v1.customers.list()] == [second.id]
    assert [each.id async for each in sdk.v1.customers.list(only_archived=True)] == [created.id]


async def test_an_alias_belongs_to_one_customer(sdk: AsyncMetronome) -> None:
    owner = (await sdk.v1.customers.create(name="Owner", ingest_aliases=["taken"])).data.id
    await sdk.v1.customers.archive(id=owner)
    with pytest.raises(metronome.ConflictError) as refused:
        await sdk.v1.customers.create(name="Other", ingest_aliases=["free", "taken"])
    assert refused.value.response.json()["conflicting_id"] == owner
    assert refused.value.response.headers["x-should-retry"] == "false"
    await sdk.v1.customers.create(name="Third", ingest_aliases=["free"])  # the refused request took nothing


async def test_billable_metrics(sdk: AsyncMetronome) -> None:
    metric_id = await make_metric(sdk)
    metric = (await sdk.v1.billable_metrics.retrieve(billable_metric_id=metric_id)).data
    assert (metric.aggregation_type, metric.aggregation_key, metric.group_keys) == (
        "SUM",
        "tokens",
        [["region"], ["region", "model"]],
    )
    assert metric.event_type_filter is not None
    assert metric.event_type_filter.in_values == ["call"]
    assert [(each.name, each.exists) for each in metric.property_filters or []] == [("tokens", True), ("region", None)]
    count = await make_metric(sdk, aggregation_type="count", aggregation_key=metronome.omit)
    await sdk.v1.billable_metrics.update(billable_metric_id=metric_id, name="renamed")
    assert {each.id: each.name async for each in sdk.v1.billable_metrics.list(limit=1)} == {metric_id: "renamed", count: "tokens"}
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    assert len([each async for each in sdk.v1.customers.list_billable_metrics(customer_id=customer)]) == 2
    assert [each async for each in sdk.v1.customers.list_billable_metrics(customer_id=customer, on_current_plan=True)] == []
    await sdk.v1.billable_metrics.archive(id=count)
    assert [each.id async for each in sdk.v1.billable_metrics.list()] == [metric_id]
    assert len([each async for each in sdk.v1.billable_metrics.list(include_archived=True)]) == 2


async def test_products(sdk: AsyncMetronome) -> None:
    product_id = await make_product(
        sdk,
        await make_metric(sdk),
        pricing_group_key=["region"],
        presentation_group_key=["model"],
        quantity_conversion={"conversion_factor": 0.001, "operation": "multiply", "name": "thousands"},
        quantity_rounding={"rounding_method": "ROUND_UP", "decimal_places": 0},
        tags=["ai"],
    )
    product = (await sdk.v1.contracts.products.retrieve(id=product_id)).data
    assert product.current.quantity_conversion is not None
    assert product.current.quantity_conversion.conversion_factor == 0.001
    assert (product.type, product.updates, product.current.tags) == ("USAGE", [], ["ai"])
    await sdk.v1.contracts.products.update(product_id=product_id, starting_at=START, name="New", tags=["ai", "v2"])
    product = (await sdk.v1.contracts.products.retrieve(id=product_id)).data
    assert (product.initial.name, product.current.name, len(product.updates)) == ("Tokens", "New", 1)
    fee = (await sdk.v1.contracts.products.create(name="Fee", type="FIXED")).data.id
    service = (await sdk.v1.contracts.products.create(name="Help", type="PROFESSIONAL_SERVICE")).data.id
    types = {each.id: each.type async for each in sdk.v1.contracts.products.list(limit=2)}
    assert types == {product_id: "USAGE", fee: "FIXED", service: "PRO_SERVICE"}
    await sdk.v1.contracts.products.archive(product_id=fee)
    assert [each.id async for each in sdk.v1.contracts.products.list(archive_filter="ARCHIVED")] == [fee]


async def test_rate_cards_and_rates(sdk: AsyncMetronome) -> None:
    product = await make_product(sdk, await make_metric(sdk), pricing_group_key=["region"], tags=["ai"])
    unit = (await sdk.v1.pricing_units.create(name="Credits")).data.id
    assert [(each.name, each.is_currency) async for each in sdk.v1.pricing_units.list()] == [
        ("USD (cents)", True),
        ("Credits", False),
    ]
    cards = sdk.v1.contracts.rate_cards
    card = (
        await cards.create(
            name="Card",
            description="d",
            aliases=[{"name": "list"}],
            credit_type_conversions=[{"custom_credit_type_id": unit, "fiat_per_custom_credit": 2.5}],
        )
    ).data.id
    added = await cards.rates.add(
        rate_card_id=card,
        product_id=product,
        entitled=True,
        rate_type="TIERED",
        starting_at=START,
        tiers=[{"size": 100, "price": 0.1}, {"price": 0.05}],
        credit_type_id=unit,
        pricing_group_values={"region": "eu"},
    )
    assert [(tier.size, tier.price) for tier in added.data.tiers or []] == [(100, 0.1), (None, 0.05)]
    assert added.data.credit_type is not None
    assert added.data.credit_type.name == "Credits"
    flat: dict[str, Any] = {
        "product_id": product,
        "entitled": True,
        "rate_type": "FLAT",
        "pricing_group_values": {"region": "us"},
    }
    many = await cards.rates.add_many(
        rate_card_id=card,
        rates=[
            {**flat, "price": 1.5, "starting_at": START},
            {**flat, "price": 1.25, "starting_at": START + timedelta(days=31)},
        ],  # type: ignore[typeddict-item]
    )
    assert many.data.id == card

    read = (await cards.retrieve(id=card)).data
    assert [each.name for each in read.aliases or []] == ["list"]
    assert (read.credit_type_conversions or [])[0].fiat_per_custom_credit == "2.5"
    assert [each.id async for each in cards.list(body={})] == [card]
    january = [row async for row in cards.rates.list(rate_card_id=card, at=START, limit=1)]
    assert {(row.pricing_group_values or {})["region"]: row.rate.price for row in january} == {"eu": None, "us": 1.5}
    chosen = [
        row.rate.price
        async for row in cards.rates.list(
            rate_card_id=card, at=START + timedelta(days=40, seconds=1.5), selectors=[{"pricing_group_values": {"region": "us"}}]
        )
    ]
    assert chosen == [1.25]
    schedule = (
        await cards.retrieve_rate_schedule(
            rate_card_id=card, starting_at=START + timedelta(minutes=1), selectors=[{"product_id": product}]
        )
    ).data
    assert [(row.rate.rate_type, row.starting_at, row.ending_before) for row in schedule] == [
        ("TIERED", START, None),
        ("FLAT", START, START + timedelta(days=31)),
        ("FLAT", START + timedelta(days=31), None),
    ]
    await cards.update(rate_card_id=card, name="New", aliases=[{"name": "list"}, {"name": "more"}])
    assert (await cards.retrieve(id=card)).data.name == "New"
    await cards.archive(id=card)
    assert [each async for each in cards.list(body={})] == []
    await sdk.v1.pricing_units.archive(id=unit)
    assert [each.name async for each in sdk.v1.pricing_units.list()] == ["USD (cents)"]


async def test_contracts(sdk: AsyncMetronome) -> None:
    card = await make_card(sdk, await make_product(sdk, await make_metric(sdk)), aliases=[{"name": "list"}])
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    first = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=START + timedelta(days=14),
            rate_card_alias="list",
            name="First",
            uniqueness_key="c-1",
            usage_statement_schedule={"frequency": "monthly"},
        )
    ).data.id
    second = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=START,
            ending_before=START + timedelta(days=31),
            rate_card_id=card,
            usage_statement_schedule={"frequency": "WEEKLY", "day": "CUSTOM_DATE", "billing_anchor_date": START},
        )
    ).data.id
    contract = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=first)).data
    assert contract.current.rate_card_id == card
    assert contract.current.usage_statement_schedule.billing_anchor_date == START  # the first of the contract's month
    v2 = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=second)).data
    assert (v2.usage_statement_schedule.frequency, v2.ending_before) == ("WEEKLY", START + timedelta(days=31))
    assert [each.id async for each in sdk.v1.contracts.list(customer_id=customer, limit=1)] == [first, second]
    covering = [each.id async for each in sdk.v2.contracts.list(customer_id=customer, covering_date=START)]
    assert covering == [second]

    end = START + timedelta(days=60)
    await sdk.v1.contracts.update_end_date(customer_id=customer, contract_id=first, ending_before=end)
    contract = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=first)).data
    assert (contract.initial.ending_before, contract.current.ending_before) == (None, end)
    with pytest.raises(metronome.ConflictError) as refused:
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, uniqueness_key="c-1")
    assert refused.value.response.json() == {
        "message": "This uniqueness key has already been used.",
        "conflicting_id": first,
    }
    await sdk.v1.contracts.archive(customer_id=customer, contract_id=second, void_invoices=False)
    assert [each.id async for each in sdk.v1.contracts.list(customer_id=customer)] == [first]
    assert len([each async for each in sdk.v2.contracts.list(customer_id=customer, include_archived=True)]) == 2


async def test_alerts(sdk: AsyncMetronome) -> None:
    metric = await make_metric(sdk)
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    spend = (
        await sdk.v1.alerts.create(
            alert_type="spend_threshold_reached",
            name="Spend",
            threshold=1000.25,
            customer_id=customer,
            uniqueness_key="a-1",
            group_values=[{"key": "region"}],
        )
    ).data.id
    usage = (
        await sdk.v1.alerts.create(
            alert_type="usage_threshold_reached",
            name="Usage",
            threshold=10,
            billable_metric_id=metric,
            evaluate_on_create=False,
        )
    ).data.id
    alerts = sdk.v1.customers.alerts
    got = (await alerts.retrieve(customer_id=customer, alert_id=spend, group_values=[{"key": "region", "value": "eu"}])).data
    assert got.customer_status == "evaluating"  # no worker runs in this test
    assert (got.alert.threshold, got.alert.status, got.alert.uniqueness_key) == (1000.25, "enabled", "a-1")
    assert got.alert.credit_type is not None
    assert got.alert.credit_type.name == "USD (cents)"
    assert [(each.key, each.value) for each in got.alert.group_values or []] == [("region", None)]
    assert {each.alert.id async for each in alerts.list(customer_id=customer)} == {spend, usage}
    await alerts.reset(customer_id=customer, alert_id=spend)

    for _ in range(2):  # archiving is idempotent
        await sdk.v1.alerts.archive(id=spend, release_uniqueness_key=True)
        await sdk.v1.alerts.archive(id=usage)
    got = (await alerts.retrieve(customer_id=customer, alert_id=spend)).data
    assert (got.customer_status, got.alert.status) == (None, "archived")
    assert [each async for each in alerts.list(customer_id=customer)] == []
    archived = [each async for each in alerts.list(customer_id=customer, alert_statuses=["ARCHIVED"])]
    assert {each.alert.id for each in archived} == {spend, usage}


@pytest.mark.parametrize("for_customer", [False, True])
async def test_uniqueness_keys_of_alerts(sdk: AsyncMetronome, for_customer: bool) -> None:
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    scope: dict[str, Any] = {"customer_id": customer} if for_customer else {}
    spend: dict[str, Any] = {"alert_type": "spend_threshold_reached", "name": "a", "threshold": 1, "uniqueness_key": "k"}
    first = (await sdk.v1.alerts.create(**spend, **scope)).data.id
    for other in ({}, {"customer_id": customer}):  # the key is used for alerts of every kind
        with pytest.raises(metronome.ConflictError) as refused:
            await sdk.v1.alerts.create(**spend, **other)
        assert refused.value.response.json()["conflicting_id"] == first
    await sdk.v1.alerts.archive(id=first)
    with pytest.raises(metronome.ConflictError):  # archived without release: used for ever
        await sdk.v1.alerts.create(**spend, **scope)
    spend["uniqueness_key"] = "released"
    second = (await sdk.v1.alerts.create(**spend, **scope)).data.id
    await sdk.v1.alerts.archive(id=second, release_uniqueness_key=True)
    assert (await sdk.v1.alerts.create(**spend, **scope)).data.id != second


async def test_usage_without_events(sdk: AsyncMetronome) -> None:
    metric = await make_metric(sdk)
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    rows = [
        row
        async for row in sdk.v1.usage.list(
            starting_on=START,
            ending_before=START + timedelta(days=2),
            window_size="day",
            billable_metrics=[{"id": metric, "group_by": {"key": "region", "values": ["eu"]}}],
        )
    ]
    assert [(row.customer_id, row.start_timestamp, row.value, row.groups) for row in rows] == [
        (customer, START + timedelta(days=day), None, {"eu": None}) for day in (0, 1)
    ]
    groups = sdk.v1.usage.list_with_groups(
        customer_id=customer,
        billable_metric_id=metric,
        window_size="NONE",
        starting_on=START,
        ending_before=START + timedelta(days=2),
        group_key=["region", "model"],
        group_filters={"region": ["eu"]},
    )
    assert [row async for row in groups] == []
    with pytest.raises(metronome.BadRequestError, match="no open contract"):
        await sdk.v1.usage.list_with_groups(
            customer_id=customer, billable_metric_id=metric, window_size="NONE", current_period=True
        )


async def test_ingest_and_search(sdk: AsyncMetronome) -> None:
    event: Any = {"transaction_id": "t-1", "customer_id": "c", "event_type": "call", "timestamp": clock.now().isoformat()}
    assert await sdk.v1.usage.ingest(usage=[event]) is None
    with pytest.raises(metronome.BadRequestError, match="at least one event"):  # connectors try a token so
        await sdk.v1.usage.ingest(usage=[])
    assert await sdk.v1.usage.search(transaction_ids=["t-1"]) == []  # no worker has applied it


async def test_unknown_ids_are_404(sdk: AsyncMetronome) -> None:
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    calls = [
        lambda: sdk.v1.customers.retrieve(customer_id=UNKNOWN),
        lambda: sdk.v1.customers.archive(id=UNKNOWN),
        lambda: sdk.v1.billable_metrics.retrieve(billable_metric_id=UNKNOWN),
        lambda: sdk.v1.contracts.products.retrieve(id=UNKNOWN),
        lambda: sdk.v1.contracts.rate_cards.retrieve(id=UNKNOWN),
        lambda: sdk.v1.contracts.retrieve(customer_id=customer, contract_id=UNKNOWN),
        lambda: sdk.v1.contracts.create(customer_id=UNKNOWN, starting_at=START),
        lambda: sdk.v1.alerts.archive(id=UNKNOWN),
        lambda: sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=UNKNOWN),
        lambda: sdk.v1.customers.alerts.retrieve(customer_id=UNKNOWN, alert_id=UNKNOWN),
        lambda: sdk.v1.customers.alerts.list(customer_id=UNKNOWN),
        lambda: sdk.v1.customers.alerts.reset(customer_id=customer, alert_id=UNKNOWN),
        lambda: sdk.v1.pricing_units.archive(id=UNKNOWN),
    ]
    for call in calls:
        with pytest.raises(metronome.NotFoundError) as refused:
            await call()
        assert list(refused.value.response.json()) == ["message"]


async def test_a_wrong_token_is_401(sdk: AsyncMetronome) -> None:
    with pytest.raises(metronome.AuthenticationError) as refused:
        await sdk.with_options(bearer_token="wrong").v1.customers.create(name="Acme")
    assert refused.value.response.json() == {"message": "the token is not known"}


async def test_payment_terms_are_edited(sdk: AsyncMetronome) -> None:
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    made = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, net_payment_terms_days=30)).data.id
    where = {"customer_id": customer, "contract_id": made}
    for days in (14, None, 0):
        await sdk.v2.contracts.edit(**where, update_net_payment_terms_days=days)
        assert (await sdk.v2.contracts.retrieve(**where)).data.net_payment_terms_days == days
    with pytest.raises(metronome.BadRequestError, match="must not be negative"):
        await sdk.v2.contracts.edit(**where, update_net_payment_terms_days=-1)
    edits = (await sdk.v2.contracts.get_edit_history(**where)).data
    assert [each.to_dict().get("update_net_payment_terms_days") for each in edits] == [14, None, 0]
