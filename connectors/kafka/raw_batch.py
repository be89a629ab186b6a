"""A batch of records as the broker has it, unread: to pass over one that nobody can read, and to keep its bytes."""

from __future__ import annotations

import struct
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, for_code
from aiokafka.protocol.fetch import FetchRequest

from connectors.kafka import client
from connectors.settings import Settings

_WAIT_MS = 500
_BYTES_MAX = 64 * 1_048_576
_HEADER = struct.Struct(">qiibIhi")  # base offset, length, leader epoch, magic, checksum, attributes, last offset's delta
_MAGIC = 2


class RawBatch(NamedTuple):
    """Offsets ``first`` to ``next_offset`` - 1; ``data``: all of its bytes."""

    first: int
    next_offset: int
    data: bytes


async def batch_at(settings: Settings, here: TopicPartition, offset: int) -> RawBatch | None:
    """The batch that holds an offset; None if the log ends before it, or the batch is of an older format. Raises KafkaError."""
    consumer = client.consumer(settings, committed=False)
    await consumer.start()
    try:
        cluster = consumer._client
        await cluster.add_topic(here.topic)
        leader = cluster.cluster.leader_for_partition(here)
        if leader is None or leader < 0:
            raise KafkaConnectionError(f"{here.topic}[{here.partition}] has no leader")
        request = FetchRequest(_WAIT_MS, 1, _BYTES_MAX, 0, [(here.topic, [(here.partition, offset, _BYTES_MAX)])])
        answer = await cluster.send(leader, request)
        ((_, ((_, code, *_, data),)),) = answer.topics
    finally:
        await consumer.stop()
    if code:
        raise for_code(code)(f"{here.topic}[{here.partition}] at {offset}")
    if data is None or len(data) < _HEADER.size:
        return None
    base, length, _, magic, _, _, last = _HEADER.unpack_from(data)
    return None if magic != _MAGIC else RawBatch(base, base + last + 1, bytes(data[: 12 + length]))
