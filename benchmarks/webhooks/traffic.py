"""Notifications of a usual size, and what holds them: endpoints and outboxes, written as the API and the workers write them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import orjson
from redis.asyncio import Redis

from connectors.redis.batches import outbox_fields
from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys
from connectors.redis.types import OutboxEntry

PARTITIONS = 12
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_AT_ONCE = 1_000


def notification(number: int, customers: int = 2**53) -> OutboxEntry:
    """Of an alert of its own, so that none waits for another; some 500 bytes."""
    now_ms = time.time_ns() // 1_000_000
    properties = {
        "customer_id": f"customer-{number % customers}",
        "alert_id": f"alert-{number}",
        "threshold": 100,
        "credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2",
        "current_spend": 100.25,
        "evidence": {"transaction_id": f"transaction-{number}", "value_before": "99.75", "value_after": "100.25"},
        "period": {"starting_on": "2026-01-01T00:00:00+00:00", "ending_before": "2026-02-01T00:00:00+00:00"},
    }
    body = {"id": f"n-{number}", "type": "alerts.spend_threshold_reached", "written_ms": now_ms, "properties": properties}
    customer_id, alert_id = properties["customer_id"], properties["alert_id"]
    return OutboxEntry(f"n-{number}", str(body["type"]), str(customer_id), str(alert_id), orjson.dumps(body), None, now_ms)


async def register(redis: Redis, urls: Sequence[str], *, a_customer_each: bool = False) -> None:
    """One enabled endpoint for each URL, on an empty server; for all notifications, or for those of one customer."""
    await redis.flushall()
    catalog = CatalogStore(redis)
    await catalog.fix_partitions(PARTITIONS)
    for number, url in enumerate(urls):
        document = {"id": f"e-{number}", "url": url, "secret": SECRET, "enabled": True}
        if a_customer_each:
            document["customer_ids"] = [f"customer-{number}"]
        await catalog.put_endpoint(f"e-{number}", orjson.dumps(document))


async def write(redis: Redis, numbers: Iterable[int], customers: int = 2**53) -> None:
    pipeline = redis.pipeline(transaction=False)
    for number in numbers:
        fields = outbox_fields(notification(number, customers))
        pipeline.xadd(PartitionKeys(number % PARTITIONS).outbox, dict(zip(fields[::2], fields[1::2], strict=True)))
        if len(pipeline) >= _AT_ONCE:
            await pipeline.execute()
    await pipeline.execute()
