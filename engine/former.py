"""A customer's usage as it was just before one event: for the value before a crossing, without keeping anything at each event
that a sum can take back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from engine.catalog import Aggregation
from engine.counting import HOURS_A_DAY, Counting, Route
from engine.effects import UsageEvent
from engine.invoices.usage import HourlyUsage
from engine.metering.codec import Quantity, Reading, decode_hours
from engine.metering.matching import MetricMatcher, Value
from engine.metering.series import SeriesKey, series_field
from engine.metering.windows import ElementSeries, Series, WindowStore

_SUMS = frozenset({Aggregation.SUM, Aggregation.COUNT})


class FormerQuantities:
    """Made before an event is counted. For SUM and COUNT it needs nothing; of MAX and LATEST it notes the hour's quantity, of
    UNIQUE whether the text was there. ``hour``: the event's."""

    __slots__ = ("_counting", "_event", "_matchers", "_noted", "_values", "hour")

    def __init__(
        self, route: Route, values: Sequence[Value], event: UsageEvent, windows: WindowStore, counting: Counting
    ) -> None:
        """``values``: those of the route's matchers (engine.metering.matching.read_values). For every event that is counted, and
        asked by few: so what can be found out later is."""
        self._matchers = route.matchers
        self._values = values
        self._event = event
        self._counting = counting
        self.hour = event.hour
        self._noted: dict[SeriesKey, Decimal | Reading | bool | None] = {}
        for matcher, value in zip(route.matchers, values, strict=True):
            if value is not None and matcher.aggregation not in _SUMS:
                for key in self._keys(matcher):
                    self._noted[key] = _quantity(windows.series.get(series_field(key)), event.hour, value)

    def taken_from(self, usage: HourlyUsage) -> HourlyUsage:
        """``usage``, which has the event in an hour by itself, without it."""
        hours = dict(usage.hours)
        for matcher, value in zip(self._matchers, self._values, strict=True):
            if value is None:
                continue
            for key in self._keys(matcher):
                before = dict(hours[key])
                quantity = self._before(key, before[self.hour], value)
                if quantity is None:
                    del before[self.hour]
                else:
                    before[self.hour] = quantity
                hours[key] = before
        return usage._replace(hours=hours)

    def _keys(self, matcher: MetricMatcher) -> Iterator[SeriesKey]:
        """The series of a metric that the event is counted in: the same before it is counted and after."""
        yield SeriesKey(matcher.metric.id)
        for dimension, values in enumerate(self._counting.groups(matcher, self._event.properties)):
            yield SeriesKey(matcher.metric.id, dimension, values)

    def _before(self, key: SeriesKey, now: Quantity, value: object) -> Quantity | None:
        if key not in self._noted:
            assert isinstance(now, Decimal)
            assert isinstance(value, Decimal)
            return now - value
        noted = self._noted[key]
        if isinstance(noted, bool):
            assert isinstance(now, frozenset)
            return now if noted else now - {str(value)}
        return noted


def _quantity(series: Series | None, hour: int, value: object) -> Decimal | Reading | bool | None:
    day, hour_of_day = divmod(hour, HOURS_A_DAY)
    if isinstance(series, ElementSeries):
        return value in series.elements.get(day, {}).get(hour_of_day, ())
    if series is None:
        return False if isinstance(value, str) else None
    opened = series.open.get(day)
    if opened is not None:
        return opened.hours.get(hour_of_day)
    return decode_hours(series.closed[day]).get(hour_of_day) if day in series.closed else None
