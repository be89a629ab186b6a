"""Folding: hours that no open invoice needs become days; days that are too old are dropped.

A UTC day is folded when it is older than ``windows_hourly_days`` and lies before every live billing period. Its quantities go
to the map of its month, one field for each series and day (UNIQUE: each element). The last LATEST reading of the days folded is
carried in the customer's state, since the next slice is billed from it. A month is dropped after ``windows_daily_months``.
"""

from __future__ import annotations

from datetime import date

from engine.alerts.stored import CARRY_PREFIX, StateMeta
from engine.effects import Delta
from engine.live import NEVER_US, Usage
from engine.metering.codec import encode_quantity
from engine.periods import HOUR_US
from engine.settings import EngineSettings

DAY_US = 24 * HOUR_US
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def month_of(day: int) -> str:
    """The UTC month ("YYYY-MM") of a day since the epoch."""
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()[:7]


def fold_due_us(days: set[int], settings: EngineSettings, kept_from_hour: int, boundary_us: int) -> int:
    """When the oldest day can be folded; a day that a live period needs, at the next boundary. NEVER_US if there are no days."""
    if not days:
        return NEVER_US
    oldest = min(days)
    old_enough_us = (oldest + 1 + settings.windows_hourly_days) * DAY_US
    return max(old_enough_us, boundary_us) if oldest >= kept_from_hour // 24 else old_enough_us


def fold_windows(
    usage: Usage,
    meta: StateMeta,
    settings: EngineSettings,
    now_us: int,
    kept_from_hour: int,
    delta: Delta,
) -> None:
    """Folds every day that is due, and drops the months that are too old; notes both in ``meta`` and ``delta``."""
    limit = min(now_us // DAY_US - settings.windows_hourly_days, kept_from_hour // 24)
    for day in sorted(day for day in usage.windows.days if day < limit):
        fields, readings = usage.windows.fold(day)
        month = month_of(day)
        delta.folded_set.setdefault(month, {}).update(fields)
        delta.windows_deleted.append(day)
        for field, reading in readings.items():
            if field not in usage.carry or reading >= usage.carry[field]:
                usage.carry[field] = reading
                delta.state_set[CARRY_PREFIX + field] = encode_quantity(reading)
        meta.days.discard(day)
        meta.months.add(month)
        meta.folded_before = day + 1
    year, month_number = (int(part) for part in month_of(now_us // DAY_US).split("-"))
    months_old = year * 12 + month_number - 1 - settings.windows_daily_months
    oldest_kept = f"{months_old // 12:04d}-{months_old % 12 + 1:02d}"
    for month in sorted(month for month in meta.months if month < oldest_kept):
        meta.months.discard(month)
        delta.folded_set.pop(month, None)
        delta.folded_deleted.append(month)
