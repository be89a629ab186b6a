"""Billing periods as a table of written rows: month ends, leap years, quarters, weeks, anchors of their own, clipped ends.

Each row is checked twice: against engine.periods, and against python-dateutil by a formula that shares nothing with it, so that a
row that was written wrongly cannot agree with a fault of ours.

``anchor``: FIRST (of the month), START (of the contract), CUSTOM (the date in the column ``custom``). A period is what holds the
hour ``at``. Dates are midnight UTC, or the hour after the T; "none": no period holds that hour.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from dateutil.relativedelta import relativedelta

from engine.catalog import BillingSchedule, Frequency
from engine.periods import HOUR_US, AnchorDay, anchor_for, period_at

TABLE = """
# frequency  anchor  start          end            custom         at             from           until

# a monthly anchor on the 31st, from the end of a common year through a leap year and into the next
  MONTHLY    START   2023-12-31     -              -              2023-12-31     2023-12-31     2024-01-31
  MONTHLY    START   2023-12-31     -              -              2024-01-30T23  2023-12-31     2024-01-31
  MONTHLY    START   2023-12-31     -              -              2024-01-31     2024-01-31     2024-02-29
  MONTHLY    START   2023-12-31     -              -              2024-02-28T23  2024-01-31     2024-02-29
  MONTHLY    START   2023-12-31     -              -              2024-02-29     2024-02-29     2024-03-31
  MONTHLY    START   2023-12-31     -              -              2024-03-30     2024-02-29     2024-03-31
  MONTHLY    START   2023-12-31     -              -              2024-03-31     2024-03-31     2024-04-30
  MONTHLY    START   2023-12-31     -              -              2024-04-29     2024-03-31     2024-04-30
  MONTHLY    START   2023-12-31     -              -              2024-04-30     2024-04-30     2024-05-31
  MONTHLY    START   2023-12-31     -              -              2024-05-31     2024-05-31     2024-06-30
  MONTHLY    START   2023-12-31     -              -              2024-06-30     2024-06-30     2024-07-31
  MONTHLY    START   2023-12-31     -              -              2024-07-31     2024-07-31     2024-08-31
  MONTHLY    START   2023-12-31     -              -              2024-08-31     2024-08-31     2024-09-30
  MONTHLY    START   2023-12-31     -              -              2024-09-30     2024-09-30     2024-10-31
  MONTHLY    START   2023-12-31     -              -              2024-10-31     2024-10-31     2024-11-30
  MONTHLY    START   2023-12-31     -              -              2024-11-30     2024-11-30     2024-12-31
  MONTHLY    START   2023-12-31     -              -              2024-12-31     2024-12-31     2025-01-31
  MONTHLY    START   2023-12-31     -              -              2025-01-31     2025-01-31     2025-02-28
  MONTHLY    START   2023-12-31     -              -              2025-02-27     2025-01-31     2025-02-28
  MONTHLY    START   2023-12-31     -              -              2025-02-28     2025-02-28     2025-03-31
  MONTHLY    START   2023-12-31     -              -              2025-03-31     2025-03-31     2025-04-30

# on the 30th and the 29th, with and without a leap day
  MONTHLY    START   2024-01-30     -              -              2024-01-30     2024-01-30     2024-02-29
  MONTHLY    START   2024-01-30     -              -              2024-02-28     2024-01-30     2024-02-29
  MONTHLY    START   2024-01-30     -              -              2024-02-29     2024-02-29     2024-03-30
  MONTHLY    START   2024-01-30     -              -              2024-03-29     2024-02-29     2024-03-30
  MONTHLY    START   2024-01-30     -              -              2024-03-30     2024-03-30     2024-04-30
  MONTHLY    START   2024-01-30     -              -              2025-02-27     2025-01-30     2025-02-28
  MONTHLY    START   2024-01-30     -              -              2025-02-28     2025-02-28     2025-03-30
  MONTHLY    START   2024-01-30     -              -              2025-03-30     2025-03-30     2025-04-30
  MONTHLY    START   2024-01-29     -              -              2024-01-29     2024-01-29     2024-02-29
  MONTHLY    START   2024-01-29     -              -              2024-02-29     2024-02-29     2024-03-29
  MONTHLY    START   2024-01-29     -              -              2024-03-29     2024-03-29     2024-04-29
  MONTHLY    START   2024-01-29     -              -              2025-01-29     2025-01-29     2025-02-28
  MONTHLY    START   2024-01-29     -              -              2025-02-28     2025-02-28     2025-03-29
  MONTHLY    START   2024-01-29     -              -              2025-03-28     2025-02-28     2025-03-29
  MONTHLY    START   2024-01-29     -              -              2028-02-29     2028-02-29     2028-03-29

