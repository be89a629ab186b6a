"""With a worker behind the API: usage, statuses and events read back through the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from metronome import AsyncMetronome

from connectors import clock
from tests.conformance.conftest import Api
from tests.conformance.test_sdk import make_card, make_metric, make_product
from tests.support.worker_harness import RunningWorker

WAIT_S = 30.0


@pytest.fixture
async def worker(api: Api) -> AsyncIterator[RunningWorker]:
    settings = api.settings.model_copy(update={"tick_ms": 20, "consumer_group": f"group-{uuid4()}"})
    running = await RunningWorker(settings).start()
    yield running
    await running.stop()


async def until(read: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Waits for an answer; on the way others are fine, at the end they are not."""
    last: Any = None
    try:
        async with asyncio.timeout(WAIT_S):
            while (last := await read()) != wanted:
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{last!r} instead of {wanted!r}")


def midnight(days: int = 0) -> datetime:
    return clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)


async def test_usage_statuses_and_events(sdk: AsyncMetronome, worker: RunningWorker) -> None:
    metric = await make_metric(sdk)
    product = await make_product(sdk, metric)
    card = await make_card(sdk, product)  # 0.1 cents a token
    customer = (await sdk.v1.customers.create(name="Acme", ingest_aliases=["alias"])).data.id
    await sdk.v1.contracts.create(customer_id=customer, starting_at=midnight(-10), rate_card_id=card)
    alerts = sdk.v1.customers.alerts
    ids = {
        name: (await sdk.v1.alerts.create(name=name, **fields)).data.id
        for name, fields in {
            "spend": {"alert_type": "spend_threshold_reached", "threshold": 3.5, "customer_id": customer},
            "never": {"alert_type": "spend_threshold_reached", "threshold": 1000},
            "regions": {"alert_type": "spend_threshold_reached", "threshold": 2, "group_values": [{"key": "region"}]},
            "usage": {"alert_type": "usage_threshold_reached", "threshold": 35, "billable_metric_id": metric},
        }.items()
    }

    async def statuses() -> dict[str, str | None]:
        return {each.alert.name: each.customer_status async for each in alerts.list(customer_id=customer)}

    await until(statuses, dict.fromkeys(ids, "ok"))  # evaluating ends by itself, without usage

    now = clock.now()
    events: Any = [
        {
            "transaction_id": f"seen-{number}",
            "customer_id": ref,
            "event_type": "call",
            "timestamp": now.isoformat(),
            "properties": {"tokens": tokens, "region": region},
        }
        for number, (ref, tokens, region) in enumerate(
            [("alias", "10.5", "eu"), (customer, 20, "us"), (customer, 4.5, "eu"), (customer, 99, "test")]
        )
    ]
    await sdk.v1.usage.ingest(usage=events)
    await sdk.v1.usage.ingest(usage=events)  # duplicates
    await until(statuses, {"spend": "in_alarm", "never": "ok", "regions": "in_alarm", "usage": "in_alarm"})

    async def region(value: str) -> str | None:
        chosen: Any = [{"key": "region", "value": value}]
        return (await alerts.retrieve(customer_id=customer, alert_id=ids["regions"], group_values=chosen)).data.customer_status

    assert (await region("us"), await region("eu")) == ("in_alarm", "ok")
    spend = (await alerts.retrieve(customer_id=customer, alert_id=ids["spend"])).data
    assert spend.triggered_by == "usage"
    assert spend.alert.updated_at >= now

    query: dict[str, Any] = {"starting_on": midnight(), "ending_before": midnight(1), "window_size": "NONE"}
    rows = [row async for row in sdk.v1.usage.list(**query, billable_metrics=[{"id": metric, "group_by": {"key": "region"}}])]
    assert [(row.value, row.groups) for row in rows] == [(35, {"eu": 15, "us": 20})]
    guide: Any = {"customer_id": customer, "billable_metric_id": metric, "group_by": {"key": "region"}}
    span = {"starting_on": midnight().isoformat(), "ending_before": midnight(1).isoformat(), "window_size": "day"}
    older: Any = (await sdk.post("/v1/usage", cast_to=object, body={**guide, **span}))["data"]
    assert [(row["group_key"], row["group_value"], row["value"]) for row in older] == [("region", "eu", 15), ("region", "us", 20)]
    hours = [row async for row in sdk.v1.usage.list(**{**query, "window_size": "HOUR"}, customer_ids=[customer])]
    assert len(hours) == 24
    assert [(row.start_timestamp.hour, row.value) for row in hours if row.value is not None] == [(now.hour, 35)]
    groups = sdk.v1.usage.list_with_groups(
        customer_id=customer,
        billable_metric_id=metric,
        window_size="none",
        current_period=True,
        group_key=["region", "model"],
        limit=1,
    )
    assert [(row.group, row.value) async for row in groups] == [({"region": "eu"}, 15), ({"region": "us"}, 20)]

    found = await sdk.v1.usage.search(transaction_ids=["seen-0", "seen-3", "t-unknown"])
    assert {each.transaction_id for each in found} == {"seen-0", "seen-3"}
    by_id = {each.transaction_id: each for each in found}
    assert by_id["seen-0"].customer_id == "alias"
    assert by_id["seen-0"].properties == {"tokens": "10.5", "region": "eu"}
    assert by_id["seen-0"].matched_customer is not None
    assert by_id["seen-0"].matched_customer.id == customer
    assert [each.id for each in by_id["seen-0"].matched_billable_metrics or []] == [metric]
    assert by_id["seen-3"].matched_billable_metrics == []  # its region is filtered out

    await alerts.reset(customer_id=customer, alert_id=ids["spend"])
    await until(statuses, {"spend": "in_alarm", "never": "ok", "regions": "in_alarm", "usage": "in_alarm"})
    await until(lambda: triggered_by(sdk, customer, ids["spend"]), "reset")


