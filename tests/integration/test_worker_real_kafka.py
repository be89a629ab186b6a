"""The worker on a real Apache Kafka: what the mock cluster cannot do (transactions, deletion of records and topics)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from connectors.kafka.client import admin
from connectors.kafka.ends import Ends
from connectors.redis.keys import PartitionKeys
from tests.support.redis_server import RedisServer
from tests.support.tally import TallyAggregate
from tests.support.worker_harness import PARTITIONS, Harness, customer_in, event

pytestmark = pytest.mark.kafka


@pytest.fixture
async def real(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    """Topics and a group of its own, without a worker yet."""
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", TallyAggregate)
    name = uuid4().hex[:8]
    server = RedisServer(dir=tmp_path)
    server.start()
    changes = {
        "topic_events": f"events-{name}",
        "topic_dead_letters": f"dead-{name}",
        "consumer_group": f"group-{name}",
        "topic_partitions": PARTITIONS,
        "kafka_session_timeout_ms": 6_000,
        "unknown_offset_policy": "fail",
    }
    try:
        async with Harness(kafka, server.url, **changes) as harness:
            yield harness
    finally:
        server.kill()


async def _stored(harness: Harness, partition: int) -> int:
    return int(await harness.redis.hget(PartitionKeys(partition).position, "next_offset") or 0)


async def _end(harness: Harness, partition: int) -> int:
    ends, here = Ends(harness.settings), TopicPartition(harness.settings.topic_events, partition)
    try:
        return (await ends.of([here]))[here]
    finally:
        await ends.stop()


async def test_of_transactions_what_was_committed_counts_and_the_position_passes_over_the_rest(real: Harness) -> None:
    """3 committed and 5 aborted events count 3; an open transaction holds the position back, and counts once it is committed.
    Markers behind the last record leave no lag, and their deletion is no loss of usage."""
    customer_id, topic = customer_in(0), real.settings.topic_events
    await real.create(customer_id)
    worker = await real.worker()
    producer = AIOKafkaProducer(bootstrap_servers=real.settings.kafka_bootstrap_servers, transactional_id=f"t-{topic}")
    await producer.start()

    async def send(*names: str) -> None:
        for name in names:
            await producer.send_and_wait(topic, event(name, customer_id), partition=0)

    async def no_lag() -> bool:
        return await _stored(real, 0) == await _end(real, 0)

    async with producer.transaction():
        await send("a-0", "a-1", "a-2")
    await producer.begin_transaction()
    await send(*(f"aborted-{number}" for number in range(5)))
    await producer.abort_transaction()
    await real.until(no_lag, "the position to pass over what was aborted, and the markers")
    assert await real.applied(customer_id) == ["a-0", "a-1", "a-2"]
    assert await _end(real, 0) == 3 + 5 + 2

    await producer.begin_transaction()
    await send("b-0", "b-1")
    held = await _end(real, 0) - 2
    await real.produce(0, event("behind", customer_id))
    await real.produce(1, event("elsewhere", customer_in(1)))
    await real.until(lambda: _reached(real, 1, 1), "the other partition to go on")
    assert await _stored(real, 0) == held
    assert await real.applied(customer_id) == ["a-0", "a-1", "a-2"]
    await producer.commit_transaction()
    await real.until(no_lag, "the transaction to count")
    assert await real.applied(customer_id) == ["a-0", "a-1", "a-2", "b-0", "b-1", "behind"]
    await producer.stop()

    await worker.stop()
    client = admin(real.settings)
    await client.start()
    await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=await _end(real, 0))})
    await client.close()
    await real.worker()  # with the policy "fail": nothing unread was deleted
    await real.produce(0, event("after", customer_id))
    await real.until(no_lag, "what came after the deletion")
    assert (await real.applied(customer_id))[-1] == "after"


async def _reached(harness: Harness, partition: int, offset: int) -> bool:
    return await _stored(harness, partition) >= offset
