"""Which metrics an event counts for, what it adds, and how windows are written, read and queried."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.catalog import Aggregation, BillableMetric, PropertyFilter
from engine.effects import Rejection
from engine.metering.codec import Reading, decode_day, decode_hours, decode_month
from engine.metering.matching import MetricMatcher, property_text
from engine.metering.queries import UsageWindows, decode_folded, decode_windows, usage_by_group, usage_total
from engine.metering.series import SeriesKey, series_field, series_key
from engine.metering.windows import OPEN_DAYS_MAX, WindowStore


def metric(aggregation: Aggregation = Aggregation.SUM, **parts: object) -> BillableMetric:
    key = None if aggregation is Aggregation.COUNT else "n"
    return BillableMetric(id="m", name="m", aggregation=aggregation, aggregation_key=key, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("eu", "eu"),
        ("", ""),
        (7, "7"),
        (Decimal("7.50"), "7.5"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (False, "false"),
        (None, None),
        (["a"], None),
        ({"a": 1}, None),
    ],
)
def test_property_text(value: object, text: str | None) -> None:
    assert property_text(value) == text


@pytest.mark.parametrize(
    ("condition", "properties", "counts"),
    [
        (PropertyFilter("p", exists=True), {"p": ""}, True),
        (PropertyFilter("p", exists=True), {"p": None}, False),
        (PropertyFilter("p", exists=True), {"p": [1]}, True),
        (PropertyFilter("p", exists=False), {}, True),
        (PropertyFilter("p", exists=False), {"p": 0}, False),
        (PropertyFilter("p", in_values=frozenset({"1", "true"})), {"p": 1}, True),
        (PropertyFilter("p", in_values=frozenset({"1", "true"})), {"p": Decimal("1.0")}, True),
        (PropertyFilter("p", in_values=frozenset({"1", "true"})), {"p": True}, True),
        (PropertyFilter("p", in_values=frozenset({"1"})), {}, False),
        (PropertyFilter("p", in_values=frozenset({"1"})), {"p": ["1"]}, False),
        (PropertyFilter("p", not_in_values=frozenset({"1"})), {"p": "1"}, False),
        (PropertyFilter("p", not_in_values=frozenset({"1"})), {"p": "2"}, True),
        (PropertyFilter("p", not_in_values=frozenset({"1"})), {}, True),
        (PropertyFilter("p", exists=True, not_in_values=frozenset({"1"})), {}, False),
        (PropertyFilter("p", in_values=frozenset({"1", "2"}), not_in_values=frozenset({"1"})), {"p": "1"}, False),
    ],
)
def test_property_filters(condition: PropertyFilter, properties: dict[str, object], counts: bool) -> None:
    matcher = MetricMatcher(metric(Aggregation.COUNT, property_filters=(condition,)))
    assert matcher.value(properties) == (Decimal(1) if counts else None)


@pytest.mark.parametrize(
    ("wanted", "unwanted", "event_type", "takes"),
    [
        (None, None, "a", True),
        (frozenset({"a"}), None, "a", True),
        (frozenset({"a"}), None, "b", False),
        (None, frozenset({"a"}), "a", False),
        (None, frozenset({"a"}), "b", True),
    ],
)
def test_event_types(wanted: frozenset[str] | None, unwanted: frozenset[str] | None, event_type: str, takes: bool) -> None:
    assert MetricMatcher(metric(event_types_in=wanted, event_types_not_in=unwanted)).takes_type(event_type) is takes


@pytest.mark.parametrize(
    ("aggregation", "properties", "value"),
    [
        (Aggregation.SUM, {"n": "1.50"}, Decimal("1.50")),
        (Aggregation.SUM, {"n": -3}, Decimal(-3)),
        (Aggregation.MAX, {}, None),
        (Aggregation.LATEST, {"n": None}, None),
        (Aggregation.UNIQUE, {"n": 7}, "7"),
        (Aggregation.UNIQUE, {"n": False}, "false"),
        (Aggregation.UNIQUE, {}, None),
    ],
)
def test_values(aggregation: Aggregation, properties: dict[str, object], value: object) -> None:
    assert MetricMatcher(metric(aggregation)).value(properties) == value


@pytest.mark.parametrize(
    ("aggregation", "value", "reason"),
    [
        (Aggregation.SUM, "ten", "property_not_a_number"),
        (Aggregation.SUM, "", "property_not_a_number"),
        (Aggregation.SUM, True, "property_not_a_number"),
        (Aggregation.MAX, [1], "property_not_a_number"),
        (Aggregation.LATEST, "NaN", "property_not_a_number"),
        (Aggregation.SUM, "1e400", "property_out_of_bounds"),
        (Aggregation.SUM, 10**38, "property_out_of_bounds"),
        (Aggregation.SUM, "1e-39", "property_out_of_bounds"),
        (Aggregation.UNIQUE, {"a": 1}, "property_not_a_text"),
    ],
)
def test_a_value_that_is_there_and_wrong_is_refused(aggregation: Aggregation, value: object, reason: str) -> None:
    rejection = MetricMatcher(metric(aggregation)).value({"n": value})
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert '"n"' in rejection.detail
    assert "metric m" in rejection.detail


def test_group_values_of_absent_properties_are_none() -> None:
    matcher = MetricMatcher(metric(group_keys=(("region",), ("region", "model"))))
    assert matcher.groups({"region": 7, "model": None}) == [("7",), ("7", None)]


@pytest.mark.parametrize(
    "key",
    [
        SeriesKey("m"),
        SeriesKey("m", 0, ("eu",)),
        SeriesKey("m", 12, (None, 'a/b"|', "\x1f\n", "ü", "")),
    ],
)
def test_series_are_written_and_read_back(key: SeriesKey) -> None:
    field = series_field(key)
    assert series_key(field) == key
    assert "\x1f" not in field


def test_windows_survive_storing() -> None:
    store = WindowStore()
    store.get("sum", Aggregation.SUM).add(10, 3, Decimal("1.5"))
    store.get("sum", Aggregation.SUM).add(10, 3, Decimal("1.50"))
    store.get("sum", Aggregation.SUM).add(10, 23, Decimal(-2))
    store.get("max", Aggregation.MAX).add(10, 0, Decimal(-5))
    store.get("max", Aggregation.MAX).add(10, 0, Decimal(-7))
    latest = store.get("latest", Aggregation.LATEST)
    for reading in (Reading(50, 1, Decimal(1)), Reading(40, 2, Decimal(9)), Reading(50, 3, Decimal(2))):
        latest.add(10, 5, reading)
    store.get("unique", Aggregation.UNIQUE).add(10, 5, "a\x1fb")
    store.get("unique", Aggregation.UNIQUE).add(10, 6, "")
    fields = store.collect()[10]
    assert decode_day(fields) == {
        SeriesKey("sum"): {3: Decimal("3.00"), 23: Decimal(-2)},
        SeriesKey("max"): {0: Decimal(-5)},
        SeriesKey("latest"): {5: Reading(50, 3, Decimal(2))},
        SeriesKey("unique"): {5: frozenset({"a\x1fb"}), 6: frozenset({""})},
    }
    loaded = WindowStore()
    aggregations = {name: Aggregation(name.upper()) for name in ("sum", "max", "latest", "unique")}
    loaded.load({10: fields}, aggregations)
    assert loaded.collect() == {}, "loading changes nothing"
    for name, aggregation in aggregations.items():
        assert sorted(loaded.get(name, aggregation).hours(), key=repr) == sorted(store.series[name].hours(), key=repr)


def test_only_what_changed_is_written() -> None:
    store = WindowStore()
    store.get("a", Aggregation.SUM).add(10, 3, Decimal(1))
    store.get("b", Aggregation.SUM).add(10, 3, Decimal(1))
    store.get("u", Aggregation.UNIQUE).add(10, 3, "x")
    store.collect()
    store.get("a", Aggregation.SUM).add(10, 4, Decimal(2))
    store.get("u", Aggregation.UNIQUE).add(10, 3, "x")
    assert store.collect() == {10: {"a": "3:1 4:2"}}
    assert store.collect() == {}


def test_days_that_were_closed_open_again() -> None:
    store = WindowStore()
    series = store.get("a", Aggregation.SUM)
    for day in range(OPEN_DAYS_MAX + 3):
        series.add(day, 0, Decimal(day))
    store.collect()
    series.add(0, 0, Decimal(10))
    series.add(0, 1, Decimal(1))
    assert decode_hours(store.collect()[0]["a"]) == {0: Decimal(10), 1: Decimal(1)}
    assert dict(series.hours()) == {0: 10, 1: 1} | {day * 24: day for day in range(1, OPEN_DAYS_MAX + 3)}


def test_folding_takes_a_day_out_as_one_quantity() -> None:
    store = WindowStore()
    for day in (10, 11):
        store.days.add(day)
        for hour in (1, 2):
            store.get("m", Aggregation.SUM).add(day, hour, Decimal(hour))
            store.get("x", Aggregation.MAX).add(day, hour, Decimal(hour))
            store.get("l", Aggregation.LATEST).add(day, hour, Reading(day * 100 + hour, 1, Decimal(hour)))
            store.get("u", Aggregation.UNIQUE).add(day, hour, f"e{hour}")
    fields, readings = store.fold(10)
    assert decode_month(fields) == {
        SeriesKey("m"): {10: Decimal(3)},
        SeriesKey("x"): {10: Decimal(2)},
        SeriesKey("l"): {10: Reading(1002, 1, Decimal(2))},
        SeriesKey("u"): {10: frozenset({"e1", "e2"})},
    }
    assert readings == {"l": Reading(1002, 1, Decimal(2))}
    assert store.collect().keys() == {11}, "what is folded is not written as hours any more"


DAYS = {
    10: decode_windows(10, {"m": "22:1 23:2", 'm/0/["eu","x"]': "22:1", 'm/0/["eu","y"]': "23:2", 'm/1/["eu"]': "22:100 23:200"}),
    11: decode_windows(11, {"m": "0:4", 'm/0/["us","x"]': "0:4", 'm/1/["us"]': "0:400"}),
}


@pytest.mark.parametrize(
    ("start", "end", "total"),
    [(262, 265, 7), (262, 264, 3), (263, 265, 6), (264, 264, None), (0, 262, None)],
)
def test_usage_total(start: int, end: int, total: int | None) -> None:
    assert usage_total(metric(), UsageWindows(DAYS), start, end) == total


def test_usage_by_group_uses_the_smallest_declared_key() -> None:
    grouped = metric(group_keys=(("region", "model"), ("region",)))
    usage = UsageWindows(DAYS)
    assert usage_by_group(grouped, ("region",), usage, 0, 999) == {("eu",): 300, ("us",): 400}
    assert usage_by_group(grouped, ("model",), usage, 0, 999) == {("x",): 5, ("y",): 2}
    assert usage_by_group(grouped, ("model", "region"), usage, 0, 263) == {("x", "eu"): 1}
    with pytest.raises(KeyError):
        usage_by_group(grouped, ("zone",), usage, 0, 999)


@pytest.mark.parametrize(
    ("aggregation", "hours", "expected"),
    [
        (Aggregation.MAX, {"m": "1:5 2:-9"}, 5),
        (Aggregation.LATEST, {"m": "1:70.1@5 2:90.2@3"}, 3),
        (Aggregation.UNIQUE, {"m\x1f1\x1fa": "", "m\x1f2\x1fa": "", "m\x1f2\x1fb": ""}, 2),
    ],
)
def test_queries_combine_by_aggregation(aggregation: Aggregation, hours: dict[str, str], expected: int) -> None:
    assert usage_total(metric(aggregation), UsageWindows({0: decode_windows(0, hours)}), 0, 24) == expected


def test_folded_days_count_where_the_span_holds_them_whole() -> None:
    usage = UsageWindows({}, [decode_folded({"10\x1fm": "5", "11\x1fm": "6"})])
    assert usage_total(metric(), usage, 240, 288) == 11
    assert usage_total(metric(), usage, 240, 287) == 5
    assert usage_total(metric(), usage, 241, 264) is None
