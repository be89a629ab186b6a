"""Which metrics an event counts for, and with what value.

Property values as text: strings as they are, numbers by their canonical decimal text, booleans "true" and "false"; null is as
good as absent; a list or an object is opaque: it is there, but it matches no value and is no number.

An event whose aggregation property is absent does not count for that metric (as NULL in SQL's aggregates). One whose aggregation
property is there but is not a number within bounds, or one of whose group values is too long, is one that the metric cannot read:
it does not count for this metric, which is told (``Misread``), and does for the others. Where it would count for no other, it is
rejected as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import MAX_PREC, Context, Decimal
from typing import NamedTuple

from engine.catalog import Aggregation, BillableMetric, PropertyFilter
from engine.effects import Rejection
from engine.metering.series import GroupValues
from engine.numbers import NumberError, decimal_text, parse_decimal

ONE = Decimal(1)
GROUP_VALUE_CHARACTERS_MAX = 2_048
"""Of one value of a group key. Longer ones no answer could name, nor any request ask for."""

_PLAIN_EXPONENT_MAX = 1_000
_WHOLE = Context(prec=MAX_PREC, Emax=10**17, Emin=-(10**17))

Value = Decimal | str | None
"""What an event adds to a metric: a number (COUNT: 1), a text (UNIQUE), or None: it does not count."""


def property_text(value: object) -> str | None:
    """The text of a property for filters, groups and UNIQUE; None if it has none (absent, null, opaque).

    Every JSON number has one, bounds or not: a group value is not an amount. Far beyond the bounds it has an exponent."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is Decimal:
        return _number_text(value)  # type: ignore[arg-type]
    return None


def _number_text(value: Decimal) -> str:
    if value and abs(value.adjusted()) > _PLAIN_EXPONENT_MAX:
        return str(value.normalize(_WHOLE))  # without one it may be longer than any memory
    return decimal_text(value)


class Misread(NamedTuple):
    """``values``: what the event adds to each metric; ``rejection`` names those that could not read it."""

    values: list[Value]
    rejection: Rejection


class MetricMatcher:
    """One metric, compiled. Shared by all customers. ``group_names``: of all properties that it groups by.

    ``number_key``: the property that is all there is to its value, as a number (see ``read_values``); None: ask ``value``."""

    __slots__ = ("_filters", "aggregation", "dimensions", "group_names", "key", "metric", "number_key")

    def __init__(self, metric: BillableMetric) -> None:
        self.metric = metric
        self.aggregation = metric.aggregation
        self.key = metric.aggregation_key
        self.dimensions = metric.group_keys
        self.group_names = tuple(dict.fromkeys(name for names in metric.group_keys for name in names))
        self._filters = tuple(condition for condition in metric.property_filters if not _is_implied(condition, metric))
        is_number = metric.aggregation not in {Aggregation.COUNT, Aggregation.UNIQUE}
        self.number_key = metric.aggregation_key if is_number and not self._filters else None

    def takes_type(self, event_type: str) -> bool:
        metric = self.metric
        if metric.event_types_in is not None and event_type not in metric.event_types_in:
            return False
        return metric.event_types_not_in is None or event_type not in metric.event_types_not_in

    def value(self, properties: Mapping[str, object]) -> Value | Rejection:  # noqa: PLR0911 - one for each rule
        """What an event of a type that the metric takes adds to it."""
        for condition in self._filters:
            if not _holds(condition, properties.get(condition.name)):
                return None
        if self.aggregation is Aggregation.COUNT:
            return ONE
        raw = properties.get(self.key)  # type: ignore[arg-type]
        if raw is None:
            return None
        if self.aggregation is Aggregation.UNIQUE:
            text = property_text(raw)
            if text is None or "\0" in text:
                return self._rejection("property_not_a_text", "must not be a list or an object, nor hold U+0000")
            return text
        try:
            return parse_decimal(raw)
        except NumberError as error:
            return self.not_a_number(error)

    def not_a_number(self, error: NumberError) -> Rejection:
        reason = "property_out_of_bounds" if error.reason.startswith("number_too") else "property_not_a_number"
        return self._rejection(reason, error.detail)

    def groups(self, properties: Mapping[str, object]) -> list[GroupValues]:
        """The event's values for each declared group key."""
        found: list[GroupValues] = []
        for names in self.dimensions:
            values = [properties.get(name) for name in names]
            found.append(tuple([value if value.__class__ is str else property_text(value) for value in values]))
        return found

    def unreadable_group(self, properties: Mapping[str, object]) -> Rejection | None:
        """Why the event's groups cannot be counted, if so."""
        for name in self.group_names:
            value = properties.get(name)
            if value.__class__ is not str:
                value = property_text(value)
                if value is None:
                    continue
            if len(value) > GROUP_VALUE_CHARACTERS_MAX or "\0" in value:
                rule = f"must have at most {GROUP_VALUE_CHARACTERS_MAX} characters, and no U+0000, to be grouped by"
                return self._rejection("property_not_a_group", rule, name)
        return None

    def _rejection(self, reason: str, rule: str, name: str | None = None) -> Rejection:
        return Rejection(reason, f'property "{self.key if name is None else name}" {rule} (metric {self.metric.id})')


