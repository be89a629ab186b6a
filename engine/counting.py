"""From an event to the windows and gauges of one customer: first read and check everything, then add. The hot path.

Where values go is looked up once for all events of one type and hour, and kept as a ``Route``: a later event costs one look-up,
then for each metric its value, an addition to the hour's window, and the sinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.alerts.ladder import Gauge
from engine.board import GroupSinks
from engine.catalog import Aggregation
from engine.cells import Cell, Sink
from engine.compiled import CompiledCatalog
from engine.effects import UsageEvent
from engine.live import LiveGauges
from engine.metering.codec import Reading
from engine.metering.matching import MetricMatcher, Value
from engine.metering.series import GroupValues, SeriesKey, series_field
from engine.metering.windows import Series, WindowStore

HOURS_A_DAY = 24
_SUMS = frozenset((Aggregation.SUM, Aggregation.COUNT))
ROUTES_MAX = 64
"""Routes are kept for so many event types and hours of a customer (about 300 bytes each). Types come from outside, and events can
be for any hour of 34 days; those that flow are for few."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the values of one metric go in one hour. ``groups``: for each declared group key, series by values.
    ``gauges``, ``cells``: what the plain sinks move, where the metric is a sum (see engine.together)."""

    add: Callable[..., None]  # to the total's window
    plain: tuple[Sink, ...]
    is_latest: bool
    groups: tuple[dict[GroupValues, Series], ...]
    grouped: tuple[GroupSinks, ...]
    matcher: MetricMatcher
    gauges: tuple[Gauge, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Where the values of events of one type go in one hour. ``targets`` run parallel to ``matchers``.
    ``final``: the hour belongs to invoices that are final. ``sums``: its events may be counted
    together (see engine.together). ``reads``: one of its metrics is LATEST."""

    matchers: tuple[MetricMatcher, ...]
    targets: tuple[Target, ...]
    day: int
    hour_of_day: int
    final: bool
    sums: bool
    reads: bool


class Counting:
    """One customer's way from events to windows and gauges: under one catalog, as long as ``live`` holds and no day is folded."""

    __slots__ = ("_compiled", "_groups", "_live", "_windows", "routes")

    def __init__(self, compiled: CompiledCatalog, windows: WindowStore, live: LiveGauges) -> None:
        self.routes: dict[tuple[str, int], Route] = {}
        self._compiled = compiled
        self._windows = windows
        self._live = live
        self._groups: dict[MetricMatcher, tuple[dict[GroupValues, Series], ...]] = {}

    def open_route(self, event_type: str, hour: int) -> Route:
        """Makes the route for events of a type in an hour, and keeps it."""
        live = self._live
        matchers = self._compiled.matchers_for(event_type)
        targets = tuple([self._target(matcher, hour) for matcher in matchers])
        if len(self.routes) >= ROUTES_MAX:
            self.routes.clear()
        day, hour_of_day = divmod(hour, HOURS_A_DAY)
        final = hour < live.live_from_hour
        sums = all(
            target.matcher.aggregation in _SUMS and not target.groups and all(cell.slope is not None for cell in target.cells)
            for target in targets
        )
        reads = any(target.is_latest for target in targets)
        route = self.routes[event_type, hour] = Route(matchers, targets, day, hour_of_day, final, sums, reads)
        return route

    def add(self, route: Route, values: list[Value], event: UsageEvent, serial: int, arrival: int) -> None:
        """Adds an event's values to all windows and gauges. ``values``: those of ``read_values`` for the route's matchers.
        ``arrival``: of the readings in it (LATEST)."""
        day, hour_of_day = route.day, route.hour_of_day
        for target, value in zip(route.targets, values, strict=True):
            if value is None:
                continue
            quantity = Reading(event.timestamp_us, arrival, value) if target.is_latest else value  # type: ignore[arg-type]
            target.add(day, hour_of_day, quantity)
            for sink in target.plain:
                sink(quantity, serial)
            if target.groups:
                self._add_to_groups(route, target, quantity, event, serial)

    def _add_to_groups(self, route: Route, target: Target, quantity: Value | Reading, event: UsageEvent, serial: int) -> None:
        matcher = target.matcher
        groups = matcher.groups(event.properties)
        for dimension, values in enumerate(groups):
            series = target.groups[dimension].get(values) or self._group_series(matcher, target.groups, dimension, values)
            series.add(route.day, route.hour_of_day, quantity)  # type: ignore[arg-type]
        for grouped in target.grouped:
            sink = grouped.sink(groups[grouped.dimension])
            if sink is not None:
                sink(quantity, serial)

    def _target(self, matcher: MetricMatcher, hour: int) -> Target:
        total = self._windows.get(matcher.metric.id, matcher.aggregation)
        groups = self._groups.get(matcher)
        if groups is None:
            groups = self._groups[matcher] = tuple({} for _ in matcher.dimensions)
        plain, grouped = self._live.sinks(matcher.metric.id, hour)
        moved = [getattr(sink, "__self__", None) for sink in plain] if matcher.aggregation in _SUMS else []
        gauges = tuple(each for each in moved if isinstance(each, Gauge))
        cells = tuple(each for each in moved if isinstance(each, Cell))
        return Target(total.add, plain, matcher.aggregation is Aggregation.LATEST, groups, grouped, matcher, gauges, cells)

    def _group_series(
        self, matcher: MetricMatcher, groups: tuple[dict[GroupValues, Series], ...], dimension: int, values: GroupValues
    ) -> Series:
        field = series_field(SeriesKey(matcher.metric.id, dimension, values))
        series = groups[dimension][values] = self._windows.get(field, matcher.aggregation)
        return series
