"""A customer's hourly windows in memory.

    WindowStore ── series ──┬── NumberSeries   COUNT, SUM, MAX, LATEST: day -> text, and a few open days as numbers
                            └── ElementSeries  UNIQUE: day -> hour -> set of texts

Almost all days are only kept, not touched: those stay the compact text that is stored (about 10 bytes an hour used). A day
that an event falls on is opened, and up to ``OPEN_DAYS_MAX`` days of a series stay open; each keeps the text of its unchanged
hours, so that writing it again costs one ``str`` for each hour changed. An open hour takes about 250 bytes, an element 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from engine.catalog import Aggregation
from engine.effects import Merged
from engine.metering.codec import Quantity, Reading, decode_hours, element_field, encode_quantity, folded_field
from engine.metering.series import ELEMENT_SEPARATOR, dimension_of

OPEN_DAYS_MAX = 2

FoldedDay = dict[str, str]


class OpenDay:
    """One day of one series as numbers. ``changed``: hours whose text is out of date."""

    __slots__ = ("changed", "day", "hours", "series", "texts")

    def __init__(self, series: NumberSeries, day: int, text: str | None) -> None:
        self.series = series
        self.day = day
        self.hours: dict[int, Decimal | Reading] = {} if text is None else decode_hours(text)
        self.texts = {hour: f"{hour}:{encode_quantity(quantity)}" for hour, quantity in self.hours.items()}
        self.changed: set[int] = set()

    def encode(self) -> str:
        for hour in self.changed:
            self.texts[hour] = f"{hour}:{encode_quantity(self.hours[hour])}"
        self.changed.clear()
        return " ".join([self.texts[hour] for hour in sorted(self.texts)])


class NumberSeries:
    """Sums, counts, maxima or last readings of one series. ``revision`` grows when a day is opened, closed or folded."""

    __slots__ = ("_dirty", "_latest", "closed", "field", "open", "revision")

    def __init__(self, field: str, dirty: list[OpenDay]) -> None:
        self.field = field
        self.closed: dict[int, str] = {}
        self.open: dict[int, OpenDay] = {}
        self._dirty = dirty
        self._latest: OpenDay | None = None
        self.revision = 0

    def _touch(self, day: int, hour: int) -> OpenDay:
        """The day, open, with the hour marked as changed."""
        opened = self._latest
        if opened is None or opened.day != day:
            opened = self.open.get(day)
            if opened is None:
                opened = self.open[day] = OpenDay(self, day, self.closed.pop(day, None))
                self.revision += 1
            self._latest = opened
        changed = opened.changed
        if not changed:
            self._dirty.append(opened)
        changed.add(hour)
        return opened

    def add(self, day: int, hour: int, value: Decimal) -> None:
        opened = self._latest
        if opened is not None and opened.day == day and hour in opened.changed:
            opened.hours[hour] += value  # type: ignore[operator] # an hour that changed has a quantity
            return
        hours = self._touch(day, hour).hours
        old = hours.get(hour)
        hours[hour] = value if old is None else old + value  # type: ignore[operator]

    def close_old(self) -> None:
        """Turns all open days but the newest few back into text; they must have been written."""
        for day in sorted(self.open)[:-OPEN_DAYS_MAX]:
            self.closed[day] = self.open.pop(day).encode()
        self._latest = None
        self.revision += 1

    def hours(self) -> Iterator[tuple[int, Quantity]]:
        """Every hour since the epoch that has a quantity, days in no order."""
        yield from self.closed_hours()
        yield from self.open_hours()

    def closed_hours(self) -> Iterator[tuple[int, Decimal | Reading]]:
        """The hours of closed days, days in no order."""
        for day, text in self.closed.items():
            for hour, quantity in decode_hours(text).items():
                yield day * 24 + hour, quantity

    def open_hours(self) -> Iterator[tuple[int, Decimal | Reading]]:
        for day, opened in self.open.items():
            for hour, quantity in opened.hours.items():
                yield day * 24 + hour, quantity

    def at(self, hour: int) -> Decimal | Reading | None:
        """The quantity of an hour, if its day is open."""
        opened = self.open.get(hour // 24)
        return None if opened is None else opened.hours.get(hour % 24)

    def fold(self, day: int) -> Decimal | Reading | None:
        """Takes a day out of the series, as one quantity."""
        opened = self.open.pop(day, None)
        self._latest = None
        self.revision += 1
        text = self.closed.pop(day, None)
        hours = opened.hours if opened is not None else decode_hours(text) if text is not None else None
        return None if hours is None else self.combined(list(hours.values()))

    def combined(self, quantities: list[Decimal | Reading]) -> Decimal | Reading:
        """The quantity of several hours together."""
        return sum(quantities, Decimal(0))


class MaxSeries(NumberSeries):
    __slots__ = ()

    def add(self, day: int, hour: int, value: Decimal) -> None:
        hours = self._touch(day, hour).hours
        old = hours.get(hour)
        if old is None or value > old:  # type: ignore[operator]
            hours[hour] = value

    def combined(self, quantities: list[Decimal | Reading]) -> Decimal | Reading:
        return max(quantities)


class LatestSeries(NumberSeries):
    __slots__ = ()

    def add(self, day: int, hour: int, value: Reading) -> None:  # type: ignore[override]
        hours = self._touch(day, hour).hours
        old = hours.get(hour)
        if old is None or value >= old:  # type: ignore[operator]
            hours[hour] = value

    def combined(self, quantities: list[Decimal | Reading]) -> Decimal | Reading:
        return max(quantities)


class ElementSeries:
    """Distinct texts of one series, by day and hour."""

    __slots__ = ("_new", "elements", "field")

    def __init__(self, field: str, new: dict[int, dict[str, str]]) -> None:
        self.field = field
        self.elements: dict[int, dict[int, set[str]]] = {}
        self._new = new

    def add(self, day: int, hour: int, value: str) -> None:
        members = self.elements.setdefault(day, {}).setdefault(hour, set())
        if value not in members:
            members.add(value)
            self._new.setdefault(day, {})[element_field(self.field, hour, value)] = ""

    def hours(self) -> Iterator[tuple[int, Quantity]]:
        for day, hours in self.elements.items():
            for hour, members in hours.items():
                yield day * 24 + hour, frozenset(members)

    def fold(self, day: int) -> set[str]:
        return set().union(*self.elements.pop(day, {}).values())


Series = NumberSeries | ElementSeries

_KINDS: dict[Aggregation, type[NumberSeries]] = {
    Aggregation.COUNT: NumberSeries,
    Aggregation.SUM: NumberSeries,
    Aggregation.MAX: MaxSeries,
    Aggregation.LATEST: LatestSeries,
}


class WindowStore:
    """All series of a customer, and what of them has to be written. ``apart``: by ``dimension_name``, how many series there are
    of it; those that hold ``OTHER`` do not count. ``merged``: of such a name, which values went to one of these since the last
    ``Delta`` (engine.metering.bounded)."""

    __slots__ = ("_changed", "_dirty", "apart", "days", "merged", "series")

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.apart: dict[str, int] = {}
        self.merged: dict[str, Merged] = {}
        self.days: set[int] = set()
        self._dirty: list[OpenDay] = []
        self._changed: dict[int, dict[str, str]] = {}

    def get(self, field: str, aggregation: Aggregation) -> Series:
        """The series with that field name, made if it is new."""
        found = self.series.get(field)
        if found is None:
            found = self.series[field] = (
                ElementSeries(field, self._changed)
                if aggregation is Aggregation.UNIQUE
                else _KINDS[aggregation](field, self._dirty)
            )
            dimension = dimension_of(field)
            if dimension is not None:
                self.apart[dimension] = self.apart.get(dimension, 0) + 1
        return found

    def load(self, windows: Mapping[int, Mapping[str, str]], aggregations: Mapping[str, Aggregation]) -> None:
        """Takes stored day maps. ``aggregations``: of each metric id; usage of a metric that is gone stays stored, unread."""
        for day, fields in windows.items():
            self.days.add(day)
            for name, text in fields.items():
                field, separator, rest = name.partition(ELEMENT_SEPARATOR)
                aggregation = aggregations.get(field.partition("/")[0])
                if aggregation is None:
                    continue
                series = self.get(field, aggregation)
                if isinstance(series, ElementSeries):
                    hour, _, element = rest.partition(ELEMENT_SEPARATOR)
                    if separator:
                        series.elements.setdefault(day, {}).setdefault(int(hour), set()).add(element)
                else:
                    series.closed[day] = text

    def hours_from(self, first_hour: int) -> set[int]:
        """The hours, from ``first_hour`` on, that have usage."""
        if not any(day >= first_hour // 24 for day in self.days):
            return set()
        return {hour for series in self.series.values() for hour, _ in series.hours() if hour >= first_hour}

    def collect(self) -> dict[int, dict[str, str]]:
        """The fields that changed, by day, each once."""
        changed = {day: dict(fields) for day, fields in self._changed.items()}
        self._changed.clear()
        for opened in self._dirty:
            if opened.changed:  # a folded day may be on the list, too: it has nothing to write
                changed.setdefault(opened.day, {})[opened.series.field] = opened.encode()
        for series in {opened.series for opened in self._dirty}:
            if len(series.open) > OPEN_DAYS_MAX:
                series.close_old()
        self._dirty.clear()
        return changed

    def fold(self, day: int) -> tuple[FoldedDay, dict[str, Reading]]:
        """Takes one day out: its fields for the month map, and the last readings of its LATEST series by field name."""
        self.days.discard(day)
        self._changed.pop(day, None)
        for opened in self._dirty:
            if opened.day == day:
                opened.changed.clear()
        folded: FoldedDay = {}
        readings: dict[str, Reading] = {}
        for field, series in self.series.items():
            if isinstance(series, ElementSeries):
                folded.update((folded_field(day, field, element), "") for element in series.fold(day))
                continue
            quantity = series.fold(day)
            if quantity is None:
                continue
            folded[folded_field(day, field)] = encode_quantity(quantity)
            if isinstance(quantity, Reading):
                readings[field] = quantity
        self._forget_empty()
        return folded, readings

    def _forget_empty(self) -> None:
        """Series without a day that is kept are gone, as they are after the next load."""
        empty = [
            field
            for field, series in self.series.items()
            if not (series.elements if isinstance(series, ElementSeries) else series.open or series.closed)
        ]
        for field in empty:
            del self.series[field]
            dimension = dimension_of(field)
            if dimension is not None:
                self.apart[dimension] -= 1
