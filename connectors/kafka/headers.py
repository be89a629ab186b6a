"""The headers of records that we produce again, so that an event keeps its arrival and its trace, and cannot go in circles.

Whatever headers a record has, reading them gives an answer: what is not ours to the letter is as good as absent.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from connectors.kafka.proofs import Proofs
from schemas.cloudevents import Headers

APPENDED_AT = "tidemark-appended-at"  # milliseconds since the epoch: when Kafka first took the event
PROOF = "tidemark-proof"  # that the former is our word (proofs.py)
HOPS = "tidemark-hops"  # how often it was produced again
ORIGIN = "tidemark-origin"  # topic/partition/offset of the record it first came with
TRACEPARENT = "traceparent"  # W3C Trace Context
_CE_TRACEPARENT = "ce_traceparent"  # the same, as CloudEvents' extension for distributed tracing in binary mode
_VALID = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ORIGIN_FORM = re.compile(rb"[A-Za-z0-9._-]{1,249}/[0-9]{1,10}/[0-9]{1,19}")
"""A topic's name as Kafka allows it, a partition and an offset."""
_NUMBER_DIGITS_MAX = 15


class Recorded(NamedTuple):
    """When the log took a record (milliseconds since the epoch), and how long an event may have been under way before that."""

    at_ms: int
    wait_ms_max: int


def route(
    proofs: Proofs, value: bytes, appended_at_ms: int, hops: int, origin: str, traceparent: str = ""
) -> list[tuple[str, bytes | None]]:
    """The headers of ``value`` as it is produced again. ``traceparent``: empty where there is none."""
    headers: list[tuple[str, bytes | None]] = [
        (APPENDED_AT, b"%d" % appended_at_ms),
        (PROOF, proofs.arrival(appended_at_ms, value)),
        (HOPS, b"%d" % hops),
        (ORIGIN, origin.encode("utf-8", "replace")),
    ]
    if traceparent:
        headers.append((TRACEPARENT, traceparent.encode()))
    return headers


def read_traceparent(headers: Headers) -> str:
    """Empty where there is none; one that is malformed is none. (https://www.w3.org/TR/trace-context/#traceparent-header: of a
    version above 00 what follows the flags is cut off.)"""
    found = b""
    for name, value in headers:
        if value is not None and (name == TRACEPARENT or (name == _CE_TRACEPARENT and not found)):
            match = _VALID.match(value)
            if match is not None and (len(value) == len(match[0]) or (value[:2] != b"00" and value[len(match[0]) :][:1] == b"-")):
                found = match[0]
    return found.decode()


def read_route(headers: Headers, value: bytes | None, recorded: Recorded, proofs: Proofs) -> tuple[int, int]:
    """(appended_at_ms, hops) of a record with this value. An arrival is believed if it is our own word, and not after the record
    was written nor longer before than an event may be parked. Hops are believed of anyone: more of them only end a circle."""
    claimed_ms: int | None = None
    proof: bytes | None = None
    hops = 0
    for name, text in headers:
        if name == APPENDED_AT:
            claimed_ms = _number(text)
        elif name == PROOF:
            proof = text
        elif name == HOPS:
            hops = _number(text) or 0
    at_ms, wait_ms_max = recorded
    if claimed_ms is not None and at_ms - wait_ms_max <= claimed_ms <= at_ms and proofs.is_arrival(proof, claimed_ms, value):
        return claimed_ms, hops
    return at_ms, hops


def read_origin(headers: Headers, default: str) -> str:
    for name, value in headers:
        if name == ORIGIN and value is not None and _ORIGIN_FORM.fullmatch(value):
            return value.decode()
    return default


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX else None
