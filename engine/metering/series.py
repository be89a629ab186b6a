"""Which quantity a window belongs to: one metric, in total or for one combination of group values.

A series is written as the field name of a stored window:

    <metric id>                                    the total
    <metric id>/<dimension>/<JSON array of values> one combination of a declared compound group key

``dimension`` is the position of the compound key in the metric's declaration, which never changes; null in the
array stands for an absent property. The text holds no control character (JSON escapes them), so the separator
``ELEMENT_SEPARATOR`` may follow it.
"""

from __future__ import annotations

import json
from typing import NamedTuple

TOTAL = -1
"""The dimension of the total."""

ELEMENT_SEPARATOR = "\x1f"

OTHER = "tidemark:other"
"""The value under which all those are counted that are too many to be kept apart (engine.metering.bounded). No event's own value
is ever kept as this text."""

_OTHER_JSON = json.dumps(OTHER)

GroupValues = tuple[str | None, ...]


class SeriesKey(NamedTuple):
    metric_id: str
    dimension: int = TOTAL
    values: GroupValues = ()


def series_field(key: SeriesKey) -> str:
    """The text of a series; ``series_key`` reads it back."""
    if key.dimension == TOTAL:
        return key.metric_id
    return f"{key.metric_id}/{key.dimension}/{json.dumps(key.values, separators=(',', ':'))}"


def dimension_name(metric_id: str, dimension: int) -> str:
    """What the fields of all series of one declared group key begin with; ``dimension_of`` reads it from a field."""
    return f"{metric_id}/{dimension}"


def dimension_of(field: str) -> str | None:
    """None for a total, and for a series that holds ``OTHER``: these are not counted against the bound."""
    head, separator, values = field.partition("/[")
    return head if separator and _OTHER_JSON not in values else None


def series_key(field: str) -> SeriesKey:
    parts = field.split("/", 2)
    if len(parts) == 1:
        return SeriesKey(field)
    return SeriesKey(parts[0], int(parts[1]), tuple(json.loads(parts[2])))
