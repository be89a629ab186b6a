"""/v1/ingest, /v1/usage, /v1/usage/groups"""

from __future__ import annotations

from typing import Any

import orjson

from connectors.http.editing import get_customer, get_document
from connectors.http.pages import decode_cursor, encode_cursor
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.metrics import INGEST_EVENTS
from engine.catalog import BillableMetric
from engine.metering.queries import UsageWindows, decode_folded, decode_windows
from engine.numbers import exact
from engine.periods import HOUR_US, Period, period_at
from schemas.common import NoQuery, WarnedPage, rfc3339, warned_page
from schemas.documents import Document, contract_of, instant_us, metric_of
from schemas.errors import BadRequest
from schemas.ingest import IngestBody
from schemas.usage import (
    GroupBy,
    GroupRow,
    Span,
    UsageGroups,
    UsageGroupsQuery,
    UsageList,
    UsageListQuery,
    UsageRow,
    days_of,
    group_rows,
    merged_warnings,
    months_of,
    spans,
    usage_rows,
)

ROWS_A_PAGE = 1_000
"""A page of /v1/usage ends with the customer and metric that reach it."""
ROWS_A_CUSTOMER_MAX = 20_000
_CUSTOMERS_A_READ = 200


async def ingest(call: Call[IngestBody, NoQuery]) -> None:
    """Answers when Kafka has all events, on all in-sync replicas. Keyed by the customer's id, where it is known."""
    settings, events = call.services.settings, call.body.root
    if len(events) > settings.ingest_events_max:
        raise BadRequest(f"the array has {len(events)} events; at most {settings.ingest_events_max} are taken at once")
    if not events:
        return
    known = await call.services.catalog.resolve(list({event.customer_id for event in events}))
    await call.services.events.append([(known.get(event.customer_id, event.customer_id), event.to_record()) for event in events])
    INGEST_EVENTS.inc(len(events))


async def _windows(services: Services, customer_id: str, span: Span) -> UsageWindows:
    days = days_of(*span)
    hourly, folded = await services.customers.windows(customer_id, days, months_of(days))
    return UsageWindows(
        {day: decode_windows(day, fields) for day, fields in hourly.items()},
        [decode_folded(fields) for fields in folded.values()],
    )


def _undeclared(metric: BillableMetric, keys: tuple[str, ...]) -> BadRequest:
    return BadRequest(f"group key: {', '.join(keys)} is not in one of the group_keys of the metric {metric.id}")


def _hours(starting: Any, ending: Any) -> Span:
    return instant_us(rfc3339(starting)) // HOUR_US, instant_us(rfc3339(ending)) // HOUR_US


async def _metrics(services: Services, body: UsageList) -> list[tuple[BillableMetric, GroupBy | None]]:
    """The metrics asked for, or all that are not archived, with their grouping."""
    documents = {metric_id: orjson.loads(raw) for metric_id, raw in (await services.catalog.list("metrics")).items()}
    if body.billable_metrics is None:
        live = sorted((each for each in documents.values() if each["archived_at"] is None), key=lambda each: str(each["id"]))
        return [(metric_of(each), None) for each in live]
    for wanted in body.billable_metrics:
        if wanted.id not in documents:
            raise BadRequest(f"billable_metrics: there is no billable metric {wanted.id}")
    return [(metric_of(documents[wanted.id]), wanted.group_by) for wanted in body.billable_metrics]


async def _customers(services: Services, body: UsageList, after: str | None) -> list[str]:
    """The next customers, ``after`` excluded."""
    if body.customer_ids is None:
        return await services.customers.list(after, _CUSTOMERS_A_READ)
    chosen = sorted(set(body.customer_ids))
    found = await services.customers.get_many(chosen)
    for customer_id in chosen:
        if customer_id not in found:
            raise BadRequest(f"customer_ids: there is no customer {customer_id}")
    return [customer_id for customer_id in chosen if after is None or customer_id > after]


