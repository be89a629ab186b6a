"""RFC 3339 timestamps, strictly, as whole microseconds since the Unix epoch.

``datetime.fromisoformat`` takes more than RFC 3339 (week dates, compact forms, commas, no zone); here those are refused.

- The zone is required: ``Z`` or ``+hh:mm`` / ``-hh:mm`` (``-00:00`` is read as UTC). ``T`` and ``Z`` may be lower case.
- A fraction may have any number of digits; those beyond the microsecond are cut off, never rounded up: an instant must
  not slip into the next hour or period.
- Second 60 is taken only where leap seconds are, at 23:59 UTC, and means the last microsecond of that minute: the event
  stays in the day, hour and billing period that its producer named.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

_MINUTE_US = 60_000_000
_HOUR_US = 3_600_000_000
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_FORM = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):(?P<zone_minute>[0-9]{2}))"
)

_REMEMBERED_MAX = 65_536
_seconds_us: dict[str, int] = {}
"""``YYYY-MM-DDTHH:MM:SS`` -> microseconds, for seconds in UTC met before: events come in runs of the same seconds."""

_FRACTIONS_US = {"Z": 0} | {f".{milliseconds:03}Z": milliseconds * 1_000 for milliseconds in range(1_000)}
"""What many clocks write after the seconds."""

_MICROSECONDS_LENGTH = len("YYYY-MM-DDTHH:MM:SS.ffffffZ")
"""What most others write."""


def parse_timestamp(text: str) -> int | None:
    """Microseconds since the epoch, or None if ``text`` is not an RFC 3339 timestamp."""
    second_us = _seconds_us.get(text[:19])
    if second_us is not None:
        if len(text) == _MICROSECONDS_LENGTH and text[19] == "." and text[26] == "Z":
            digits = text[20:26]
            if digits.isdigit() and digits.isascii():
                return second_us + int(digits)
        rest = text[19:]
        fraction_us = _FRACTIONS_US.get(rest)
        if fraction_us is not None:
            return second_us + fraction_us
        digits = rest[1:-1]
        if rest[:1] == "." and rest[-1] == "Z" and digits.isascii() and digits.isdigit():
            return second_us + int(digits[:6].ljust(6, "0"))
    return _parse_any(text)


def stored_instant_us(text: str) -> int:
    """Microseconds since the epoch, of a document's instant. Raises ValueError for another text."""
    instant = parse_timestamp(text)
    if instant is None:
        raise ValueError(f"{text!r} is not an RFC 3339 timestamp")
    return instant


def stored_hour(text: str) -> int:
    """Whole hours since the epoch, of a document's instant. Raises ValueError for another text."""
    hour, rest = divmod(stored_instant_us(text), _HOUR_US)
    if rest:
        raise ValueError(f"{text!r} is not on the hour")
    return hour


def _parse_any(text: str) -> int | None:
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    try:
        days = date(int(match["year"]), int(match["month"]), int(match["day"])).toordinal() - _EPOCH_ORDINAL
    except ValueError:  # no such day, or the year 0000
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    minute_us = days * _DAY_US + (hour * 60 + minute) * _MINUTE_US
    if match["sign"] is not None:
        zone_hour, zone_minute = int(match["zone_hour"]), int(match["zone_minute"])
        if zone_hour > 23 or zone_minute > 59:
            return None
        offset_us = (zone_hour * 60 + zone_minute) * _MINUTE_US
        minute_us += -offset_us if match["sign"] == "+" else offset_us
    if second == 60:
        is_last_minute_of_day = minute_us % _DAY_US == _DAY_US - _MINUTE_US
        return minute_us + _MINUTE_US - 1 if is_last_minute_of_day else None
    second_us = minute_us + second * 1_000_000
    if match["sign"] is None and text[10] == "T":
        _remember(text[:19], second_us)
    return second_us + int((match["fraction"] or "")[:6].ljust(6, "0"))


def _remember(second: str, second_us: int) -> None:
    if len(_seconds_us) >= _REMEMBERED_MAX:
        _seconds_us.clear()
    _seconds_us[second] = second_us


def format_timestamp(timestamp_us: int) -> str:
    """The instant in UTC with its microseconds, as short as it goes: ``2026-01-31T23:59:59Z``, ``...:59.000001Z``.

    Raises OverflowError outside the years 1 to 9999.
    """
    text = (_EPOCH + timedelta(microseconds=timestamp_us)).replace(tzinfo=None).isoformat()
    return text + "Z"
