"""Gauges and their ladders of thresholds.

    value ──────────●───────►        in alarm <=> value >= threshold, so one position in the sorted
    rungs   |    |     |    |        thresholds stands for the state of every alert on the gauge
            0    1     2    3   ──►  the headroom is the gap to the next rung (up: ``high``, down: ``low``)

A gauge knows its exact value at every moment; an event that stays between ``low`` and ``high`` can change nothing, and costs an
addition and two comparisons, however many rungs there are. Only one that leaves the gap has the gauge looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal

from engine.catalog import Alert
from engine.numbers import ZERO
from engine.periods import Period

_NEVER_UP = Decimal("Infinity")
_NEVER_DOWN = Decimal("-Infinity")


class Ladder:
    """The alerts that watch one kind of gauge, lowest threshold first, then by id. There is at least one.
    Immutable, shared between gauges."""

    __slots__ = ("alerts", "thresholds")

    def __init__(self, alerts: Iterable[Alert]) -> None:
        self.alerts = tuple(sorted(alerts, key=lambda alert: (alert.threshold, alert.id)))
        self.thresholds = tuple(alert.threshold for alert in self.alerts)

    def rungs_below(self, value: Decimal) -> int:
        """How many thresholds ``value`` has reached; inclusive: exactly at the threshold is reached."""
        return bisect_right(self.thresholds, value)


class Gauge:
    """One measured value in one period. ``before`` is its value before the event with number ``serial``.

    ``period``: the span that its alerts' states belong to. ``group``: the values of the ladder's group keys, in the keys' sorted
    order; () for an ungrouped gauge. A new gauge is at 0, and below its first rung even if that is at 0: where nothing was
    measured, alerts are ok. The first change, one by 0 included, makes such a gauge due. About 250 bytes, numbers included.
    """

    __slots__ = ("before", "due", "group", "high", "ladder", "low", "period", "rung", "serial", "value")

    def __init__(self, ladder: Ladder, period: Period, due: list[Gauge], group: tuple[str, ...] = ()) -> None:
        self.ladder = ladder
        self.period = period
        self.due = due
        self.group = group
        self.value = self.before = ZERO
        self.serial = 0
        self.rung = 0
        self.high, self.low = ladder.thresholds[0], _NEVER_DOWN

    def shift(self, delta: Decimal, serial: int) -> None:
        """Moves the value; a gauge that leaves its gap puts itself on the list of those that are due."""
        before = self.value
        if self.serial != serial:
            self.serial = serial
            self.before = before
        self.value = after = before + delta
        if after >= self.high or after < self.low:
            self.due.append(self)

    def settle(self) -> int:
        """Finds the rung for the present value, and with it the new headroom. Returns the rung that it had before."""
        former = self.rung
        thresholds = self.ladder.thresholds
        self.rung = rung = self.ladder.rungs_below(self.value)
        self.high = thresholds[rung] if rung < len(thresholds) else _NEVER_UP
        self.low = thresholds[rung - 1] if rung else _NEVER_DOWN
        return former