async def usage(call: Call[UsageList, UsageListQuery]) -> WarnedPage[UsageRow | GroupRow]:
    """Rows by customer, then metric, then window. The cursor names the last customer that was shown in full. In the older form
    of the request: rows of one customer and metric, as ``usage_groups`` gives them. ``warnings``: of which customers and metrics
    the values of a group key were too many to be kept apart."""
    body = call.body
    of_one = body.of_one()
    if of_one is not None:
        rows, cursor, told = await _group_page(call.services, of_one, ROWS_A_PAGE, call.query.next_page, call.now_us)
        return warned_page(list[UsageRow | GroupRow](rows), cursor, told)
    span = _hours(body.starting_on, body.ending_before)
    windows = list(spans(*span, body.window_size))
    metrics = await _metrics(call.services, body)
    if len(windows) * len(metrics) > ROWS_A_CUSTOMER_MAX:
        raise BadRequest(
            f"window_size: more than {ROWS_A_CUSTOMER_MAX} rows for each customer; ask for less time or fewer metrics"
        )
    position = decode_cursor(call.query.next_page, (str,))
    after = None if position is None else str(position[0])
    found: list[UsageRow | GroupRow] = []
    warnings: list[str] = []
    while customers := await _customers(call.services, body, after):
        for customer_id in customers:
            if len(found) >= ROWS_A_PAGE:
                return warned_page(found, encode_cursor(after or ""), warnings)
            stored = await _windows(call.services, customer_id, span)
            for metric, group_by in metrics:
                try:
                    with exact():
                        found += usage_rows(customer_id, metric, windows, stored, group_by)
                    if group_by is not None:
                        warnings += merged_warnings(customer_id, metric, (group_by.key,), span, stored)
                except KeyError:
                    raise _undeclared(metric, (group_by.key,) if group_by else ()) from None
            after = customer_id
    return warned_page(found, None, warnings)


def _current_period(customer: Document, now_us: int) -> Period:
    """Of the contract that started last among those that are open."""
    hour = now_us // HOUR_US
    contracts = [contract_of(each) for each in customer["contracts"] if each["archived_at"] is None]
    for contract in sorted(contracts, key=lambda each: each.starting_hour, reverse=True):
        period = period_at(contract.schedule, contract.starting_hour, contract.ending_hour, hour)
        if period is not None:
            return period
    raise BadRequest("current_period: the customer has no open contract")


async def _group_page(
    services: Services, body: UsageGroups, limit: int, next_page: str | None, now_us: int
) -> tuple[list[GroupRow], str | None, list[str]]:
    """(the rows of one page, the cursor of the next one, warnings)"""
    customer = await get_customer(services, body.customer_id)
    metric = metric_of(await get_document(services, "metrics", body.billable_metric_id))
    span: Span
    if body.current_period:
        period = _current_period(customer, now_us)
        span = period.starting_hour, period.ending_hour
    else:
        span = _hours(body.starting_on, body.ending_before)
    stored = await _windows(services, body.customer_id, span)
    try:
        with exact():
            rows = group_rows(metric, body, list(spans(*span, body.window_size)), stored)
    except KeyError:
        raise _undeclared(metric, body.keys()) from None
    position = decode_cursor(next_page, (int,))
    start = 0 if position is None else int(position[0])
    end = start + limit
    warnings = merged_warnings(body.customer_id, metric, body.keys(), span, stored)
    return rows[start:end], encode_cursor(end) if end < len(rows) else None, warnings


async def usage_groups(call: Call[UsageGroups, UsageGroupsQuery]) -> WarnedPage[GroupRow]:
    return warned_page(*await _group_page(call.services, call.body, call.query.limit, call.query.next_page, call.now_us))


ROUTES: list[Route] = [
    route("POST", "/v1/ingest", ingest, "Send usage events"),
    route("POST", "/v1/usage", usage, "Usage of customers and metrics over time"),
    route("POST", "/v1/usage/groups", usage_groups, "Usage of one customer and metric by group"),
]
