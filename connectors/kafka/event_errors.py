"""Notices "event.error": that events were rejected, or could not be read by some metrics, for endpoints that name this type.

Of one customer and reason the first of a day is told (the day of the event's arrival, in UTC): whoever sends a million bad events
needs to hear of it once, and the dead letters hold them all. The id follows from these three, so a batch that is done again tells
nothing new. The notice is written by the commit of the event's batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID, uuid5

import orjson

from connectors.kafka.intake import Rejected
from connectors.redis.types import OutboxEntry
from schemas.documents import instant_text

TYPE = "event.error"
_NAMESPACE = UUID("5d1c1b0a-52a5-4f0f-9d43-0a7a0f3a5c11")
_DAY_MS = 86_400_000
_TOLD_MAX = 100_000


class EventErrors:
    """Of one partition. Remembers what is told, so that most batches write none."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def notices(self, rejected: Iterable[Rejected], now_ms: int) -> list[OutboxEntry]:
        """Those that are not told yet."""
        entries: dict[str, OutboxEntry] = {}
        for item in rejected:
            cause = _cause(item)
            if cause not in self._told and cause not in entries:
                entries[cause] = _entry(cause, item, now_ms)
        return list(entries.values())

    def told(self, rejected: Iterable[Rejected]) -> None:
        """They are committed."""
        if len(self._told) > _TOLD_MAX:
            self._told.clear()  # a repeat has the same id
        for item in rejected:
            self._told.add(_cause(item))


def _cause(item: Rejected) -> str:
    return f"{item.customer_id}:{item.rejection.reason}:{item.appended_at_ms // _DAY_MS}"


def _entry(cause: str, item: Rejected, now_ms: int) -> OutboxEntry:
    rejection, record = item.rejection, item.record
    notice_id = str(uuid5(_NAMESPACE, f"{record.topic}:{cause}"))
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
    body = orjson.dumps({"id": notice_id, "type": TYPE, "properties": properties})
    return OutboxEntry(notice_id, TYPE, item.customer_id, "", body, None, now_ms)
