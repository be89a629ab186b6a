"""Compressed batches: what the codecs of ordinary producers write, up to the bound; a bomb stops at it."""

from __future__ import annotations

import gzip
import os
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record import default_records, legacy_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from connectors.kafka.errors import UNREADABLE
from connectors.kafka.unpacking import BatchTooLarge, Decoders, bound_batches
from connectors.settings import Settings

BOUND = 1_048_576
CODECS = {
    "gzip": codec.gzip_encode,
    "snappy": codec.snappy_encode,
    "lz4": codec.lz4_encode,
    "zstd": codec.zstd_encode,
    "raw snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
}


def decoder(name: str) -> Any:
    return getattr(Decoders(BOUND), f"{name.removeprefix('raw ')}_decode")


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [0, 1, 70_000, BOUND])
def test_what_was_written_is_read_up_to_the_bound(name: str, size: int) -> None:
    for data in (b"x" * size, os.urandom(size)):
        assert bytes(decoder(name)(CODECS[name](data))) == data


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [BOUND + 1, 40 * BOUND])
def test_what_is_larger_is_refused(name: str, size: int) -> None:
    with pytest.raises(BatchTooLarge, match="TIDEMARK_BATCH_BYTES_MAX"):
        decoder(name)(CODECS[name](b"x" * size))
    assert issubclass(BatchTooLarge, UNREADABLE)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    "harm", [lambda data: data[:-7], lambda data: data[:40] + b"\xff" * 9 + data[49:], lambda _: b"", lambda _: b"\xff"]
)
def test_what_is_broken_raises_what_the_worker_expects(name: str, harm: Any) -> None:
    """Or gives some bytes, where the codec has no checksum: the records' own form is looked at then."""
    broken = harm(CODECS[name](os.urandom(3_000)))
    try:
        decoder(name)(broken)
    except UNREADABLE:
        pass


def test_blocks_of_snappy_that_lie_about_their_sizes() -> None:
    header = codec.snappy_encode(b"")[:16]
    for size in (-1, -(2**31), 2**31 - 1, 0):
        with pytest.raises(UNREADABLE):
            Decoders(BOUND).snappy_decode(header + size.to_bytes(4, "big", signed=True) + b"\xff" * 30)


@pytest.mark.parametrize("magic", [1, 2])
@pytest.mark.parametrize("compression", [1, 2, 3])
def test_the_consumers_records_go_through_it(magic: int, compression: int) -> None:
    if magic == 2:
        newer = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 10_000_000)
        for number in range(3):
            assert newer.append(number, number, None, b"x" * 500_000, [])
        batch = bytes(newer.build())
    else:
        older = LegacyRecordBatchBuilder(1, compression, 10_000_000)
        for number in range(3):
            assert older.append(number, number, None, b"x" * 500_000)
        batch = bytes(older.build())
    try:
        bound_batches(2_000_000)
        assert [len(record.value) for record in MemoryRecords(batch).next_batch()] == [500_000] * 3
        bound_batches(1_000_000)
        with pytest.raises(BatchTooLarge):
            list(MemoryRecords(batch).next_batch())
    finally:
        bound_batches(Settings().batch_bytes_max)


def test_every_decoder_that_aiokafka_uses_is_bounded() -> None:
    bound_batches(BOUND)
    try:
        for module in (default_records, legacy_records):
            for name in vars(module):
                if name.endswith("_decode"):
                    assert isinstance(getattr(module, name).__self__, Decoders), name
    finally:
        bound_batches(Settings().batch_bytes_max)
    assert gzip.decompress(codec.gzip_encode(b"a")) == b"a"
