"""The one clock of every role. No other module reads the wall clock (a test holds that).

``TIDEMARK_TIME_SHIFT_S`` moves it, for tests alone: whole seconds that are added to what this machine's clock says. Clocks of
others (a record's append time, Redis' TIME) are moved by the same number where they are read, by ``shifted_ms``, so that a system
under a shift sees one time everywhere: a test can live through the last minutes of a year without waiting for it.

``TIDEMARK_CLOCK_SKEW_S`` is for tests, too: it makes this process' own clock wrong, and not what it reads of others'.

Durations are measured by ``time.monotonic``, which nothing moves.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

SHIFT_VARIABLE = "TIDEMARK_TIME_SHIFT_S"
SKEW_VARIABLE = "TIDEMARK_CLOCK_SKEW_S"


def seconds_of(variable: str) -> int:
    """What the environment says; 0 for what is no number: the settings, which are read next, refuse that by its name."""
    try:
        return int(os.environ.get(variable) or 0)
    except ValueError:
        return 0


_shift_s = seconds_of(SHIFT_VARIABLE)
_skew_s = seconds_of(SKEW_VARIABLE)


def shift_s() -> int:
    """How far the clock is moved, in seconds; 0 but in tests."""
    return _shift_s


def set_shift_s(seconds: int) -> None:
    """Moves this process' clock, and what it reads of others'. Processes started by it follow ``TIDEMARK_TIME_SHIFT_S``."""
    global _shift_s  # noqa: PLW0603 - the one clock of a process is its one state
    _shift_s = seconds


def set_skew_s(seconds: int) -> None:
    """Makes this process' own clock wrong."""
    global _skew_s  # noqa: PLW0603 - as above
    _skew_s = seconds


def now_s() -> float:
    """Seconds since the epoch."""
    return time.time() + _shift_s + _skew_s


def now_ms() -> int:
    return time.time_ns() // 1_000_000 + (_shift_s + _skew_s) * 1_000


def now_us() -> int:
    return time.time_ns() // 1_000 + (_shift_s + _skew_s) * 1_000_000


def now() -> datetime:
    """In UTC."""
    return datetime.fromtimestamp(now_s(), UTC)


def shifted_ms(others_ms: int) -> int:
    """An instant of somebody else's clock, in milliseconds since the epoch, as this process is to take it."""
    return others_ms + _shift_s * 1_000