# on the 28th, which every month has
  MONTHLY    START   2024-01-28     -              -              2024-02-28     2024-02-28     2024-03-28
  MONTHLY    START   2024-01-28     -              -              2024-02-29     2024-02-28     2024-03-28
  MONTHLY    START   2024-01-28     -              -              2025-02-27     2025-01-28     2025-02-28
  MONTHLY    START   2024-01-28     -              -              2025-02-28     2025-02-28     2025-03-28

# the first of the month, for contracts that start on the 31st and elsewhere in a month
  MONTHLY    FIRST   2026-01-31     -              -              2026-01-31     2026-01-31     2026-02-01
  MONTHLY    FIRST   2026-01-31     -              -              2026-02-01     2026-02-01     2026-03-01
  MONTHLY    FIRST   2026-01-31     -              -              2026-02-28T23  2026-02-01     2026-03-01
  MONTHLY    FIRST   2026-01-31     -              -              2026-03-01     2026-03-01     2026-04-01
  MONTHLY    FIRST   2026-12-31     -              -              2026-12-31     2026-12-31     2027-01-01
  MONTHLY    FIRST   2026-12-31     -              -              2027-01-01     2027-01-01     2027-02-01
  MONTHLY    FIRST   2024-02-29     -              -              2024-02-29     2024-02-29     2024-03-01
  MONTHLY    FIRST   2024-02-29     -              -              2024-03-01     2024-03-01     2024-04-01
  MONTHLY    FIRST   2026-06-01     -              -              2026-06-01     2026-06-01     2026-07-01
  MONTHLY    FIRST   2026-06-15T09  -              -              2026-06-15T09  2026-06-15T09  2026-07-01
  MONTHLY    FIRST   2026-06-15T09  -              -              2026-07-01     2026-07-01     2026-08-01
  MONTHLY    FIRST   2023-02-28T23  -              -              2023-02-28T23  2023-02-28T23  2023-03-01

# quarters
  QUARTERLY  START   2025-11-30     -              -              2025-12-01     2025-11-30     2026-02-28
  QUARTERLY  START   2025-11-30     -              -              2026-02-27     2025-11-30     2026-02-28
  QUARTERLY  START   2025-11-30     -              -              2026-02-28     2026-02-28     2026-05-30
  QUARTERLY  START   2025-11-30     -              -              2026-05-30     2026-05-30     2026-08-30
  QUARTERLY  START   2025-11-30     -              -              2028-02-29     2028-02-29     2028-05-30
  QUARTERLY  START   2026-08-31     -              -              2026-11-29     2026-08-31     2026-11-30
  QUARTERLY  START   2026-08-31     -              -              2026-11-30     2026-11-30     2027-02-28
  QUARTERLY  START   2026-08-31     -              -              2027-02-28     2027-02-28     2027-05-31
  QUARTERLY  START   2026-08-31     -              -              2027-05-31     2027-05-31     2027-08-31
  QUARTERLY  START   2026-01-31     -              -              2026-04-29     2026-01-31     2026-04-30
  QUARTERLY  START   2026-01-31     -              -              2026-04-30     2026-04-30     2026-07-31
  QUARTERLY  START   2026-01-31     -              -              2026-07-31     2026-07-31     2026-10-31
  QUARTERLY  START   2026-01-31     -              -              2026-10-31     2026-10-31     2027-01-31
  QUARTERLY  START   2024-02-29     -              -              2024-05-28     2024-02-29     2024-05-29
  QUARTERLY  START   2024-02-29     -              -              2024-05-29     2024-05-29     2024-08-29
  QUARTERLY  START   2024-02-29     -              -              2025-02-28     2025-02-28     2025-05-29
  QUARTERLY  START   2026-01-15     -              -              2026-04-15     2026-04-15     2026-07-15
  QUARTERLY  FIRST   2026-01-31     -              -              2026-01-31     2026-01-31     2026-04-01
  QUARTERLY  FIRST   2026-01-31     -              -              2026-04-01     2026-04-01     2026-07-01
  QUARTERLY  FIRST   2026-02-14     -              -              2026-04-30     2026-02-14     2026-05-01
  QUARTERLY  FIRST   2026-02-14     -              -              2026-05-01     2026-05-01     2026-08-01
  QUARTERLY  FIRST   2026-12-31     -              -              2027-02-28     2026-12-31     2027-03-01
  QUARTERLY  FIRST   2026-12-31     -              -              2027-03-01     2027-03-01     2027-06-01

