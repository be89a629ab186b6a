"""Billing provider configurations of customers, contracts and packages, through the official client in strict mode."""

from __future__ import annotations

from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_sdk import START, UNKNOWN

STRIPE: Any = {
    "billing_provider": "stripe",
    "delivery_method": "direct_to_billing_provider",
    "configuration": {"stripe_customer_id": "cus_1", "net": 12.5},
}
AWS: Any = {"billing_provider": "aws_marketplace", "delivery_method": "aws_sqs"}


async def test_configurations_are_kept(sdk: AsyncMetronome) -> None:
    customers = sdk.v1.customers
    customer = (await customers.create(name="Acme", customer_billing_provider_configurations=[AWS])).data.id
    added = (
        await customers.set_billing_configurations(data=[{**STRIPE, "customer_id": customer, "tax_provider": "stripe"}])
    ).data
    shown = (await customers.retrieve_billing_configurations(customer_id=customer)).data
    assert [(each.billing_provider, each.delivery_method, each.configuration) for each in shown] == [
        ("aws_marketplace", "aws_sqs", {}),
        ("stripe", "direct_to_billing_provider", {"stripe_customer_id": "cus_1", "net": 12.5}),
    ]
    assert (added[0].id, added[0].tax_provider, added[0].delivery_method_id) == (
        shown[1].id,
        "stripe",
        shown[1].delivery_method_id,
    )
    assert shown[0].delivery_method_id != shown[1].delivery_method_id
    by_id: Any = {"customer_id": customer, "billing_provider": "stripe", "delivery_method_id": shown[1].delivery_method_id}
    third = (await customers.set_billing_configurations(data=[by_id])).data[0].id
    again = (await customers.retrieve_billing_configurations(customer_id=customer)).data[2]
    assert (again.id, again.delivery_method) == (third, "direct_to_billing_provider")
    twice: Any = [by_id, {**STRIPE, "customer_id": customer, "tax_provider": "stripe"}]
    assert [each.id for each in (await customers.set_billing_configurations(data=twice)).data] == [third, shown[1].id]
    assert len((await customers.retrieve_billing_configurations(customer_id=customer)).data) == 3
    wrong: Any = {**by_id, "billing_provider": "netsuite"}
    with pytest.raises(metronome.BadRequestError, match="is not that of a delivery method"):
        await customers.set_billing_configurations(data=[wrong])

    for _ in range(2):
        archived = await customers.archive_billing_configurations(
            customer_id=customer, customer_billing_provider_configuration_ids=[shown[0].id]
        )
        assert archived.data.customer_billing_provider_configuration_ids == [shown[0].id]
    live = (await customers.retrieve_billing_configurations(customer_id=customer)).data
    assert [each.id for each in live] == [shown[1].id, third]
    every = (await customers.retrieve_billing_configurations(customer_id=customer, include_archived=True)).data
    assert [each.archived_at is None for each in every] == [False, True, True]
    log = (await sdk.v1.audit_logs.list(resource_type="customer", resource_id=customer)).data
    assert [each.action for each in log] == [
        "create",
        *["set_billing_provider_configurations"] * 4,
        *["archive_billing_provider_configurations"] * 2,
    ]


async def test_contracts_and_packages_name_one(sdk: AsyncMetronome) -> None:
    customer = (await sdk.v1.customers.create(name="Acme", customer_billing_provider_configurations=[STRIPE])).data.id
    held = (await sdk.v1.customers.retrieve_billing_configurations(customer_id=customer)).data[0].id
    kind: Any = {"billing_provider": "stripe", "delivery_method": "direct_to_billing_provider"}
    package = (await sdk.v1.packages.create(name="P", **kind)).data.id
    assert (await sdk.v1.packages.retrieve(package_id=package)).data.billing_provider == "stripe"
    made = []
    by_id: Any = {"billing_provider_configuration_id": held}
    for more in ({"billing_provider_configuration": kind}, {"billing_provider_configuration": by_id}, {"package_id": package}):
        contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, **more)).data.id
        v2 = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data
        v1 = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data
        for read in (v1.customer_billing_provider_configuration, v2.customer_billing_provider_configuration):
            assert read is not None
            assert read.id == held
        made.append(contract)

    with pytest.raises(metronome.BadRequestError, match="uses the configuration"):
        await sdk.v1.customers.archive_billing_configurations(
            customer_id=customer, customer_billing_provider_configuration_ids=[held]
        )
    for contract in made:
        await sdk.v1.contracts.archive(customer_id=customer, contract_id=contract, void_invoices=False)
    await sdk.v1.customers.archive_billing_configurations(
        customer_id=customer, customer_billing_provider_configuration_ids=[held]
    )
    with pytest.raises(metronome.BadRequestError, match="the customer has no such configurations"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, package_id=package, uniqueness_key="k")
    await sdk.v1.contracts.create(
        customer_id=customer, starting_at=START, uniqueness_key="k"
    )  # the refused one has freed its key


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        ([], 400, "data: list should have at least 1 item"),
        ([{**AWS, "customer_id": UNKNOWN}], 404, "there is no customer"),
        ([{**AWS, "customer_id": UNKNOWN}, {**AWS, "customer_id": UNKNOWN[:-1] + "1"}], 400, "data: must be for one customer"),
        ([{**AWS, "customer_id": UNKNOWN, "tax_provider": "anrok"}], 400, "only for the billing provider stripe"),
        ([{**AWS, "customer_id": UNKNOWN, "delivery_method": "mail"}], 400, "data[0].delivery_method"),
        ([{**AWS, "customer_id": UNKNOWN, "configuration": {"a": "x" * 20_000}}], 400, "must not be larger than 16384 bytes"),
        ([{**AWS, "customer_id": UNKNOWN, "delivery_method_id": UNKNOWN}], 400, "is not that of a delivery method"),
        ([{"billing_provider": "stripe", "customer_id": UNKNOWN}], 400, "data[0]: give delivery_method or delivery_method_id"),
    ],
)
async def test_refusals(http: httpx.AsyncClient, data: Any, status: int, message: str) -> None:
    answer = await http.post("/v1/setCustomerBillingProviderConfigurations", json={"data": data})
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.json()


async def test_of_two_alike_one_is_named_by_id(sdk: AsyncMetronome) -> None:
    two: Any = [STRIPE, {**STRIPE, "configuration": {}}]
    customer = (await sdk.v1.customers.create(name="Acme", customer_billing_provider_configurations=two)).data.id
    kind: Any = {"billing_provider": "stripe", "delivery_method": "direct_to_billing_provider"}
    with pytest.raises(metronome.BadRequestError, match="the customer has 2 such configurations"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, billing_provider_configuration=kind)
    with pytest.raises(metronome.BadRequestError, match="give either"):
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, billing_provider_configuration={})
    with pytest.raises(metronome.NotFoundError):
        await sdk.v1.customers.archive_billing_configurations(
            customer_id=customer, customer_billing_provider_configuration_ids=[UNKNOWN]
        )
