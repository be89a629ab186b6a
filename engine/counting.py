"""From an event to the windows and gauges of one customer: first read and check everything, then add."""

from __future__ import annotations

from typing import NamedTuple

from engine.catalog import Aggregation
from engine.compiled import CompiledCatalog
from engine.effects import Rejection, UsageEvent
from engine.live import LiveGauges
from engine.metering.codec import Reading
from engine.metering.matching import MetricMatcher, Value
from engine.metering.series import GroupValues, SeriesKey, series_field
from engine.metering.windows import Series, WindowStore

HOURS_A_DAY = 24
_LATEST = Aggregation.LATEST
_NO_GROUPS: list[GroupValues] = []


class Metered(NamedTuple):
    """One metric of this customer: where its quantities go. ``groups``: for each declared group key, series by values."""

    metric_id: str
    aggregation: Aggregation
    total: Series
    groups: tuple[dict[GroupValues, Series], ...]


Hit = tuple[Metered, Value, list[GroupValues]]
"""A metric that an event counts for, what it adds, and its values for each declared group key."""


class Counting:
    """One customer's metrics under one catalog."""

    __slots__ = ("_compiled", "_metered", "_windows")

    def __init__(self, compiled: CompiledCatalog, windows: WindowStore) -> None:
        self._compiled = compiled
        self._windows = windows
        self._metered: dict[MetricMatcher, Metered] = {}

    def hits(self, event: UsageEvent) -> list[Hit] | Rejection:
        """The metrics that the event counts for, with its value and group values for each. Changes nothing."""
        hits: list[Hit] = []
        properties = event.properties
        for matcher in self._compiled.matchers_for(event.event_type):
            value = matcher.value(properties)
            if value is None:
                continue
            if value.__class__ is Rejection:
                return value
            metered = self._metered.get(matcher) or self._meter(matcher)
            hits.append((metered, value, matcher.groups(properties) if metered.groups else _NO_GROUPS))  # type: ignore[arg-type]
        return hits

    def add(self, hits: list[Hit], event: UsageEvent, live: LiveGauges, serial: int) -> None:
        """Adds the event to all windows and gauges."""
        hour = event.hour
        day, hour_of_day = divmod(hour, HOURS_A_DAY)
        plan = live.plans.get(hour)
        if plan is None:
            plan = live.plan(hour)
        for metered, value, groups in hits:
            quantity = Reading(event.timestamp_us, value) if metered.aggregation is _LATEST else value  # type: ignore[arg-type]
            metered.total.add(day, hour_of_day, quantity)  # type: ignore[arg-type]
            sinks = plan.get(metered.metric_id) or live.sinks(plan, metered.metric_id, hour)
            for sink in sinks.plain:
                sink(quantity, serial)
            if groups:
                for dimension, values in enumerate(groups):
                    series = metered.groups[dimension].get(values) or self._group_series(metered, dimension, values)
                    series.add(day, hour_of_day, quantity)  # type: ignore[arg-type]
                for grouped in sinks.grouped:
                    found = grouped.sink(groups[grouped.dimension])
                    if found is not None:
                        found(quantity, serial)

    def _meter(self, matcher: MetricMatcher) -> Metered:
        total = self._windows.get(matcher.metric.id, matcher.aggregation)
        groups: tuple[dict[GroupValues, Series], ...] = tuple({} for _ in matcher.dimensions)
        metered = self._metered[matcher] = Metered(matcher.metric.id, matcher.aggregation, total, groups)
        return metered

    def _group_series(self, metered: Metered, dimension: int, values: GroupValues) -> Series:
        field = series_field(SeriesKey(metered.metric_id, dimension, values))
        series = metered.groups[dimension][values] = self._windows.get(field, metered.aggregation)
        return series
