"""Billing periods: a contract's time, cut at instants that follow from one anchor.

    anchor ──┬── + 1 step ──┬── + 2 steps ──► ...      and backwards likewise
             │              │
          Period 0       Period 1                      a step: 1 or 7 days, or 1, 3, 12 months

Every boundary is computed from the anchor itself, never from the boundary before it, so an anchor on the 31st gives
Jan 31, Feb 28, Mar 31: it is moved to the last day of a shorter month and back again. An annual anchor on Feb 29 falls on
Feb 28 in common years. All times are UTC. Periods begin and end on the hour (an anchor between hours counts as its hour's start).

Only a contract's own time is billed: its first and last period are clipped to its start and end. So a contract that starts on
09-15 with a monthly anchor on the 10th has the periods 09-15 to 10-10, 10-10 to 11-10, ... (the example of the API's own text).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from engine.catalog import BillingSchedule, Frequency

HOUR_US = 3_600_000_000
_STEP_HOURS = {Frequency.DAILY: 24, Frequency.WEEKLY: 7 * 24}
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_STEP_MONTHS = {Frequency.MONTHLY: 1, Frequency.QUARTERLY: 3, Frequency.ANNUAL: 12}


class Period(NamedTuple):
    """Hours since the epoch, half-open."""

    starting_hour: int
    ending_hour: int


class AnchorDay(StrEnum):
    """How a contract names its anchor (``usage_statement_schedule.day``)."""

    FIRST_OF_MONTH = "FIRST_OF_MONTH"
    CONTRACT_START = "CONTRACT_START"
    CUSTOM_DATE = "CUSTOM_DATE"


def anchor_for(frequency: Frequency, day: AnchorDay, starting_us: int, billing_anchor_us: int | None) -> int:
    """The anchor instant (microseconds) of a contract that starts at ``starting_us``.

    FIRST_OF_MONTH: the 1st, 00:00 UTC, of the month in which the contract starts; quarters and years are counted from that month.
    For WEEKLY there is no such thing as a week on the first of every month, so weeks are counted from the contract's start.
    CUSTOM_DATE needs ``billing_anchor_us`` (before or after the start); raises ValueError without it.
    """
    if day is AnchorDay.CUSTOM_DATE:
        if billing_anchor_us is None:
            raise ValueError("billing_anchor_date is required when day is CUSTOM_DATE")
        return billing_anchor_us
    if day is AnchorDay.CONTRACT_START or frequency is Frequency.WEEKLY:
        return starting_us
    return calendar_month(starting_us // HOUR_US).starting_hour * HOUR_US


def period_at(schedule: BillingSchedule, starting_hour: int, ending_hour: int | None, hour: int) -> Period | None:
    """The billing period that holds ``hour``, for a contract from ``starting_hour`` until ``ending_hour`` (None = open-ended),
    clipped to the contract; None for an hour outside it. Years 1 to 9998; beyond them datetime's OverflowError or ValueError."""
    if hour < starting_hour or (ending_hour is not None and hour >= ending_hour):
        return None
    start, end = cycle_at(schedule, hour)
    return Period(
        max(start, starting_hour),
        end if ending_hour is None else min(end, ending_hour),
    )


def next_period(schedule: BillingSchedule, starting_hour: int, ending_hour: int | None, period: Period) -> Period | None:
    """The period right after ``period`` (one of this contract's own); None after the contract's last."""
    return period_at(schedule, starting_hour, ending_hour, period.ending_hour)


def previous_period(schedule: BillingSchedule, starting_hour: int, ending_hour: int | None, period: Period) -> Period | None:
    """The period right before ``period`` (one of this contract's own); None before the contract's first."""
    return period_at(schedule, starting_hour, ending_hour, period.starting_hour - 1)


def periods_between(
    schedule: BillingSchedule, starting_hour: int, ending_hour: int | None, from_hour: int, until_hour: int
) -> Iterator[Period]:
    """The contract's periods that share an hour with [from_hour, until_hour), oldest first."""
    hour = max(from_hour, starting_hour)
    while hour < until_hour:
        period = period_at(schedule, starting_hour, ending_hour, hour)
        if period is None:
            return
        yield period
        hour = period.ending_hour


def calendar_month(hour: int) -> Period:
    """The UTC calendar month that holds ``hour``."""
    first = _date(hour).replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return Period(_midnight(first), _midnight(following))


def cycle_at(schedule: BillingSchedule, hour: int) -> Period:
    """The unclipped period that holds ``hour``."""
    anchor_hour = schedule.anchor_us // HOUR_US
    step_hours = _STEP_HOURS.get(schedule.frequency)
    if step_hours is not None:
        start = hour - (hour - anchor_hour) % step_hours
        return Period(start, start + step_hours)
    step_months = _STEP_MONTHS[schedule.frequency]
    anchor, day = _date(anchor_hour), _date(hour)
    steps = ((day.year - anchor.year) * 12 + day.month - anchor.month) // step_months
    start = _shifted(anchor_hour, steps * step_months)
    if hour < start:  # the boundary lies later in this month
        return Period(_shifted(anchor_hour, (steps - 1) * step_months), start)
    return Period(start, _shifted(anchor_hour, (steps + 1) * step_months))


def _shifted(anchor_hour: int, months: int) -> int:
    """The anchor moved by whole months; on the last day of a month that is too short for it."""
    anchor = _date(anchor_hour)
    year, month_index = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(year, month_index + 1)[1])
    return _midnight(date(year, month_index + 1, day)) + anchor_hour % 24


def _date(hour: int) -> date:
    return date.fromordinal(hour // 24 + _EPOCH_ORDINAL)


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH_ORDINAL) * 24
