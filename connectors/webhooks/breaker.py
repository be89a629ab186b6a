"""A circuit breaker for one endpoint. Pure: the clock is an argument (any monotonic seconds).

closed ── 70 % of the last 10 to 20 attempts within 5 minutes failed ──► open ── its time is over ──► half open
  ▲                                                                       ▲                              │
  └────────────────────────────── the trial succeeded ────────────────────┼──────────────────────────────┤
                                                                          └── it failed: twice as long ──┘
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 300.0
OUTCOMES_MIN = 10
OUTCOMES_MAX = 20
FAILED_FRACTION = 0.7
OPEN_FIRST_S = 30.0
OPEN_MAX_S = 900.0


class Breaker:
    def __init__(self, *, open_first_s: float = OPEN_FIRST_S) -> None:
        self._open_first_s = open_first_s
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=OUTCOMES_MAX)
        self._open_s = 0.0  # how long it was opened for; 0 = closed
        self.open_until_s = 0.0

    def state(self, now_s: float) -> str:
        """closed, open or half_open: then one attempt may be made."""
        if self._open_s == 0.0:
            return "closed"
        return "open" if now_s < self.open_until_s else "half_open"

    def record(self, success: bool, now_s: float) -> None:
        """An attempt is over. What was under way when the breaker opened changes nothing, unless it is a success."""
        state = self.state(now_s)
        if state != "closed":
            if success:
                self._open_s = 0.0
                self._outcomes.clear()
            elif state == "half_open":
                self._open(2 * self._open_s, now_s)
            return
        self._outcomes.append((now_s, success))
        if success:
            return  # it opens after a failure only
        recent = [ok for at_s, ok in self._outcomes if now_s - at_s <= WINDOW_S]
        if len(recent) >= OUTCOMES_MIN and recent.count(False) >= FAILED_FRACTION * len(recent):
            self._open(self._open_first_s, now_s)

    def _open(self, seconds: float, now_s: float) -> None:
        self._open_s = min(OPEN_MAX_S, seconds)
        self.open_until_s = now_s + self._open_s
