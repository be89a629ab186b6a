"""Answers to wrong tokens come later and later for an address that sends many of them; a right token never waits.

The first ones are answered at once: somebody mistyped. Then each wait is twice the one before, up to a bound, and one failure is
forgotten every ``FORGET_S``. So an address tries at most a few tokens a second, as many as it may have connections open
(connectors.http.connections). Addresses are counted as there, by ``client_of``; the latest ``CLIENTS_MAX`` are remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

FREE = 5
FIRST_S = 0.1
FORGET_S = 10.0
CLIENTS_MAX = 10_000
_DOUBLINGS_MAX = 10


class WrongTokens:
    """``delay_max_s``: 0 = nobody waits."""

    def __init__(self, delay_max_s: float) -> None:
        self._delay_max_s = delay_max_s
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> how many, as of when

    def failed(self, client: str, now_s: float) -> float:
        """Counts one failure; returns how long (s) its answer is to wait."""
        count, at_s = self._failures.pop(client, (0.0, now_s))
        count = max(0.0, count - (now_s - at_s) / FORGET_S) + 1
        self._failures[client] = count, now_s
        if len(self._failures) > CLIENTS_MAX:
            self._failures.popitem(last=False)
        beyond = int(count) - FREE
        return 0.0 if beyond <= 0 else min(self._delay_max_s, FIRST_S * 2 ** min(beyond - 1, _DOUBLINGS_MAX))

    async def slow_down(self, client: str) -> None:
        delay_s = self.failed(client, time.monotonic())
        if delay_s:
            await asyncio.sleep(delay_s)
