"""RFC 3339, strictly."""

from __future__ import annotations

import pytest

from schemas.timestamps import format_timestamp, parse_timestamp

SECOND = 1_000_000
MIDNIGHT_US = 1_769_904_000 * SECOND  # 2026-02-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "timestamp_us"),
    [
        ("2026-02-01T00:00:00Z", MIDNIGHT_US),
        ("2026-02-01t00:00:00z", MIDNIGHT_US),
        ("2026-02-01T00:00:00-00:00", MIDNIGHT_US),
        ("2026-02-01T05:30:00+05:30", MIDNIGHT_US),
        ("2026-01-31T19:00:00-05:00", MIDNIGHT_US),
        ("2026-01-31T23:59:59.9Z", MIDNIGHT_US - 100_000),
        ("2026-01-31T23:59:59.9999999999Z", MIDNIGHT_US - 1),  # cut off, not rounded into February
        ("2026-01-31T23:59:60Z", MIDNIGHT_US - 1),  # a leap second stays in its day
        ("2026-02-01T00:59:60+01:00", MIDNIGHT_US - 1),
        ("1969-12-31T23:59:59.000001Z", -999_999),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * SECOND),
    ],
)
def test_accepted(text: str, timestamp_us: int) -> None:
    for _ in range(2):  # the second time its minute is remembered
        assert parse_timestamp(text) == timestamp_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2026-02-01",
        "2026-02-01T00:00:00",  # no zone
        "2026-02-01 00:00:00Z",
        "20260201T000000Z",
        "2026-W05-7T00:00:00Z",
        "2026-02-01T00:00Z",
        "2026-02-01T00:00:00,5Z",
        "2026-02-01T00:00:00.Z",
        "2026-02-01T00:00:00+0000",
        "2026-02-01T00:00:00+00",
        "2026-02-01T00:00:00+24:00",
        "2026-02-01T00:00:00+00:60",
        "2026-02-01T24:00:00Z",
        "2026-02-01T00:60:00Z",
        "2026-02-01T00:00:61Z",
        "2026-02-01T12:00:60Z",  # no leap second there
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-02-01T00:00:0\u0660Z",  # a digit, but not an ASCII one
        "2026-02-01T00:00:00.\u0661Z",
        "2026-02-01T00:00:00Z\n",
        " 2026-02-01T00:00:00Z",
        "1769904000",
    ],
)
def test_refused(text: str) -> None:
    parse_timestamp("2026-02-01T00:00:00Z")  # so that the minute is remembered
    assert parse_timestamp(text) is None


@pytest.mark.parametrize("timestamp_us", [0, -1, MIDNIGHT_US, MIDNIGHT_US + 1, MIDNIGHT_US - 1_500])
def test_written_and_read_again(timestamp_us: int) -> None:
    assert parse_timestamp(format_timestamp(timestamp_us)) == timestamp_us
