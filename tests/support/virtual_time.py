"""An event loop in which waiting takes no time: where nothing is ready to run, the clock moves on to the next timer.

    with virtual_time(start_s) as clock:
        run(clock, main())          # hours in it take milliseconds

``time.time``, ``time.time_ns`` and ``time.monotonic`` show the loop's time meanwhile. As long as nothing in the loop does I/O,
a run depends on nothing but its inputs. Real I/O is possible where ``clock.busy`` tells when some is under way: then real time
passes.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from unittest import mock

from connectors import clock as product_clock

_T = TypeVar("_T")
_real_monotonic = time.monotonic


class Clock:
    """Seconds since the epoch, for the loop, too. ``busy``: whether I/O is under way."""

    def __init__(self, start_s: float) -> None:
        self._now_s = start_s
        self.busy: Callable[[], bool] = lambda: False

    def seconds(self) -> float:
        return self._now_s

    def nanoseconds(self) -> int:
        return int(self._now_s * 1e9)

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self._clock.busy():
            begun_s = _real_monotonic()
            ready = super().select(0.001 if timeout is None else min(timeout, 0.001))
            self._clock.advance(_real_monotonic() - begun_s)
            return ready
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("stuck: nothing runs, and nothing is going to")
            self._clock.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self._clock_resolution = 1e-6  # a float of seconds since the epoch has no more: a timer would never be due


@contextmanager
def virtual_time(start_s: float) -> Iterator[Clock]:
    clock = Clock(start_s)
    with (
        mock.patch.object(time, "time", clock.seconds),
        mock.patch.object(time, "time_ns", clock.nanoseconds),
        mock.patch.object(time, "monotonic", clock.seconds),
        mock.patch.object(product_clock, "_shift_s", 0),
    ):
        yield clock


def run(clock: Clock, main: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=partial(_Loop, _Selector(clock))) as runner:
        return runner.run(main)
