"""Billing periods against dateutil, which shares no code with ours, and their own laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import BillingSchedule, Frequency
from engine.periods import HOUR_US, next_period, period_at

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = {
    Frequency.DAILY: lambda count: relativedelta(days=count),
    Frequency.WEEKLY: lambda count: relativedelta(weeks=count),
    Frequency.MONTHLY: lambda count: relativedelta(months=count),
    Frequency.QUARTERLY: lambda count: relativedelta(months=3 * count),
    Frequency.ANNUAL: lambda count: relativedelta(years=count),
}

frequencies = st.sampled_from(Frequency)
month_ends = st.builds(
    lambda year, month, back: datetime(year, month, 1, tzinfo=UTC) + relativedelta(months=1, days=-1 - back),
    st.integers(2019, 2033),
    st.integers(1, 12),
    st.integers(0, 3),
)
instants = st.one_of(month_ends, st.integers(420_000, 560_000).map(lambda hours: EPOCH + timedelta(hours=hours)))  # 2017 to 2033


def whole_hours(instant: datetime) -> int:
    return int((instant - EPOCH) // timedelta(hours=1))


@settings(max_examples=300, deadline=None)
@given(frequencies, instants, st.integers(-60, 60), st.integers(0, 8_900))
def test_boundaries_are_those_of_dateutil(frequency: Frequency, anchor: datetime, count: int, offset_hours: int) -> None:
    start = whole_hours(anchor + STEPS[frequency](count))
    end = whole_hours(anchor + STEPS[frequency](count + 1))
    inside = start + offset_hours % (end - start)
    schedule = BillingSchedule(frequency, whole_hours(anchor) * HOUR_US)

    assert period_at(schedule, start - 999_999, None, inside) == (start, end)


@settings(max_examples=200, deadline=None)
@given(frequencies, instants, instants, st.one_of(st.none(), st.integers(1, 20_000)), st.integers(-100, 20_100))
def test_periods_tile_the_contract(
    frequency: Frequency, anchor: datetime, start: datetime, length_hours: int | None, offset_hours: int
) -> None:
    schedule = BillingSchedule(frequency, whole_hours(anchor) * HOUR_US)
    starting = whole_hours(start)
    ending = None if length_hours is None else starting + length_hours
    hour = starting + offset_hours
    period = period_at(schedule, starting, ending, hour)

    if hour < starting or (ending is not None and hour >= ending):
        assert period is None
        return
    assert period is not None
    assert starting <= period.starting_hour <= hour < period.ending_hour
    for edge in (period.starting_hour, period.ending_hour - 1):
        assert period_at(schedule, starting, ending, edge) == period
    following = next_period(schedule, starting, ending, period)
    if following is None:
        assert period.ending_hour == ending
    else:
        assert following.starting_hour == period.ending_hour
