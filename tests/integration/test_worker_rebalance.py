"""Workers that come and go in one consumer group, on a real Apache Kafka: the mock cluster serves only one member reliably."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.support.redis_server import RedisServer
from tests.support.tally import TallyAggregate
from tests.support.worker_harness import PARTITIONS, Harness, customer_in, event

RECORDS = 1_500


@pytest.mark.kafka
async def test_partitions_that_change_hands_under_load_lose_and_repeat_nothing(
    kafka: str, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", TallyAggregate)
    name = uuid.uuid4().hex[:8]
    own = {
        "topic_events": f"usage-events-{name}",
        "topic_dead_letters": f"dead-letters-{name}",
        "topic_partitions": PARTITIONS,
        "consumer_group": f"worker-{name}",
        "kafka_session_timeout_ms": 6_000,
    }
    async with Harness(kafka, worker_valkey.url, **own) as harness:
        first = await harness.worker()
        customers = [customer_in(partition) for partition in range(PARTITIONS)]
        for customer_id in customers:
            await harness.create(customer_id)

        async def feed() -> None:
            for number in range(RECORDS):
                partition = number % PARTITIONS
                await harness.produce(partition, event(f"t-{number}", customers[partition]))

        feeding = asyncio.create_task(feed())
        second = await harness.worker()
        await first.stop()
        await harness.worker()
        await second.stop()
        await feeding
        await harness.settled()
        notified = await harness.outbox()
        for partition, customer_id in enumerate(customers):
            expected = [f"t-{number}" for number in range(partition, RECORDS, PARTITIONS)]
            assert await harness.applied(customer_id) == expected
            assert len(notified[customer_id]) == len(set(notified[customer_id])) == len(expected)
