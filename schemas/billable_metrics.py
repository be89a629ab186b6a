"""Billable metrics: bodies, answers, and the stored document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.common import Answer, Body, CustomFields, Id, Key, Name, OutInstant, PageQuery, PropertyValue, Upper, distinct
from schemas.documents import Document

AggregationType = Annotated[Literal["COUNT", "LATEST", "MAX", "SUM", "UNIQUE"], Upper]
EventTypes = Annotated[list[Key], Field(min_length=1, max_length=1000), AfterValidator(distinct)]
Values = Annotated[list[PropertyValue], Field(min_length=1, max_length=1000), AfterValidator(distinct)]
GroupKey = Annotated[list[Key], Field(min_length=1, max_length=10), AfterValidator(distinct)]


class EventTypeFilter(Body):
    in_values: EventTypes | None = None
    not_in_values: EventTypes | None = None


class PropertyFilter(Body):
    """All parts that are set must hold."""

    name: Key
    exists: bool | None = None
    in_values: Values | None = None
    not_in_values: Values | None = None

    @model_validator(mode="after")
    def _can_match(self) -> PropertyFilter:
        if self.exists is False and self.in_values:
            raise ValueError("in_values cannot match a property that must not exist")
        return self


class MetricCreate(Body):
    name: Name
    aggregation_type: AggregationType | None = None
    aggregation_key: Key | None = None
    event_type_filter: EventTypeFilter | None = None
    property_filters: Annotated[list[PropertyFilter], Field(max_length=50)] = Field(default_factory=list)
    group_keys: Annotated[list[GroupKey], Field(max_length=20)] = Field(default_factory=list)
    custom_fields: CustomFields = Field(default_factory=dict)
    sql: str | None = None

    @model_validator(mode="after")
    def _streaming(self) -> MetricCreate:
        if self.sql is not None:
            raise ValueError("sql metrics are not supported: describe the metric by aggregation_type and filters")
        if self.aggregation_type is None:
            raise ValueError("aggregation_type is required")
        if self.aggregation_type == "COUNT":
            if self.aggregation_key is not None:
                raise ValueError("aggregation_key does not apply to COUNT")
            return self
        if self.aggregation_key is None:
            raise ValueError(f"aggregation_key is required for {self.aggregation_type}")
        named = [each for each in self.property_filters if each.name == self.aggregation_key]
        if not named:
            raise ValueError("aggregation_key must be one of the names in property_filters")
        if any(each.exists is False for each in named):
            raise ValueError("the property of aggregation_key must not be filtered by exists: false")
        return self


class MetricRename(Body):
    name: Name


class MetricArchive(Body):
    id: Id


class MetricListQuery(PageQuery):
    include_archived: bool = False


class CustomerMetricsQuery(MetricListQuery):
    on_current_plan: bool = False


class Metric(Answer):
    id: str
    name: str
    aggregation_type: AggregationType
    aggregation_key: str | None
    event_type_filter: EventTypeFilter | None
    property_filters: list[PropertyFilter]
    group_keys: list[list[str]]
    custom_fields: dict[str, str]
    archived_at: OutInstant | None


def metric_document(body: MetricCreate, metric_id: str, now: str) -> Document:
    fields: dict[str, Any] = body.model_dump(exclude={"sql"}, exclude_none=True)
    return {"aggregation_key": None, "event_type_filter": None, **fields, "id": metric_id, "created_at": now, "archived_at": None}


def metric_answer(document: Document) -> Metric:
    return Metric.model_validate(document)
