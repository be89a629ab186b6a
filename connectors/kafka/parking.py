"""Events whose customer reference nobody owns yet, as they wait in Redis: one line of JSON about their way, then the event.

Redis has no room for whatever a producer with a wrong id may send, so parking is bounded, by partition and by reference, in
events and in bytes. What is beyond is dead-lettered at once, in the order of the log: which events those are follows from what is
stored, and not from how the events were cut into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from connectors.kafka.headers import read_origin, read_traceparent
from connectors.kafka.intake import Arrived, Rejected
from connectors.redis.types import Parked as Size
from connectors.redis.types import ParkedSizes
from connectors.settings import Settings
from engine.effects import Rejection
from schemas.events import Reason, encode_event


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


def within_bounds(
    arrived: Sequence[Arrived], sizes: ParkedSizes, settings: Settings
) -> tuple[list[tuple[str, bytes]], list[Rejected]]:
    """What is to be parked, as (reference, encoded event), and what is over a bound. ``sizes``: what is parked already; it must
    have all references of ``arrived``."""
    events, size = sizes.total.events, sizes.total.bytes
    refs = dict(sizes.refs)
    kept: list[tuple[str, bytes]] = []
    over: list[Rejected] = []
    for item in sorted(arrived, key=lambda item: (item.record.offset, item.place)):
        ref = item.event.customer_ref
        encoded = encode_parked(item)
        of_ref = Size(refs[ref].events + 1, refs[ref].bytes + len(encoded))
        if of_ref.events > settings.parked_reference_events_max or of_ref.bytes > settings.parked_reference_bytes_max:
            over.append(_over(item, f"{refs[ref].events} events wait for this customer_id, which is unknown"))
        elif events + 1 > settings.parked_events_max or size + len(encoded) > settings.parked_bytes_max:
            over.append(_over(item, f"{events} events of unknown customers wait in this partition"))
        else:
            kept.append((ref, encoded))
            refs[ref] = of_ref
            events, size = events + 1, size + len(encoded)
    return kept, over


def _over(item: Arrived, detail: str) -> Rejected:
    return Rejected(Rejection(Reason.PARKING_FULL, detail), item.record, item.place, item.appended_at_ms)
