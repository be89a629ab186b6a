"""Batches of records that no ordinary producer writes: what a broken one, or a broken disk, may leave in a log."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

_CRC_AT, _ATTRIBUTES_AT = 17, 21  # in the header of a batch

HEADER = "a-header-of-the-tests"


def bad_header_name(data: bytearray) -> None:
    at = data.index(HEADER.encode())
    data[at : at + len(HEADER)] = b"\xff" * len(HEADER)


def not_what_its_codec_writes(data: bytearray) -> None:
    data[_ATTRIBUTES_AT + 1] |= 4  # zstd


def unknown_codec(data: bytearray) -> None:
    data[_ATTRIBUTES_AT + 1] |= 7


def bad_length(data: bytearray) -> None:
    data[61] = 0x7F  # of the first record, in what it says of itself


BREAKS: tuple[Callable[[bytearray], None], ...] = (bad_header_name, not_what_its_codec_writes, unknown_codec, bad_length)


async def produce_broken(
    bootstrap_servers: str, topic: str, partition: int, values: Sequence[bytes], change: Callable[[bytearray], None]
) -> None:
    """One batch of the values, the last of them with a header; changed as told, with a checksum that fits."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=False)
    await producer.start()
    try:
        batch: Any = producer.create_batch()
        for value in values:
            headers = [(HEADER, b"x")] if value is values[-1] else []
            assert batch.append(key=None, value=value, timestamp=None, headers=headers) is not None
        build = batch._build

        def changed() -> bytes:
            data = bytearray(build())
            change(data)
            struct.pack_into(">I", data, _CRC_AT, calc_crc32c(bytes(data[_ATTRIBUTES_AT:])))
            return bytes(data)

        batch._build = changed
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
