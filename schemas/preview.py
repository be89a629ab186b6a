"""POST /v1/customers/{id}/previewEvents: events that have not happened."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from schemas.common import Body, Lower
from schemas.events import EventText, checked_properties, checked_timestamp, none_is_empty
from schemas.timestamps import parse_timestamp

EVENTS_MAX = 100


class PreviewEvent(Body):
    """As an event of ``POST /v1/ingest``, of this customer. ``timestamp``: default now."""

    event_type: EventText
    timestamp: (
        Annotated[str, AfterValidator(checked_timestamp), WithJsonSchema({"type": "string", "format": "date-time"})] | None
    ) = None
    properties: Annotated[dict[str, Any], AfterValidator(checked_properties), BeforeValidator(none_is_empty)] = Field(
        default_factory=dict
    )
    transaction_id: EventText | None = Field(
        default=None, description="In merge mode, an event of the last 34 days with this id is not counted a second time."
    )

    def timestamp_us(self, now_us: int) -> int:
        given = None if self.timestamp is None else parse_timestamp(self.timestamp)
        return now_us if given is None else given


class PreviewEvents(Body):
    """``replace``: these events are the customer's only usage; ``merge``: they come on top of what there is."""

    events: Annotated[list[PreviewEvent], Field(min_length=1, max_length=EVENTS_MAX)]
    mode: Annotated[Literal["replace", "merge"], Lower] = "replace"
    skip_zero_qty_line_items: bool = False

    @model_validator(mode="after")
    def _once(self) -> PreviewEvents:
        ids = [each.transaction_id for each in self.events if each.transaction_id is not None]
        if len(set(ids)) != len(ids):
            raise ValueError("events: must not hold a transaction_id twice")
        return self
