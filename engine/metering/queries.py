"""What a metric came to over a span of hours, from stored windows. Pure; used by the API's usage queries.

    usage = UsageWindows({day: decode_windows(day, fields) for each day map}, [decode_folded(fields) for each month map])
    usage_total(metric, usage, start_hour, end_hour)
    usage_by_group(metric, group_key, usage, start_hour, end_hour)

Hours are counted from the epoch, spans are half-open. A folded day has lost its hours: it counts where the span
holds it whole, and is left out where the span cuts it.
Sums are exact only while exact arithmetic is current (engine.numbers.activate).
LATEST gives the last reading of the span, UNIQUE the exact number of distinct texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from engine.catalog import Aggregation, BillableMetric
from engine.metering.codec import DayWindows, FoldedWindows, Quantity, Reading, decode_day, decode_month
from engine.metering.series import OTHER, TOTAL, GroupValues

HOURS_A_DAY = 24


class UsageWindows(NamedTuple):
    """Day maps by UTC day, and month maps of folded days; ``usage_total`` looks at nothing else."""

    days: Mapping[int, DayWindows]
    months: Sequence[FoldedWindows] = ()


def decode_windows(day: int, fields: Mapping[str, str]) -> DayWindows:
    """Reads the day map of UTC day ``day``. Hours in the result are hours of that day."""
    return decode_day(fields)


def decode_folded(fields: Mapping[str, str]) -> FoldedWindows:
    """Reads the month map of folded days. Days in the result are counted from the epoch."""
    return decode_month(fields)


def usage_total(
    metric: BillableMetric,
    usage: UsageWindows,
    start_hour: int,
    end_hour: int,
) -> Decimal | None:
    """The metric over [start_hour, end_hour); None if nothing was measured in it."""
    quantities = (quantity for _, quantity in _quantities(metric.id, TOTAL, usage, start_hour, end_hour))
    return combine(metric.aggregation, quantities)


def usage_by_group(
    metric: BillableMetric,
    group_key: tuple[str, ...],
    usage: UsageWindows,
    start_hour: int,
    end_hour: int,
) -> dict[GroupValues, Decimal]:
    """The metric over [start_hour, end_hour) for each combination of values of ``group_key``, in that key's order.

    The smallest declared compound key that holds all of ``group_key`` is used, and summed up over the rest of it.
    Raises KeyError if no declared key holds it.
    """
    dimension = dimension_for(metric, frozenset(group_key))
    if dimension is None:
        raise KeyError(group_key)
    declared = metric.group_keys[dimension]
    places = [declared.index(name) for name in group_key]
    by_values: dict[GroupValues, list[Quantity]] = {}
    for values, quantity in _quantities(metric.id, dimension, usage, start_hour, end_hour):
        by_values.setdefault(tuple(values[place] for place in places), []).append(quantity)
    totals = {values: combine(metric.aggregation, quantities) for values, quantities in by_values.items()}
    return {values: total for values, total in totals.items() if total is not None}


def has_merged(metric: BillableMetric, group_key: tuple[str, ...], usage: UsageWindows, start_hour: int, end_hour: int) -> bool:
    """Whether values of ``group_key`` were too many to be kept apart: then ``usage_by_group`` has them as ``OTHER``."""
    dimension = dimension_for(metric, frozenset(group_key))
    if dimension is None or dimension == TOTAL:
        return False
    declared = metric.group_keys[dimension]
    places = [declared.index(name) for name in group_key]
    quantities = _quantities(metric.id, dimension, usage, start_hour, end_hour)
    return any(values[place] == OTHER for values, _ in quantities for place in places)


def dimension_for(metric: BillableMetric, names: frozenset[str]) -> int | None:
    """The smallest declared compound key that holds ``names`` (the first of equals); None if there is none."""
    if not names:
        return TOTAL
    holding = [(len(declared), dimension) for dimension, declared in enumerate(metric.group_keys) if names.issubset(declared)]
    return min(holding)[1] if holding else None


def combine(aggregation: Aggregation, quantities: Iterable[Quantity]) -> Decimal | None:
    """One quantity out of those of several hours, days or groups; None if there are none."""
    numbers: list[Decimal] = []
    readings: list[Reading] = []
    elements: set[str] = set()
    for quantity in quantities:
        if isinstance(quantity, Decimal):
            numbers.append(quantity)
        elif isinstance(quantity, Reading):
            readings.append(quantity)
        else:
            elements |= quantity
    if readings:
        return max(readings).value
    if elements:
        return Decimal(len(elements))
    if not numbers:
        return None
    return max(numbers) if aggregation is Aggregation.MAX else sum(numbers, Decimal(0))


def _quantities(
    metric_id: str,
    dimension: int,
    usage: UsageWindows,
    start_hour: int,
    end_hour: int,
) -> Iterator[tuple[GroupValues, Quantity]]:
    """All quantities of one dimension that lie in the span."""
    for month in usage.months:
        for key, by_day in month.items():
            if key.metric_id == metric_id and key.dimension == dimension:
                for day, quantity in by_day.items():
                    if start_hour <= day * HOURS_A_DAY and (day + 1) * HOURS_A_DAY <= end_hour:
                        yield key.values, quantity
    for day, windows in usage.days.items():
        first = day * HOURS_A_DAY
        for key, by_hour in windows.items():
            if key.metric_id == metric_id and key.dimension == dimension:
                for hour_of_day, quantity in by_hour.items():
                    if start_hour <= first + hour_of_day < end_hour:
                        yield key.values, quantity
