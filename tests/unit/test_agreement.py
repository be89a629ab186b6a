"""What time it is when clocks disagree, and what waits then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from connectors import clock
from connectors.agreement import Agreement

DAY_S = 86_400


class RedisClock:
    """Its TIME: that of this machine, and ``ahead_s`` more."""

    def __init__(self, ahead_s: float = 0) -> None:
        self.ahead_s = ahead_s

    async def time(self) -> tuple[int, int]:
        raw_us = clock.now_us() - (clock.shifted_ms(0) + skew_ms()) * 1_000
        return divmod(raw_us + int(self.ahead_s * 1_000_000), 1_000_000)


_skew = 0


def skew_ms() -> int:
    return _skew * 1_000


def make_wrong(seconds: int) -> None:
    global _skew  # noqa: PLW0603 - what RedisClock takes off again
    _skew = seconds
    clock.set_skew_s(seconds)


@pytest.fixture(autouse=True)
def _right_afterwards() -> Iterator[None]:
    yield
    make_wrong(0)


async def sampled(redis: Any) -> Agreement:
    agreement = Agreement()
    agreement.begin("test", 60)
    await agreement.sample(redis)
    return agreement


def near(agreement: Agreement, now_us: int) -> bool:
    return abs(agreement.now_us() - now_us) < 5_000_000


@pytest.mark.parametrize(
    ("ours_s", "redis_s", "counts_s", "agrees"),
    [
        (0, 0, 0, True),
        (50, 0, 50, True),
        (0, 50, 0, True),
        (-50, 0, -50, True),
        (40 * DAY_S, 0, 0, False),  # ours is ahead: Redis' counts
        (0, 40 * DAY_S, 0, False),  # Redis' is ahead: ours counts
        (-40 * DAY_S, 0, -40 * DAY_S, False),  # time stands still, which harms nothing
        (0, -40 * DAY_S, -40 * DAY_S, False),
        (90, 0, 0, False),
    ],
)
async def test_the_earlier_of_two_clocks_that_disagree_counts(ours_s: int, redis_s: int, counts_s: int, agrees: bool) -> None:
    right_us = clock.now_us()
    make_wrong(ours_s)
    agreement = await sampled(RedisClock(redis_s))
    assert near(agreement, right_us + counts_s * 1_000_000)
    assert agreement.agrees is agrees
    assert (agreement.warning is None) is agrees
    offset_s = REGISTRY.get_sample_value("tidemark_clock_offset_seconds", {"role": "test", "source": "redis"})
    assert offset_s is not None
    assert abs(offset_s - (ours_s - redis_s)) < 5


async def test_a_step_of_the_clock_is_seen_before_the_next_sample_and_forgotten_when_it_is_put_right() -> None:
    right_us = clock.now_us()
    agreement = await sampled(RedisClock())
    make_wrong(40 * DAY_S)
    assert not agreement.agrees
    assert near(agreement, right_us)
    assert agreement.warning is not None
    assert "ahead of Redis'" in agreement.warning
    make_wrong(0)
    assert agreement.agrees


async def test_a_log_that_is_ahead_speaks_until_it_is_not_or_a_minute_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = await sampled(RedisClock())
    agreement.observe_log(agreement.now_ms() - 40 * DAY_S * 1_000)  # an old record says nothing
    assert agreement.agrees
    agreement.observe_log(agreement.now_ms() + 120_000)
    assert not agreement.agrees
    assert "behind the log's" in (agreement.warning or "")
    agreement.observe_log(agreement.now_ms())
    assert agreement.agrees
    agreement.observe_log(agreement.now_ms() + 120_000)
    monkeypatch.setattr("connectors.agreement._LOG_COUNTS_S", -1.0)
    assert agreement.agrees


async def test_the_shift_of_tests_moves_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = await sampled(RedisClock())
    monkeypatch.setattr(clock, "_shift_s", clock.shift_s() + 40 * DAY_S)
    assert agreement.agrees
    await agreement.sample(RedisClock())  # type: ignore[arg-type]
    assert agreement.agrees


async def test_our_own_clock_counts_until_redis_has_answered() -> None:
    agreement = Agreement()
    agreement.begin("test", 60)
    make_wrong(40 * DAY_S)
    assert agreement.agrees
    assert near(agreement, clock.now_us())
