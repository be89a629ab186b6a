"""A customer's hourly quantities, by series, from either place where windows are: an aggregate's memory or a store's maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from engine.metering.codec import Quantity, Reading
from engine.metering.queries import UsageWindows
from engine.metering.series import SeriesKey
from engine.metering.windows import WindowStore


class HourlyUsage(NamedTuple):
    """``hours``: series -> hour since the epoch -> quantity. ``carry``: the last LATEST reading of hours that are no longer
    there (folded into days), by series."""

    hours: Mapping[SeriesKey, Mapping[int, Quantity]]
    carry: Mapping[SeriesKey, Reading]


def usage_of_store(windows: WindowStore, carry: Mapping[str, Reading]) -> HourlyUsage:
    """From an aggregate's memory (engine.live.Usage: ``usage_of_store(*usage)``)."""
    raise NotImplementedError


def usage_of_windows(usage: UsageWindows) -> HourlyUsage:
    """From stored maps (engine.metering.queries). Folded days serve as the base of LATEST increments only."""
    raise NotImplementedError
