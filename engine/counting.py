"""From an event to the windows and gauges of one customer: first read and check everything, then add. The hot path.

Where values go is looked up once for all events of one type and hour, and kept as a ``Route``: a later event costs one look-up,
then for each metric its value, an addition to the hour's window, and the sinks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engine.alerts.ladder import Gauge
from engine.board import GroupSinks, Sinks
from engine.catalog import Aggregation
from engine.cells import Cell, Sink
from engine.compiled import CompiledCatalog
from engine.effects import Merged, UsageEvent
from engine.live import LiveGauges
from engine.metering.bounded import GroupValueBound
from engine.metering.codec import Reading
from engine.metering.matching import MetricMatcher, Value
from engine.metering.series import OTHER, GroupValues, SeriesKey, dimension_name, series_field
from engine.metering.windows import WindowStore

HOURS_A_DAY = 24
_SUMS = frozenset((Aggregation.SUM, Aggregation.COUNT))
ROUTES_MAX = 64
"""Routes are kept for so many event types and hours of a customer (about 300 bytes each). Types come from outside, and events can
be for any hour of 34 days; those that flow are for few."""


class GroupTarget(NamedTuple):
    """Where the values of one metric go for one combination of group values. About 120 bytes."""

    add: Callable[..., None]  # to the group's window
    sinks: tuple[Sink, ...]


GroupTargets = tuple[dict[GroupValues, GroupTarget], ...]
"""For each declared group key, by its values."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the values of one metric go in one hour. ``gauges``, ``cells``: what the plain sinks move, where the metric is a sum
    (see engine.together)."""

    add: Callable[..., None]  # to the total's window
    plain: tuple[Sink, ...]
    is_latest: bool
    groups: GroupTargets
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
    """One customer's way from events to windows and gauges: under one catalog, as long as ``live`` holds; ``forget`` when a day
    is folded."""

    __slots__ = ("_bound", "_compiled", "_groups", "_live", "_windows", "routes")

    def __init__(self, compiled: CompiledCatalog, windows: WindowStore, live: LiveGauges, bound: GroupValueBound) -> None:
        self.routes: dict[tuple[str, int], Route] = {}
        self._bound = bound
        self._compiled = compiled
        self._windows = windows
        self._live = live
        self._groups: dict[tuple[str, int], tuple[Sinks, GroupTargets]] = {}

    def forget(self) -> None:
        """Series may be gone, and routes lead nowhere."""
        self.routes.clear()
        self._groups.clear()

    def groups(self, matcher: MetricMatcher, properties: Mapping[str, object]) -> list[GroupValues]:
        """For each declared group key of a metric the values under which an event is counted, or would be now."""
        return [self._bound.values(matcher, at, values) for at, values in enumerate(matcher.groups(properties))]

    def open_route(self, event_type: str, hour: int) -> Route:
        """Makes the route for events of a type in an hour, and keeps it."""
        live = self._live
        matchers = self._compiled.matchers_for(event_type)
        targets = tuple([self._target(matcher, hour) for matcher in matchers])
        if len(self.routes) >= ROUTES_MAX:
            self.routes.clear()
        day, hour_of_day = divmod(hour, HOURS_A_DAY)
        final = hour < live.live_from_hour
        sums = all(_may_sum(target) for target in targets)
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
        day, hour_of_day = route.day, route.hour_of_day
        for dimension, values in enumerate(target.matcher.groups(event.properties)):
            group = target.groups[dimension].get(values) or self._group(target, dimension, values, event)
            group.add(day, hour_of_day, quantity)
            for sink in group.sinks:
                sink(quantity, serial)

    def _target(self, matcher: MetricMatcher, hour: int) -> Target:
        total = self._windows.get(matcher.metric.id, matcher.aggregation)
        sinks = self._live.sinks(matcher.metric.id, hour)
        plain, grouped = sinks
        # Hours between two cuts have the same sinks, by identity, and share what is known of groups.
        known = self._groups.setdefault((matcher.metric.id, id(sinks)), (sinks, tuple({} for _ in matcher.dimensions)))
        groups = known[1]
        moved = [getattr(sink, "__self__", None) for sink in plain] if matcher.aggregation in _SUMS else []
        gauges = tuple(each for each in moved if isinstance(each, Gauge))
        cells = tuple(each for each in moved if isinstance(each, Cell))
        return Target(total.add, plain, matcher.aggregation is Aggregation.LATEST, groups, grouped, matcher, gauges, cells)

    def _group(self, target: Target, dimension: int, given: GroupValues, event: UsageEvent) -> GroupTarget:
        """Of values that are not known; those that are counted as others are never remembered by themselves."""
        matcher = target.matcher
        values = self._bound.values(matcher, dimension, given)
        known_as = given
        if OTHER in values:
            self._note_merged(matcher, dimension, event)
            known_as = (OTHER, *values)  # one longer than what an event gives: an event's own value may read OTHER
            known = target.groups[dimension].get(known_as)
            if known is not None:
                return known
        series = self._windows.get(series_field(SeriesKey(matcher.metric.id, dimension, values)), matcher.aggregation)
        found = [grouped.sink(values) for grouped in target.grouped if grouped.dimension == dimension]
        group = target.groups[dimension][known_as] = GroupTarget(series.add, tuple(sink for sink in found if sink is not None))
        return group

    def _note_merged(self, matcher: MetricMatcher, dimension: int, event: UsageEvent) -> None:
        name, merged = dimension_name(matcher.metric.id, dimension), self._windows.merged
        if name not in merged:
            merged[name] = Merged(matcher.metric.id, matcher.dimensions[dimension], event)
        merged[name].times += 1


def _may_sum(target: Target) -> bool:
    """A sum without groups, all of whose sinks are plain gauges and cells that have a slope."""
    if target.matcher.aggregation not in _SUMS or target.groups or len(target.gauges) + len(target.cells) < len(target.plain):
        return False
    return all(cell.slope is not None for cell in target.cells)
