"""A dispatcher in the test's own event loop, with its Redis, its endpoints and notifications to deliver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import orjson
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from connectors import clock
from connectors.redis.batches import outbox_fields
from connectors.redis.catalog import CatalogStore
from connectors.redis.deliveries import DeliveryLog
from connectors.redis.keys import PartitionKeys
from connectors.redis.outbox import Outbox
from connectors.redis.types import LoggedDelivery, OutboxDepth, OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.dispatcher import run_dispatcher

PARTITIONS = 3
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings_for(redis_url: str, **changes: object) -> Settings:
    """Impatient, and allowed to reach loopback."""
    fields: dict[str, object] = {
        "redis_url": redis_url,
        "webhook_allow_private": True,
        "webhook_retry_steps_s": "0.05,0.1,0.2",
        "webhook_retry_timeout_step_s": 0.1,
        "webhook_breaker_open_s": 0.1,
        "webhook_timeout_s": 2.0,
        "webhook_claim_idle_s": 4.0,
        "drain_timeout_s": 10.0,
    }
    return Settings(**(fields | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def dispatching(settings: Settings) -> AsyncIterator[None]:
    """Runs while the block does, and then drains. A crash of the dispatcher fails the test."""
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(run_dispatcher(settings, stop, ready.set))
    started = asyncio.create_task(ready.wait())
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        if not running.done():
            yield
    finally:
        stop.set()
        await running


def notification(
    number: int, *, customer_id: str | None = None, alert_id: str = "a-1", traceparent: str = "", **properties: object
) -> OutboxEntry:
    now_ms = clock.now_ms()
    body = {"id": f"n-{number}", "type": "alerts.spend_threshold_reached", "properties": {"sequence": number, **properties}}
    return OutboxEntry(
        id=f"n-{number}",
        type="alerts.spend_threshold_reached",
        customer_id=customer_id or f"customer-{number}",
        alert_id=alert_id,
        body=orjson.dumps(body),
        appended_at_ms=now_ms,
        written_at_ms=now_ms,
        traceparent=traceparent,
    )


class Box:
    """The outboxes of all partitions, and the endpoints, as worker and API see them."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.catalog = CatalogStore(redis)
        self.outboxes = [Outbox(redis, partition) for partition in range(PARTITIONS)]
        self.logs = [DeliveryLog(redis, partition) for partition in range(PARTITIONS)]

    async def empty(self) -> None:
        await self.redis.flushall()
        await self.catalog.fix_partitions(PARTITIONS)

    async def add_endpoint(self, endpoint_id: str, url: str, *, enabled: bool = True, **more: object) -> None:
        document = {"id": endpoint_id, "url": url, "secret": SECRET, "enabled": enabled, "name": "by hand", **more}
        await self.catalog.put_endpoint(endpoint_id, orjson.dumps(document))

    async def write(self, entries: Iterable[OutboxEntry]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for number, entry in enumerate(entries):
            fields = outbox_fields(entry)
            keys = PartitionKeys(number % PARTITIONS)
            pipeline.xadd(keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)))
        await pipeline.execute()

    async def write_to(self, partition: int, entry: OutboxEntry) -> None:
        fields = outbox_fields(entry)
        await self.redis.xadd(PartitionKeys(partition).outbox, dict(zip(fields[::2], fields[1::2], strict=True)))

    async def depth(self) -> OutboxDepth:
        depths = [await outbox.depth() for outbox in self.outboxes]
        return OutboxDepth(sum(depth.entries for depth in depths), sum(depth.retries for depth in depths), None)

    async def logged(self) -> list[LoggedDelivery]:
        """All that the log holds, the latest change first within a partition."""
        return [each for log in self.logs for each in await log.before(2**60, None, 10_000)]

    async def until_empty(self, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while await self.depth() != OutboxDepth(0, 0, None):
                await asyncio.sleep(0.02)

    async def until_disabled(self, endpoint_id: str, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while orjson.loads((await self.catalog.endpoints())[endpoint_id])["enabled"]:
                await asyncio.sleep(0.02)

    async def until_depth(self, entries: int, retries: int, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while await self.depth() != OutboxDepth(entries, retries, None):
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def sample(name: str, **labels: str) -> float:
    """The value of a metric of this process; 0 if it was never touched."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
