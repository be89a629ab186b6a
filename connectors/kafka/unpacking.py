"""Compressed batches of records, decompressed within bounds.

aiokafka decompresses a batch as a whole, in as much memory as that takes (twice, for some codecs): a batch of one megabyte, which
any broker takes, may hold a gigabyte or a thousand. So its decoders are put in the place of those here, which stop at
``batch_bytes_max``. Ordinary producers write batches of a few megabytes at most before compression.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from typing import Any

import cramjam
from aiokafka.record import default_records, legacy_records

try:
    from aiokafka.record._crecords import default_records as fast_default_records
    from aiokafka.record._crecords import legacy_records as fast_legacy_records
except ImportError:  # a build without its extensions
    fast_default_records, fast_legacy_records = default_records, legacy_records

_ROOM_FIRST = 65_536
_RATIO_FIRST = 8
_NO_ROOM = "failed to write whole buffer"
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16


class BatchTooLarge(ValueError):
    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"a batch of records has more than {bytes_max} bytes when it is decompressed (TIDEMARK_BATCH_BYTES_MAX)")


def bound_batches(bytes_max: int) -> None:
    """From now on, for all consumers of this process. The decoders raise BatchTooLarge, or what the codec raises."""
    decoders = Decoders(bytes_max)
    for module in (default_records, legacy_records, fast_default_records, fast_legacy_records):
        for name in ("gzip_decode", "snappy_decode", "lz4_decode", "zstd_decode"):
            if hasattr(module, name):
                setattr(module, name, getattr(decoders, name))


class Decoders:
    """Of the four codecs, as aiokafka calls them: bytes in, bytes (or a bytearray) out."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max

    def gzip_decode(self, payload: Any) -> bytes:
        with gzip.GzipFile(fileobj=io.BytesIO(payload), mode="r") as reader:
            data = reader.read(self._bytes_max + 1)
        if len(data) > self._bytes_max:
            raise BatchTooLarge(self._bytes_max)
        return data

    def snappy_decode(self, payload: Any) -> bytes:
        """Raw, or in the blocks of Java's library: each tells its size in front."""
        view = memoryview(payload)
        if view[: len(_XERIAL)] != _XERIAL or len(view) < _XERIAL_HEADER_BYTES:
            return self._snappy_block(view, self._bytes_max)
        blocks: list[bytes] = []
        room, at = self._bytes_max, _XERIAL_HEADER_BYTES
        while at < len(view):
            (size,) = struct.unpack_from("!i", view, at)
            block = self._snappy_block(view[at + 4 : at + 4 + size], room)
            room -= len(block)
            blocks.append(block)
            at += 4 + max(size, 0)
        return b"".join(blocks)

    def lz4_decode(self, payload: Any) -> bytearray:
        return self._into(cramjam.lz4.decompress_into, payload)

    def zstd_decode(self, payload: Any) -> bytearray:
        return self._into(cramjam.zstd.decompress_into, payload)

    def _snappy_block(self, block: memoryview, room: int) -> bytes:
        if cramjam.snappy.decompress_raw_len(block) > room:
            raise BatchTooLarge(self._bytes_max)
        return bytes(cramjam.snappy.decompress_raw(block))

    def _into(self, decompress_into: Callable[[Any, bytearray], int], payload: Any) -> bytearray:
        """Into a buffer that grows: what a frame says about its own size, if anything, is not to be trusted."""
        room = min(self._bytes_max, max(_ROOM_FIRST, _RATIO_FIRST * len(payload)))
        while True:
            data = bytearray(room)
            try:
                size = decompress_into(payload, data)
            except cramjam.DecompressionError as error:
                if _NO_ROOM not in str(error):
                    raise
                if room == self._bytes_max:
                    raise BatchTooLarge(self._bytes_max) from None
                room = min(self._bytes_max, _RATIO_FIRST * room)
            else:
                del data[size:]
                return data
