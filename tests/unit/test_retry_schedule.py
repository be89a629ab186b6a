"""The retry schedule, walked without sleeping."""

from __future__ import annotations

import itertools

import pytest

from connectors.redis.types import Delivery, OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.outcomes import RetryRules, after_failure, new_delivery, postponed
from connectors.webhooks.schedule import RETRY_AFTER_MAX_S, retry_after_s, retry_delay_s

DAY_S = 86_400.0
NOW_S = 1_772_532_672.0  # Tue, 03 Mar 2026 10:11:12 GMT


def walk(random: float, first_s: float = 1.0, step_max_s: float = 900.0, age_max_s: float = 2 * DAY_S) -> list[float]:
    """The instants of all attempts after the first one, in seconds since it, while the delivery is young enough."""
    instants: list[float] = []
    elapsed_s = 0.0
    while True:
        elapsed_s += retry_delay_s(len(instants) + 1, random, first_s=first_s, step_max_s=step_max_s)
        if elapsed_s > age_max_s:
            return instants
        instants.append(elapsed_s)


def test_steps_double_up_to_the_ceiling() -> None:
    delays = [retry_delay_s(attempts, 0.0, first_s=1.0, step_max_s=900.0) for attempts in range(1, 14)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


@pytest.mark.parametrize("random", [0.0, 0.25, 0.5, 0.999_999])
def test_two_days_take_about_two_hundred_attempts(random: float) -> None:
    instants = walk(random)
    assert 195 <= len(instants) <= 250
    assert instants[0] <= 1.0
    assert 2 * DAY_S - 900 < instants[-1] <= 2 * DAY_S
    gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert max(gaps) <= 900 + 1e-6
    assert gaps == pytest.approx(sorted(gaps))


def test_jitter_takes_at_most_a_fifth_off_and_never_adds() -> None:
    for attempts in range(1, 300):
        whole = retry_delay_s(attempts, 0.0, first_s=1.0, step_max_s=900.0)
        short = retry_delay_s(attempts, 0.999_999, first_s=1.0, step_max_s=900.0)
        assert 0.8 * whole < short < whole


def test_many_attempts_do_not_overflow() -> None:
    assert retry_delay_s(10**6, 0.0, first_s=1.0, step_max_s=900.0) == 900


@pytest.mark.parametrize(("attempts", "random"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_arguments_out_of_range_are_refused(attempts: int, random: float) -> None:
    with pytest.raises(ValueError):
        retry_delay_s(attempts, random, first_s=1.0, step_max_s=900.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("86400", RETRY_AFTER_MAX_S),
        ("9" * 500, RETRY_AFTER_MAX_S),
        ("Tue, 03 Mar 2026 10:12:12 GMT", 60.0),
        ("Tue, 03 Mar 2026 09:00:00 GMT", 0.0),
        ("Tue, 03 Mar 2099 09:00:00 GMT", RETRY_AFTER_MAX_S),
        ("Tue, 99 Mar 2026 10:12:12 GMT", None),
    ],
)
def test_retry_after_in_both_forms_clamped(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_S) == seconds


RULES = RetryRules(first_s=1.0, step_max_s=900.0, age_max_s=2 * DAY_S)
ENTRY = OutboxEntry("n-1", "alerts.spend_threshold_reached", "c-1", "a-1", b"{}", None, written_at_ms=0)


def failed(attempts: int = 0, retry_after_s: float | None = None, now_ms: int = 1_000) -> Delivery | None:
    before = Delivery(ENTRY, "e-1", attempts=attempts, first_attempt_ms=1_000, due_ms=0, lease_ms=77)
    return after_failure(before, Attempt("http_5xx", 1.0, 0.1, 503, retry_after_s), RULES, 0.0, now_ms)


def test_a_failure_counts_and_is_put_off_by_the_schedule() -> None:
    again = failed()
    assert again is not None
    assert (again.attempts, again.due_ms, again.last_error, again.lease_ms) == (1, 2_000, "http_5xx (503)", 0)
    third = failed(attempts=2)
    assert third is not None
    assert third.due_ms == 5_000


@pytest.mark.parametrize(("asked_s", "due_ms"), [(30.0, 31_000), (0.5, 2_000), (0.0, 2_000)])
def test_what_the_receiver_asks_for_can_only_lengthen_the_wait(asked_s: float, due_ms: int) -> None:
    again = failed(retry_after_s=asked_s)
    assert again is not None
    assert again.due_ms == due_ms


def test_given_up_when_the_next_attempt_would_come_too_late() -> None:
    last_ms = 1_000 + int(2 * DAY_S * 1000)
    assert failed(attempts=300, now_ms=last_ms - 900_000) is not None
    assert failed(attempts=300, now_ms=last_ms - 899_999) is None


def test_the_age_counts_from_the_first_attempt_not_from_the_writing() -> None:
    """It may have waited for days until an endpoint existed: it still gets its two days."""
    week_ms = int(7 * DAY_S * 1000)
    fresh = new_delivery(ENTRY, "e-1", week_ms)
    assert after_failure(fresh, Attempt("connect", 1.0, 0.1), RULES, 0.5, week_ms) is not None


def test_waiting_for_a_lane_is_no_attempt() -> None:
    again = postponed(Delivery(ENTRY, "e-1", attempts=4, first_attempt_ms=0, due_ms=0, lease_ms=9), 2.5, RULES, 1_000)
    assert again is not None
    assert (again.attempts, again.due_ms, again.lease_ms) == (4, 3_500, 0)
    assert postponed(again, 1.0, RULES, int(2 * DAY_S * 1000) + 1) is None
