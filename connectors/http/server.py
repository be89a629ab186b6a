"""The API role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from redis.asyncio import Redis

from connectors import background
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
from connectors.http.connections import Limits, Listener
from connectors.http.dispatch import handler_of
from connectors.http.event_log import EventLog
from connectors.http.observe import observe
from connectors.http.routing import Route
from connectors.http.services import Services
from connectors.http.system import add_system_routes
from connectors.http.tokens import Tokens
from connectors.http.unsupported import unsupported_routes
from connectors.http.watch import Watch, watching
from connectors.kafka.topics import ensure_topics
from connectors.redis.audit import AuditLog
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.customers import CustomerStore
from connectors.redis.once import KeyStore
from connectors.redis.secrets import Vault
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
_CLOSING_SHARE = 0.2  # of drain_timeout_s, for events that are on their way to Kafka, and then for Redis


def application(services: Services, watch: Watch) -> web.Application:
    app = web.Application(middlewares=[observe], client_max_size=services.settings.ingest_body_bytes_max)
    tokens = Tokens(services.settings, services.catalog)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, handler_of(route, services, tokens))
    add_system_routes(app, services, watch, ROUTES)
    return app


async def _mend(services: Services) -> None:
    """Finish what an API process that died has left half done: announcements of the catalog, customers' references."""
    await services.catalog.announce()
    await AuditLog(services.redis, services.partitions).trim(oldest_ms(services))
    mended = await services.customers.recover(services.now_us() // 1000)
    if mended:
        log.warning("interrupted customer changes were settled", customers=mended)


async def _keep_mending(services: Services, stop: asyncio.Event) -> None:
    await background.pause(stop, MAINTENANCE_INTERVAL_S)
    await background.repeat("api.maintenance", lambda: _mend(services), stop, MAINTENANCE_INTERVAL_S)


@asynccontextmanager
async def _services(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Services]:
    partitions = await ensure_topics(settings)
    redis: Redis = connect(settings)
    events = EventLog(settings, partitions)
    try:
        await background.until_done("api.kafka", events.start, stop)
        vault = Vault.of(settings)
        catalog, customers, keys = CatalogStore(redis, vault), CustomerStore(redis, partitions), KeyStore(redis, partitions)
        yield Services(settings, redis, catalog, customers, events, keys, partitions, vault)
    finally:
        await background.within("events", _CLOSING_SHARE * settings.drain_timeout_s, events.stop())
        await background.within("redis", _CLOSING_SHARE * settings.drain_timeout_s, redis.aclose())


async def run_api(settings: Settings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serves until ``stop`` is set, then lets requests under way finish. ``ready`` gets the base URL."""
    numbers.activate()
    async with _services(settings, stop) as services, watching(settings, services.redis, services.partitions) as watch:
        if not await background.until_done("api.start", lambda: _mend(services), stop):
            return
        await services.catalog.check_endpoints()
        runner = web.AppRunner(application(services, watch), shutdown_timeout=settings.drain_timeout_s)
        await runner.setup()
        assert runner.server is not None, "set up"
        listener = Listener(Limits.of(settings))
        loops = [
            asyncio.create_task(listener.keep_sweeping(stop)),
            asyncio.create_task(_keep_mending(services, stop)),
        ]
        try:
            server = await listener.listen(runner.server, settings.api_host, settings.api_port)
            host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
            ready(f"http://{host}:{server.sockets[0].getsockname()[1]}")
            await stop.wait()
            server.close()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await runner.cleanup()