# years, with anchors on a leap day, on New Year's Eve, and beside the end of February
  ANNUAL     START   2024-02-29     -              -              2025-02-27     2024-02-29     2025-02-28
  ANNUAL     START   2024-02-29     -              -              2025-02-28     2025-02-28     2026-02-28
  ANNUAL     START   2024-02-29     -              -              2026-02-28     2026-02-28     2027-02-28
  ANNUAL     START   2024-02-29     -              -              2028-02-28     2027-02-28     2028-02-29
  ANNUAL     START   2024-02-29     -              -              2028-02-29     2028-02-29     2029-02-28
  ANNUAL     START   2024-02-29     -              -              2029-02-28     2029-02-28     2030-02-28
  ANNUAL     START   2025-02-28     -              -              2028-02-28     2028-02-28     2029-02-28
  ANNUAL     START   2025-02-28     -              -              2028-02-29     2028-02-28     2029-02-28
  ANNUAL     START   2025-03-01     -              -              2028-02-29     2027-03-01     2028-03-01
  ANNUAL     START   2025-03-01     -              -              2028-03-01     2028-03-01     2029-03-01
  ANNUAL     START   2025-12-31     -              -              2026-12-30     2025-12-31     2026-12-31
  ANNUAL     START   2025-12-31     -              -              2026-12-31     2026-12-31     2027-12-31
  ANNUAL     START   2096-02-29     -              -              2100-02-28     2100-02-28     2101-02-28
  ANNUAL     START   2096-02-29     -              -              2104-02-29     2104-02-29     2105-02-28
  ANNUAL     FIRST   2026-01-31     -              -              2026-12-31     2026-01-31     2027-01-01
  ANNUAL     FIRST   2026-01-31     -              -              2027-01-01     2027-01-01     2028-01-01
  ANNUAL     FIRST   2026-05-31     -              -              2027-04-30     2026-05-31     2027-05-01
  ANNUAL     FIRST   2026-05-31     -              -              2027-05-01     2027-05-01     2028-05-01

# weeks, across ends of years and months, counted from the contract's start wherever the month begins
  WEEKLY     START   2025-12-29     -              -              2026-01-04     2025-12-29     2026-01-05
  WEEKLY     START   2025-12-29     -              -              2026-01-05     2026-01-05     2026-01-12
  WEEKLY     START   2024-02-26     -              -              2024-03-03     2024-02-26     2024-03-04
  WEEKLY     START   2024-02-26     -              -              2024-03-04     2024-03-04     2024-03-11
  WEEKLY     START   2023-02-27     -              -              2023-03-05     2023-02-27     2023-03-06
  WEEKLY     START   2026-01-31     -              -              2026-02-06T23  2026-01-31     2026-02-07
  WEEKLY     START   2026-01-31     -              -              2026-02-07     2026-02-07     2026-02-14
  WEEKLY     START   2026-07-15T13  -              -              2026-07-22T12  2026-07-15T13  2026-07-22T13
  WEEKLY     START   2026-07-15T13  -              -              2026-07-22T13  2026-07-22T13  2026-07-29T13
  WEEKLY     FIRST   2026-01-31     -              -              2026-02-01     2026-01-31     2026-02-07
  WEEKLY     FIRST   2026-01-31     -              -              2026-02-07     2026-02-07     2026-02-14
  WEEKLY     FIRST   2026-07-01     -              -              2026-07-08     2026-07-08     2026-07-15
  WEEKLY     FIRST   2024-12-31     -              -              2025-12-30     2025-12-30     2026-01-06
  WEEKLY     FIRST   2024-12-31     -              -              2025-12-31     2025-12-30     2026-01-06
  WEEKLY     CUSTOM  2026-01-31     -              2026-01-05     2026-01-31     2026-01-31     2026-02-02
  WEEKLY     CUSTOM  2026-01-31     -              2026-01-05     2026-02-02     2026-02-02     2026-02-09
  WEEKLY     CUSTOM  2026-01-31     -              2026-03-02     2026-02-01     2026-01-31     2026-02-02
  WEEKLY     CUSTOM  2026-01-31     -              2026-03-02     2026-02-02     2026-02-02     2026-02-09

# days
  DAILY      START   2024-02-28     -              -              2024-02-28     2024-02-28     2024-02-29
  DAILY      START   2024-02-28     -              -              2024-02-29     2024-02-29     2024-03-01
  DAILY      START   2024-02-28     -              -              2024-03-01     2024-03-01     2024-03-02
  DAILY      START   2024-02-28     -              -              2024-12-31     2024-12-31     2025-01-01
  DAILY      START   2026-03-29T07  -              -              2026-03-30T06  2026-03-29T07  2026-03-30T07
  DAILY      START   2026-03-29T07  -              -              2026-03-30T07  2026-03-30T07  2026-03-31T07

