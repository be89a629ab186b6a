"""Custom fields through the official SDK in strict mode: keys, values on every entity that carries them, uniqueness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from engine.catalog import USD_CENTS
from tests.conformance.test_balances import make_customer, make_fixed

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
UNKNOWN = "00000000-0000-4000-8000-000000000000"
Read = Callable[[], Awaitable[dict[str, str]]]


async def entities(sdk: AsyncMetronome) -> dict[str, tuple[str, Read]]:
    """One of each: its id, and how its custom fields are read."""
    metric = (await sdk.v1.billable_metrics.create(name="m", aggregation_type="COUNT")).data.id
    product = (await sdk.v1.contracts.products.create(name="p", type="FIXED")).data.id
    card = (await sdk.v1.contracts.rate_cards.create(name="c")).data.id
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    schedule: Any = {"schedule_items": [{"amount": 100, "starting_at": START, "ending_before": END}]}
    commit: Any = {"type": "PREPAID", "product_id": product, "access_schedule": schedule}
    credit: Any = {"product_id": product, "access_schedule": schedule}
    plan = (await sdk.v1.contracts.products.create(name="plan", type="SUBSCRIPTION")).data.id
    rate: Any = {"rate_type": "FLAT", "price": 1, "billing_frequency": "MONTHLY", "entitled": True, "starting_at": START}
    await sdk.v1.contracts.rate_cards.rates.add(rate_card_id=card, product_id=plan, **rate)
    subscription: Any = {
        "subscription_rate": {"billing_frequency": "MONTHLY", "product_id": plan},
        "collection_schedule": "ARREARS",
        "proration": {"is_prorated": True},
        "initial_quantity": 1,
    }
    charge: Any = {"product_id": product, "schedule": {"schedule_items": [{"timestamp": START, "amount": 1}]}}
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            rate_card_id=card,
            starting_at=START,
            commits=[commit],
            credits=[credit],
            subscriptions=[subscription],
            scheduled_charges=[charge],
        )
    ).data.id
    held = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data

    async def of_metric() -> dict[str, str]:
        return (await sdk.v1.billable_metrics.retrieve(billable_metric_id=metric)).data.custom_fields or {}

    async def of_product() -> dict[str, str]:
        return (await sdk.v1.contracts.products.retrieve(id=product)).data.custom_fields or {}

    async def of_card() -> dict[str, str]:
        return (await sdk.v1.contracts.rate_cards.retrieve(id=card)).data.custom_fields or {}

    async def of_customer() -> dict[str, str]:
        return (await sdk.v1.customers.retrieve(customer_id=customer)).data.custom_fields

    async def now() -> Any:
        return (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data

    async def of_contract() -> dict[str, str]:
        return (await now()).custom_fields or {}

    async def of_commit() -> dict[str, str]:
        return (await now()).commits[0].custom_fields or {}

    async def of_credit() -> dict[str, str]:
        return (await now()).credits[0].custom_fields or {}

    async def of_subscription() -> dict[str, str]:
        return (await now()).subscriptions[0].custom_fields or {}

    async def of_charge() -> dict[str, str]:
        return (await now()).scheduled_charges[0].custom_fields or {}

    subscriptions = held.subscriptions or []
    assert subscriptions[0].id is not None
    return {
        "subscription": (subscriptions[0].id, of_subscription),
        "scheduled_charge": (held.scheduled_charges[0].id, of_charge),
        "billable_metric": (metric, of_metric),
        "contract_product": (product, of_product),
        "rate_card": (card, of_card),
        "customer": (customer, of_customer),
        "contract": (contract, of_contract),
        "commit": (held.commits[0].id, of_commit),
        "contract_credit": ((held.credits or [])[0].id, of_credit),
    }


async def test_values_of_every_entity(sdk: AsyncMetronome) -> None:
    fields = sdk.v1.custom_fields
    for kind, (entity_id, read) in (await entities(sdk)).items():
        entity: Any = kind
        for key in ("x", "y"):
            await fields.add_key(entity=entity, key=key, enforce_uniqueness=False)
        await fields.set_values(entity=entity, entity_id=entity_id, custom_fields={"x": "1", "y": "2"})
        await fields.set_values(entity=entity, entity_id=entity_id, custom_fields={"x": "3"})
        assert await read() == {"x": "3", "y": "2"}, kind
        await fields.delete_values(entity=entity, entity_id=entity_id, keys=["x", "never"])
        assert await read() == {"y": "2"}, kind
        await fields.remove_key(entity=entity, key="y")
        assert await read() == {}, kind
        with pytest.raises(metronome.BadRequestError):
            await fields.set_values(entity=entity, entity_id=entity_id, custom_fields={"y": "1"})
        with pytest.raises(metronome.NotFoundError):
            await fields.remove_key(entity=entity, key="y")
        with pytest.raises(metronome.NotFoundError):
            await fields.set_values(entity=entity, entity_id=UNKNOWN, custom_fields={"x": "1"})


async def test_keys(sdk: AsyncMetronome) -> None:
    fields = sdk.v1.custom_fields
    for _ in range(2):  # again is no conflict
        await fields.add_key(entity="customer", key="crm", enforce_uniqueness=True)
    await fields.add_key(entity="contract", key="crm", enforce_uniqueness=False)
    with pytest.raises(metronome.ConflictError):
        await fields.add_key(entity="contract", key="crm", enforce_uniqueness=True)
    listed = [(each.entity, each.key, each.enforce_uniqueness) async for each in fields.list_keys()]
    assert listed == [("contract", "crm", False), ("customer", "crm", True)]
    assert [each.entity async for each in fields.list_keys(entities=["customer", "alert"])] == ["customer"]
    await fields.remove_key(entity="contract", key="crm")
    await fields.add_key(entity="contract", key="crm", enforce_uniqueness=True)
    assert [each.enforce_uniqueness async for each in fields.list_keys()] == [True, True]


async def test_a_unique_value_belongs_to_one_customer(sdk: AsyncMetronome) -> None:
    fields, customers = sdk.v1.custom_fields, sdk.v1.customers
    await fields.add_key(entity="customer", key="crm", enforce_uniqueness=True)
    first = (await customers.create(name="First", custom_fields={"crm": "1", "other": "same"})).data.id
    second = (await customers.create(name="Second", custom_fields={"other": "same"})).data.id
    with pytest.raises(metronome.ConflictError) as refused:
        await fields.set_values(entity="customer", entity_id=second, custom_fields={"crm": "1"})
    assert refused.value.response.json()["conflicting_id"] == first
    with pytest.raises(metronome.ConflictError):
        await customers.create(name="Third", custom_fields={"crm": "1"}, ingest_aliases=["third"])
    await customers.create(name="Third", ingest_aliases=["third"])  # the refused request took nothing

    await fields.set_values(entity="customer", entity_id=first, custom_fields={"crm": "1"})  # its own
    await fields.set_values(entity="customer", entity_id=first, custom_fields={"crm": "2"})
    await fields.set_values(entity="customer", entity_id=second, custom_fields={"crm": "1"})
    await fields.delete_values(entity="customer", entity_id=second, keys=["crm"])
    await fields.set_values(entity="customer", entity_id=first, custom_fields={"crm": "1"})
    assert (await customers.retrieve(customer_id=first)).data.custom_fields == {"crm": "1", "other": "same"}


async def test_unique_values_of_contracts(sdk: AsyncMetronome) -> None:
    fields, contracts = sdk.v1.custom_fields, sdk.v1.contracts
    await fields.add_key(entity="contract", key="deal", enforce_uniqueness=True)
    owners = [(await sdk.v1.customers.create(name=name)).data.id for name in ("a", "b")]
    made = await contracts.create(customer_id=owners[0], starting_at=START, custom_fields={"deal": "1"})
    for owner in owners:
        with pytest.raises(metronome.ConflictError) as refused:
            await contracts.create(customer_id=owner, starting_at=START, custom_fields={"deal": "1"})
        assert refused.value.response.json()["conflicting_id"] == made.data.id
    assert [each async for each in sdk.v2.contracts.list(customer_id=owners[1])] == []


async def test_unique_values_in_the_catalog(sdk: AsyncMetronome) -> None:
    fields, cards = sdk.v1.custom_fields, sdk.v1.contracts.rate_cards
    await fields.add_key(entity="rate_card", key="erp", enforce_uniqueness=True)
    first = (await cards.create(name="a", custom_fields={"erp": "1"})).data.id
    with pytest.raises(metronome.ConflictError) as refused:
        await cards.create(name="b", custom_fields={"erp": "1"})
    assert refused.value.response.json()["conflicting_id"] == first
    second = (await cards.create(name="b", custom_fields={"erp": "2"})).data.id
    with pytest.raises(metronome.ConflictError):
        await fields.set_values(entity="rate_card", entity_id=second, custom_fields={"erp": "1"})
    await cards.update(rate_card_id=first, name="c")


async def test_a_key_does_not_become_unique_over_values_that_are_not(sdk: AsyncMetronome) -> None:
    fields = sdk.v1.custom_fields
    customers = [(await sdk.v1.customers.create(name="a", custom_fields={"crm": "1"})).data.id for _ in range(2)]
    with pytest.raises(metronome.ConflictError):
        await fields.add_key(entity="customer", key="crm", enforce_uniqueness=True)
    assert [each async for each in fields.list_keys()] == []
    await fields.add_key(entity="customer", key="crm", enforce_uniqueness=False)
    await fields.set_values(entity="customer", entity_id=customers[1], custom_fields={"crm": "2"})
    await fields.remove_key(entity="customer", key="crm")
    assert (await sdk.v1.customers.retrieve(customer_id=customers[0])).data.custom_fields == {}
    await fields.add_key(entity="customer", key="crm", enforce_uniqueness=True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("addKey", {"entity": "planet", "key": "x", "enforce_uniqueness": False}, 400),
        ("addKey", {"entity": "customer", "key": "", "enforce_uniqueness": False}, 400),
        ("addKey", {"entity": "charge", "key": "x", "enforce_uniqueness": False}, 501),
        ("addKey", {"entity": "alert", "key": "x", "enforce_uniqueness": True}, 501),
        ("addKey", {"entity": "invoice", "key": "x", "enforce_uniqueness": False}, 501),
        ("setValues", {"entity": "customer", "entity_id": UNKNOWN, "custom_fields": {"x": "v" * 201}}, 400),
        ("setValues", {"entity": "customer", "entity_id": UNKNOWN, "custom_fields": {"x": 1}}, 400),
        ("deleteValues", {"entity": "customer", "entity_id": UNKNOWN, "keys": ["x", "x"]}, 400),
        ("deleteValues", {"entity": "commit", "entity_id": UNKNOWN, "keys": ["x"]}, 404),
    ],
)
async def test_what_is_refused(http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int) -> None:
    answer = await http.post(f"/v1/customFields/{path}", json=body)
    assert answer.status_code == status, answer.text


async def test_alerts_of_all_customers_and_of_one_carry_fields(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    """The client shows none of them: an endpoint's filter on severity reads them."""
    fields = sdk.v1.custom_fields
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    for_all = (await sdk.v1.alerts.create(alert_type="spend_threshold_reached", name="all", threshold=1)).data.id
    own = (
        await sdk.v1.alerts.create(alert_type="spend_threshold_reached", name="own", threshold=1, customer_id=customer)
    ).data.id
    await fields.add_key(entity="alert", key="severity", enforce_uniqueness=False)
    for alert in (for_all, own):
        await fields.set_values(entity="alert", entity_id=alert, custom_fields={"severity": "critical"})
        await fields.delete_values(entity="alert", entity_id=alert, keys=["severity"])
        await fields.set_values(entity="alert", entity_id=alert, custom_fields={"severity": "critical"})
    with pytest.raises(metronome.NotFoundError):
        await fields.set_values(entity="alert", entity_id=UNKNOWN, custom_fields={"severity": "critical"})
    await fields.remove_key(entity="alert", key="severity")
    with pytest.raises(metronome.BadRequestError):
        await fields.set_values(entity="alert", entity_id=own, custom_fields={"severity": "critical"})


