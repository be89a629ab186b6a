"""Whether this process' clock agrees with others', and what time it is when it does not.

Time decides what is final, resolved, given up or switched off, and none of that can be taken back. So no process believes its own
clock alone. It is held against two others: Redis', asked every second, with half of the round trip as the bound of its error; and
the log's, by the append times that the broker stamps on records (they can only show that ours is behind: a record may be old).

    agree       differ by ``clock_tolerance_s`` at most: our own clock counts
    disagree    the earlier of the two counts, and work on timers, periods, retries and expiry waits until they agree again

The earlier one, because time that stands still for a while harms nothing: what is due comes later, under the same ids. An event
is still counted then, and configuration is still applied, at that earlier time; in the engine time never goes back. Who is
right, nobody has to know. Until the first answer of Redis our own clock counts: roles ask before they begin.

The log and the metric ``tidemark_clock_offset_seconds`` tell, and so does readiness (``warning``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from connectors import clock
from connectors.metrics import CLOCK_OFFSET

SAMPLE_PAUSE_S = 1.0
_LOG_COUNTS_S = 60.0
"""For so long a record's append time speaks against our clock: then the broker's may have been put right."""

log = structlog.get_logger("clock")


@dataclass(frozen=True, slots=True)
class _Sample:
    """``at_us``: what another clock said (not shifted), at ``monotonic_s`` of ours, within ``error_us``."""

    at_us: int
    monotonic_s: float
    error_us: int


class Agreement:
    """Of one process. ``role``: for the metric."""

    def __init__(self) -> None:
        self._role = ""
        self._tolerance_us = 60_000_000
        self._redis: _Sample | None = None
        self._log_ahead: _Sample | None = None
        self._told = False

    def begin(self, role: str, tolerance_s: float) -> None:
        """Of a role: nothing is known yet."""
        self._role, self._tolerance_us = role, int(tolerance_s * 1_000_000)
        self._redis = self._log_ahead = None
        self._told = False

    # --- what others say ------------------------------------------------------------------------------------------------

    async def sample(self, redis: Redis) -> None:
        """Asks Redis. Raises RedisError and OSError. An answer that took longer than the tolerance says nothing."""
        client: Any = redis
        begun_s = time.monotonic()
        seconds, microseconds = await client.time()
        ended_s = time.monotonic()
        error_us = int((ended_s - begun_s) * 500_000)
        if error_us <= self._tolerance_us:
            at_us = int(seconds) * 1_000_000 + int(microseconds)
            self._redis = _Sample(at_us, (begun_s + ended_s) / 2, error_us)
            CLOCK_OFFSET.labels(self._role, "redis").set(round((clock.now_us() - self._redis_us(self._redis)) / 1e6, 3))
        self._tell()

    def observe_log(self, appended_ms: int) -> None:
        """A record that was just read has this append time (shifted, as ``clock.shifted_ms`` gives it), stamped by the broker."""
        ahead_us = appended_ms * 1_000 - self.now_us()
        if ahead_us > self._tolerance_us:
            self._log_ahead = _Sample(ahead_us, time.monotonic(), 0)
            CLOCK_OFFSET.labels(self._role, "log").set(round(-ahead_us / 1e6, 3))
            self._tell()
        elif self._log_ahead is not None:
            self._log_ahead = None
            CLOCK_OFFSET.labels(self._role, "log").set(0)
            self._tell()

    # --- what follows ---------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """The time by which anything is dated that means something: microseconds since the epoch."""
        ours_us = clock.now_us()
        if self._redis is None:
            return ours_us
        theirs_us = self._redis_us(self._redis)
        return ours_us if abs(ours_us - theirs_us) <= self._tolerance_us + self._redis.error_us else min(ours_us, theirs_us)

    def now_ms(self) -> int:
        return self.now_us() // 1_000

    def now_s(self) -> float:
        return self.now_us() / 1_000_000

    @property
    def agrees(self) -> bool:
        """Whether what only time brings may be done."""
        return self.warning is None

    @property
    def warning(self) -> str | None:
        """Whose clocks disagree, and what waits for that; None: they agree."""
        if self._redis is not None:
            offset_us = clock.now_us() - self._redis_us(self._redis)
            if abs(offset_us) > self._tolerance_us + self._redis.error_us:
                return f"this process' clock is {_told(offset_us)} Redis': {_WAITS}"
        ahead = self._log_ahead
        if ahead is not None and time.monotonic() - ahead.monotonic_s < _LOG_COUNTS_S:
            return f"this process' clock is {_told(-ahead.at_us)} the log's: {_WAITS}"
        return None

    @staticmethod
    def _redis_us(sample: _Sample) -> int:
        """What Redis' clock says now."""
        since_us = int((time.monotonic() - sample.monotonic_s) * 1_000_000)
        return clock.shifted_ms(0) * 1_000 + sample.at_us + since_us

    def _tell(self) -> None:
        warning = self.warning
        if warning is not None and not self._told:
            log.error("clocks disagree", role=self._role, what=warning)
        elif warning is None and self._told:
            log.warning("clocks agree again", role=self._role)
        self._told = warning is not None


_WAITS = "what only time brings (timers, ends of periods, retries, expiry) waits until they agree again"


def _told(offset_us: int) -> str:
    return f"{abs(offset_us) / 1e6:.1f} s {'ahead of' if offset_us > 0 else 'behind'}"


PROCESS = Agreement()
"""That of this process."""
