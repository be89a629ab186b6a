"""The worker on a real Apache Kafka: what the mock cluster cannot do (transactions, deletion of records and topics)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from connectors.kafka import topic_watch
from connectors.kafka.client import admin
from connectors.kafka.ends import Ends
from connectors.kafka.group import GroupTaken
from connectors.kafka.metadata import topics_now
from connectors.kafka.topics import PartitionCountChanged
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


async def _make_anew(harness: Harness, topic: str, partitions: int) -> None:
    client = admin(harness.settings)
    await client.start()
    await client.delete_topics([topic])
    while topic in await topics_now(client, [topic]):
        await asyncio.sleep(0.02)
    if partitions:
        await client.create_topics([NewTopic(topic, partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    await client.close()


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it does not"])
async def test_a_topic_that_was_deleted_and_made_anew_is_read_from_its_beginning(
    real: Harness, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """By offsets alone, the first events of the new log would be taken for read. What was counted before is not counted again."""
    monkeypatch.setattr(topic_watch, "LOOK_EVERY_S", 0.2)
    customer_id = customer_in(0)
    await real.create(customer_id)
    worker = await real.worker()
    names = [f"t-{number}" for number in range(40)]
    await real.produce_many(0, [event(name, customer_id) for name in names[:30]])
    await real.until(lambda: _applied(real, customer_id, names[:30]), "30 events")
    if not running:
        await worker.stop()
    await _make_anew(real, real.settings.topic_events, PARTITIONS)
    await real.reconnect()
    await real.produce_many(0, [event(name, customer_id) for name in [*names[30:], *names[:25], "last"]])
    if not running:
        await real.worker()
    await real.until(lambda: _applied(real, customer_id, [*names, "last"]), "the new topic's events")


async def test_a_topic_with_fewer_partitions_ends_a_running_worker_and_a_deleted_dead_letter_topic_is_made_again(
    real: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_watch, "LOOK_EVERY_S", 0.2)
    worker = await real.worker()
    await real.produce(0, b"no event")
    await real.until(lambda: _reached(real, 0, 1), "the first dead letter")
    await _make_anew(real, real.settings.topic_dead_letters, 0)
    await real.produce(0, b"no event either")
    await real.until(lambda: _reached(real, 0, 2), "the second dead letter")
    assert [value for _, value in await real.dead_letters()] == [b"no event either"]
    await _make_anew(real, real.settings.topic_events, PARTITIONS - 1)
    with pytest.raises(PartitionCountChanged, match="2 partitions, but Redis was filled when it had 3"):
        await worker.ended()


async def _applied(harness: Harness, customer_id: str, names: list[str]) -> bool:
    return await harness.applied(customer_id) == names


async def _reached(harness: Harness, partition: int, offset: int) -> bool:
    return await _stored(harness, partition) >= offset


async def test_two_installations_share_a_topic_in_two_groups_and_never_one_group(real: Harness, tmp_path: Path) -> None:
    """By default each has a group of its own and counts all of the usage; with one name for both the second is not started."""
    customer_id = customer_in(0)
    other_redis = RedisServer(dir=tmp_path / "other")
    other_redis.start()
    servers = real.settings.kafka_bootstrap_servers
    own = {name: getattr(real.settings, name) for name in ("topic_events", "topic_dead_letters")}
    try:
        async with Harness(servers, other_redis.url, **own, kafka_session_timeout_ms=6_000) as other:
            for installation in (real, other):
                await installation.create(customer_id)
                await installation.worker(consumer_group="")
            await real.produce(0, event("for-both", customer_id))
            for installation in (real, other):
                await installation.until(functools.partial(_applied, installation, customer_id, ["for-both"]), "both to count it")
            named = await real.worker()  # with the group of the settings, which it marks as its own
            await real.until(functools.partial(_mirrored, real), "the group to be marked")
            with pytest.raises(GroupTaken, match="TIDEMARK_CONSUMER_GROUP"):
                await other.worker(consumer_group=real.settings.consumer_group)
            assert not named.over
    finally:
        other_redis.kill()


async def _mirrored(harness: Harness) -> bool:
    return await harness.mirrored(0) == 1
