"""The headers of records that we produce again, so that an event keeps its arrival and its trace, and cannot go in circles."""

from __future__ import annotations

import re
from collections.abc import Sequence

APPENDED_AT = "tidemark-appended-at"  # milliseconds since the epoch: when Kafka first took the event
HOPS = "tidemark-hops"  # how often it was produced again
ORIGIN = "tidemark-origin"  # topic/partition/offset of the record it first came with
TRACEPARENT = "traceparent"  # W3C Trace Context
_CE_TRACEPARENT = "ce_traceparent"  # the same, as CloudEvents' extension for distributed tracing in binary mode
_VALID = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def route(appended_at_ms: int, hops: int, origin: str, traceparent: str = "") -> list[tuple[str, bytes]]:
    """``traceparent``: empty where there is none."""
    trace = [(TRACEPARENT, traceparent.encode())] if traceparent else []
    return [(APPENDED_AT, b"%d" % appended_at_ms), (HOPS, b"%d" % hops), (ORIGIN, origin.encode()), *trace]


def read_traceparent(headers: Sequence[tuple[str, bytes]]) -> str:
    """Empty where there is none; one that is malformed is none. (https://www.w3.org/TR/trace-context/#traceparent-header: of a
    version above 00 what follows the flags is cut off.)"""
    found = b""
    for name, value in headers:
        if value is not None and (name == TRACEPARENT or (name == _CE_TRACEPARENT and not found)):
            match = _VALID.match(value)
            if match is not None and (len(value) == len(match[0]) or (value[:2] != b"00" and value[len(match[0]) :][:1] == b"-")):
                found = match[0]
    return found.decode()


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
