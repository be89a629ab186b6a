"""Starts against Kafka as it may be set up: refused with what to do, or told of; and lag as it is measured from outside."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from prometheus_client import REGISTRY
from pydantic import SecretStr

from connectors.kafka.client import admin
from connectors.kafka.errors import KafkaMisconfigured
from connectors.kafka.lag import LagOfAll
from connectors.kafka.topic_settings import TopicUnfit, check_topic, topic_configs, topic_warnings
from connectors.kafka.topics import ensure_topics
from connectors.settings import Settings
from connectors.testing.certificates import self_signed
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer
from tests.support.worker_harness import PARTITIONS, Harness, customer_in, event


async def test_a_broker_whose_certificate_nobody_vouches_for_refuses_the_start(worker_valkey: RedisServer) -> None:
    """aiokafka only says that it could not connect, which would be waited out for ever."""
    context, _ = self_signed()
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = Settings(kafka_bootstrap_servers=address, kafka_security_protocol="SSL", redis_url=worker_valkey.url)
        with pytest.raises(KafkaMisconfigured, match="TIDEMARK_KAFKA_SSL_CAFILE"):
            await asyncio.wait_for(ensure_topics(settings), 20)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (SaslAuthenticationFailed("no such user"), "TIDEMARK_KAFKA_SASL_PASSWORD"),
        (UnsupportedSaslMechanismError("SCRAM only"), "TIDEMARK_KAFKA_SASL_MECHANISM"),
    ],
)
async def test_credentials_that_the_brokers_do_not_take_refuse_the_start(
    worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch, said: KafkaError, told: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise said

    monkeypatch.setattr("aiokafka.client.create_conn", refuse)
    monkeypatch.setattr("connectors.kafka.probe.create_conn", refuse)
    settings = Settings(
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username="u",
        kafka_sasl_password=SecretStr("p"),
        redis_url=worker_valkey.url,
    )
    with pytest.raises(KafkaMisconfigured, match=told):
        await asyncio.wait_for(ensure_topics(settings), 20)


async def test_lag_is_measured_without_a_worker_and_without_redis(
    harness: Harness, mock_kafka: MockKafka, worker_valkey: RedisServer
) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id)
    lag = LagOfAll(harness.settings, harness.redis, PARTITIONS)

    def gauge() -> float | None:
        return REGISTRY.get_sample_value("tidemark_consumer_lag_records", {"partition": "1"})

    await harness.produce_many(1, [event(f"t-{number}", customer_id) for number in range(5)])
    await lag.measure()
    assert (gauge(), lag.records) == (5, {0: 0, 1: 5, 2: 0})  # nobody has ever read it
    worker = await harness.worker()
    await harness.settled()
    await worker.stop()
    await harness.produce(1, event("more", customer_id))
    await lag.measure()
    assert gauge() == 1
    worker_valkey.kill()
    await harness.produce(1, event("even more", customer_id))
    await lag.measure()
    assert gauge() == 2
    mock_kafka.set_down()
    await lag.measure()
    assert gauge() == 2
    mock_kafka.set_up()
    await lag.stop()


@pytest.mark.kafka
async def test_topics_as_others_make_them_and_as_we_do(kafka: str, worker_valkey: RedisServer) -> None:
    name = f"events-{uuid4().hex[:8]}"
    settings = Settings(
        kafka_bootstrap_servers=kafka,
        redis_url=worker_valkey.url,
        topic_events=name,
        topic_dead_letters=f"{name}-dead",
        topic_partitions=2,
    )
    assert await ensure_topics(settings) == 2
    client = admin(settings)
    await client.start()
    try:
        assert await topic_warnings(client, settings) == []
        configs = await topic_configs(client, name)
        assert configs["message.timestamp.type"] == "LogAppendTime"
        assert int(configs["retention.ms"]) > settings.event_age_max_days * 86_400_000
        risky = {"retention.ms": "604800000", "retention.bytes": "1000000", "message.timestamp.type": "CreateTime"}
        await client.create_topics([NewTopic(f"{name}-risky", 2, 1, topic_configs=risky)])
        of_others = settings.model_copy(update={"topic_events": f"{name}-risky"})
        told = "\n".join(await topic_warnings(client, of_others))
        for setting in ("retention.ms=", "retention.bytes=", "LogAppendTime"):
            assert setting in told
        await check_topic(client, of_others)  # told, and taken
        compacted = {"cleanup.policy": "compact,delete"}
        await client.create_topics([NewTopic(f"{name}-compacted", 2, 1, topic_configs=compacted)])
        with pytest.raises(TopicUnfit, match="Set cleanup"):
            await ensure_topics(settings.model_copy(update={"topic_events": f"{name}-compacted"}))
        with pytest.raises(KafkaMisconfigured, match="TIDEMARK_TOPIC_EVENTS"):
            await ensure_topics(settings.model_copy(update={"topic_events": "not a name"}))
        with pytest.raises(KafkaMisconfigured, match="TIDEMARK_TOPIC_REPLICATION"):
            await ensure_topics(settings.model_copy(update={"topic_events": f"{name}-3", "topic_replication": 3}))
    finally:
        await client.close()