def read_values(matchers: Sequence[MetricMatcher], properties: Mapping[str, object]) -> list[Value] | Misread | Rejection | None:
    """What an event of a type that all of these metrics take adds to each (None: it does not count for that one); None if it
    counts for no metric. Most metrics sum up one property: these need no call of ``value``."""
    values: list[Value] = []
    counts = False
    for matcher in matchers:
        key = matcher.number_key
        value: Value | Rejection
        if key is None:
            value = matcher.value(properties)
            if value.__class__ is Rejection:
                return _read_each(matchers, properties)
        else:
            raw = properties.get(key)
            try:
                value = None if raw is None else parse_decimal(raw)
            except NumberError:
                return _read_each(matchers, properties)
        if value is not None:
            counts = True
            if matcher.group_names and matcher.unreadable_group(properties) is not None:
                return _read_each(matchers, properties)
        values.append(value)  # type: ignore[arg-type]
    return values if counts else None


def read_only(
    matchers: Sequence[MetricMatcher], properties: Mapping[str, object], metric_ids: frozenset[str]
) -> list[Value] | Misread | Rejection | None:
    """As ``read_values``, for an event that counts for these metrics alone."""
    return _read_each(matchers, properties, metric_ids)


def _read_each(
    matchers: Sequence[MetricMatcher], properties: Mapping[str, object], only: frozenset[str] | None = None
) -> list[Value] | Misread | Rejection | None:
    values: list[Value] = []
    faults: list[Rejection] = []
    missed: list[str] = []
    for matcher in matchers:
        value: Value | Rejection = None
        if only is None or matcher.metric.id in only:
            value = matcher.value(properties)
            if value is not None and not isinstance(value, Rejection):
                value = matcher.unreadable_group(properties) or value
        if isinstance(value, Rejection):
            faults.append(value)
            missed.append(matcher.metric.id)
            value = None
        values.append(value)
    counts = any(value is not None for value in values)
    if not faults:
        return values if counts else None
    first = faults[0]
    detail = first.detail if len(faults) == 1 else f"{first.detail}; and {len(faults) - 1} more"
    if not counts:
        return Rejection(first.reason, detail)
    return Misread(values, Rejection(first.reason, detail, tuple(missed)))


def _is_implied(condition: PropertyFilter, metric: BillableMetric) -> bool:
    """That the aggregation property exists: where it does not, there is no value, so the event does not count anyway."""
    return condition == PropertyFilter(metric.aggregation_key or "", exists=True) and metric.aggregation is not Aggregation.COUNT


def _holds(condition: PropertyFilter, value: object) -> bool:
    if condition.exists is not None and condition.exists != (value is not None):
        return False
    if condition.in_values is None and condition.not_in_values is None:
        return True
    text = property_text(value)
    if condition.in_values is not None and text not in condition.in_values:
        return False
    return condition.not_in_values is None or text not in condition.not_in_values
