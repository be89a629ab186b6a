"""/v1/events/search: the duplicate filter knows at which offset an applied event lies; the log still has the event."""

from __future__ import annotations

import asyncio

import orjson

from connectors.http.event_log import LogRecord
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.partition import PartitionStore
from engine.customer import stored_days
from engine.effects import Rejection
from engine.metering.matching import MetricMatcher
from schemas.billable_metrics import metric_answer
from schemas.common import NoQuery
from schemas.documents import Document, instant_text, metric_of
from schemas.events import Decoded, EventDecoder, EventLimits
from schemas.usage import EventSearch, FoundEvent, MatchedCustomer


async def _places(services: Services, wanted: list[str]) -> list[tuple[int, int]]:
    """(partition, offset) of records that may hold one of the transaction ids, in order."""
    stores = [
        PartitionStore(services.redis, partition, dedup_days=services.settings.dedup_days, stored_days=stored_days)
        for partition in range(services.partitions)
    ]
    found = await asyncio.gather(*(store.find(wanted) for store in stores))
    return sorted({(partition, offset) for partition, lists in enumerate(found) for offsets in lists for offset in offsets})


def _decoder(services: Services) -> EventDecoder:
    settings = services.settings
    return EventDecoder(EventLimits(settings.record_bytes_max, settings.record_events_max, settings.properties_bytes_max))


def _matching(event: Decoded, metrics: list[Document]) -> list[Document]:
    matched = []
    for document in metrics:
        matcher = MetricMatcher(metric_of(document))
        value = matcher.value(event.properties) if matcher.takes_type(event.event_type) else None
        if value is not None and not isinstance(value, Rejection):
            matched.append(document)
    return matched


async def search(call: Call[EventSearch, NoQuery]) -> list[FoundEvent]:
    """Events that were applied. The filter compares 32 bits of an id, so each record is read and compared in full."""
    services, wanted = call.services, call.body.transactionIds
    decoder = _decoder(services)
    metrics = [orjson.loads(raw) for raw in (await services.catalog.list("metrics")).values()]
    found: list[FoundEvent] = []
    for partition, offset in await _places(services, wanted):
        record = await services.events.read(partition, offset)
        if record is not None:
            found += await _events(services, record, decoder, set(wanted), metrics)
    return found


async def _events(
    services: Services, record: LogRecord, decoder: EventDecoder, wanted: set[str], metrics: list[Document]
) -> list[FoundEvent]:
    events = [
        (index, event)
        for index, event in enumerate(decoder.decode(record.value, record.headers))
        if isinstance(event, Decoded) and event.transaction_id in wanted
    ]
    owners = await services.catalog.resolve([event.customer_ref for _, event in events])
    customers = await services.customers.get_many(sorted(set(owners.values())))
    shown: set[tuple[str, str]] = set()
    found = []
    for index, event in events:
        owner = owners.get(event.customer_ref)
        if owner not in customers:
            continue
        identity = owner, event.transaction_id
        found.append(
            FoundEvent(
                id=f"{services.settings.topic_events}-{record.partition}-{record.offset}-{index}",
                transaction_id=event.transaction_id,
                customer_id=event.customer_ref,
                event_type=event.event_type,
                timestamp=instant_text(event.timestamp_us),
                properties=dict(event.properties),
                is_duplicate=identity in shown,
                processed_at=instant_text(record.timestamp_ms * 1000),
                matched_customer=MatchedCustomer(id=owner, name=orjson.loads(customers[owner][1])["name"]),
                matched_billable_metrics=[metric_answer(each) for each in _matching(event, metrics)],
            )
        )
        shown.add(identity)
    return found


ROUTES: list[Route] = [route("POST", "/v1/events/search", search, "Find usage events by transaction id")]
