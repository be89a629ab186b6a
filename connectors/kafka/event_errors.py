"""Notices "event.error": that events were rejected, could not be read by some metrics, or have group values that are too many
to be kept apart, for endpoints that name this type.

Of one customer and reason the first of a day is told (the day of the event's arrival, in UTC): whoever sends a million bad events
needs to hear of it once, and the dead letters hold them all. Of merged group values the same, for each group key of a metric. The
id follows from these, so a batch that is done again tells nothing new. The notice is written by the commit of the event's batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID, uuid5

import orjson

from connectors.kafka.intake import Rejected
from connectors.redis.types import OutboxEntry
from engine.effects import Delta, Merged
from engine.metering.series import OTHER
from schemas.documents import instant_text

TYPE = "event.error"
GROUP_VALUES_MERGED = "group_values_merged"
_NAMESPACE = UUID("5d1c1b0a-52a5-4f0f-9d43-0a7a0f3a5c11")
_DAY_MS = 86_400_000
_TOLD_MAX = 100_000

Places = Mapping[tuple[int, str], int]
"""(Offset, transaction id) of an event -> its place in its record."""


class EventErrors:
    """Of one partition. Remembers what is told, so that most batches write none. ``group_values_max``: the setting."""

    def __init__(self, group_values_max: int) -> None:
        self._group_values_max = group_values_max
        self._told: set[str] = set()

    def notices(self, rejected: Iterable[Rejected], now_ms: int) -> list[OutboxEntry]:
        """Those that are not told yet."""
        entries: dict[str, OutboxEntry] = {}
        for item in rejected:
            cause = _cause(item)
            if cause not in self._told and cause not in entries:
                entries[cause] = _rejected_entry(cause, item, now_ms)
        return list(entries.values())

    def merged(self, deltas: Mapping[str, Delta], places: Callable[[], Places], now_ms: int) -> list[OutboxEntry]:
        """Of group values that were counted together, what is not told yet. ``places`` of the events is asked if there is any."""
        new = [each for each in _merged(deltas) if each[0] not in self._told]
        known = places() if new else {}
        return [self._merged_entry(cause, customer_id, merged, known, now_ms) for cause, customer_id, merged in new]

    def told(self, rejected: Iterable[Rejected], deltas: Mapping[str, Delta]) -> None:
        """They are committed."""
        if len(self._told) > _TOLD_MAX:
            self._told.clear()  # a repeat has the same id
        self._told.update(map(_cause, rejected))
        self._told.update(cause for cause, *_ in _merged(deltas))

    def _merged_entry(self, cause: str, customer_id: str, merged: Merged, places: Places, now_ms: int) -> OutboxEntry:
        event = merged.event
        properties = {
            "timestamp": instant_text(event.appended_at_ms * 1000),
            "customer_id": customer_id,
            "transaction_id": event.transaction_id,
            "reason": GROUP_VALUES_MERGED,
            "detail": (
                f"group key {', '.join(merged.group_key)}: {self._group_values_max} combinations of values are kept apart "
                f"(TIDEMARK_GROUP_VALUES_MAX); further ones are counted together as {OTHER}, totals and money stay exact"
            ),
            "counted": "yes",
            "billable_metric_ids": [merged.metric_id],
            "topic": event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "index": places.get((event.offset, event.transaction_id), 0),
        }
        return _entry(f"{event.topic}:{cause}", customer_id, properties, now_ms)


def _cause(item: Rejected) -> str:
    return f"{item.customer_id}:{item.rejection.reason}:{item.appended_at_ms // _DAY_MS}"


def _merged(deltas: Mapping[str, Delta]) -> Iterator[tuple[str, str, Merged]]:
    """(cause, customer id, what was counted together)"""
    for customer_id, delta in deltas.items():
        for name, merged in delta.merged.items():
            day = merged.event.appended_at_ms // _DAY_MS
            yield f"{customer_id}:{GROUP_VALUES_MERGED}:{name}:{day}", customer_id, merged


def _rejected_entry(cause: str, item: Rejected, now_ms: int) -> OutboxEntry:
    rejection, record = item.rejection, item.record
    properties = {
        "timestamp": instant_text(item.appended_at_ms * 1000),
        "customer_id": item.customer_id,
        "transaction_id": item.transaction_id,
        "reason": rejection.reason,
        "detail": rejection.detail,
        "counted": "partially" if rejection.missed else "no",
        "billable_metric_ids": list(rejection.missed),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "index": item.place,
    }
    return _entry(f"{record.topic}:{cause}", item.customer_id, properties, now_ms)


def _entry(name: str, customer_id: str, properties: Mapping[str, Any], now_ms: int) -> OutboxEntry:
    notice_id = str(uuid5(_NAMESPACE, name))
    body = orjson.dumps({"id": notice_id, "type": TYPE, "properties": properties})
    return OutboxEntry(notice_id, TYPE, customer_id, "", body, None, now_ms)
