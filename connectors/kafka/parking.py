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
    """What ``encode_parked`` wrote. Anything else becomes an event of long ago whose value is all that is stored: it leaves the
    parking as any other does, and is a dead letter then."""
    line, separator, event = stored.partition(b"\n")  # compact JSON has no line break of its own
    try:
        appended_at_ms, hops, origin, *trace = orjson.loads(line)
        traceparent = trace[0] if trace else ""
        way = Parked(int(appended_at_ms), int(hops), str(origin), event, str(traceparent))
    except (ValueError, TypeError, OverflowError):  # orjson.JSONDecodeError is a ValueError
        return Parked(0, 0, "", stored)
    return way if separator else Parked(0, 0, "", stored)
