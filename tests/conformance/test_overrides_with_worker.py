"""With a worker behind the API: overrides and usage filters move an alert's status at once, without new usage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from metronome import AsyncMetronome

from connectors import clock
from tests.conformance.test_sdk import make_card, make_metric, make_product
from tests.conformance.test_with_worker import until, worker
from tests.support.worker_harness import RunningWorker

__all__ = ["worker"]  # the fixture


async def test_a_contracts_own_prices_are_rated_at_once(sdk: AsyncMetronome, worker: RunningWorker) -> None:
    start = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    card = await make_card(sdk, await make_product(sdk, await make_metric(sdk)))  # 0.1 cents a token
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    schedule: Any = {"frequency": "WEEKLY", "day": "CUSTOM_DATE", "billing_anchor_date": start}
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=start, rate_card_id=card, usage_statement_schedule=schedule
        )
    ).data.id
    alert: Any = {"alert_type": "spend_threshold_reached", "threshold": 5, "customer_id": customer}
    alert_id = (await sdk.v1.alerts.create(name="spend", **alert)).data.id
    usage: dict[str, Any] = {"customer_id": customer, "event_type": "call", "timestamp": clock.now().isoformat()}
    events: Any = [{**usage, "transaction_id": region, "properties": {"tokens": 20, "region": region}} for region in ("eu", "us")]
    await sdk.v1.usage.ingest(usage=events)

    async def total() -> float:
        rows = sdk.v1.usage.list(
            starting_on=start.replace(hour=0),
            ending_before=start.replace(hour=0) + timedelta(days=3),
            window_size="NONE",
            customer_ids=[customer],
        )
        return sum([row.value or 0 async for row in rows])

    async def status() -> tuple[str | None, str | None]:
        found = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert_id)).data
        return found.customer_status, found.triggered_by

    await until(total, 40)
    assert (await status())[0] == "ok"  # 4 of 5 cents
    double: Any = {"starting_at": start, "type": "MULTIPLIER", "multiplier": 2}
    await sdk.v2.contracts.edit(customer_id=customer, contract_id=contract, add_overrides=[double])
    await until(status, ("in_alarm", "contract_change"))  # 8 cents
    await sdk.v1.contracts.set_usage_filter(
        customer_id=customer, contract_id=contract, group_key="region", group_values=["eu"], starting_at=start
    )
    await until(status, ("ok", None))  # 4 cents