async def test_a_balance_that_a_recurring_credit_made_is_tagged(sdk: AsyncMetronome) -> None:
    """By itself: the others, and what the recurring one makes later, have no such field. An alert sees it."""
    fields = sdk.v1.custom_fields
    await fields.add_key(entity="contract_credit", key="tier", enforce_uniqueness=False)
    customer = await make_customer(sdk)
    await make_customer(sdk)
    recurring: Any = {
        "product_id": await make_fixed(sdk),
        "priority": 1,
        "starting_at": "2024-01-01T00:00:00Z",
        "access_amount": {"unit_price": 100, "quantity": 1, "credit_type_id": USD_CENTS},
        "commit_duration": {"value": 1},
        "recurrence_frequency": "MONTHLY",
    }
    until: Any = {"starting_at": "2024-01-01T00:00:00Z", "ending_before": "2024-04-01T00:00:00Z"}
    await sdk.v1.contracts.create(customer_id=customer, recurring_credits=[recurring], **until)

    async def tagged() -> list[dict[str, str] | None]:
        rows = sdk.v1.contracts.list_balances(customer_id=customer, include_contract_balances=True)
        found = sorted([each async for each in rows], key=lambda each: each.access_schedule.schedule_items[0].starting_at)  # type: ignore[union-attr]
        ids.extend(each.id for each in found)
        return [each.custom_fields for each in found]

    ids: list[str] = []
    assert await tagged() == [{}, {}, {}]
    await fields.set_values(entity="contract_credit", entity_id=ids[1], custom_fields={"tier": "gold"})
    assert await tagged() == [{}, {"tier": "gold"}, {}]
    await fields.delete_values(entity="contract_credit", entity_id=ids[1], keys=["tier"])
    assert await tagged() == [{}, {}, {}]
    await fields.add_key(entity="commit", key="tier", enforce_uniqueness=False)
    with pytest.raises(metronome.NotFoundError, match="there is no commit"):
        await fields.set_values(entity="commit", entity_id=ids[1], custom_fields={"tier": "gold"})
