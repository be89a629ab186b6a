"""/v1/events/search: the duplicate filter knows at which offset an applied event lies; the log still has the event. What became
of others is noted by the worker (connectors.redis.fates)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import orjson

from connectors.http.event_log import LogRecord
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.fates import Fate, fates_of
from connectors.redis.partition import PartitionStore
from engine.customer import stored_days
from engine.effects import Rejection
from engine.metering.matching import MetricMatcher
from schemas.billable_metrics import metric_answer
from schemas.closed_periods import on_no_invoice
from schemas.common import NoQuery
from schemas.documents import Document, instant_text, instant_us, metric_of
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


def _counted(event: Decoded, appended: str, metrics: list[Document], missed: Collection[str]) -> list[Document]:
    """The metrics for which an event counted: they were there when it came, took it, and could read it."""
    counted = []
    for document in metrics:
        matcher = MetricMatcher(metric_of(document))
        if document["id"] in missed or not matcher.takes_type(event.event_type):
            continue
        if instant_us(document["created_at"]) > instant_us(appended):
            continue
        value = matcher.value(event.properties)
        if value is not None and not isinstance(value, Rejection):
            counted.append(document)
    return counted


async def search(call: Call[EventSearch, NoQuery]) -> list[FoundEvent]:
    """Events that were applied, and then those that are parked, in quarantine, or were rejected, with the reason. (Of the latter
    the notes of the latest ones are kept: fates_max.) The filter compares 32 bits of an id, so each record is read and compared
    in full."""
    services, wanted = call.services, call.body.transactionIds
    decoder = _decoder(services)
    metrics = [orjson.loads(raw) for raw in (await services.catalog.list("metrics")).values()]
    fates = await fates_of(services.redis, services.partitions, services.settings).find(wanted)
    found: list[FoundEvent] = []
    for partition, offset in await _places(services, wanted):
        record = await services.events.read(partition, offset)
        if record is not None:
            found += await _events(services, record, decoder, fates, set(wanted), metrics)
    applied = {(each.matched_customer.id, each.transaction_id) for each in found if each.matched_customer is not None}
    for transaction_id in wanted:
        if transaction_id in fates:
            found += await _not_applied(services, fates[transaction_id], applied)
    return found


async def _events(
    services: Services,
    record: LogRecord,
    decoder: EventDecoder,
    fates: Mapping[str, Fate],
    wanted: set[str],
    metrics: list[Document],
) -> list[FoundEvent]:
    events = [
        (index, event)
        for index, event in enumerate(decoder.decode(record.value, record.headers))
        if isinstance(event, Decoded) and event.transaction_id in wanted
    ]
    owners = await services.catalog.resolve([event.customer_ref for _, event in events])
    customers = await services.customers.get_many(sorted(set(owners.values())))
    grace_hours = services.settings.grace_period_hours
    appended_us = record.timestamp_ms * 1000
    shown: set[tuple[str, str]] = set()
    found = []
    for index, event in events:
        owner = owners.get(event.customer_ref)
        if owner not in customers:
            continue
        identity = owner, event.transaction_id
        customer = orjson.loads(customers[owner][1])
        fate = fates.get(event.transaction_id)
        partial = fate if fate is not None and fate.state == "partial" else None
        counted = _counted(event, instant_text(appended_us), metrics, () if partial is None else partial.missed)
        row = FoundEvent(
            id=f"{services.settings.topic_events}-{record.partition}-{record.offset}-{index}",
            transaction_id=event.transaction_id,
            customer_id=event.customer_ref,
            event_type=event.event_type,
            timestamp=instant_text(event.timestamp_us),
            properties=dict(event.properties),
            is_duplicate=identity in shown,
            processed_at=instant_text(appended_us),
            matched_customer=MatchedCustomer(id=owner, name=customer["name"]),
            matched_billable_metrics=[metric_answer(each) for each in counted],
            status="applied",
        )
        shown.add(identity)
        unbilled = on_no_invoice(customer, event.timestamp_us, appended_us, grace_hours)
        if partial is not None:
            row = row.model_copy(
                update={"reason": partial.reason, "detail": partial.detail, "missed_billable_metrics": list(partial.missed)}
            )
        elif unbilled is not None:
            row = row.model_copy(update={"reason": unbilled.reason, "detail": unbilled.detail})
        found.append(row)
    return found


async def _not_applied(services: Services, fate: Fate, applied: set[tuple[str, str]]) -> list[FoundEvent]:
    """An event that waits, or was rejected; nothing if it was applied since."""
    owner = (await services.catalog.resolve([fate.customer_ref])).get(fate.customer_ref) if fate.customer_ref else None
    if fate.state == "partial" or (fate.state != "rejected" and (owner or "", fate.transaction_id) in applied):
        return []
    customer = await services.customers.get(owner) if owner is not None else None
    row = FoundEvent(
        id=fate.place.replace("/", "-"),
        transaction_id=fate.transaction_id,
        customer_id=fate.customer_ref,
        event_type=fate.event_type,
        timestamp=_instant(fate),
        properties=orjson.loads(fate.properties),
        is_duplicate=False,
        processed_at=instant_text(fate.appended_at_ms * 1000),
        matched_billable_metrics=[],
        status=fate.state,  # type: ignore[arg-type]  # what the worker writes
        reason=fate.reason,
        detail=fate.detail,
    )
    if owner is None or customer is None:
        return [row]
    return [row.model_copy(update={"matched_customer": MatchedCustomer(id=owner, name=orjson.loads(customer[1])["name"])})]


def _instant(fate: Fate) -> str:
    """The event's own time, or if that is none, when it was appended: readers expect an instant."""
    try:
        return instant_text(instant_us(fate.timestamp))
    except (ValueError, OverflowError):
        return instant_text(fate.appended_at_ms * 1000)


ROUTES: list[Route] = [route("POST", "/v1/events/search", search, "Find usage events by transaction id")]
