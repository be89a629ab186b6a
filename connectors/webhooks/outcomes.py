"""What follows from an attempt: the rules, without I/O.

success                          done
failure, young enough            again, later (schedule.py); 429 and 503 may ask for a longer wait
failure, too old by then         exhausted
a fault of ours                  again, soon; neither an attempt nor time that the receiver has used up; faults have a longer
                                 time of their own
not sent (its lane was full)     again, soon; it does not count as an attempt
"""

from __future__ import annotations

from dataclasses import replace

from connectors.redis.types import Delivery, OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.schedule import Schedule

FAULT_PAUSE_S = 5.0
"""How long to wait after a fault of ours before the next try."""


def new_delivery(entry: OutboxEntry, endpoint_id: str, now_ms: int) -> Delivery:
    """An entry on its way to one endpoint; nothing was sent yet."""
    return Delivery(entry=entry, endpoint_id=endpoint_id, attempts=0, first_attempt_ms=now_ms, due_ms=now_ms)


def after_failure(delivery: Delivery, attempt: Attempt, schedule: Schedule, random: float, now_ms: int) -> Delivery | None:
    """The delivery as it waits for its next attempt; None: that would come later than ``age_max_s`` after the first one, or
    faults of ours have lasted for ``fault_age_max_s``.

    The age counts from the admission and not from the writing of the notification, which may have waited for days for an
    endpoint to exist.
    """
    if attempt.is_fault:
        pause_ms = int(FAULT_PAUSE_S * 1000)
        first_ms, fault_ms = delivery.first_attempt_ms + pause_ms, delivery.fault_ms + pause_ms
        if fault_ms > schedule.fault_age_max_s * 1000:
            return None
        again = replace(delivery, first_attempt_ms=first_ms, fault_ms=fault_ms, last_error=attempt.error)
        return replace(again, due_ms=now_ms + pause_ms, lease_ms=0)
    attempts = delivery.attempts + 1
    delay_s = schedule.delay_s(attempts, random, timed_out=attempt.outcome == "timeout")
    due_ms = now_ms + int(max(delay_s, attempt.retry_after_s or 0.0) * 1000)
    if due_ms - delivery.first_attempt_ms > schedule.age_max_s * 1000:
        return None
    return replace(delivery, attempts=attempts, due_ms=due_ms, last_error=attempt.error, lease_ms=0)


def postponed(delivery: Delivery, delay_s: float, schedule: Schedule, now_ms: int) -> Delivery | None:
    """The delivery as it waits for a lane with room; no attempt was made. None: it is too old already."""
    if now_ms - delivery.first_attempt_ms > schedule.age_max_s * 1000:
        return None
    return replace(delivery, due_ms=now_ms + int(delay_s * 1000), lease_ms=0)
