"""When a failed delivery is tried again: the schedule as data. Pure: the clock and the dice are arguments.

With the default steps (1 s, doubling, then 15 min again and again) and jitter that is about 220 attempts in 48 hours, in the
manner of the product whose API we speak (about 200 in two days).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from connectors.settings import Settings, seconds_of

RETRY_AFTER_MAX_S = 3600.0
"""The longest wait that a receiver may ask for: a mistaken year must not silence it until the delivery is too old."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``steps_s``: the waits after the first, second, ... failed attempt; the last one is repeated.

    ``jitter``: the fraction of a step that is left to chance, so that deliveries that failed together do not come back together;
    1 is full jitter. ``age_max_s``: no attempt is made later than this after the first one. ``timeout_step_s``: what a step is
    raised to after an attempt that timed out, since each of those holds a connection for long. ``fault_age_max_s``: how long
    faults of ours may delay a delivery, beside ``age_max_s``: a budget of their own.
    """

    steps_s: tuple[float, ...]
    jitter: float
    age_max_s: float
    timeout_step_s: float = 0.0
    fault_age_max_s: float = 7 * 86_400.0

    @classmethod
    def of(cls, settings: Settings) -> Schedule:
        return cls(
            seconds_of(settings.webhook_retry_steps_s),
            settings.webhook_retry_jitter,
            settings.webhook_retry_age_max_hours * 3600,
            settings.webhook_retry_timeout_step_s,
            settings.webhook_fault_age_max_hours * 3600,
        )

    def delay_s(self, attempts: int, random: float, *, timed_out: bool = False) -> float:
        """Seconds to wait after ``attempts`` (>= 1) failed ones; in ((1 - jitter) * step, step]. ``random``: from [0, 1)."""
        if attempts < 1 or not 0.0 <= random < 1.0:
            raise ValueError(f"attempts={attempts}, random={random}")
        step_s = self.steps_s[min(attempts, len(self.steps_s)) - 1]
        if timed_out:
            step_s = max(step_s, self.timeout_step_s)
        return step_s * (1.0 - self.jitter * random)


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """What ``Retry-After`` asks for, in seconds from now, within [0, RETRY_AFTER_MAX_S]; None if absent or unreadable.

    RFC 9110, 10.2.3: whole seconds, or a date.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        asked_s = RETRY_AFTER_MAX_S if len(text) > 9 else float(text)
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        # without a zone (asctime's form, and "-0000") it is UTC, and not where this machine stands (RFC 9110, 5.6.7)
        asked_s = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - now_s
    return min(max(asked_s, 0.0), RETRY_AFTER_MAX_S)
