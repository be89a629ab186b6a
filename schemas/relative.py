"""Dates of a package, which count from the start of a contract that is made with it.

    {"starting_at_offset": {"unit": "MONTHS", "value": 1}, "duration": {"unit": "MONTHS", "value": 1}}
        ──► {"starting_at": ..., "ending_before": ...}
    {"date_offset": {"unit": "DAYS", "value": 30}}  ──► {"timestamp": ...}

A month or year later is the same day of the month, or that month's last day where it has none. Where an offset and its duration
both count months or years, so does their sum, from the contract's start: schedules month by month leave no gap, and do not
overlap, for a contract that starts on the 31st.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from schemas.common import Body, Upper
from schemas.errors import BadRequest, refusal

_DAYS = {"DAYS": 1, "WEEKS": 7}
_MONTHS = {"MONTHS": 1, "YEARS": 12}
_YEARS_MAX = 100
_LONGEST = {"DAYS": 366 * _YEARS_MAX, "WEEKS": 53 * _YEARS_MAX, "MONTHS": 12 * _YEARS_MAX, "YEARS": _YEARS_MAX}
ABSOLUTE = frozenset({"starting_at", "ending_before", "timestamp", "billing_anchor_date"})
"""What a package must not name."""
OPAQUE = frozenset({"custom_fields", "pricing_group_values", "presentation_group_values"})
"""Maps whose keys are the caller's."""


class Offset(Body):
    """So long after the contract's start; at most 100 years."""

    unit: Annotated[Literal["DAYS", "WEEKS", "MONTHS", "YEARS"], Upper]
    value: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _bounded(self) -> Offset:
        if self.value > _LONGEST[self.unit]:
            raise ValueError(f"value must be at most {_LONGEST[self.unit]} {self.unit}")
        return self

    def parts(self) -> tuple[int, int]:
        """(months, days), one of which is 0."""
        return self.value * _MONTHS.get(self.unit, 0), self.value * _DAYS.get(self.unit, 0)


class Duration(Offset):
    """At least one of its unit."""

    value: Annotated[int, Field(ge=1)]


_OFFSET: TypeAdapter[Offset] = TypeAdapter(Offset)
_DURATION: TypeAdapter[Duration] = TypeAdapter(Duration)


def later(start: datetime, months: int, days: int) -> datetime:
    """``start`` (UTC) moved by whole months, then by days. Raises ValueError beyond the year 9998."""
    year, month_index = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > 9998:
        raise ValueError("must end before the year 9998")
    moved = start.replace(year=year, month=month_index + 1, day=min(start.day, monthrange(year, month_index + 1)[1]))
    return moved + timedelta(days=days)


def starts(start: datetime, offset: Offset) -> datetime:
    return later(start, *offset.parts())


def ends(start: datetime, offset: Offset, duration: Duration) -> datetime:
    """The end of what begins ``offset`` after ``start`` and lasts ``duration``."""
    months, days = offset.parts()
    more_months, more_days = duration.parts()
    if days == 0 and more_days == 0:
        return later(start, months + more_months, 0)
    return later(starts(start, offset), more_months, more_days)


def absolute(place: str, block: Any, start: datetime) -> Any:
    """``block`` (JSON) with its relative dates as instants of a contract that starts at ``start``. ``place``: the name of the
    field in messages. Raises BadRequest or NotSupported for a date that is not relative, or not well formed."""
    if isinstance(block, list):
        return [absolute(f"{place}[{index}]", each, start) for index, each in enumerate(block)]
    if not isinstance(block, Mapping):
        return block
    made: dict[str, Any] = {}
    for name, value in block.items():
        inner = f"{place}.{name}"
        if name in OPAQUE:
            made[name] = value
        elif name in ABSOLUTE:
            raise BadRequest(f"{inner}: is not a known field: dates of a package are relative to the contract's start")
        elif name == "starting_at_offset":
            made["starting_at"] = starts(start, _parsed(_OFFSET.validate_python, inner, value))
        elif name == "date_offset":
            made["timestamp"] = starts(start, _parsed(_OFFSET.validate_python, inner, value))
        elif name == "duration":
            offset = _parsed(_OFFSET.validate_python, place, block.get("starting_at_offset", {"unit": "DAYS", "value": 0}))
            made["ending_before"] = ends(start, offset, _parsed(_DURATION.validate_python, inner, value))
        else:
            made[name] = absolute(inner, value, start)
    return made


def _parsed(parse: Callable[[Any], Any], place: str, value: Any) -> Any:
    try:
        return parse(value)
    except ValidationError as error:
        raised = refusal(error)
        raise type(raised)(f"{place}: {raised.message}") from None
