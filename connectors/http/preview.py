"""/v1/customers/{customer_id}/previewEvents: draft invoices as if events had happened. Nothing is stored, and nobody is told."""

from __future__ import annotations

from connectors.http.accounts import account_of
from connectors.http.editing import get_customer, no_longer, read_catalog
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.keys import partition_of
from connectors.redis.partition import PartitionStore
from connectors.redis.seen import seen_id
from engine.customer import stored_days
from engine.effects import UsageEvent
from engine.numbers import exact
from engine.periods import HOUR_US
from engine.preview import EventRejected, previewed
from engine.settings import EngineSettings
from schemas.common import Data, NoQuery
from schemas.documents import customer_of, load_catalog
from schemas.errors import BadRequest
from schemas.invoices import InvoiceAnswer, Names, invoice_answer
from schemas.preview import PreviewEvent, PreviewEvents


def _check_ages(events: list[PreviewEvent], services: Services, now_us: int) -> None:
    """Raises BadRequest for events that could not be ingested for their age."""
    settings = services.settings
    for index, event in enumerate(events):
        timestamp_us = event.timestamp_us(now_us)
        if now_us - timestamp_us > settings.event_age_max_days * 24 * HOUR_US:
            raise BadRequest(f"events[{index}].timestamp: must not be more than {settings.event_age_max_days} days ago")
        if timestamp_us - now_us > settings.event_ahead_max_hours * HOUR_US:
            raise BadRequest(f"events[{index}].timestamp: must not be more than {settings.event_ahead_max_hours} hours ahead")


async def _counted(services: Services, customer_id: str, body: PreviewEvents, now_us: int) -> list[tuple[int, PreviewEvent]]:
    """The events, with their places in the body; in merge mode without those whose id has counted already. (Where there is no
    other usage, there is nothing that could count twice.)"""
    events = list(enumerate(body.events))
    with_id = [(place, event.transaction_id) for place, event in events if event.transaction_id is not None]
    if body.mode == "replace" or not with_id:
        return events
    partition = partition_of(customer_id, services.partitions)
    store = PartitionStore(services.redis, partition, dedup_days=services.settings.dedup_days, stored_days=stored_days)
    seen = await store.seen([seen_id(customer_id, transaction_id) for _, transaction_id in with_id], now_us // 1000)
    again = {place for (place, _), known in zip(with_id, seen, strict=True) if known}
    return [(place, event) for place, event in events if place not in again]


def _usage_event(event: PreviewEvent, now_us: int) -> UsageEvent:
    """Of no record: nothing reads where it lies, since no alert is looked at."""
    timestamp_us = event.timestamp_us(now_us)
    return UsageEvent(
        transaction_id=event.transaction_id or "",
        event_type=event.event_type,
        timestamp_us=timestamp_us,
        hour=timestamp_us // HOUR_US,
        properties=event.properties,
        topic="",
        partition=0,
        offset=0,
        appended_at_ms=now_us // 1000,
    )


async def preview(call: Call[PreviewEvents, NoQuery]) -> Data[list[InvoiceAnswer]]:
    """The drafts of all billing periods that are open. Events outside of them change nothing."""
    services, body, now_us = call.services, call.body, call.now_us
    customer = await get_customer(services, call.path["customer_id"])
    no_longer("customers", customer)
    _check_ages(body.events, services, now_us)
    events = await _counted(services, customer["id"], body, now_us)
    catalog = await read_catalog(services)
    stored = await services.customers.stored(customer["id"], stored_days)
    settings = services.settings
    engine_settings = EngineSettings(
        grace_hours=settings.grace_period_hours,
        windows_hourly_days=settings.windows_hourly_days,
        windows_daily_months=settings.windows_daily_months,
        group_values_max=settings.group_values_max,
    )
    with exact():
        try:
            copy = previewed(
                customer_of(customer),
                load_catalog(catalog.revision, catalog.parts),
                stored,
                [_usage_event(event, now_us) for _, event in events],
                engine_settings,
                now_us,
                alone=body.mode == "replace",
            )
        except EventRejected as rejected:
            raise BadRequest(f"events[{events[rejected.place][0]}]: {rejected.rejection.detail}") from None
        account = account_of(customer, catalog, copy, now_us, settings.grace_period_hours)
    names = Names(account.customer, account.products, account.units)
    drafts = account.statement.drafts
    skip_zero = body.skip_zero_qty_line_items
    shown = [account.shown(each, each.period, skip_zero=skip_zero) for each in drafts]
    return Data(data=[invoice_answer(each, names, skip_zero=skip_zero) for each in shown])


ROUTES: list[Route] = [
    route("POST", "/v1/customers/{customer_id}/previewEvents", preview, "Draft invoices as if events had happened"),
]
