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


def series_key(field: str) -> SeriesKey:
    parts = field.split("/", 2)
    if len(parts) == 1:
        return SeriesKey(field)
    return SeriesKey(parts[0], int(parts[1]), tuple(json.loads(parts[2])))
