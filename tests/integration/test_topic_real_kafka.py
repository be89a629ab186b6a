"""The topic of notifications on a real Apache Kafka: made where it is missing, and then written to in order."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from connectors.kafka.client import admin, consumer
from connectors.settings import Settings
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.signatures import Signing
from connectors.webhooks.topic import Topic
from tests.support.dispatching import notification

pytestmark = pytest.mark.kafka


async def test_the_topic_is_made_and_records_are_acknowledged_in_order(kafka: str) -> None:
    name = f"notifications-{uuid4()}"
    settings = Settings(kafka_bootstrap_servers=kafka, topic_notifications=name, topic_partitions=3)
    endpoint = Endpoint("kafka", "", Signing(()), type="kafka")
    topic = Topic(endpoint, settings)
    entries = [notification(number, customer_id="one") for number in range(20)]
    attempts = [await topic.attempt(entry, None) for entry in entries[:10]]
    await topic.close()  # and begins anew
    attempts += await asyncio.gather(*(topic.attempt(entry, None) for entry in entries[10:]))
    await topic.close()
    assert {attempt.outcome for attempt in attempts} == {"success"}
    client = admin(settings)
    await client.start()
    (description,) = await client.describe_topics([name])
    await client.close()
    assert len(description["partitions"]) == 3
    reader = consumer(settings)
    await reader.start()
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    reader.assign(partitions)
    await reader.seek_to_beginning(*partitions)
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while len(found) < 20:
            found += [record.value for some in (await reader.getmany(timeout_ms=200)).values() for record in some]
    await reader.stop()
    assert found[:10] == [entry.body for entry in entries[:10]]
    assert sorted(found[10:]) == sorted(entry.body for entry in entries[10:])
