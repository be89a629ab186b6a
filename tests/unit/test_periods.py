"""Billing periods as tables: month ends, leap years, clipping. Times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.catalog import BillingSchedule, Frequency
from engine.periods import (
    HOUR_US,
    AnchorDay,
    Period,
    anchor_for,
    calendar_month,
    next_period,
    period_at,
    periods_between,
    previous_period,
)

W, M, Q, A = Frequency.WEEKLY, Frequency.MONTHLY, Frequency.QUARTERLY, Frequency.ANNUAL
OPEN = None


def hour(text: str) -> int:
    """Hours since the epoch of "YYYY-MM-DD" or "YYYY-MM-DDTHH"."""
    instant = datetime.strptime(text, "%Y-%m-%dT%H" if "T" in text else "%Y-%m-%d").replace(tzinfo=UTC)
    return int(instant.timestamp()) // 3600


def schedule(frequency: Frequency, anchor: str) -> BillingSchedule:
    return BillingSchedule(frequency, hour(anchor) * HOUR_US)


@pytest.mark.parametrize(
    ("frequency", "anchor", "at", "starting", "ending"),
    [
        # monthly
        (M, "2026-01-01", "2026-01-01", "2026-01-01", "2026-02-01"),
        (M, "2026-01-01", "2026-01-31T23", "2026-01-01", "2026-02-01"),
        (M, "2026-01-01", "2026-02-01", "2026-02-01", "2026-03-01"),
        (M, "2026-01-15T06", "2026-02-15T05", "2026-01-15T06", "2026-02-15T06"),
        (M, "2026-01-15T06", "2026-02-15T06", "2026-02-15T06", "2026-03-15T06"),
        # an anchor on the 31st goes to the last day of a shorter month, and back
        (M, "2026-01-31", "2026-02-27T23", "2026-01-31", "2026-02-28"),
        (M, "2026-01-31", "2026-02-28", "2026-02-28", "2026-03-31"),
        (M, "2026-01-31", "2026-03-30T23", "2026-02-28", "2026-03-31"),
        (M, "2026-01-31", "2026-04-30", "2026-04-30", "2026-05-31"),
        (M, "2026-01-31", "2028-02-29", "2028-02-29", "2028-03-31"),
        (M, "2026-01-30", "2027-02-28", "2027-02-28", "2027-03-30"),
        # periods before the anchor
        (M, "2026-03-31", "2026-03-01", "2026-02-28", "2026-03-31"),
        (M, "2026-03-31", "2024-02-29T05", "2024-02-29", "2024-03-31"),
        (M, "2026-03-31", "2025-12-31", "2025-12-31", "2026-01-31"),
        (M, "1970-01-01", "1969-12-31T23", "1969-12-01", "1970-01-01"),
        # quarterly
        (Q, "2026-01-01", "2026-03-31T23", "2026-01-01", "2026-04-01"),
        (Q, "2026-02-01", "2026-04-30T23", "2026-02-01", "2026-05-01"),
        (Q, "2026-02-01", "2026-01-31T23", "2025-11-01", "2026-02-01"),
        (Q, "2025-11-30", "2026-02-28", "2026-02-28", "2026-05-30"),
        (Q, "2025-11-30", "2026-02-27T23", "2025-11-30", "2026-02-28"),
        (Q, "2025-11-30", "2026-05-30", "2026-05-30", "2026-08-30"),
        # annual
        (A, "2026-01-01", "2026-12-31T23", "2026-01-01", "2027-01-01"),
        (A, "2024-02-29", "2025-02-27T23", "2024-02-29", "2025-02-28"),
        (A, "2024-02-29", "2025-02-28", "2025-02-28", "2026-02-28"),
        (A, "2024-02-29", "2028-02-28T23", "2027-02-28", "2028-02-29"),
        (A, "2024-02-29", "2028-02-29", "2028-02-29", "2029-02-28"),
        (A, "2024-02-29", "2100-02-28", "2100-02-28", "2101-02-28"),
        # weekly
        (W, "2026-01-05T09", "2026-01-05T09", "2026-01-05T09", "2026-01-12T09"),
        (W, "2026-01-05T09", "2026-01-12T08", "2026-01-05T09", "2026-01-12T09"),
        (W, "2026-01-05T09", "2025-12-29T08", "2025-12-22T09", "2025-12-29T09"),
        (W, "2024-02-26", "2024-03-01", "2024-02-26", "2024-03-04"),
    ],
)
def test_the_period_that_holds_an_hour(frequency: Frequency, anchor: str, at: str, starting: str, ending: str) -> None:
    found = period_at(schedule(frequency, anchor), hour("1960-01-01"), OPEN, hour(at))
    assert found == Period(hour(starting), hour(ending))


@pytest.mark.parametrize(
    ("frequency", "anchor", "contract", "periods"),
    [
        # the example of the API's text: start 2024-09-15, anchor 2024-09-10
        (
            M,
            "2024-09-10",
            ("2024-09-15", "2024-12-01"),
            [("2024-09-15", "2024-10-10"), ("2024-10-10", "2024-11-10"), ("2024-11-10", "2024-12-01")],
        ),
        # anchor after the start
        (M, "2024-09-20", ("2024-09-15", "2024-10-20"), [("2024-09-15", "2024-09-20"), ("2024-09-20", "2024-10-20")]),
        # start on the 31st, anchored there, ends in the middle of a day
        (
            M,
            "2025-12-31",
            ("2025-12-31", "2026-03-31T05"),
            [
                ("2025-12-31", "2026-01-31"),
                ("2026-01-31", "2026-02-28"),
                ("2026-02-28", "2026-03-31"),
                ("2026-03-31", "2026-03-31T05"),
            ],
        ),
        # shorter than one period
        (A, "2026-01-01", ("2026-03-03", "2026-03-03T01"), [("2026-03-03", "2026-03-03T01")]),
        (W, "2026-01-01", ("2026-01-01", "2026-01-10"), [("2026-01-01", "2026-01-08"), ("2026-01-08", "2026-01-10")]),
    ],
)
def test_all_periods_of_a_contract(
    frequency: Frequency, anchor: str, contract: tuple[str, str], periods: list[tuple[str, str]]
) -> None:
    plan, start, end = schedule(frequency, anchor), hour(contract[0]), hour(contract[1])
    expected = [Period(hour(first), hour(last)) for first, last in periods]

    assert list(periods_between(plan, start, end, start - 99, end + 99)) == expected
    for earlier, later in zip([None, *expected], [*expected, None], strict=True):
        if earlier is not None:
            assert next_period(plan, start, end, earlier) == later
        if later is not None:
            assert previous_period(plan, start, end, later) == earlier
    assert period_at(plan, start, end, start - 1) is None
    assert period_at(plan, start, end, end) is None


def test_a_range_yields_only_the_periods_that_it_touches() -> None:
    plan = schedule(M, "2026-01-01")
    touched = periods_between(plan, hour("2025-01-01"), OPEN, hour("2026-01-31T23"), hour("2026-03-01"))
    assert list(touched) == [
        Period(hour("2026-01-01"), hour("2026-02-01")),
        Period(hour("2026-02-01"), hour("2026-03-01")),
    ]


@pytest.mark.parametrize(
    ("frequency", "day", "start", "custom", "anchor"),
    [
        (M, AnchorDay.FIRST_OF_MONTH, "2026-05-17T03", None, "2026-05-01"),
        (Q, AnchorDay.FIRST_OF_MONTH, "2026-05-17T03", None, "2026-05-01"),
        (A, AnchorDay.FIRST_OF_MONTH, "2026-12-31T23", None, "2026-12-01"),
        (W, AnchorDay.FIRST_OF_MONTH, "2026-05-17T03", None, "2026-05-17T03"),
        (M, AnchorDay.CONTRACT_START, "2026-05-31T03", None, "2026-05-31T03"),
        (W, AnchorDay.CONTRACT_START, "2026-05-31T03", None, "2026-05-31T03"),
        (M, AnchorDay.CUSTOM_DATE, "2026-05-31", "2024-02-29", "2024-02-29"),
        (W, AnchorDay.CUSTOM_DATE, "2026-05-31", "2026-06-02", "2026-06-02"),
        # a custom date given beside another choice does not count
        (M, AnchorDay.FIRST_OF_MONTH, "2026-05-17", "2024-02-29", "2026-05-01"),
    ],
)
def test_anchors(frequency: Frequency, day: AnchorDay, start: str, custom: str | None, anchor: str) -> None:
    custom_us = None if custom is None else hour(custom) * HOUR_US
    assert anchor_for(frequency, day, hour(start) * HOUR_US, custom_us) == hour(anchor) * HOUR_US


def test_a_custom_anchor_needs_its_date() -> None:
    with pytest.raises(ValueError, match="billing_anchor_date"):
        anchor_for(M, AnchorDay.CUSTOM_DATE, 0, None)


def test_an_anchor_between_hours_counts_as_the_start_of_its_hour() -> None:
    between = BillingSchedule(M, hour("2026-01-10T04") * HOUR_US + HOUR_US - 1)
    assert period_at(between, 0, OPEN, hour("2026-01-10T04")) == Period(hour("2026-01-10T04"), hour("2026-02-10T04"))


@pytest.mark.parametrize(
    ("at", "starting", "ending"),
    [
        ("2026-01-31T23", "2026-01-01", "2026-02-01"),
        ("2026-02-01", "2026-02-01", "2026-03-01"),
        ("2024-02-29T12", "2024-02-01", "2024-03-01"),
        ("2026-12-31T23", "2026-12-01", "2027-01-01"),
        ("1969-12-31T23", "1969-12-01", "1970-01-01"),
    ],
)
def test_calendar_month(at: str, starting: str, ending: str) -> None:
    assert calendar_month(hour(at)) == Period(hour(starting), hour(ending))
