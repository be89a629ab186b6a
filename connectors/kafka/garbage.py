"""When the worker looks for reference cycles.

Python looks through every object alive again and again as new ones survive. A worker holds millions of them for good, for its
customers, and each such look stops it: measured, 0.6 to 1 s with 10,000 customers, several times a minute. Nothing that an event
makes has cycles, so reference counts free it. What has cycles is a customer that is dropped (refused batch, least recently used,
revoked partition) or given new gauges. So the full look is left to us: when a quarter as many customers were let go as are kept.
"""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 20_000  # survivors before a look at the young ones only: some 10 ms
_MIDDLE_LOOKS = 1
"""A look at the middle ones sees all that the looks at young ones before it have left: with 20 of these between, a worker that
loads customers stopped for 0.3 to 0.6 s."""
_NEVER = 1_000_000_000
LET_GO_MIN = 2_000
"""Fewer customers than this (some 30 MB) are not worth a look."""


class Garbage:
    """Counts what was let go. One for each process."""

    def __init__(self) -> None:
        self._let_go = 0

    def take_over(self) -> None:
        """From now on Python looks at young objects only, until ``look_if_due``."""
        gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE_LOOKS, _NEVER)

    def let_go(self, customers: int) -> None:
        self._let_go += customers

    def look_if_due(self, kept: int) -> bool:
        """Takes about 70 us for each customer that is kept. Returns whether it looked."""
        if self._let_go < max(LET_GO_MIN, kept // 4):
            return False
        self._let_go = 0
        gc.collect()
        return True


GARBAGE = Garbage()
