"""A customer's hourly quantities, by series, from either place where windows are: an aggregate's memory or a store's maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.catalog import BillableMetric
from engine.metering.codec import Quantity, Reading
from engine.metering.queries import HOURS_A_DAY, UsageWindows
from engine.metering.series import TOTAL, SeriesKey, series_key
from engine.metering.windows import WindowStore


class HourlyUsage(NamedTuple):
    """``hours``: series -> hour since the epoch -> quantity. ``carry``: the last LATEST reading of hours that are no longer
    there (folded into days), by series."""

    hours: Mapping[SeriesKey, Mapping[int, Quantity]]
    carry: Mapping[SeriesKey, Reading]


def usage_of_store(windows: WindowStore, carry: Mapping[str, Reading]) -> HourlyUsage:
    """From an aggregate's memory (engine.live.Usage: ``usage_of_store(*usage)``)."""
    return HourlyUsage(
        {series_key(field): dict(series.hours()) for field, series in windows.series.items()},
        {series_key(field): reading for field, reading in carry.items()},
    )


def usage_of_group(usage: HourlyUsage, metrics: Mapping[str, BillableMetric], group_key: str, value: str) -> HourlyUsage:
    """The series that are known to be of this value of the group key alone; all that lines with that value are made of."""

    def is_wanted(key: SeriesKey) -> bool:
        metric = metrics.get(key.metric_id)
        if metric is None or key.dimension == TOTAL:
            return False
        names = metric.group_keys[key.dimension]
        return group_key in names and key.values[names.index(group_key)] == value

    return HourlyUsage(
        {key: hours for key, hours in usage.hours.items() if is_wanted(key)},
        {key: reading for key, reading in usage.carry.items() if is_wanted(key)},
    )


def usage_of_windows(usage: UsageWindows) -> HourlyUsage:
    """From stored maps (engine.metering.queries). Folded days serve as the base of LATEST increments only."""
    hours: dict[SeriesKey, dict[int, Quantity]] = {}
    for day, windows in usage.days.items():
        for key, by_hour in windows.items():
            series = hours.setdefault(key, {})
            for hour_of_day, quantity in by_hour.items():
                series[day * HOURS_A_DAY + hour_of_day] = quantity
    carry: dict[SeriesKey, Reading] = {}
    for month in usage.months:
        for key, by_day in month.items():
            for quantity in by_day.values():
                if isinstance(quantity, Reading) and (key not in carry or quantity > carry[key]):
                    carry[key] = quantity
    return HourlyUsage(hours, carry)
