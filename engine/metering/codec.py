"""The stored text of windows: one map for each UTC day, and one for each month of folded days.

    day map      <series>                       "13:2.5 14:7"        hour of the day : sum, count or maximum
                 <series>                       "13:<us>.7@2.5"      hour : timestamp in us . arrival @ last reading (LATEST)
                 <series> US <hour> US <text>   ""                   one element of that hour (UNIQUE)
    month map    <day> US <series>              "9.5" or "<us>.7@2.5"  the day's sum, maximum or last reading
                 <day> US <series> US <text>    ""                   one element of that day (UNIQUE)

US is the control character "unit separator". Days are counted from the epoch. Decimals are written by ``str`` and
read back digit for digit. A field per element keeps writes flat: a new element never rewrites the old ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.metering.series import ELEMENT_SEPARATOR, SeriesKey, series_key


class Reading(NamedTuple):
    """What LATEST keeps: the last value read, and when. Readings compare by that: of two with one timestamp the one that
    arrived later is the later one. ``arrival`` numbers them; it grows with every event of the customer that has a reading."""

    timestamp_us: int
    arrival: int
    value: Decimal


Quantity = Decimal | Reading | frozenset[str]
"""One hour's or day's quantity of a series: COUNT, SUM, MAX; LATEST; UNIQUE."""

DayWindows = dict[SeriesKey, dict[int, Quantity]]
"""Of one day: series -> hour of the day (0..23) -> quantity."""

FoldedWindows = dict[SeriesKey, dict[int, Quantity]]
"""Of one month: series -> day (since the epoch) -> quantity."""


def encode_quantity(quantity: Decimal | Reading) -> str:
    if isinstance(quantity, Reading):
        return f"{quantity.timestamp_us}.{quantity.arrival}@{quantity.value}"
    return str(quantity)


def decode_quantity(text: str) -> Decimal | Reading:
    when, at, value = text.partition("@")
    if not at:
        return Decimal(text)
    timestamp, _, arrival = when.partition(".")
    return Reading(int(timestamp), int(arrival), Decimal(value))


def decode_hours(text: str) -> dict[int, Decimal | Reading]:
    """The hours of one series and day."""
    hours: dict[int, Decimal | Reading] = {}
    for part in text.split(" "):
        hour, _, quantity = part.partition(":")
        hours[int(hour)] = decode_quantity(quantity)
    return hours


def element_field(series: str, hour_of_day: int, element: str) -> str:
    return f"{series}{ELEMENT_SEPARATOR}{hour_of_day}{ELEMENT_SEPARATOR}{element}"


def folded_field(day: int, series: str, element: str | None = None) -> str:
    field = f"{day}{ELEMENT_SEPARATOR}{series}"
    return field if element is None else f"{field}{ELEMENT_SEPARATOR}{element}"


def decode_day(fields: Mapping[str, str]) -> DayWindows:
    """Reads one day map."""
    windows: DayWindows = {}
    elements: dict[tuple[SeriesKey, int], set[str]] = {}
    for field, text in fields.items():
        series, separator, rest = field.partition(ELEMENT_SEPARATOR)
        key = series_key(series)
        if separator:
            hour, _, element = rest.partition(ELEMENT_SEPARATOR)
            elements.setdefault((key, int(hour)), set()).add(element)
        else:
            windows[key] = dict(decode_hours(text))
    for (key, hour_of_day), members in elements.items():
        windows.setdefault(key, {})[hour_of_day] = frozenset(members)
    return windows


def decode_month(fields: Mapping[str, str]) -> FoldedWindows:
    """Reads one month map of folded days."""
    windows: FoldedWindows = {}
    elements: dict[tuple[SeriesKey, int], set[str]] = {}
    for field, text in fields.items():
        day_text, _, rest = field.partition(ELEMENT_SEPARATOR)
        series, separator, element = rest.partition(ELEMENT_SEPARATOR)
        key, day = series_key(series), int(day_text)
        if separator:
            elements.setdefault((key, day), set()).add(element)
        else:
            windows.setdefault(key, {})[day] = decode_quantity(text)
    for (key, day), members in elements.items():
        windows.setdefault(key, {})[day] = frozenset(members)
    return windows
