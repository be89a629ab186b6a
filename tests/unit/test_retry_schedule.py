"""The retry schedule, walked without sleeping."""

from __future__ import annotations

import itertools

import pytest

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