# anchors of their own, before and after the contract's start
  MONTHLY    CUSTOM  2026-09-15     -              2026-09-10     2026-09-15     2026-09-15     2026-10-10
  MONTHLY    CUSTOM  2026-09-15     -              2026-09-10     2026-10-09     2026-09-15     2026-10-10
  MONTHLY    CUSTOM  2026-09-15     -              2026-09-10     2026-10-10     2026-10-10     2026-11-10
  MONTHLY    CUSTOM  2026-09-15     -              2026-10-10     2026-09-20     2026-09-15     2026-10-10
  MONTHLY    CUSTOM  2026-09-15     -              2020-01-31     2026-09-29     2026-09-15     2026-09-30
  MONTHLY    CUSTOM  2026-09-15     -              2020-01-31     2026-09-30     2026-09-30     2026-10-31
  MONTHLY    CUSTOM  2026-09-15     -              2020-01-31     2027-02-28     2027-02-28     2027-03-31
  MONTHLY    CUSTOM  2026-01-31     -              2026-12-31     2026-02-27     2026-01-31     2026-02-28
  MONTHLY    CUSTOM  2026-01-31     -              2026-12-31     2026-02-28     2026-02-28     2026-03-31
  MONTHLY    CUSTOM  2026-01-31     -              2026-02-01     2026-01-31     2026-01-31     2026-02-01
  MONTHLY    CUSTOM  2026-01-31     -              2026-01-31T06  2026-01-31     2026-01-31     2026-01-31T06
  MONTHLY    CUSTOM  2026-01-31     -              2026-01-31T06  2026-02-28T05  2026-01-31T06  2026-02-28T06
  MONTHLY    CUSTOM  2026-01-31     -              2026-01-31T06  2026-02-28T06  2026-02-28T06  2026-03-31T06
  QUARTERLY  CUSTOM  2026-02-10     -              2025-11-30     2026-02-27     2026-02-10     2026-02-28
  QUARTERLY  CUSTOM  2026-02-10     -              2025-11-30     2026-02-28     2026-02-28     2026-05-30
  QUARTERLY  CUSTOM  2026-02-10     -              2026-08-31     2026-05-30     2026-02-28     2026-05-31
  QUARTERLY  CUSTOM  2026-02-10     -              2026-08-31     2026-05-31     2026-05-31     2026-08-31
  ANNUAL     CUSTOM  2026-02-10     -              2024-02-29     2026-02-27     2026-02-10     2026-02-28
  ANNUAL     CUSTOM  2026-02-10     -              2024-02-29     2026-02-28     2026-02-28     2027-02-28
  ANNUAL     CUSTOM  2026-02-10     -              2028-02-29     2027-02-28     2027-02-28     2028-02-29
  ANNUAL     CUSTOM  2027-06-01     -              2028-02-29     2028-02-28     2027-06-01     2028-02-29
  ANNUAL     CUSTOM  2027-06-01     -              2028-02-29     2028-02-29     2028-02-29     2029-02-28

# ends within a period, on a boundary, and right after the start
  MONTHLY    START   2026-01-31     2026-02-10     -              2026-02-09T23  2026-01-31     2026-02-10
  MONTHLY    START   2026-01-31     2026-03-15     -              2026-03-14     2026-02-28     2026-03-15
  MONTHLY    START   2026-01-31     2026-02-28     -              2026-02-27T23  2026-01-31     2026-02-28
  MONTHLY    START   2026-01-31     2026-02-28T01  -              2026-02-28     2026-02-28     2026-02-28T01
  MONTHLY    FIRST   2026-01-31     2026-02-01     -              2026-01-31T23  2026-01-31     2026-02-01
  MONTHLY    FIRST   2026-01-31     2026-02-15     -              2026-02-14     2026-02-01     2026-02-15
  MONTHLY    FIRST   2026-01-10     2026-01-20     -              2026-01-15     2026-01-10     2026-01-20
  MONTHLY    START   2026-01-31T05  2026-01-31T06  -              2026-01-31T05  2026-01-31T05  2026-01-31T06
  QUARTERLY  START   2025-11-30     2026-03-31     -              2026-03-30     2026-02-28     2026-03-31
  QUARTERLY  START   2025-11-30     2026-02-28     -              2026-02-27     2025-11-30     2026-02-28
  QUARTERLY  FIRST   2026-01-31     2026-05-15     -              2026-05-14     2026-04-01     2026-05-15
  ANNUAL     START   2024-02-29     2025-06-30     -              2025-06-29     2025-02-28     2025-06-30
  ANNUAL     START   2024-02-29     2025-02-28     -              2025-02-27     2024-02-29     2025-02-28
  ANNUAL     FIRST   2026-05-31     2026-11-30     -              2026-11-29     2026-05-31     2026-11-30
  WEEKLY     START   2026-01-31     2026-02-10     -              2026-02-09     2026-02-07     2026-02-10
  WEEKLY     START   2026-01-31     2026-02-07     -              2026-02-06T23  2026-01-31     2026-02-07
  DAILY      START   2026-01-31     2026-02-01T12  -              2026-02-01T11  2026-02-01     2026-02-01T12

