"""The headers of records that we produce again, so that an event keeps its arrival and its trace, and cannot go in circles."""

from __future__ import annotations

from collections.abc import Sequence

APPENDED_AT = "tidemark-appended-at"  # milliseconds since the epoch: when Kafka first took the event
HOPS = "tidemark-hops"  # how often it was produced again
ORIGIN = "tidemark-origin"  # topic/partition/offset of the record it first came with


def route(appended_at_ms: int, hops: int, origin: str) -> list[tuple[str, bytes]]:
    return [(APPENDED_AT, b"%d" % appended_at_ms), (HOPS, b"%d" % hops), (ORIGIN, origin.encode())]


def read_route(headers: Sequence[tuple[str, bytes]], appended_at_ms: int) -> tuple[int, int]:
    """(appended_at_ms, hops). Headers that are not ours to the letter are taken for a producer's, and ignored."""
    hops = 0
    for name, value in headers:
        if name == APPENDED_AT and _is_number(value):
            appended_at_ms = int(value)
        elif name == HOPS and _is_number(value):
            hops = int(value)
    return appended_at_ms, hops


def read_origin(headers: Sequence[tuple[str, bytes]], default: str) -> str:
    for name, value in headers:
        if name == ORIGIN:
            return value.decode("utf-8", "replace")
    return default


def _is_number(value: bytes | None) -> bool:
    return value is not None and value.isdigit() and len(value) <= 15
