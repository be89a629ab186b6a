"""Packages through HTTP, with the official client in strict mode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_sdk import UNKNOWN, make_card, make_metric, make_product

START = datetime(2026, 1, 31, tzinfo=UTC)
MONTH = {"unit": "MONTHS", "value": 1}


async def terms(sdk: AsyncMetronome) -> dict[str, Any]:
    metric = await make_metric(sdk)
    product = await make_product(sdk, metric)
    card = await make_card(sdk, product)
    fixed = (await sdk.v1.contracts.products.create(name="Prepaid", type="FIXED")).data.id
    return {
        "rate_card_id": card,
        "contract_name": "Starter plan",
        "duration": {"unit": "YEARS", "value": 1},
        "net_payment_terms_days": 30,
        "usage_statement_schedule": {"frequency": "QUARTERLY", "day": "CONTRACT_START"},
        "commits": [
            {
                "type": "PREPAID",
                "product_id": fixed,
                "priority": 1,
                "name": "Starter commit",
                "access_schedule": {
                    "schedule_items": [
                        {"amount": 100.5, "starting_at_offset": {"unit": "DAYS", "value": 0}, "duration": MONTH},
                        {"amount": 50, "starting_at_offset": MONTH, "duration": MONTH},
                    ]
                },
                "invoice_schedule": {
                    "schedule_items": [{"date_offset": {"unit": "DAYS", "value": 3}, "unit_price": 7, "quantity": 2}]
                },
            }
        ],
        "credits": [
            {
                "product_id": fixed,
                "custom_fields": {"duration": "free"},
                "access_schedule": {"schedule_items": [{"amount": 5, "starting_at_offset": MONTH, "duration": MONTH}]},
            }
        ],
        "overrides": [
            {
                "type": "MULTIPLIER",
                "multiplier": 0.5,
                "starting_at_offset": MONTH,
                "duration": MONTH,
                "override_specifiers": [{"product_id": product}],
            }
        ],
    }


async def test_a_contract_has_the_packages_terms(sdk: AsyncMetronome) -> None:
    given = await terms(sdk)
    package = (await sdk.v1.packages.create(name="Starter", aliases=[{"name": "start"}], **given)).data.id
    shown = (await sdk.v1.packages.retrieve(package_id=package)).data
    assert (shown.name, shown.contract_name, shown.rate_card_id, shown.net_payment_terms_days) == (
        "Starter",
        "Starter plan",
        given["rate_card_id"],
        30,
    )
    assert shown.commits[0].access_schedule is not None
    assert [each.amount for each in shown.commits[0].access_schedule.schedule_items] == [100.5, 50]
    assert shown.commits[0].product.name == "Prepaid"
    assert shown.overrides[0].starting_at_offset.unit == "MONTHS"
    assert [each.id async for each in sdk.v1.packages.list()] == [package]

    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    made = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=START, package_id=package, uniqueness_key="acme", custom_fields={"a": "b"}
        )
    ).data.id
    contract = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=made)).data
    assert (contract.name, contract.rate_card_id, contract.starting_at, contract.ending_before) == (
        "Starter plan",
        given["rate_card_id"],
        START,
        datetime(2027, 1, 31, tzinfo=UTC),
    )
    assert (contract.custom_fields, contract.uniqueness_key, contract.net_payment_terms_days) == ({"a": "b"}, "acme", 30)
    assert (contract.usage_statement_schedule.frequency, contract.usage_statement_schedule.billing_anchor_date) == (
        "QUARTERLY",
        START,
    )
    (commit,) = contract.commits
    assert commit.access_schedule is not None
    items = commit.access_schedule.schedule_items
    assert [(each.amount, f"{each.starting_at:%Y-%m-%d}", f"{each.ending_before:%Y-%m-%d}") for each in items] == [
        (100.5, "2026-01-31", "2026-02-28"),
        (50, "2026-02-28", "2026-03-31"),
    ]
    assert commit.invoice_schedule is not None
    assert commit.invoice_schedule.schedule_items is not None
    assert commit.invoice_schedule.schedule_items[0].timestamp == datetime(2026, 2, 3, tzinfo=UTC)
    (credit,) = contract.credits or []
    assert credit.custom_fields == {"duration": "free"}
    (override,) = contract.overrides
    assert (override.multiplier, override.starting_at, override.ending_before) == (
        0.5,
        datetime(2026, 2, 28, tzinfo=UTC),
        datetime(2026, 3, 31, tzinfo=UTC),
    )
    v1 = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=made)).data
    assert v1.package_id == package


async def test_what_recurs_in_a_package(sdk: AsyncMetronome) -> None:
    """Subscriptions, what recurs with them, and scheduled charges: everything that a contract can have."""
    fixed = (await sdk.v1.contracts.products.create(name="Fixed", type="FIXED")).data.id
    plan = (await sdk.v1.contracts.products.create(name="Plan", type="SUBSCRIPTION")).data.id
    card = (await sdk.v1.contracts.rate_cards.create(name="Card")).data.id
    rate: Any = {"rate_type": "FLAT", "price": 10, "billing_frequency": "MONTHLY", "entitled": True}
    await sdk.v1.contracts.rate_cards.rates.add(rate_card_id=card, product_id=plan, starting_at="2025-01-01T00:00:00Z", **rate)
    given: Any = {
        "subscriptions": [
            {
                "subscription_rate": {"billing_frequency": "MONTHLY", "product_id": plan},
                "collection_schedule": "ARREARS",
                "proration": {"is_prorated": True, "invoice_behavior": "BILL_ON_NEXT_COLLECTION_DATE"},
                "initial_quantity": 3,
                "temporary_id": "seats",
                "starting_at_offset": MONTH,
            }
        ],
        "recurring_credits": [
            {
                "product_id": fixed,
                "priority": 1,
                "access_amount": {"unit_price": 5, "credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2"},
                "commit_duration": {"value": 1, "unit": "PERIODS"},
                "rate_type": "LIST_RATE",
                "starting_at_offset": MONTH,
                "duration": {"unit": "MONTHS", "value": 3},
                "subscription_config": {
                    "subscription_id": "seats",
                    "allocation": "POOLED",
                    "apply_seat_increase_config": {"is_prorated": True},
                },
            }
        ],
        "scheduled_charges": [
            {
                "product_id": fixed,
                "schedule": {"schedule_items": [{"date_offset": {"unit": "DAYS", "value": 10}, "unit_price": 7, "quantity": 2}]},
            }
        ],
    }
    package = (await sdk.v1.packages.create(name="P", rate_card_id=card, **given)).data.id
    shown = (await sdk.v1.packages.retrieve(package_id=package)).data
    (subscription,), (recurring,) = shown.subscriptions or [], shown.recurring_credits or []
    assert recurring.subscription_config is not None
    assert recurring.subscription_config.subscription_template_id == subscription.id
    assert subscription.subscription_rate.product.name == "Plan"
    assert shown.scheduled_charges[0].schedule.schedule_items[0].date_offset.value == 10
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    made = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package)).data.id
    contract = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=made)).data
    february, may = datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC)
    (own,), (grants,) = contract.subscriptions or [], contract.recurring_credits or []
    assert (own.starting_at, grants.starting_at, grants.ending_before) == (february, february, may)
    assert grants.subscription_config is not None
    assert grants.subscription_config.subscription_id == own.id != subscription.id
    charge = contract.scheduled_charges[0].schedule
    assert [(each.timestamp, each.amount) for each in charge.schedule_items or []] == [(datetime(2026, 2, 10, tzinfo=UTC), 14)]


async def test_a_package_renews_a_contract(sdk: AsyncMetronome) -> None:
    package = (await sdk.v1.packages.create(name="P", duration=MONTH)).data.id  # type: ignore[arg-type]
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    old = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package)).data.id
    renewal: Any = {"type": "RENEWAL", "from_contract_id": old}
    next_start = datetime(2026, 2, 28, tzinfo=UTC)
    with pytest.raises(metronome.BadRequestError, match="must end by"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package, transition=renewal)
    new = (
        await sdk.v1.contracts.create(customer_id=customer, starting_at=next_start, package_id=package, transition=renewal)
    ).data.id
    contract = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=new)).data
    (transition,) = contract.transitions
    assert (transition.from_contract_id, transition.to_contract_id) == (old, new)
    assert contract.ending_before == datetime(2026, 3, 28, tzinfo=UTC)


async def test_aliases_name_the_package_of_the_contracts_start(sdk: AsyncMetronome) -> None:
    card = await make_card(sdk, await make_product(sdk, await make_metric(sdk)))
    old = (await sdk.v1.packages.create(name="Old", aliases=[{"name": "plan"}], rate_card_id=card, contract_name="old")).data.id
    new = (
        await sdk.v1.packages.create(
            name="New", aliases=[{"name": "plan", "starting_at": START}], rate_card_id=card, contract_name="new"
        )
    ).data.id
    aliases = (await sdk.v1.packages.retrieve(package_id=old)).data.aliases
    assert aliases is not None
    assert [(each.name, each.starting_at, each.ending_before) for each in aliases] == [("plan", None, START)]
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    for start, name in ((datetime(2026, 1, 1, tzinfo=UTC), "old"), (START, "new")):
        made = (await sdk.v1.contracts.create(customer_id=customer, starting_at=start, package_alias="plan")).data.id
        assert (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=made)).data.name == name
    await sdk.v1.packages.archive(package_id=new)
    await sdk.v1.packages.archive(package_id=new)
    with pytest.raises(metronome.BadRequestError, match="no package has the alias"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_alias="plan")
    with pytest.raises(metronome.BadRequestError, match="is archived"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=new)
    assert [each.id async for each in sdk.v1.packages.list()] == [old]
    assert [each.id async for each in sdk.v1.packages.list(archive_filter="ARCHIVED")] == [new]
    assert [each.id async for each in sdk.v1.packages.list(archive_filter="ALL", limit=1)] == [old, new]


async def test_contracts_on_a_package(sdk: AsyncMetronome) -> None:
    package = (await sdk.v1.packages.create(name="P", duration={"unit": "DAYS", "value": 10})).data.id
    other = (await sdk.v1.packages.create(name="Other")).data.id
    made = []
    for number in range(3):
        customer = (await sdk.v1.customers.create(name=f"{number}")).data.id
        for day in (1, 15):
            start = datetime(2026, 1, day, tzinfo=UTC)
            contract = await sdk.v1.contracts.create(customer_id=customer, starting_at=start, package_id=package)
            made.append((customer, contract.data.id))
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=other)
    await sdk.v1.contracts.archive(customer_id=made[0][0], contract_id=made[0][1], void_invoices=False)

    async def listed(**more: Any) -> set[tuple[str, str]]:
        rows = [each async for each in sdk.v1.packages.list_contracts_on_package(package_id=package, **more)]
        assert len({each.contract_id for each in rows}) == len(rows)
        return {(each.customer_id, each.contract_id) for each in rows}

    for limit in (1, 2, 4, 100):
        assert await listed(limit=limit) == set(made[1:])
    assert await listed(include_archived=True, limit=1) == set(made)
    assert await listed(covering_date=datetime(2026, 1, 5, tzinfo=UTC)) == {made[2], made[4]}
    assert await listed(covering_date=datetime(2026, 1, 11, tzinfo=UTC)) == set()
    assert await listed(starting_at=datetime(2026, 1, 2, tzinfo=UTC)) == {made[1], made[3], made[5]}
    with pytest.raises(metronome.NotFoundError):
        await sdk.v1.packages.list_contracts_on_package(package_id=UNKNOWN)


async def test_a_key_is_used_once(sdk: AsyncMetronome) -> None:
    first = (await sdk.v1.packages.create(name="P", uniqueness_key="k")).data.id
    with pytest.raises(metronome.ConflictError) as refused:
        await sdk.v1.packages.create(name="Q", uniqueness_key="k", aliases=[{"name": "a"}])
    assert refused.value.response.json()["conflicting_id"] == first
    assert [each.name async for each in sdk.v1.packages.list(archive_filter="ALL")] == ["P"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "name: is required"),
        ({"name": "P", "unknown": 1}, 400, "unknown: is not a known field"),
        ({"name": "P", "duration": {"unit": "DAYS", "value": 0}}, 400, "duration.value"),
        ({"name": "P", "rate_card_id": UNKNOWN}, 404, "there is no rate card"),
        ({"name": "P", "rate_card_alias": "none"}, 400, "rate_card_alias: no rate card has the alias"),
        ({"name": "P", "commits": [{"type": "PREPAID"}]}, 400, "commits[0].product_id: is required"),
        (
            {"name": "P", "overrides": [{"type": "MULTIPLIER", "multiplier": 1}]},
            400,
            "overrides[0].starting_at_offset: is required",
        ),
        (
            {
                "name": "P",
                "credits": [{"access_schedule": {"schedule_items": [{"amount": 1, "ending_before": "x"}]}}],
            },
            400,
            "credits[0].access_schedule.schedule_items[0].ending_before: is not a known field",
        ),
        ({"name": "P", "spend_trackers": [{}]}, 501, "spend_trackers"),
        ({"name": "P", "billing_provider": "stripe"}, 400, "billing_provider and delivery_method are given together"),
        ({"name": "P", "aliases": [{"name": "a"}, {"name": "a"}]}, 400, "aliases: 'a' is given twice"),
    ],
)
async def test_refusals(http: httpx.AsyncClient, body: dict[str, Any], status: int, message: str) -> None:
    answer = await http.post("/v1/packages/create", json=body)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.json()
    assert (await http.post("/v1/packages/list", json={"archive_filter": "ALL"})).json()["data"] == []


async def test_a_contract_with_a_package_has_no_terms_of_its_own(sdk: AsyncMetronome) -> None:
    package = (await sdk.v1.packages.create(name="P")).data.id
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    with pytest.raises(metronome.BadRequestError, match="name: cannot be sent with a package"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package, name="mine")
    with pytest.raises(metronome.BadRequestError, match="exclude each other"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package, package_alias="a")
    with pytest.raises(metronome.NotFoundError):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=UNKNOWN)
    assert [each async for each in sdk.v1.contracts.list(customer_id=customer)] == []