# hours outside of the contract
  MONTHLY    START   2026-01-31     -              -              2026-01-30T23  none           none
  MONTHLY    FIRST   2026-01-31     -              -              2026-01-01     none           none
  MONTHLY    START   2026-01-31     2026-02-10     -              2026-02-10     none           none
  QUARTERLY  START   2025-11-30     2026-02-28     -              2026-02-28     none           none
  ANNUAL     START   2024-02-29     2025-06-30     -              2026-01-01     none           none
  WEEKLY     START   2026-01-31     2026-02-07     -              2026-02-07     none           none
  MONTHLY    FIRST   2026-01-10     2026-01-20     -              2026-01-25     none           none
"""

ANCHORS = {"FIRST": AnchorDay.FIRST_OF_MONTH, "START": AnchorDay.CONTRACT_START, "CUSTOM": AnchorDay.CUSTOM_DATE}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS_AROUND = 320


class Row(NamedTuple):
    frequency: Frequency
    anchor: str
    start: datetime
    end: datetime | None
    custom: datetime | None
    at: datetime
    expected: tuple[datetime, datetime] | None


def instant(text: str) -> datetime | None:
    return None if text in ("-", "none") else datetime.fromisoformat(text).replace(tzinfo=UTC)


def needed(text: str) -> datetime:
    found = instant(text)
    assert found is not None
    return found


def parsed(line: str) -> Row:
    frequency, anchor, start, end, custom, at, period_start, period_end = line.split()
    expected = None if period_start == "none" else (needed(period_start), needed(period_end))
    return Row(Frequency(frequency), anchor, needed(start), instant(end), instant(custom), needed(at), expected)


LINES = [line.strip() for line in TABLE.splitlines() if line.strip() and not line.startswith("#")]


def hours(moment: datetime) -> int:
    return int((moment - EPOCH) // timedelta(hours=1))


def by_dateutil(row: Row) -> tuple[datetime, datetime] | None:
    """All boundaries around the anchor, and the contract's own start and end as further ones; the two beside ``at``."""
    if row.at < row.start or (row.end is not None and row.at >= row.end):
        return None
    weekly = row.frequency is Frequency.WEEKLY
    first = row.start if weekly else row.start + relativedelta(day=1, hour=0)
    anchor = {"FIRST": first, "START": row.start, "CUSTOM": row.custom}[row.anchor]
    assert anchor is not None
    units: dict[Frequency, tuple[str, int]] = {
        Frequency.DAILY: ("days", 1),
        Frequency.WEEKLY: ("days", 7),
        Frequency.MONTHLY: ("months", 1),
        Frequency.QUARTERLY: ("months", 3),
        Frequency.ANNUAL: ("years", 1),
    }
    unit, count = units[row.frequency]
    steps = [relativedelta(**{unit: count * step}) for step in range(-STEPS_AROUND, STEPS_AROUND + 1)]  # type: ignore[arg-type]
    around = {anchor + step for step in steps}
    boundaries = sorted({row.start, *(each for each in around if each > row.start and (row.end is None or each < row.end))})
    place = bisect_right(boundaries, row.at)
    after = boundaries[place] if place < len(boundaries) else row.end
    assert after is not None
    return boundaries[place - 1], after


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(LINES) >= 150
    assert len(set(LINES)) == len(LINES)
    assert {parsed(line).frequency for line in LINES} == set(Frequency)


@pytest.mark.parametrize("line", LINES)
def test_a_written_row(line: str) -> None:
    row = parsed(line)
    custom_us = None if row.custom is None else hours(row.custom) * HOUR_US
    anchor_us = anchor_for(row.frequency, ANCHORS[row.anchor], hours(row.start) * HOUR_US, custom_us)
    end = None if row.end is None else hours(row.end)
    found = period_at(BillingSchedule(row.frequency, anchor_us), hours(row.start), end, hours(row.at))
    assert by_dateutil(row) == row.expected
    assert found == (None if row.expected is None else tuple(map(hours, row.expected)))
