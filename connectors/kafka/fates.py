"""What becomes of events that are not simply applied, as notes for /v1/events/search. Total: what cannot be read has no note."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from connectors.kafka.evaluate import Partial
from connectors.kafka.intake import Arrived, Rejected
from connectors.kafka.parking import Parked
from connectors.redis.fates import Fate
from engine.effects import Rejection
from schemas.documents import instant_text

_TEXT_MAX = 128
"""Characters of a transaction id, a reference, an event type: what the API takes."""
_DETAIL_MAX = 500
_PROPERTIES_MAX = 1_024
_UNKNOWN = "no customer has this id or ingest alias yet"
_QUARANTINED = "its customer is in quarantine; `tidemark quarantine show` tells why"


def _fate(event: dict[str, Any], state: str, rejection: Rejection, place: str, appended_at_ms: int) -> Fate | None:
    transaction_id = event.get("transaction_id", event.get("id"))
    if not isinstance(transaction_id, str) or not 1 <= len(transaction_id) <= _TEXT_MAX:
        return None
    properties = orjson.dumps(event.get("properties") or {}, default=str).decode()
    return Fate(
        transaction_id=_clean(transaction_id),
        state=state,
        reason=rejection.reason,
        detail=_clean(rejection.detail)[:_DETAIL_MAX],
        customer_ref=_text(event.get("customer_id", event.get("subject"))),
        event_type=_text(event.get("event_type", event.get("type"))),
        timestamp=_text(event.get("timestamp", event.get("time"))),
        place=place,
        appended_at_ms=appended_at_ms,
        properties=properties if len(properties) <= _PROPERTIES_MAX else "{}",
        missed=rejection.missed,
    )


def _text(value: object) -> str:
    return _clean(value if isinstance(value, str) else "" if value is None else str(value))[:_TEXT_MAX]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _decoded(value: bytes | None, place: int) -> dict[str, Any] | None:
    """The event at a place of a record's value, as far as that is JSON."""
    try:
        parsed = orjson.loads(value or b"")
    except ValueError:
        return None
    event = parsed[place] if isinstance(parsed, list) and 0 <= place < len(parsed) else parsed
    return event if isinstance(event, dict) else None


def of_arrived(events: Iterable[Arrived], state: str) -> Iterator[Fate]:
    """``state``: parked or quarantined."""
    rejection = Rejection("unknown_customer", _UNKNOWN) if state == "parked" else Rejection("quarantined", _QUARANTINED)
    for item in events:
        fate = _of_arrived(item, state, rejection)
        if fate is not None:
            yield fate


def _of_arrived(item: Arrived, state: str, rejection: Rejection) -> Fate | None:
    event, record = item.event, item.record
    fields = {
        "transaction_id": event.transaction_id,
        "customer_id": event.customer_ref,
        "event_type": event.event_type,
        "timestamp": instant_text(event.timestamp_us),
        "properties": dict(event.properties),
    }
    return _fate(fields, state, rejection, f"{record.topic}/{record.partition}/{record.offset}/{item.place}", item.appended_at_ms)


def of_partial(partials: Iterable[Partial]) -> Iterator[Fate]:
    for arrived, _, rejection in partials:
        fate = _of_arrived(arrived, "partial", rejection)
        if fate is not None:
            yield fate


def of_rejected(rejected: Iterable[Rejected]) -> Iterator[Fate]:
    for item in rejected:
        record = item.record
        event = _decoded(record.value, item.place)
        place = f"{record.topic}/{record.partition}/{record.offset}/{item.place}"
        fate = None if event is None else _fate(event, "rejected", item.rejection, place, item.appended_at_ms)
        if fate is not None:
            yield fate


def of_buried(parked: Iterable[Parked], rejection: Rejection) -> Iterator[Fate]:
    """Of parked and held events that are dead letters now."""
    for item in parked:
        event = _decoded(item.event, 0)
        fate = None if event is None else _fate(event, "rejected", rejection, f"{item.origin}/0", item.appended_at_ms)
        if fate is not None:
            yield fate
