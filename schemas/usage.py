"""Usage queries and event search: bodies, answers, and the rows made of stored windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field, model_validator

from engine.catalog import BillableMetric
from engine.metering.queries import HOURS_A_DAY, UsageWindows, has_merged, usage_by_group, usage_total
from engine.metering.series import OTHER
from engine.periods import HOUR_US
from schemas.billable_metrics import Metric
from schemas.common import (
    Answer,
    Body,
    CursorQuery,
    Id,
    Key,
    MidnightInstant,
    OutInstant,
    OutNumber,
    PageQuery,
    PropertyValue,
    Upper,
    distinct,
)
from schemas.documents import instant_text

GROUP_VALUES_MAX = 200
SPAN_DAYS_MAX = 400

WindowSize = Annotated[Literal["HOUR", "DAY", "NONE"], Upper]
Span = tuple[int, int]
"""Hours since the epoch, half-open."""


def _check_bounds(starting_on: Any, ending_before: Any) -> None:
    if ending_before - starting_on < timedelta(days=1):
        raise ValueError("ending_before must be at least one day after starting_on")
    if ending_before - starting_on > timedelta(days=SPAN_DAYS_MAX):
        raise ValueError(f"ending_before must be at most {SPAN_DAYS_MAX} days after starting_on")


AskedValue = PropertyValue | None
"""None: of the events that have no value."""


class GroupBy(Body):
    key: Key
    values: Annotated[list[AskedValue], Field(min_length=1, max_length=GROUP_VALUES_MAX), AfterValidator(distinct)] | None = None


class UsageMetric(Body):
    id: Id
    group_by: GroupBy | None = None


class UsageList(Body):
    starting_on: MidnightInstant
    ending_before: MidnightInstant
    window_size: WindowSize
    customer_ids: Annotated[list[Id], Field(max_length=1000)] | None = None
    billable_metrics: Annotated[list[UsageMetric], Field(max_length=100)] | None = None
    customer_id: Id | None = Field(default=None, description="With billable_metric_id: older form, answered as /v1/usage/groups.")
    billable_metric_id: Id | None = Field(default=None, description="With customer_id.")
    group_by: GroupBy | None = Field(default=None, description="Of the older form.")

    @model_validator(mode="after")
    def _bounded(self) -> UsageList:
        _check_bounds(self.starting_on, self.ending_before)
        return self

    @model_validator(mode="after")
    def _one_form(self) -> UsageList:
        if (self.customer_id is None) != (self.billable_metric_id is None):
            raise ValueError("customer_id and billable_metric_id go together; or send customer_ids and billable_metrics")
        if self.customer_id is None and self.group_by is not None:
            raise ValueError("group_by goes with customer_id and billable_metric_id, or inside billable_metrics")
        if self.customer_id is not None and (self.customer_ids is not None or self.billable_metrics is not None):
            raise ValueError("customer_ids and billable_metrics do not go with customer_id and billable_metric_id")
        return self

    def of_one(self) -> UsageGroups | None:
        """The request of the older form, which the guide on dashboards shows; None for one of the newer form."""
        if self.customer_id is None or self.billable_metric_id is None:
            return None
        return UsageGroups(
            customer_id=self.customer_id,
            billable_metric_id=self.billable_metric_id,
            window_size=self.window_size,
            starting_on=self.starting_on,
            ending_before=self.ending_before,
            group_by=self.group_by,
        )


class UsageListQuery(CursorQuery):
    pass


class UsageGroups(Body):
    """``starting_on`` and ``ending_before``, or ``current_period``."""

    customer_id: Id
    billable_metric_id: Id
    window_size: WindowSize
    starting_on: MidnightInstant | None = None
    ending_before: MidnightInstant | None = None
    current_period: bool = False
    group_key: Annotated[list[Key], Field(max_length=10), AfterValidator(distinct)] = Field(default_factory=list)
    group_filters: dict[Key, list[AskedValue]] = Field(default_factory=dict)
    group_by: GroupBy | None = Field(default=None, description="Deprecated: group_key and group_filters.")

    @model_validator(mode="after")
    def _consistent(self) -> UsageGroups:
        if self.current_period:
            if self.starting_on is not None or self.ending_before is not None:
                raise ValueError("starting_on and ending_before do not go with current_period")
        elif self.starting_on is None or self.ending_before is None:
            raise ValueError("starting_on and ending_before are required unless current_period is true")
        else:
            _check_bounds(self.starting_on, self.ending_before)
        if self.group_by is not None and (self.group_key or self.group_filters):
            raise ValueError("group_by does not go with group_key and group_filters")
        if not set(self.group_filters) <= set(self.group_key):
            raise ValueError("the keys of group_filters must be in group_key")
        if sum(map(len, self.group_filters.values())) > GROUP_VALUES_MAX:
            raise ValueError(f"group_filters must hold at most {GROUP_VALUES_MAX} values")
        return self

    def keys(self) -> tuple[str, ...]:
        return (self.group_by.key,) if self.group_by is not None else tuple(self.group_key)

    def wanted(self) -> dict[str, set[str | None]]:
        """Key -> the values to show, for keys that are filtered."""
        if self.group_by is not None:
            return {self.group_by.key: set(self.group_by.values)} if self.group_by.values else {}
        return {key: set(values) for key, values in self.group_filters.items() if values}


class UsageGroupsQuery(PageQuery):
    pass


class EventSearch(Body):
    transactionIds: Annotated[list[Key], Field(min_length=1, max_length=100), AfterValidator(distinct)]


class UsageRow(Answer):
    customer_id: str
    billable_metric_id: str
    billable_metric_name: str
    start_timestamp: OutInstant
    end_timestamp: OutInstant
    value: OutNumber | None
    groups: dict[str, OutNumber | None] | None = None


class GroupRow(Answer):
    starting_on: OutInstant
    ending_before: OutInstant
    group_key: str | None
    group_value: str | None
    group: dict[str, str] | None = None
    value: OutNumber | None


class MatchedCustomer(Answer):
    id: str
    name: str


class FoundEvent(Answer):
    """``id`` says where the event is: topic, partition, offset and place in its record. ``status`` and what follows it are not in
    the API that we speak. ``reason`` is a word, ``detail`` a sentence: why it is not applied, why it counted for some metrics
    only (it did not for ``missed_billable_metrics``), or why no invoice will hold it."""

    id: str
    transaction_id: str
    customer_id: str
    event_type: str
    timestamp: OutInstant
    properties: dict[str, Any]
    is_duplicate: bool
    processed_at: OutInstant
    matched_customer: MatchedCustomer | None = None
    matched_billable_metrics: list[Metric]
    status: Literal["applied", "parked", "quarantined", "rejected"]
    reason: str | None = None
    detail: str | None = None
    missed_billable_metrics: list[str] | None = None


def spans(start_hour: int, end_hour: int, window_size: str) -> Iterator[Span]:
    """[start_hour, end_hour) cut into windows; days are UTC days, cut at the bounds."""
    if window_size == "NONE":
        yield start_hour, end_hour
        return
    step = HOURS_A_DAY if window_size == "DAY" else 1
    hour = start_hour
    while hour < end_hour:
        following = min((hour // step + 1) * step, end_hour)
        yield hour, following
        hour = following


def days_of(start_hour: int, end_hour: int) -> list[int]:
    return list(range(start_hour // HOURS_A_DAY, -(-end_hour // HOURS_A_DAY)))


def months_of(days: list[int]) -> list[str]:
    """The months ("YYYY-MM") in which the days lie."""
    return sorted({instant_text(day * HOURS_A_DAY * HOUR_US)[:7] for day in days})


def _within(usage: UsageWindows, span: Span) -> UsageWindows:
    """The part of ``usage`` that a span of at most a day can touch, so that each window does not read all of it again."""
    day = span[0] // HOURS_A_DAY
    if span[1] > (day + 1) * HOURS_A_DAY:
        return usage
    return UsageWindows({day: usage.days[day]} if day in usage.days else {}, usage.months)


def hour_text(hour: int) -> str:
    return instant_text(hour * HOUR_US)


NO_VALUE = "null"


def group_name(value: str | None) -> str:
    """What ``groups`` of a usage row calls a group: its value as it is, and ``null`` for the events that have none. A value that
    itself reads ``null``, or begins with a quotation mark, is written as a JSON string, so that no two groups share a name."""
    if value is None:
        return NO_VALUE
    return orjson.dumps(value).decode() if value == NO_VALUE or value.startswith('"') else value


def _in_order(values: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in values)


def usage_rows(
    customer_id: str, metric: BillableMetric, windows: list[Span], usage: UsageWindows, group_by: GroupBy | None
) -> list[UsageRow]:
    """A row for every window; a value of null means that nothing was measured. Raises KeyError for an undeclared group key."""
    rows = []
    for span in windows:
        part = _within(usage, span)
        fields: dict[str, Any] = {
            "customer_id": customer_id,
            "billable_metric_id": metric.id,
            "billable_metric_name": metric.name,
            "start_timestamp": hour_text(span[0]),
            "end_timestamp": hour_text(span[1]),
            "value": usage_total(metric, part, *span),
        }
        if group_by is not None:
            grouped = usage_by_group(metric, (group_by.key,), part, *span)
            found = {group_name(values[0]): value for values, value in grouped.items()}
            shown = sorted(found)[:GROUP_VALUES_MAX] if group_by.values is None else map(group_name, group_by.values)
            fields["groups"] = {value: found.get(value) for value in shown}
        rows.append(UsageRow(**fields))
    return rows


def merged_warnings(
    customer_id: str, metric: BillableMetric, keys: tuple[str, ...], span: Span, usage: UsageWindows
) -> list[str]:
    """That rows by these group keys have some values together, so that a value may be missing, or have less than it used."""
    if not has_merged(metric, keys, usage, *span):
        return []
    return [
        f"customer {customer_id} has too many values of {', '.join(keys)} to keep them apart for the billable metric {metric.id} "
        f"(TIDEMARK_GROUP_VALUES_MAX): those that came later are counted together as {OTHER}. Totals are exact."
    ]


def group_rows(metric: BillableMetric, body: UsageGroups, windows: list[Span], usage: UsageWindows) -> list[GroupRow]:
    """A row for every window and group with usage (without a group key: for every window). KeyError: an undeclared group key.

    ``group`` leaves out a key whose property the events lack; ``group_value`` is null then.
    """
    keys, wanted = body.keys(), body.wanted()
    rows = []
    for span in windows:
        part = _within(usage, span)
        fields: dict[str, Any] = {
            "starting_on": hour_text(span[0]),
            "ending_before": hour_text(span[1]),
            "group_key": keys[0] if len(keys) == 1 else None,
            "group_value": None,
        }
        if not keys:
            rows.append(GroupRow(**fields, value=usage_total(metric, part, *span)))
            continue
        found = usage_by_group(metric, keys, part, *span)
        for values in sorted(found, key=_in_order):
            group = dict(zip(keys, values, strict=True))
            if any(group[key] not in allowed for key, allowed in wanted.items()):
                continue
            if len(keys) == 1:
                fields["group_value"] = values[0]
            named = {key: value for key, value in group.items() if value is not None}
            rows.append(GroupRow(**fields, group=named, value=found[values]))
    return rows
