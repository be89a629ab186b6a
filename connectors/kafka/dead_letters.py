"""Dead letters as records: an event's original bytes, and headers that say what is wrong with it and where it came from.

A letter is always one that its topic takes. It has a key, since topics that are compacted take none without; its headers' names
are UTF-8; what is too large is cut, more and more if need be, and says so.

| header | |
|---|---|
| ``reason``, ``detail`` | why (schemas.events.Reason), and which rule |
| ``topic``, ``partition``, ``offset``, ``index`` | the record that the event first came with, and its place in it |
| ``appended_at_ms`` | when Kafka took it |
| ``ce_*`` | a CloudEvent's attributes in binary mode: without them its value is half of an event |
| ``keyless`` | ``true``: the record had no key; the letter's own is its origin |
| ``truncated``, ``key_truncated`` | ``true``: what is there is the beginning |
| ``counted`` | ``partially``: the event counted for some metrics; ``metrics`` names those that it did not count for |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from connectors.kafka.parking import Parked
from engine.effects import Rejection
from schemas.cloudevents import Headers

VALUE_BYTES_MAX = 262_144
"""Of a dead letter: oversized values are cut, or the dead-letter topic would refuse them as the events topic should have."""
VALUE_BYTES_STEPS = (16_384, 1_024)
"""What is left of a value that the topic still refuses; then optional headers go, and at last all of it."""

_ORIGIN_HEADERS = ("topic", "partition", "offset", "index", "appended_at_ms")
_KEY_BYTES_MAX = 2_048
_BARE_BYTES = 64
_DETAIL_BYTES_MAX = 1_024
_ATTRIBUTES_BYTES_MAX = 8_192
_METRICS_BYTES_MAX = 8_192


class Origin(NamedTuple):
    """Where an event first came from. Texts, because that is what a parked event knows."""

    topic: str
    partition: str
    offset: str
    place: int
    appended_at_ms: int

    @staticmethod
    def of_parked(parked: Parked) -> Origin:
        topic, _, rest = parked.origin.partition("/")
        partition, _, offset = rest.partition("/")
        return Origin(topic, partition, offset, 0, parked.appended_at_ms)


class Letter(NamedTuple):
    """``optional``: headers that are left out of one that is still too large."""

    value: bytes | None
    key: bytes
    headers: list[tuple[str, bytes | None]]
    optional: list[tuple[str, bytes | None]]

    def all_headers(self) -> list[tuple[str, bytes | None]]:
        return [*self.headers, *self.optional]

    def smaller(self) -> Letter | None:
        """The next shorter form; None if this is the shortest."""
        size = 0 if self.value is None else len(self.value)
        for step in VALUE_BYTES_STEPS:
            if size > step:
                return _cut(self, step)
        bare = self._replace(key=self.key[:_BARE_BYTES], headers=[_bare(header) for header in self.headers], optional=[])
        if bare != self:
            return bare
        return _cut(self, 0) if size else None


def _bare(header: tuple[str, bytes | None]) -> tuple[str, bytes | None]:
    name, value = header
    return name, value if value is None or name != "detail" else value[:_BARE_BYTES]


def letter_of(value: bytes | None, key: bytes | None, rejection: Rejection, origin: Origin, headers: Headers = ()) -> Letter:
    """The dead letter of an event. ``headers``: of its record."""
    written: list[tuple[str, bytes | None]] = [
        ("reason", _bytes(rejection.reason)),
        ("detail", _bytes(rejection.detail)[:_DETAIL_BYTES_MAX]),
        *[(name, _bytes(str(part))) for name, part in zip(_ORIGIN_HEADERS, origin, strict=True)],
    ]
    optional = _attributes(headers)
    if rejection.missed:
        written.append(("counted", b"partially"))
        optional.append(("metrics", ",".join(rejection.missed).encode()[:_METRICS_BYTES_MAX]))
    if key is None:
        key = _bytes("/".join(origin[:3]))
        written.append(("keyless", b"true"))
    elif len(key) > _KEY_BYTES_MAX:
        key = key[:_KEY_BYTES_MAX]
        written.append(("key_truncated", b"true"))
    return _cut(Letter(value, key, written, optional), VALUE_BYTES_MAX)


def _cut(letter: Letter, value_bytes_max: int) -> Letter:
    if letter.value is None or len(letter.value) <= value_bytes_max:
        return letter
    headers = [header for header in letter.headers if header[0] != "truncated"]
    return letter._replace(value=letter.value[:value_bytes_max], headers=[*headers, ("truncated", b"true")])


def _attributes(headers: Headers) -> list[tuple[str, bytes | None]]:
    attributes = [(_name(name), value) for name, value in headers if name.startswith("ce_")]
    return attributes if _size(attributes) <= _ATTRIBUTES_BYTES_MAX else []


def _size(headers: Iterable[tuple[str, bytes | None]]) -> int:
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)


def _name(name: str) -> str:
    """As a header's name that can be written: what is not UTF-8 is escaped."""
    return _bytes(name).decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