async def triggered_by(sdk: AsyncMetronome, customer: str, alert: str) -> str | None:
    return (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert)).data.triggered_by


async def test_balance_segment_and_invoice_alerts(sdk: AsyncMetronome, worker: RunningWorker) -> None:
    """A commit of 10 cents with a custom field, usage at 0.1 cents a token; then a credit on top."""
    product = await make_product(sdk, await make_metric(sdk))
    card = await make_card(sdk, product)
    fixed = (await sdk.v1.contracts.products.create(name="Prepaid", type="FIXED")).data.id
    customer = (await sdk.v1.customers.create(name="Acme", ingest_aliases=["alias"])).data.id
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=midnight(-10), rate_card_id=card, custom_fields={"team": "red"}
        )
    ).data.id
    commits: Any = sdk.v1.customers.commits
    segment = {"amount": 10, "starting_at": midnight(-10), "ending_before": midnight(3)}
    await commits.create(
        customer_id=customer,
        type="PREPAID",
        product_id=fixed,
        priority=1,
        access_schedule={"schedule_items": [segment]},
        custom_fields={"tier": "gold"},
        applicable_contract_ids=[contract],
    )
    alerts = sdk.v1.customers.alerts
    gold: Any = {"entity": "Commit", "key": "tier", "value": "gold"}
    wanted: dict[str, dict[str, Any]] = {
        "left": {"alert_type": "low_remaining_commit_balance_reached", "threshold": 4, "customer_id": customer},
        "silver": {
            "alert_type": "low_remaining_commit_balance_reached",
            "threshold": 4,
            "customer_id": customer,
            "custom_field_filters": [{**gold, "value": "silver"}],
        },
        "share": {
            "alert_type": "low_remaining_contract_credit_and_commit_percentage_reached",
            "threshold": 40,
            "customer_id": customer,
        },
        "days": {
            "alert_type": "low_remaining_days_for_commit_segment_reached",
            "threshold": 5,
            "customer_id": customer,
            "custom_field_filters": [gold],
        },
        "zero": {"alert_type": "low_remaining_contract_credit_and_commit_balance_reached", "threshold": 0},
        "credits": {"alert_type": "low_remaining_contract_credit_balance_reached", "threshold": 1},
        "invoice": {
            "alert_type": "invoice_total_reached",
            "threshold": 2.5,
            "invoice_types_filter": ["USAGE"],
            "custom_field_filters": [{"entity": "Contract", "key": "team", "value": "red"}],
        },
    }
    ids = {name: (await sdk.v1.alerts.create(name=name, **fields)).data.id for name, fields in wanted.items()}

    async def in_alarm() -> set[str] | str:
        listed = {each.alert.name: each.customer_status async for each in alerts.list(customer_id=customer)}
        return {name for name, status in listed.items() if status == "in_alarm"} if "evaluating" not in listed.values() else "-"

    async def use(transaction_id: str, tokens: float) -> None:
        event: Any = {
            "transaction_id": transaction_id,
            "customer_id": "alias",
            "event_type": "call",
            "timestamp": clock.now().isoformat(),
            "properties": {"tokens": tokens, "region": "eu"},
        }
        await sdk.v1.usage.ingest(usage=[event])

    await until(in_alarm, {"days"})
    await use("seen-1", 59.999)
    await use("seen-2", 0.001)
    await until(in_alarm, {"days", "left", "share"})
    await use("seen-3", 65)
    await until(in_alarm, {"days", "left", "share", "zero", "invoice"})
    shown = (await alerts.retrieve(customer_id=customer, alert_id=ids["invoice"])).data
    assert shown.triggered_by == "usage"
    assert shown.alert.invoice_types_filter == ["USAGE"]
    assert [(each.entity, each.key, each.value) for each in shown.alert.custom_field_filters or []] == [
        ("Contract", "team", "red")
    ]
    days = (await alerts.retrieve(customer_id=customer, alert_id=ids["days"])).data
    assert (days.alert.credit_type, days.triggered_by) == (None, "creation")

    credit: Any = {"amount": 50, "starting_at": midnight(-10), "ending_before": midnight(3)}
    await sdk.v1.customers.credits.create(
        customer_id=customer, product_id=fixed, priority=0, access_schedule={"schedule_items": [credit]}
    )
    await until(in_alarm, {"days"})  # the credit pays first, and gives the commit back
