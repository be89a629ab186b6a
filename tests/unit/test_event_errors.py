"""Notices of group values that are too many: once a day for each customer and group key of a metric."""

from __future__ import annotations

import orjson

from connectors.kafka.event_errors import EventErrors
from connectors.redis.types import OutboxEntry
from engine.effects import Delta, Merged, UsageEvent
from schemas.notices import EventErrorPayload

DAY_MS = 86_400_000
PLACES = {(7, "t"): 3}


def merged(metric_id: str, *group_key: str, day: int = 20_000, offset: int = 7) -> Merged:
    event = UsageEvent("t", "call", 0, 0, {}, "usage", 1, offset, day * DAY_MS + 5)
    return Merged(metric_id, group_key, event, 2)


def told(errors: EventErrors, deltas: dict[str, Delta]) -> list[OutboxEntry]:
    entries = errors.merged(deltas, lambda: PLACES, 1)
    errors.told((), deltas)
    return entries


def test_each_customer_and_group_key_is_told_once_a_day() -> None:
    errors = EventErrors(10)
    both = {"m/0": merged("m", "request"), "m/1": merged("m", "region", "request")}
    first = told(errors, {"a": Delta(merged=both), "b": Delta(merged={"m/0": merged("m", "request")}), "c": Delta()})
    assert [entry.customer_id for entry in first] == ["a", "a", "b"]
    assert len({entry.id for entry in first}) == 3
    properties = EventErrorPayload.model_validate_json(first[1].body).properties
    assert (properties.index, properties.offset, properties.counted) == (3, 7, "yes")
    assert all(word in properties.detail for word in ("region, request", "10 combinations", "TIDEMARK_GROUP_VALUES_MAX"))
    assert told(errors, {"a": Delta(merged={"m/0": merged("m", "request", offset=9)})}) == []
    (next_day,) = told(errors, {"a": Delta(merged={"m/0": merged("m", "request", day=20_001)})})
    assert next_day.id not in {entry.id for entry in first}


def test_what_was_not_committed_and_what_another_worker_told_has_the_same_id() -> None:
    deltas = {"a": Delta(merged={"m/0": merged("m", "request")})}
    errors = EventErrors(10)
    (first,) = errors.merged(deltas, lambda: PLACES, 1)
    (again,) = errors.merged(deltas, lambda: PLACES, 2)
    (elsewhere,) = EventErrors(10).merged(deltas, lambda: {}, 1)
    assert first.id == again.id == elsewhere.id == orjson.loads(first.body)["id"]
