"""The retry schedule, walked without sleeping."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from connectors.redis.types import Delivery, OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.client import Attempt
from connectors.webhooks.outcomes import after_failure, new_delivery, postponed
from connectors.webhooks.schedule import RETRY_AFTER_MAX_S, Schedule, retry_after_s

DAY_S = 86_400.0
NOW_S = 1_772_532_672.0  # Tue, 03 Mar 2026 10:11:12 GMT


SCHEDULE = Schedule.of(Settings())


def walk(random: float, schedule: Schedule = SCHEDULE) -> list[float]:
    """The instants of all attempts after the first one, in seconds since it, while the delivery is young enough."""
    instants: list[float] = []
    elapsed_s = 0.0
    while True:
        elapsed_s += schedule.delay_s(len(instants) + 1, random)
        if elapsed_s > schedule.age_max_s:
            return instants
        instants.append(elapsed_s)


def test_steps_follow_the_list_and_the_last_one_is_repeated() -> None:
    delays = [SCHEDULE.delay_s(attempts, 0.0) for attempts in range(1, 14)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    own = Schedule.of(Settings(webhook_retry_steps_s="5, 300,0.5"))
    assert [own.delay_s(attempts, 0.0) for attempts in (1, 2, 3, 4, 10**6)] == [5, 300, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("steps", ["", "1,,2", "1;2", "0", "-1", "nan", "inf", "604801"])
def test_a_list_of_steps_that_makes_no_sense_is_refused(steps: str) -> None:
    with pytest.raises(ValidationError):
        Settings(webhook_retry_steps_s=steps)


@pytest.mark.parametrize("random", [0.0, 0.25, 0.5, 0.999_999])
def test_two_days_take_about_two_hundred_attempts(random: float) -> None:
    instants = walk(random)
    assert 195 <= len(instants) <= 250
    assert instants[0] <= 1.0
    assert 2 * DAY_S - 900 < instants[-1] <= 2 * DAY_S
    gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert max(gaps) <= 900 + 1e-6
    assert gaps == pytest.approx(sorted(gaps))


def test_jitter_takes_at_most_its_fraction_off_and_never_adds() -> None:
    full = Schedule((100.0,), 1.0, DAY_S)
    for attempts in range(1, 300):
        whole = SCHEDULE.delay_s(attempts, 0.0)
        assert 0.8 * whole < SCHEDULE.delay_s(attempts, 0.999_999) < whole
    assert (full.delay_s(1, 0.0), full.delay_s(1, 0.75)) == (100.0, 25.0)


def test_a_timeout_raises_the_step_but_never_lowers_it() -> None:
    assert SCHEDULE.delay_s(1, 0.0, timed_out=True) == 60
    assert SCHEDULE.delay_s(11, 0.0, timed_out=True) == 900
    assert failed_with("timeout").due_ms == 61_000
    assert failed_with("connect").due_ms == 2_000


@pytest.mark.parametrize(("attempts", "random"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_arguments_out_of_range_are_refused(attempts: int, random: float) -> None:
    with pytest.raises(ValueError):
        SCHEDULE.delay_s(attempts, random)


@pytest.fixture
def _far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is 14 hours ahead of UTC."""
    monkeypatch.setenv("TZ", "XXX-14")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_east")
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
        ("Tue, 03 Mar 2026 10:12:12", 60.0),  # without a zone it is UTC, wherever this machine stands
        ("Tue, 03 Mar 2026 10:12:12 -0000", 60.0),
        ("Tue Mar  3 10:12:12 2026", 60.0),
        ("Tuesday, 03-Mar-26 10:12:12 GMT", 60.0),
        ("Tue, 03 Mar 2026 12:12:12 +0200", 60.0),
        ("Tue, 03 Mar 0000 10:12:12 GMT", 0.0),
        ("Tue, 03 Mar 2026 10:12:12 +99999999999", None),
        ("Tue, 03 Mar 2099 09:00:00 GMT", RETRY_AFTER_MAX_S),
        ("Tue, 99 Mar 2026 10:12:12 GMT", None),
    ],
)
def test_retry_after_in_both_forms_clamped(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_S) == seconds


ENTRY = OutboxEntry("n-1", "alerts.spend_threshold_reached", "c-1", "a-1", b"{}", None, written_at_ms=0)


def failed(attempts: int = 0, retry_after_s: float | None = None, now_ms: int = 1_000) -> Delivery | None:
    before = Delivery(ENTRY, "e-1", attempts=attempts, first_attempt_ms=1_000, due_ms=0, lease_ms=77)
    return after_failure(before, Attempt("http_5xx", 1.0, 0.1, 503, retry_after_s), SCHEDULE, 0.0, now_ms)


def failed_with(outcome: str) -> Delivery:
    again = after_failure(Delivery(ENTRY, "e-1", 0, 1_000, 0), Attempt(outcome, 1.0, 0.1), SCHEDULE, 0.0, 1_000)
    assert again is not None
    return again


def test_a_fault_of_ours_uses_up_neither_attempts_nor_time() -> None:
    """The receiver still has its whole schedule afterwards."""
    delivery = Delivery(ENTRY, "e-1", attempts=3, first_attempt_ms=1_000, due_ms=0)
    now_ms = 2_000
    for _ in range(1_000):
        again = after_failure(delivery, Attempt("fault", 1.0, 0.1), SCHEDULE, 0.5, now_ms)
        assert again is not None
        assert again.due_ms > now_ms
        delivery, now_ms = again, again.due_ms
    assert delivery.attempts == 3
    assert now_ms - delivery.first_attempt_ms == 1_000


def test_faults_of_ours_have_a_budget_of_their_own() -> None:
    fault = Attempt("fault", 1.0, 0.1)
    week_ms = int(SCHEDULE.fault_age_max_s * 1000)
    delivery = Delivery(ENTRY, "e-1", attempts=3, first_attempt_ms=1_000, due_ms=0, fault_ms=week_ms - 5_000)
    last = after_failure(delivery, fault, SCHEDULE, 0.5, 2_000)
    assert last is not None
    assert after_failure(last, fault, SCHEDULE, 0.5, last.due_ms) is None


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
    assert after_failure(fresh, Attempt("connect", 1.0, 0.1), SCHEDULE, 0.5, week_ms) is not None


def test_waiting_for_a_lane_is_no_attempt() -> None:
    again = postponed(Delivery(ENTRY, "e-1", attempts=4, first_attempt_ms=0, due_ms=0, lease_ms=9), 2.5, SCHEDULE, 1_000)
    assert again is not None
    assert (again.attempts, again.due_ms, again.lease_ms) == (4, 3_500, 0)
    assert postponed(again, 1.0, SCHEDULE, int(2 * DAY_S * 1000) + 1) is None
