"""Voiding invoices and making them again, through a worker and the official SDK."""

from __future__ import annotations

from typing import Any

import metronome
import pytest
from metronome import AsyncMetronome
from metronome.types.v1.invoice_void_response import Data

from tests.conformance.test_api_refusals import UNKNOWN
from tests.conformance.test_balances import access, all_of, make_customer, make_fixed, segment
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker  # noqa: F401
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

SEPTEMBER = "2024-09-01T00:00:00Z"


async def test_a_usage_invoice_is_voided_and_made_again(
    sdk: AsyncMetronome,
    worker: RunningWorker,  # noqa: F811
    clock: Clock,  # noqa: F811
) -> None:
    card, product = await make_priced(sdk)
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    granted = segment(3000, SEPTEMBER, "2025-01-01T00:00:00Z")
    commit: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access(granted)}
    contract = await sdk.v1.contracts.create(customer_id=customer, starting_at=SEPTEMBER, rate_card_id=card, commits=[commit])

    async def seen() -> list[Any]:
        invoices = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, type="USAGE"))
        return [(each.start_timestamp.month, each.status, each.total) for each in invoices]

    async def balance() -> float:
        return (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance

    clock.set("2024-09-15T13:00:00")
    await use(sdk, customer, "2024-09-15", ("eu", 40))
    await until(seen, [(9, "DRAFT", 1000)])
    (draft,) = await all_of(sdk.v1.customers.invoices.list(customer_id=customer))
    with pytest.raises(metronome.BadRequestError, match="is a draft"):
        await sdk.v1.invoices.void(id=draft.id)
    with pytest.raises(metronome.BadRequestError, match="is not void"):
        await sdk.v1.invoices.regenerate(id=draft.id)

    clock.set("2024-10-05T00:00:00")
    await until(seen, [(9, "FINALIZED", 1000), (10, "DRAFT", 0)])
    assert await balance() == 0
    for _ in range(2):
        assert (await sdk.v1.invoices.void(id=draft.id)).data == Data(id=draft.id)
    assert await seen() == [(9, "VOID", 1000), (10, "DRAFT", 0)]
    assert await balance() == 3000  # what it drew is given back
    await sdk.v1.contracts.rate_cards.rates.add(
        rate_card_id=card, product_id=product, entitled=True, rate_type="FLAT", price=200, starting_at="2024-01-01T00:00:00Z"
    )
    assert await seen() == [(9, "VOID", 1000), (10, "DRAFT", 0)]

    made = await sdk.v1.invoices.regenerate(id=draft.id)
    assert made.data is not None
    assert made.data.id != draft.id
    expected = [("FINALIZED", 5000), ("VOID", 1000)]
    assert sorted(each[1:] for each in await seen() if each[0] == 9) == expected
    assert await balance() == 0
    with pytest.raises(metronome.BadRequestError, match="was made again already"):
        await sdk.v1.invoices.regenerate(id=draft.id)
    await use(sdk, customer, "2024-10-05", ("eu", 1))
    await use(sdk, customer, "2024-09-16", ("eu", 9))  # too late for September

    async def october() -> list[Any]:
        return [each for each in await seen() if each[0] == 10]

    await until(october, [(10, "DRAFT", 200)])
    assert sorted(each[1:] for each in await seen() if each[0] == 9) == expected  # the worker has kept it

    await sdk.v1.contracts.update_end_date(
        customer_id=customer, contract_id=contract.data.id, ending_before="2024-09-10T00:00:00Z"
    )
    await sdk.v1.invoices.void(id=made.data.id)
    again = await sdk.v1.invoices.regenerate(id=made.data.id)
    assert again.data is not None
    one: Any = {"customer_id": customer, "invoice_id": again.data.id, "skip_zero_qty_line_items": True}
    shorter = (await sdk.v1.customers.invoices.retrieve(**one)).data
    assert (shorter.status, shorter.total, shorter.line_items) == ("FINALIZED", 0, [])  # the usage was on the 15th


async def test_a_scheduled_invoice_is_voided_and_made_again(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    items: Any = [{"timestamp": "2026-01-01T00:00:00Z", "amount": 5}, {"timestamp": "2090-01-01T00:00:00Z", "amount": 7}]
    charge: Any = {"product_id": fixed, "schedule": {"schedule_items": items}}
    await sdk.v1.contracts.create(customer_id=customer, starting_at="2026-01-01T00:00:00Z", scheduled_charges=[charge])

    async def seen() -> list[Any]:
        invoices = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, type="SCHEDULED"))
        return sorted((each.status, each.total, each.id) for each in invoices)

    draft, final = [each[2] for each in await seen()]
    with pytest.raises(metronome.BadRequestError, match="is a draft"):
        await sdk.v1.invoices.void(id=draft)
    await sdk.v1.invoices.void(id=final)
    assert [each[:2] for each in await seen()] == [("DRAFT", 7), ("VOID", 5)]
    made = await sdk.v1.invoices.regenerate(id=final)
    assert made.data is not None
    assert [each[:2] for each in await seen()] == [("DRAFT", 7), ("FINALIZED", 5), ("VOID", 5)]
    await sdk.v1.invoices.void(id=made.data.id)
    assert [each[:2] for each in await seen()] == [("DRAFT", 7), ("VOID", 5), ("VOID", 5)]


async def test_unknown_invoices(sdk: AsyncMetronome) -> None:
    for call in (sdk.v1.invoices.void, sdk.v1.invoices.regenerate):
        with pytest.raises(metronome.NotFoundError, match="there is no invoice"):
            await call(id=UNKNOWN)
