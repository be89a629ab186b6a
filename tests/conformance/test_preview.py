"""previewEvents through HTTP, with a worker that holds real usage, and the official client in strict mode."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from connectors import clock as the_clock
from tests.conformance.test_api_refusals import UNKNOWN
from tests.conformance.test_balances import access, make_customer, make_fixed, segment
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]

OCTOBER, NOVEMBER, YEAR_END = "2024-10-01T00:00:00Z", "2024-11-01T00:00:00Z", "2025-01-01T00:00:00Z"


def event(units: Any, region: str = "eu", **more: Any) -> dict[str, Any]:
    return {"event_type": "call", "properties": {"units": units, "region": region}, **more}


async def make_account(sdk: AsyncMetronome) -> str:
    """100 cents a unit, and a credit of $15."""
    card, _ = await make_priced(sdk)
    customer = await make_customer(sdk)
    credit = {"product_id": await make_fixed(sdk, "Reward"), "access_schedule": access(segment(1_500, OCTOBER, YEAR_END))}
    await sdk.v1.contracts.create(customer_id=customer, starting_at=OCTOBER, rate_card_id=card, credits=[credit])  # type: ignore[list-item]
    return customer


async def totals(sdk: AsyncMetronome, customer: str, events: list[Any], **more: Any) -> dict[str, float]:
    """By name of the line, and of the invoice."""
    (invoice,) = (await sdk.v1.customers.preview_events(customer_id=customer, events=events, **more)).data
    assert (invoice.status, invoice.type) == ("DRAFT", "USAGE")
    found = {"total": invoice.total}
    for line in (each for each in invoice.line_items if each.quantity != 0):
        found[line.name] = found.get(line.name, 0) + line.total
    return found


async def test_events_instead_of_usage_and_on_top_of_it(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    clock.set("2024-10-20T12:30:00")
    customer = await make_account(sdk)
    await use(sdk, customer, "2024-10-19", ("eu", 10))

    async def drafted() -> list[float]:
        return [each.total async for each in sdk.v1.customers.invoices.list(customer_id=customer, status="DRAFT")]

    async def lines() -> list[float]:
        invoices = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer, status="DRAFT")]
        return sorted(line.total for invoice in invoices for line in invoice.line_items)

    await until(lines, [-1000, 1000])
    alone = {"total": 0, "My Product": 700, "Reward applied": -700}
    together = {"total": 200, "My Product": 1700, "Reward applied": -1500}
    for _ in range(2):  # the first one has left nothing behind
        assert await totals(sdk, customer, [event(3), event("4", timestamp="2024-10-02T00:00:00Z")]) == alone
        assert await totals(sdk, customer, [event(3), event(4)], mode="merge") == together
    assert await drafted() == [0]

    seen = [event(3, transaction_id="2024-10-19-0"), event(5, transaction_id="another")]
    assert (await totals(sdk, customer, seen, mode="merge"))["My Product"] == 1500
    assert (await totals(sdk, customer, seen))["My Product"] == 800
    assert (await totals(sdk, customer, [event(3, "us"), event(0.5, "us")]))["My Product"] == 350
    elsewhere = [event(3, timestamp="2024-09-30T23:00:00Z")]
    assert await totals(sdk, customer, elsewhere) == {"total": 0}


async def test_what_the_events_must_be(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    customer = await make_customer(sdk)
    now = the_clock.now()
    old, ahead = ((now + timedelta(days=days)).isoformat() for days in (-35, 2))
    path = f"/v1/customers/{customer}/previewEvents"
    metric = await sdk.v1.billable_metrics.create(
        name="units", aggregation_type="SUM", aggregation_key="units", property_filters=[{"name": "units", "exists": True}]
    )
    for body, message in (
        ({}, "events: is required"),
        ({"events": []}, "events: list should have at least 1 item"),
        ({"events": [event(1)] * 101}, "events: list should have at most 100 items"),
        ({"events": [event(1, transaction_id="a")] * 2}, "must not hold a transaction_id twice"),
        ({"events": [event(1, customer_id="c")]}, "events[0].customer_id: is not a known field"),
        ({"events": [{"properties": {}}]}, "events[0].event_type: is required"),
        ({"events": [event(1, timestamp="today")]}, "events[0].timestamp: must be RFC 3339"),
        (
            {"events": [event(1), event(1, timestamp=old)]},
            "events[1].timestamp: must not be more than 34",
        ),
        (
            {"events": [event(1, timestamp=ahead)]},
            "events[0].timestamp: must not be more than 24 hours ahead",
        ),
        ({"events": [event(1), event("many")]}, 'events[1]: property "units" must be decimal digits'),
        ({"events": [event(1)], "mode": "add"}, "mode: must be one of"),
    ):
        answer = await http.post(path, json=body)
        assert (answer.status_code, message in answer.json()["message"]) == (400, True), (message, answer.json())
    assert metric.data.id
    assert (await sdk.v1.customers.preview_events(customer_id=customer, events=[event(1)])).data == []  # no contract
    with pytest.raises(metronome.NotFoundError):
        await sdk.v1.customers.preview_events(customer_id=UNKNOWN, events=[event(1)])
    await sdk.v1.customers.archive(id=customer)
    with pytest.raises(metronome.BadRequestError, match="is archived"):
        await sdk.v1.customers.preview_events(customer_id=customer, events=[event(1)])
