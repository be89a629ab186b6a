"""Many events of one customer counted in one step, where none of them can change the state of an alert.

    value ──●──●─●───●─ ─ ─ ─ ─►|  high      all moves go up, and the last value is below the next rung: so was each before it

That is so if no value is negative and no unit has a negative price: then each gauge that the events feed only grows, and where
the sum of all moves leaves it below its next rung, no event on the way has reached it. The same holds for the headroom of
balances and invoices: what is spent only grows. The sums are all that can be seen of such events; windows, lines and gauges stand
where counting one by one would have brought them, digit for digit.

Everything else is for ``CustomerAggregate.apply``: a correction, a metric that is no sum or has group keys, a line that is
rated again at each change, a tier's edge or a threshold in reach, the first event of its type in an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.alerts.ladder import Gauge
from engine.counting import Route, Target
from engine.effects import Counted, Rejection
from engine.headroom import Headroom
from engine.metering.matching import Misread, Value, read_values
from engine.numbers import ZERO
from engine.periods import HOUR_US

Rows = dict[tuple[str, int], list[list[Value]]]
"""By event type and hour: for each event that counts, its value for each metric."""


class Sum(NamedTuple):
    """What all events together add to one metric in one hour."""

    route: Route
    target: Target
    total: Decimal


class Together(NamedTuple):
    """``rejections``: by the event's place; those that name what missed it are of events that counted for the others.
    ``final``: how many events belong to invoices that are final."""

    sums: list[Sum]
    rejections: dict[int, Rejection]
    final: int


def sum_up(routes: Mapping[tuple[str, int], Route], events: Sequence[Counted]) -> Together | None:
    """The events as sums, or None if they cannot be counted together. Changes nothing."""
    rows: Rows = {}
    rejections: dict[int, Rejection] = {}
    last_type, last_hour = "", -1
    for place, event in enumerate(events):
        event_type, hour = event.event_type, event.timestamp_us // HOUR_US
        if hour != last_hour or event_type != last_type:  # they come in runs
            last_type, last_hour = event_type, hour
            route = routes.get((event_type, hour))
            if route is None or not route.sums:
                return None
            matchers, found = route.matchers, rows.setdefault((event_type, hour), [])
        values = read_values(matchers, event.properties)
        if values is None:
            continue
        if values.__class__ is not list:
            if isinstance(values, Misread):
                rejections[place] = values.rejection
                values = values.values
            else:
                assert isinstance(values, Rejection)
                rejections[place] = values
                continue
        found.append(values)
    sums = _sums(routes, rows)
    if sums is None:
        return None
    return Together(sums, rejections, sum(len(found) for key, found in rows.items() if routes[key].final))


def add(sums: Sequence[Sum], serial: int) -> None:
    """Adds them to windows and gauges. ``serial``: the number of the last of the events."""
    for route, target, total in sums:
        target.add(route.day, route.hour_of_day, total)
        for sink in target.plain:
            sink(total, serial)


def _sums(routes: Mapping[tuple[str, int], Route], rows: Rows) -> list[Sum] | None:
    sums: list[Sum] = []
    moves: dict[Gauge, Decimal] = {}
    spent: dict[Headroom, Decimal] = {}
    for key, found in rows.items():
        route = routes[key]
        for target, column in zip(route.targets, zip(*found, strict=True), strict=bool(found)):
            values = [value for value in column if value is not None]
            if not values:
                continue
            total = _total(target, values, moves, spent)
            if total is None:
                return None
            sums.append(Sum(route, target, total))
    for gauge, move in moves.items():
        if gauge.value + move >= gauge.high:
            return None
    if any(amount >= headroom.left for headroom, amount in spent.items()):
        return None
    return sums


def _total(target: Target, values: list[Decimal], moves: dict[Gauge, Decimal], spent: dict[Headroom, Decimal]) -> Decimal | None:
    """The sum of one metric's values in one hour, or None. What it moves is added to ``moves``, what it takes off the headroom of
    balances and invoices to ``spent``."""
    if min(values) < ZERO:
        return None
    total = sum(values, ZERO)
    for gauge in target.gauges:
        moves[gauge] = moves.get(gauge, ZERO) + total
    for cell in target.cells:
        slope = cell.slope_for(values, total)
        if slope is None or slope < ZERO:
            return None
        if cell.gauge is not None:
            moves[cell.gauge] = moves.get(cell.gauge, ZERO) + total * slope
        if cell.draft is not None:
            for headroom, factor in cell.draft.parts:
                spent[headroom] = spent.get(headroom, ZERO) + total * slope * factor
    return total
