"""When a failed delivery is tried again. Pure: the clock and the dice are arguments.

The step doubles from ``first_s`` until ``step_max_s`` and stays there; of each step 80 to 100 % is waited. With the defaults
(1 s, 15 min) that is about 220 attempts in 48 hours, in the manner of the product whose API we speak (about 200 in two days).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

JITTER_FRACTION = 0.2
"""How much of a step is left to chance, so that deliveries that failed together do not come back together."""

RETRY_AFTER_MAX_S = 3600.0
"""The longest wait that a receiver may ask for: a mistaken year must not silence it until the delivery is too old."""

_DOUBLINGS_MAX = 40  # 2**40 s is beyond any step_max_s; keeps the power small for a delivery with hundreds of attempts


def retry_delay_s(attempts: int, random: float, *, first_s: float, step_max_s: float) -> float:
    """Seconds to wait after ``attempts`` (>= 1) failed ones. ``random`` is drawn from [0, 1).

    The result lies in (0.8 * step, step] and never above ``step_max_s``.
    """
    if attempts < 1 or not 0.0 <= random < 1.0:
        raise ValueError(f"attempts={attempts}, random={random}")
    step_s: float = min(step_max_s, first_s * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX))
    return step_s * (1.0 - JITTER_FRACTION * random)


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
            asked_s = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    return min(max(asked_s, 0.0), RETRY_AFTER_MAX_S)
