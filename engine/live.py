"""All gauges of a customer's live frames at one time, computed from the windows; and the plan of what feeds them.

A ``LiveGauges`` holds until a frame begins or ends or the configuration changes; then another one is made. In between,
events move its gauges exactly, so the one made next would show the same values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from engine.alerts.ladder import Gauge
from engine.alerts.watch import Watch, alert_group, group_names
from engine.board import Board, Sinks
from engine.catalog import Alert, Contract
from engine.cells import Sink
from engine.compiled import CompiledCatalog
from engine.frames import NEVER_HOUR, Frame, frame_at, frames_ahead, one_for_each_span, past_frames
from engine.headroom import Headrooms
from engine.metering.codec import Quantity, Reading
from engine.metering.series import SeriesKey, series_key
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
    """``closed``: the last contract has ended, and its grace period too: nothing is evaluated until another one begins.
    ``boards``: by span, the current frame's first; empty without alerts. ``due``: gauges that have left their headroom.
    ``boundary_us``: when the next frame or grace period ends. ``kept_from_hour``: live billing periods begin here.
    ``live_from_hour``: usage before it belongs to invoices that are final."""

    __slots__ = (
        "_beside",
        "_cuts",
        "_headrooms",
        "_plans_by_cut",
        "_starts_ahead",
        "boards",
        "boundary_us",
        "closed",
        "current",
        "due",
        "kept_from_hour",
        "live_from_hour",
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
        last_look: bool = False,
    ) -> None:
        """``hour_ahead``: an hour in a frame ahead that usage is about to fall in. ``headrooms``: what the lines of all live
        billing periods report to. ``last_look``: to evaluate the last frame once, even if nothing is to be evaluated any more."""
        self._headrooms = headrooms
        self._beside: list[Board] = []
        hour = now_us // HOUR_US
        self.current = current = frame_at(contracts, hour)
        past = past_frames(contracts, current, hour, grace_hours)
        frames = [current, *past]
        over_hour = current.span.ending_hour if current.ending_hour > current.span.ending_hour else NEVER_HOUR
        self.closed = over_hour + grace_hours <= hour and not last_look
        boundary_hour = min(current.ending_hour, *(frame.ending_hour + grace_hours for frame in frames))
        if not self.closed:
            boundary_hour = min(boundary_hour, over_hour + grace_hours)
        self.boundary_us = NEVER_US if boundary_hour >= NEVER_HOUR else boundary_hour * HOUR_US
        self.kept_from_hour = NEVER_HOUR if self.closed else min(frame.span.starting_hour for frame in frames)
        self.live_from_hour = over_hour if self.closed else frames[-1].starting_hour
        self.due: list[Gauge] = []
        self._plans_by_cut: dict[int, Plan] = {}
        self._starts_ahead: list[tuple[int, int]] = []
        self.boards: dict[Period, Board] = {}
        self._cuts: list[int] = []
        if watch.alerts and not self.closed:
            hours = usage.windows.hours_from(current.ending_hour)
            ahead = frames_ahead(contracts, current, [*hours, hour_ahead] if hour_ahead is not None else [*hours])
            self._starts_ahead = [(frame.starting_hour, frame.ending_hour) for frame in ahead]
            self._make_boards(current, past, ahead, watch, compiled)
            self._cuts = sorted({hour for board in self._all_boards() for hour in board.cuts()})
            self._fill(usage)

    def knows(self, hour: int) -> bool:
        """Whether the hour's frame is among those evaluated; false for one ahead that has had no usage yet."""
        if hour < self.current.ending_hour or not self.boards:
            return True
        return any(start <= hour < end for start, end in self._starts_ahead)

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
        for board in self.boards.values():
            for gauge in board.gauges():
                yield board, gauge

    def is_past(self, alert: Alert, period: Period, group: tuple[str, ...]) -> bool:
        """Whether the alert's gauge is past the alert's line. One that has measured nothing is past none, not even one at 0."""
        board = self.boards.get(period)
        gauge = None if board is None else board.gauge_of(alert, group)
        return gauge is not None and gauge.rung > 0 and alert.threshold <= gauge.ladder.thresholds[gauge.rung - 1]

    def value(self, alert: Alert, period: Period, group: tuple[str, ...]) -> Decimal | None:
        """What an alert's gauge shows; ``group`` in the order of the alert's own keys. None: it has no gauge here."""
        board = self.boards.get(period)
        gauge = None if board is None else board.gauge_of(alert, group)
        return None if gauge is None else gauge.value

    def values(self, alert: Alert) -> dict[tuple[Period, tuple[str, ...]], Decimal]:
        """What all gauges of one alert show, by period and group."""
        names = group_names(alert)
        return {
            (gauge.period, alert_group(alert, names, gauge.group)): gauge.value
            for _, gauge in self.gauges()
            if alert in gauge.ladder.alerts
        }

    def _make_boards(
        self, current: Frame, past: list[Frame], ahead: list[Frame], watch: Watch, compiled: CompiledCatalog
    ) -> None:
        """One board for each span; and, for billing periods that are on none of these, boards that only report to headrooms."""
        drafting = {(contract.id, period) for frame in (current, *past, *ahead) for contract, period in frame.running}
        for frame in one_for_each_span(current, past, ahead):
            self.boards[frame.span] = Board(frame, watch, compiled, self.due, self._headrooms, frozenset(drafting))
            drafting -= {(contract.id, period) for contract, period in frame.running}
        if not self._headrooms.by_credit_type:
            return
        for frame in (*past, *ahead):
            beside = {(contract.id, period) for contract, period in frame.running} & drafting
            if beside:
                self._beside.append(Board(frame, _NOTHING, compiled, self.due, self._headrooms, frozenset(beside)))
                drafting -= beside

    def _all_boards(self) -> list[Board]:
        return [*self.boards.values(), *self._beside]

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
