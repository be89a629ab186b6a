"""Contracts that reach back into closed billing periods: what will be on no invoice is told, and is indeed on none."""

from __future__ import annotations

from typing import Any

import pytest
from metronome import AsyncMetronome

from tests.conformance.test_balances import access, make_customer, make_fixed, segment
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]


def told(answer: Any) -> list[str]:
    return list((answer.model_extra or {}).get("warnings", []))


@pytest.mark.parametrize("seen", ["2024-10-25T13:00:00", "2024-11-05T00:00:00"])
async def test_usage_of_a_closed_month(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock, seen: str) -> None:
    """65 units of October under a contract that is made in November, backdated. Where the customer's invoices were not looked at
    since, October is billed and draws; where they are final up to November, it is told that it will not be, and it is not."""
    clock.set(seen)
    card, _ = await make_priced(sdk)
    customer, fixed = await make_customer(sdk), await make_fixed(sdk)
    await use(sdk, customer, "2024-10-25", ("eu", 65))
    metrics: Any = {"starting_on": "2024-10-01T00:00:00Z", "ending_before": "2024-11-01T00:00:00Z", "window_size": "NONE"}

    async def stored() -> list[float | None]:
        return [row.value async for row in sdk.v1.usage.list(**metrics, customer_ids=[customer])]

    await until(stored, [65])
    clock.set("2024-11-05T00:00:00")
    credit: Any = {
        "product_id": fixed,
        "priority": 1,
        "access_schedule": access(segment(10_000, "2024-10-01T00:00:00Z", "2025-01-01T00:00:00Z")),
    }
    made = await sdk.v1.contracts.create(
        customer_id=customer, starting_at="2024-10-01T00:00:00Z", rate_card_id=card, credits=[credit]
    )
    closed = seen.startswith("2024-11")
    warning = (
        "starting_at: usage from 2024-10-01T00:00:00Z to 2024-11-01T00:00:00Z is on no invoice and draws nothing, whether it is "
        "stored or comes in late: the billing periods of that time are closed. What is scheduled there is invoiced"
    )
    assert told(made) == ([warning] if closed else [])
    await use(sdk, customer, "2024-11-04", ("eu", 1))
    rows: Any = {"customer_id": customer, "include_contract_balances": True, "include_balance": True}

    async def balances() -> list[float | None]:
        return [each.balance async for each in sdk.v1.contracts.list_balances(**rows)]

    await until(balances, [9_900 if closed else 3_400])
    invoices = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer)]
    months = [(each.status, each.start_timestamp and each.start_timestamp.month) for each in invoices]
    assert months == ([("DRAFT", 11)] if closed else [("FINALIZED", 10), ("DRAFT", 11)])


@pytest.mark.parametrize(
    ("starting_at", "until"),
    [
        ("2024-11-01T00:00:00Z", None),  # the running month
        ("2024-12-01T00:00:00Z", None),
        ("2024-10-31T23:00:00Z", "2024-11-01T00:00:00Z"),
        ("2024-08-15T00:00:00Z", "2024-11-01T00:00:00Z"),
    ],
)
async def test_only_what_is_closed_is_told(sdk: AsyncMetronome, clock: Clock, starting_at: str, until: str | None) -> None:
    clock.set("2024-11-05T00:00:00")
    made = await sdk.v1.contracts.create(customer_id=await make_customer(sdk), starting_at=starting_at)
    assert [f"usage from {starting_at} to {until}" in each for each in told(made)] == ([] if until is None else [True])


async def test_in_grace_nothing_is_closed(sdk: AsyncMetronome, clock: Clock) -> None:
    clock.set("2024-11-01T23:50:00")
    assert told(await sdk.v1.contracts.create(customer_id=await make_customer(sdk), starting_at="2024-10-01T00:00:00Z")) == []


async def test_an_end_that_had_passed_is_moved(sdk: AsyncMetronome, clock: Clock) -> None:
    clock.set("2024-09-01T00:00:00")
    customer = await make_customer(sdk)
    body: Any = {"customer_id": customer, "starting_at": "2024-09-01T00:00:00Z", "ending_before": "2024-10-01T00:00:00Z"}
    contract: Any = {"customer_id": customer, "contract_id": (await sdk.v1.contracts.create(**body)).data.id}
    clock.set("2024-12-15T00:00:00")
    moved = await sdk.v1.contracts.update_end_date(**contract, ending_before="2024-11-16T00:00:00Z")
    assert ["usage from 2024-10-01T00:00:00Z to 2024-11-16T00:00:00Z" in each for each in told(moved)] == [True]
    edited = await sdk.v2.contracts.edit(**contract, update_contract_end_date="2025-03-01T00:00:00Z")
    assert ["usage from 2024-11-16T00:00:00Z to 2024-12-01T00:00:00Z" in each for each in told(edited)] == [True]
    assert told(await sdk.v1.contracts.update_end_date(**contract, ending_before="2025-04-01T00:00:00Z")) == []
