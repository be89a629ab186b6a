"""Events whose customer reference nobody owns yet, as they wait in Redis: one line of JSON about their way, then the event."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from connectors.kafka.headers import read_origin, read_traceparent
from connectors.kafka.intake import Arrived
from schemas.events import encode_event


class Parked(NamedTuple):
    """``origin``: topic/partition/offset of the record it came with; ``event``: the value of a record of its own."""

    appended_at_ms: int
    hops: int
    origin: str
    event: bytes
    traceparent: str = ""


def encode_parked(arrived: Arrived) -> bytes:
    record = arrived.record
    origin = read_origin(record.headers, f"{record.topic}/{record.partition}/{record.offset}")
    way = [arrived.appended_at_ms, arrived.hops, origin]
    if traceparent := read_traceparent(record.headers):
        way.append(traceparent)
    return orjson.dumps(way) + b"\n" + encode_event(arrived.event)


def decode_parked(stored: bytes) -> Parked:
    way, _, event = stored.partition(b"\n")  # compact JSON has no line break of its own
    appended_at_ms, hops, origin, *trace = orjson.loads(way)
    return Parked(appended_at_ms, hops, origin, event, *trace)
