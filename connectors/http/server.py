"""The API role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.http import (
    alerts,
    audit_logs,
    balance_edits,
    balances,
    billable_metrics,
    billing_configurations,
    contract_edits,
    contract_rates,
    contracts,
    custom_fields,
    customer_alerts,
    customers,
    deliveries,
    endpoints,
    event_search,
    invoice_life,
    invoices,
    packages,
    preview,
    pricing_units,
    products,
    rate_cards,
    rates,
    seats,
    service_addresses,
    usage,
)
from connectors.http.audit import oldest_ms
from connectors.http.dispatch import handler_of
from connectors.http.event_log import EventLog
from connectors.http.observe import observe
from connectors.http.routing import Route
from connectors.http.services import Services
from connectors.http.system import add_system_routes
from connectors.http.tokens import Tokens
from connectors.http.unsupported import unsupported_routes
from connectors.kafka.topics import ensure_topics
from connectors.redis.audit import AuditLog
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.customers import CustomerStore
from connectors.settings import Settings
from engine import numbers

log = structlog.get_logger("http")

ROUTES: list[Route] = [
    *customers.ROUTES,
    *custom_fields.ROUTES,
    *billable_metrics.ROUTES,
    *pricing_units.ROUTES,
    *products.ROUTES,
    *rate_cards.ROUTES,
    *rates.ROUTES,
    *contracts.ROUTES,
    *contract_rates.ROUTES,
    *contract_edits.ROUTES,
    *balances.ROUTES,
    *balance_edits.ROUTES,
    *seats.ROUTES,
    *invoices.ROUTES,
    *invoice_life.ROUTES,
    *alerts.ROUTES,
    *customer_alerts.ROUTES,
    *usage.ROUTES,
    *event_search.ROUTES,
    *endpoints.ROUTES,
    *deliveries.ROUTES,
    *service_addresses.ROUTES,
    *audit_logs.ROUTES,
    *billing_configurations.ROUTES,
    *preview.ROUTES,
    *packages.ROUTES,
]
ROUTES += unsupported_routes(ROUTES)
MAINTENANCE_INTERVAL_S = 60.0
RETRY_S = 0.5


def application(services: Services) -> web.Application:
    app = web.Application(middlewares=[observe], client_max_size=services.settings.ingest_body_bytes_max)
    tokens = Tokens(services.settings, services.catalog)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, handler_of(route, services, tokens))
    add_system_routes(app, services, ROUTES)
    return app


async def _mend(services: Services) -> None:
    """Finish what an API process that died has left half done: announcements of the catalog, customers' references."""
    await services.catalog.announce()
    await AuditLog(services.redis, services.partitions).trim(oldest_ms(services))
    mended = await services.customers.recover(services.now_us() // 1000)
    if mended:
        log.warning("interrupted customer changes were settled", customers=mended)


async def _keep_mending(services: Services) -> None:
    while True:
        await asyncio.sleep(MAINTENANCE_INTERVAL_S)
        try:
            await _mend(services)
        except RedisError as error:
            log.warning("maintenance failed", error=type(error).__name__)


async def _mended_at_start(services: Services) -> None:
    while True:
        try:
            return await _mend(services)
        except RedisError as error:
            log.warning("waiting for Redis", error=type(error).__name__)
            await asyncio.sleep(RETRY_S)


async def _start(events: EventLog) -> None:
    while True:
        try:
            return await events.start()
        except KafkaError as error:
            log.warning("waiting for Kafka", error=type(error).__name__)
            await asyncio.sleep(RETRY_S)


@asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[Services]:
    partitions = await ensure_topics(settings)
    redis: Redis = connect(settings)
    events = EventLog(settings, partitions)
    try:
        await _start(events)
        yield Services(settings, redis, CatalogStore(redis), CustomerStore(redis, partitions), events, partitions)
    finally:
        await events.stop()
        await redis.aclose()


async def run_api(settings: Settings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves until ``stop`` is set, then lets requests under way finish. ``ready`` gets the base URL."""
    numbers.activate()
    async with _services(settings) as services:
        await _mended_at_start(services)
        runner = web.AppRunner(application(services), access_log=None, shutdown_timeout=settings.drain_timeout_s)
        await runner.setup()
        mending = asyncio.create_task(_keep_mending(services))
        try:
            await web.TCPSite(runner, settings.api_host, settings.api_port).start()
            host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
            ready(f"http://{host}:{runner.addresses[0][1]}")
            await stop.wait()
        finally:
            mending.cancel()
            with suppress(asyncio.CancelledError):
                await mending
            await runner.cleanup()
