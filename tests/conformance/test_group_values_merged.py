"""A group key that holds a request id: whoever reads its values is told that some are counted together, and so are endpoints."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from metronome import AsyncMetronome

from connectors import clock
from connectors.redis.keys import partition_of
from tests.conformance.conftest import PARTITIONS, Api
from tests.conformance.test_poison_records import notices
from tests.conformance.test_sdk import make_card, make_metric, make_product
from tests.conformance.test_with_worker import midnight, until
from tests.support.worker_harness import RunningWorker

MERGED = "tidemark:other"


async def raw(sdk: AsyncMetronome, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: Any = await sdk.post(path, cast_to=object, body=body)
    return dict(answer)


@pytest.mark.parametrize("group_values_max", [2, 4])
async def test_values_that_are_counted_together_are_told(sdk: AsyncMetronome, api: Api, group_values_max: int) -> None:
    """Of four values with 10 tokens each; with a bound of 4 there is nothing to tell."""
    together = group_values_max < 4
    metric = await make_metric(sdk)
    card = await make_card(sdk, await make_product(sdk, metric))  # 0.1 cents a token
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    await sdk.v1.contracts.create(customer_id=customer, starting_at=midnight(-10), rate_card_id=card)
    each = await sdk.v1.alerts.create(
        name="each", alert_type="spend_threshold_reached", threshold=2, customer_id=customer, group_values=[{"key": "region"}]
    )
    changes = {"tick_ms": 20, "consumer_group": f"group-{uuid4()}", "group_values_max": group_values_max}
    worker = await RunningWorker(api.settings.model_copy(update=changes)).start()
    try:
        events: Any = [
            {
                "transaction_id": f"t-{number}",
                "customer_id": customer,
                "event_type": "call",
                "timestamp": clock.now().isoformat(),
                "properties": {"tokens": 10, "region": region, "model": "m"},
            }
            for number, region in enumerate("abcd")
        ]
        await sdk.v1.usage.ingest(usage=events)
        span = {"starting_on": midnight(-1).isoformat(), "ending_before": midnight(2).isoformat(), "window_size": "NONE"}
        one = {"customer_id": customer, "billable_metric_id": metric, **span}
        by_region = {**one, "group_key": ["region"]}
        found = {"a": 10, "b": 10, MERGED: 20} if together else dict.fromkeys("abcd", 10)

        async def groups() -> dict[str, float]:
            return {row["group_value"]: row["value"] for row in (await raw(sdk, "/v1/usage/groups", by_region))["data"]}

        await until(groups, found)
        metrics = [{"id": metric, "group_by": {"key": "region", "values": ["c"]}}]
        answers = [
            await raw(sdk, "/v1/usage/groups", by_region),
            await raw(sdk, "/v1/usage/groups", {**by_region, "group_filters": {"region": ["c"]}}),
            await raw(sdk, "/v1/usage", {**one, "group_by": {"key": "region"}}),
            await raw(sdk, "/v1/usage", {**span, "billable_metrics": metrics}),
        ]
        for answer in answers:
            assert len(answer.get("warnings", [])) == together, answer
            assert all(word in warning for warning in answer.get("warnings", []) for word in (MERGED, customer, metric, "region"))
        assert "warnings" not in await raw(sdk, "/v1/usage/groups", one)

        wanted = {"customer_id": customer, "alert_id": each.data.id}
        for body in (wanted, {**wanted, "group_values": [{"key": "region", "value": "c"}]}):
            assert len((await raw(sdk, "/v1/customer-alerts/get", body)).get("warnings", [])) == together
        listed = await raw(sdk, "/v1/customer-alerts/list", {"customer_id": customer})
        assert len(listed.get("warnings", [])) == together

        rows = sdk.v1.usage.list_with_groups(**{**by_region, "window_size": "none"})  # type: ignore[arg-type]
        assert {row.group_value: row.value async for row in rows} == found
        status = await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=each.data.id)
        assert status.data.customer_status == ("in_alarm" if together else "ok")

        await sdk.v1.usage.ingest(usage=[{**events[0], "transaction_id": "late", "properties": {"tokens": 1, "region": "e"}}])
        await until(lambda: total(sdk, one), 41)
        told = await notices(api, customer)
    finally:
        await worker.stop()
    if not together:
        assert {notice["transaction_id"] for notice in told} == {"late"}  # the fifth value
        return
    assert len(told) == len({notice["detail"] for notice in told}) == 2  # of (region) and (region, model) each one
    for notice in told:
        assert notice == {
            **{name: notice[name] for name in ("timestamp", "detail", "offset", "index")},
            "customer_id": customer,
            "transaction_id": "t-2",
            "reason": "group_values_merged",
            "counted": "yes",
            "billable_metric_ids": [metric],
            "topic": api.settings.topic_events,
            "partition": partition_of(customer, PARTITIONS),
        }
        assert all(word in notice["detail"] for word in ("region", "2 combinations", "TIDEMARK_GROUP_VALUES_MAX", MERGED))


async def total(sdk: AsyncMetronome, one: dict[str, Any]) -> float | None:
    (row,) = (await raw(sdk, "/v1/usage/groups", one))["data"]
    value: float | None = row["value"]
    return value
