"""The embedded broker's gateway: ordinary clients stay at the port that they were given, whatever else comes in there."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from random import Random

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka.admin import AdminClient

from connectors.embedded.gateway import Gateway
from tests.support.kafka_server import free_port
from tests.support.mock_kafka import MockKafka

TOPIC = "usage-events"


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    with MockKafka({TOPIC: 3}) as kafka:
        port = await Gateway(kafka.bootstrap_servers).start(free_port(), or_any=False)
        yield f"127.0.0.1:{port}"


async def test_clients_are_told_the_gateways_address_and_records_go_through_unchanged(gateway: str) -> None:
    value = b"127.0.0.1" + os.urandom(300_000)
    producer = AIOKafkaProducer(bootstrap_servers=gateway)
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=gateway, group_id="g", auto_offset_reset="earliest")
    await producer.start()
    await consumer.start()
    try:
        await producer.send_and_wait(TOPIC, value)
        assert (await asyncio.wait_for(consumer.getone(), 20)).value == value
    finally:
        await consumer.stop()
        await producer.stop()
    brokers = (await asyncio.to_thread(AdminClient({"bootstrap.servers": gateway}).list_topics, timeout=20)).brokers
    assert {f"{broker.host}:{broker.port}" for broker in brokers.values()} == {gateway}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\0\0\0\x04\0\0\0\0", Random(1).randbytes(4096)])
async def test_what_is_not_kafka_ends_its_own_connection_alone(gateway: str, sent: bytes) -> None:
    host, port = gateway.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    writer.close()
    brokers = (await asyncio.to_thread(AdminClient({"bootstrap.servers": gateway}).list_topics, timeout=20)).brokers
    assert brokers


async def test_a_port_that_is_taken_is_refused_or_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await Gateway("127.0.0.1:1").start(port, or_any=False)
        assert await Gateway("127.0.0.1:1").start(port, or_any=True) != port
