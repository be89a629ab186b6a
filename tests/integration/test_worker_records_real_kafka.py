"""What ordinary producers write to a real Apache Kafka, in each codec; and what a real broker refuses of what we write."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from confluent_kafka import Producer

from connectors.kafka.client import admin
from tests.integration.test_worker_real_kafka import real
from tests.support.worker_harness import Counters, Harness, customer_in, event

pytestmark = pytest.mark.kafka

__all__ = ["real"]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
OF_EACH = 20


async def test_records_in_every_codec_of_ordinary_producers_are_counted(real: Harness) -> None:
    """librdkafka's client and aiokafka's, with batches of many records: single ones are often left as they are."""
    servers, topic, customer_id = real.settings.kafka_bootstrap_servers, real.settings.topic_events, customer_in(0)
    await real.create(customer_id)
    await real.worker()
    for codec in CODECS:
        named = Producer({"bootstrap.servers": servers, "compression.type": codec, "linger.ms": 200})
        for number in range(OF_EACH):
            named.produce(topic, event(f"confluent-{codec}-{number}", customer_id, text="x" * 200), partition=0)
        assert await asyncio.to_thread(named.flush, 20) == 0
        other = AIOKafkaProducer(
            bootstrap_servers=servers, compression_type=None if codec == "none" else codec, linger_ms=200, acks="all"
        )
        await other.start()
        sent = [
            await other.send(topic, event(f"aiokafka-{codec}-{number}", customer_id, text="x" * 200), partition=0)
            for number in range(OF_EACH)
        ]
        await asyncio.gather(*sent)
        await other.stop()
    await real.settled()
    wanted = {f"{client}-{codec}-{n}" for client in ("confluent", "aiokafka") for codec in CODECS for n in range(OF_EACH)}
    assert set(await real.applied(customer_id)) == wanted


async def test_dead_letters_fit_a_topic_that_is_compacted_and_takes_little(real: Harness) -> None:
    """A letter that the topic refuses is sent shorter; what was refused does not spoil what is produced after it."""
    topic, customer_id = real.settings.topic_dead_letters, customer_in(0)
    client = admin(real.settings)
    await client.start()
    configuration = {"cleanup.policy": "compact", "max.message.bytes": "6000", "message.timestamp.type": "LogAppendTime"}
    await client.create_topics([NewTopic(topic, 1, 1, topic_configs=configuration)])
    await client.close()
    await real.create(customer_id)
    await real.worker()
    counters = Counters()
    for number in range(3):
        await real.produce(0, b"x" * 100_000, key=b"k" * 100_000, headers=[("ce_a", b"y" * 5_000)])
        await real.produce_many(0, [b"{" + b"x" * 3_000] * 5)  # together they are more than the topic takes at once
        await real.produce(0, event(f"good-{number}", customer_id))
    await real.settled()
    assert await real.applied(customer_id) == [f"good-{number}" for number in range(3)]
    assert counters.grown()["rejected"] == 18
    letters = await real.dead_letters()
    assert len(letters) == 18
    cut = [(headers, value) for headers, value in letters if (value or b"").startswith(b"x")]
    assert {(headers["truncated"], headers["key_truncated"], value) for headers, value in cut} == {("true", "true", b"x" * 1_024)}
    assert [value for headers, value in letters if "truncated" not in headers] == [b"{" + b"x" * 3_000] * 15


async def test_a_forward_that_the_topic_refuses_is_a_dead_letter(real: Harness) -> None:
    topic, customer_id = real.settings.topic_events, customer_in(1)
    client = admin(real.settings)
    await client.start()
    limits = {"max.message.bytes": "20000", "message.timestamp.type": "LogAppendTime"}
    await client.create_topics([NewTopic(topic, 3, 1, topic_configs=limits)])
    await client.close()
    await real.create(customer_id)
    await real.worker()
    fits = 20_000 - 61 - len(event("large", customer_id, text="")) - 20  # as it comes; not with the headers of the move
    for number in range(3):
        await real.produce(0, event(f"large-{number}", customer_id, text="x" * fits))
        await real.produce_many(0, [event(f"small-{number}-{n}", customer_id, text="x" * 1_500) for n in range(10)])
        await real.settled()
    wanted = sorted(f"small-{number}-{n}" for number in range(3) for n in range(10))

    async def moved() -> bool:
        return sorted(await real.applied(customer_id)) == wanted

    await real.until(moved, "the small events to move home")
    letters = await real.dead_letters()
    assert [headers["reason"] for headers, _ in letters] == ["record_too_large"] * 3
