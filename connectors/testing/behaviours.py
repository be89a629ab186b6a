"""What a receiver can do to a request, well or badly: data that ``Receiver.script`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

METADATA_URL = "http://169.254.169.254/latest/meta-data/"
"""Where most clouds hand out credentials to whoever asks from inside."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``delay_s``: before the answer. ``body_bytes``: of any size, it is streamed. ``close``: answer, and close the connection
    without having said so beforehand, as a restarted server does."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    body_bytes: int = 0
    close: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Read the request and never answer. ``after_headers``: send 200 and headers, but never the promised body."""

    after_headers: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """200 with a body that never ends, a byte at a time. ``headers``: already the status line comes like that."""

    every_s: float = 0.05
    headers: bool = False


@dataclass(frozen=True, slots=True)
class Endless:
    """200 with a body that never ends, as fast as it is read."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Read the request and reset the connection. ``in_body``: after 200, the headers and a part of the promised body."""

    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Answer with these bytes, whatever they are. ``close``: and close the connection; else it stays open, for more requests only
    if the answer has told its end. ``pause_s``: between each two ``parts``."""

    parts: tuple[bytes, ...]
    close: bool = False
    pause_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Garbage(Raw):
    """Answer with something that is not HTTP."""

    parts: tuple[bytes, ...] = (b"\x15\x03 this is not HTTP\r\n\r\n",)


Behaviour = Answer | Hang | Drip | Endless | Reset | Raw


def gone() -> Answer:
    return Answer(410)


def too_many(retry_after: int | datetime, status: int = 429) -> Answer:
    """429 (or 503) with ``Retry-After`` in one of its two forms: seconds, or an instant (UTC)."""
    text = str(retry_after) if isinstance(retry_after, int) else format_datetime(retry_after, usegmt=True)
    return Answer(status, {"Retry-After": text})


def redirect(location: str = METADATA_URL, status: int = 302) -> Answer:
    return Answer(status, {"Location": location})
