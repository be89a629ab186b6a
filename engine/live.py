"""All gauges of a customer's live frames at one time, computed from the windows; and the plan of what feeds them.

A ``LiveGauges`` holds until a frame begins or ends or the configuration changes; then another one is made. In between,
events move its gauges exactly, so the one made next would show the same values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.alerts.ladder import Gauge
from engine.alerts.watch import Scope, Watch, alert_group, group_names, scope_of
from engine.board import Board, Sinks
from engine.calendars import Calendar, covered
from engine.catalog import Alert, Contract
from engine.cells import Sink
from engine.compiled import CompiledCatalog
from engine.frames import NEVER_HOUR
from engine.headroom import Headrooms
from engine.metering.codec import Quantity, Reading
from engine.metering.series import GroupValues, SeriesKey, series_key
from engine.metering.windows import WindowStore
from engine.periods import HOUR_US, Period

NEVER_US = 2**62

_NOTHING = Watch(())

Plan = dict[str, Sinks]
"""In a stretch of hours without a cut: metric id -> what its values go to."""


class Usage(NamedTuple):
    """What gauges are computed from: the windows, and the last LATEST readings of the days folded away (by series)."""

    windows: WindowStore
    carry: dict[str, Reading]


class LiveGauges:
    """``calendars``: what is measured, by scope; that of all contracts first. ``boards``: the gauges by scope and by the period
    that states belong to, the current one's first; empty without alerts, and in scopes that are closed.
    ``closed``: the last contract has ended, and its grace period too: nothing is evaluated until another one begins.
    ``due``: gauges that have left their headroom. ``boundary_us``: when the next frame or grace period ends.
    ``kept_from_hour``: live billing periods begin here. ``live_from_hour``: usage before it belongs to invoices that are final.
    ``several``: more than one contract runs in a frame, so that an event may count in some of its billing periods only."""

    __slots__ = (
        "_beside",
        "_cuts",
        "_headrooms",
        "_plans_by_cut",
        "boards",
        "boundary_us",
        "calendars",
        "closed",
        "current",
        "due",
        "kept_from_hour",
        "live_from_hour",
        "several",
    )

    def __init__(
        self,
        contracts: tuple[Contract, ...],
        watch: Watch,
        compiled: CompiledCatalog,
        usage: Usage,
        *,
        now_us: int,
        grace_hours: int,
        headrooms: Headrooms,
        hour_ahead: int | None = None,
        last_look: Container[Scope] = (),
    ) -> None:
        """``hour_ahead``: an hour in a frame ahead that usage is about to fall in. ``headrooms``: what the lines of all live
        billing periods report to. ``last_look``: scopes whose last frame is to be evaluated once, even if they are closed."""
        self._headrooms = headrooms
        self._beside: list[Board] = []
        hour = now_us // HOUR_US
        self.calendars = {
            scope: Calendar(covered(contracts, scope), hour, grace_hours, last_look=scope in last_look) for scope in watch.scopes
        }
        whole = self.calendars[()]
        self.current, self.closed = whole.current, whole.closed
        boundary_hour = min(calendar.boundary_hour for calendar in self.calendars.values())
        self.boundary_us = NEVER_US if boundary_hour >= NEVER_HOUR else boundary_hour * HOUR_US
        first_hour = min(frame.span.starting_hour for frame in (whole.current, *whole.past))
        self.kept_from_hour = NEVER_HOUR if self.closed else first_hour
        self.live_from_hour = whole.current.span.ending_hour if self.closed else first_hour
        self.due: list[Gauge] = []
        self._plans_by_cut: dict[int, Plan] = {}
        self.boards: dict[Scope, dict[Period, Board]] = {scope: {} for scope in self.calendars}
        self._cuts: list[int] = []
        self.several = False
        if watch.alerts and any(calendar.frames for calendar in self.calendars.values()):
            hours = usage.windows.hours_from(whole.current.ending_hour)
            for calendar in self.calendars.values():
                calendar.look_ahead(hours if hour_ahead is None else {*hours, hour_ahead})
            self._make_boards(watch, compiled)
            self._cuts = sorted({hour for board in self._all_boards() for hour in board.cuts()})
            self._fill(usage)

    def calendar(self, alert: Alert) -> Calendar:
        """That of the contracts which an alert on a gauge is about."""
        return self.calendars[scope_of(alert)]

    def is_live(self, alert: Alert, period: Period) -> bool:
        """Whether the alert is measured in this period."""
        return period in self.boards[scope_of(alert)]

    def knows(self, hour: int) -> bool:
        """Whether the hour's frame is taken in; false for one ahead that has had no usage yet."""
        return not self.boards[()] or self.calendars[()].knows(hour)

    def sinks(self, metric_id: str, hour: int) -> Sinks:
        """What a metric's values go to in an hour."""
        plan = self._plans_by_cut.setdefault(bisect_right(self._cuts, hour), {})
        sinks = plan.get(metric_id)
        if sinks is None:
            parts = [board.sinks(metric_id, hour) for board in self._all_boards()]
            sinks = plan[metric_id] = Sinks(
                tuple(sink for part in parts for sink in part.plain), tuple(group for part in parts for group in part.grouped)
            )
        return sinks

    def gauges(self) -> Iterator[tuple[Board, Gauge]]:
        for boards in self.boards.values():
            for board in boards.values():
                for gauge in board.gauges():
                    yield board, gauge

    def is_past(self, alert: Alert, period: Period, group: tuple[str, ...]) -> bool:
        """Whether the alert's gauge is past the alert's line. One that has measured nothing is past none, not even one at 0."""
        gauge = self._gauge(alert, period, group)
        return gauge is not None and gauge.rung > 0 and alert.threshold <= gauge.ladder.thresholds[gauge.rung - 1]

    def value(self, alert: Alert, period: Period, group: tuple[str, ...]) -> Decimal | None:
        """What an alert's gauge shows; ``group`` in the order of the alert's own keys. None: it has no gauge here."""
        gauge = self._gauge(alert, period, group)
        return None if gauge is None else gauge.value

    def values(self, alert: Alert) -> dict[tuple[Period, tuple[str, ...]], Decimal]:
        """What all gauges of one alert show, by period and group."""
        names = group_names(alert)
        return {
            (gauge.period, alert_group(alert, names, gauge.group)): gauge.value
            for _, gauge in self.gauges()
            if alert in gauge.ladder.alerts
        }

    def period_counted(self, gauge: Gauge, groups: Mapping[str, Sequence[GroupValues]], hour: int) -> Period | None:
        """From the earliest start to the latest end of those billing periods in which an event counts on a gauge of spend; None:
        it counts in none. ``groups``: by metric for which the event counts, its values for each declared key."""
        alert = gauge.ladder.alerts[0]
        return self.boards[scope_of(alert)][gauge.period].period_counted(gauge, groups, hour)

    def _gauge(self, alert: Alert, period: Period, group: tuple[str, ...]) -> Gauge | None:
        board = self.boards.get(scope_of(alert), {}).get(period)
        return None if board is None else board.gauge_of(alert, group)

    def _make_boards(self, watch: Watch, compiled: CompiledCatalog) -> None:
        """One board for each frame of each scope; and, for billing periods that are on none of those of all contracts, boards
        that only report to headrooms."""
        whole = self.calendars[()]
        passing = (*whole.past, *whole.ahead)
        drafting = {part for frame in (whole.current, *passing) for part in frame.parts()}
        for scope, calendar in self.calendars.items():
            for period, frame in calendar.frames.items():
                board = Board(frame, watch, scope, compiled, self.due, self._headrooms, frozenset(() if scope else drafting))
                self.boards[scope][period] = board
                if not scope:
                    drafting -= frame.parts()
        self.several = any(len(frame.running) > 1 for calendar in self.calendars.values() for frame in calendar.frames.values())
        if not self._headrooms.by_credit_type:
            return
        for frame in passing:
            beside = frame.parts() & drafting
            if beside:
                self._beside.append(Board(frame, _NOTHING, (), compiled, self.due, self._headrooms, frozenset(beside)))
                drafting -= beside

    def _all_boards(self) -> list[Board]:
        return [*(board for boards in self.boards.values() for board in boards.values()), *self._beside]

    def _fill(self, usage: Usage) -> None:
        for field, series in usage.windows.series.items():
            key = series_key(field)
            for hour, quantity in series.hours():
                self._feed(key, hour, quantity)
        for field, reading in usage.carry.items():
            self._feed(series_key(field), reading.timestamp_us // HOUR_US, reading)
        moved = {id(gauge) for gauge in self.due}
        self.due.clear()
        for _, gauge in self.gauges():
            if gauge.high > 0 or id(gauge) in moved:  # at 0 without usage, a threshold of 0 is not reached
                gauge.settle()

    def _feed(self, key: SeriesKey, hour: int, quantity: Quantity) -> None:
        """Gives an hour's quantity to the gauges, as if it were an event."""
        self._headrooms.hour = hour
        sinks = self.sinks(key.metric_id, hour)
        found: list[Sink] = list(sinks.plain)
        if key.values:
            grouped = [group.sink(key.values) for group in sinks.grouped if group.dimension == key.dimension]
            found = [sink for sink in grouped if sink is not None]
        values = quantity if isinstance(quantity, frozenset) else (quantity,)
        for sink in found:
            for value in values:
                sink(value, 0)
