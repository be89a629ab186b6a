"""A customer's usage in as few hours as its invoices can be told from: hours between two cuts become one.

    hours   ▏▎▍▌▋▊▉█▏▎▍│▌▋▊▉█▏▎▍│▌▋▊ ▉      ─►      █│█│█ ▉
                       cut       cut  the hour apart

A *cut* is an hour at which a price, a filter, a balance, a billing period or a contract begins or ends. What an invoice charges,
and what pays for it, depends on where each line's running quantity stands at the cuts, and on nothing in between: so invoices of
this usage have the totals and payments of the hourly one. (Their breakdowns by hour differ; nobody asks for these here.)

Closed days (engine.metering.windows) are added up once and remembered; a statement then costs a few steps for each line instead
of one for each hour of the period.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.invoices.usage import HourlyUsage
from engine.metering.codec import Quantity, Reading
from engine.metering.series import SeriesKey, series_key
from engine.metering.windows import ElementSeries, NumberSeries, WindowStore

Merged = dict[int, tuple[int, Decimal | Reading]]
"""Stretch between cuts -> its last hour with usage, and the quantity of all its hours."""


class _Known(NamedTuple):
    """The closed days of a series, merged. ``revision``: of the series, for which this holds."""

    key: SeriesKey
    revision: int
    merged: Merged


class CoarseUsage:
    """Of one customer; remembers what it merged until the cuts change."""

    __slots__ = ("_cuts", "_known")

    def __init__(self) -> None:
        self._cuts: tuple[int, ...] = ()
        self._known: dict[str, _Known] = {}

    def usage(
        self, windows: WindowStore, carry: Mapping[str, Reading], cuts: Iterable[int], apart_hour: int | None = None
    ) -> HourlyUsage:
        """``apart_hour``: stays an hour by itself; usage of it must be in an open day."""
        ordered = tuple(sorted(set(cuts)))
        if ordered != self._cuts:
            self._cuts = ordered
            self._known.clear()
        hours: dict[SeriesKey, dict[int, Quantity]] = {}
        for field, series in windows.series.items():
            known = self._known.get(field)
            if isinstance(series, ElementSeries):
                hours[known.key if known else series_key(field)] = dict(series.hours())
                continue
            if known is None or known.revision != series.revision:
                key = series_key(field) if known is None else known.key
                merged = _merged(series, series.closed_hours(), self._cuts)
                known = self._known[field] = _Known(key, series.revision, merged)
            hours[known.key] = self._hours(series, known.merged, apart_hour)
        return HourlyUsage(hours, {series_key(field): reading for field, reading in carry.items()})

    def _hours(self, series: NumberSeries, closed: Merged, apart_hour: int | None) -> dict[int, Quantity]:
        opened = [(hour, quantity) for hour, quantity in series.open_hours() if hour != apart_hour]
        merged = _merged(series, [*closed.values(), *opened], self._cuts) if opened else closed
        hours: dict[int, Quantity] = dict(merged.values())
        if apart_hour is not None:
            quantity = series.at(apart_hour)
            if quantity is not None:
                hours[apart_hour] = quantity
        return hours


def _merged(series: NumberSeries, hours: Iterable[tuple[int, Decimal | Reading]], cuts: Sequence[int]) -> Merged:
    stretches: dict[int, tuple[int, list[Decimal | Reading]]] = {}
    for hour, quantity in hours:
        stretch = bisect_right(cuts, hour)
        last_hour, quantities = stretches.get(stretch, (hour, []))
        quantities.append(quantity)
        stretches[stretch] = max(hour, last_hour), quantities
    return {
        stretch: (last_hour, series.combined(quantities) if len(quantities) > 1 else quantities[0])
        for stretch, (last_hour, quantities) in stretches.items()
    }
