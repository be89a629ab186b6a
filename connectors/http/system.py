"""Paths that need no token: whether the process lives, whether it can serve, its metrics, the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

import orjson
import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel
from redis.exceptions import RedisError

from connectors import DISTRIBUTION
from connectors.agreement import PROCESS
from connectors.exposition import metrics as expose
from connectors.http.reach import Reach
from connectors.http.routing import Route
from connectors.http.services import Services
from connectors.http.watch import Watch
from connectors.redis.progress import Progress
from schemas.documents import instant_text
from schemas.openapi import Operation, document

log = structlog.get_logger("http")

CHECK_TIMEOUT_S = 5.0
NOWHERE_TO_GO = "no webhook endpoint is enabled: notifications stay in the outbox until one exists"

_Handler = Callable[[web.Request], Awaitable[web.Response]]


class Health(BaseModel):
    status: str


class RoleState(BaseModel):
    """What another process reported last. ``reported_s``: how long ago; ``checks``: "ok", or what is wrong."""

    role: str
    process: str
    ready: bool
    reported_s: float
    checks: dict[str, str]


class Readiness(BaseModel):
    """``ready``: whether this process can serve requests, which is what a load balancer wants to know. ``checks``: "ok", or what
    is wrong. ``warnings``: what is wrong elsewhere, or should be changed. ``roles``: what the workers and dispatchers report.
    ``lag_records``: by partition, what is in Kafka and not counted yet. ``last_commits``: by partition, when its worker committed
    last (null = never). ``quarantined``: by partition, customers whose usage is held because their evaluation failed."""

    ready: bool
    checks: dict[str, str]
    warnings: list[str]
    roles: list[RoleState] = []
    lag_records: dict[str, int] = {}
    last_commits: dict[str, str | None] = {}
    quarantined: dict[str, int] = {}


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def healthz(_: web.Request) -> web.Response:
    return _json(200, {"status": "ok"})


async def _check(work: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await work
    except (RedisError, KafkaError, OSError, TimeoutError) as error:
        return type(error).__name__
    return "ok"


async def _endpoints_enabled(services: Services) -> bool:
    return any(orjson.loads(raw)["enabled"] for raw in (await services.catalog.endpoints()).values())


def _quarantine_warnings(progress: Sequence[Progress]) -> list[str]:
    count = sum(each.quarantined for each in progress)
    if not count:
        return []
    who = "1 customer is" if count == 1 else f"{count} customers are"
    return [f"{who} in quarantine, and usage is held: `tidemark quarantine list` tells why"]


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant_text(at_ms * 1_000)


def readiness(services: Services, watch: Watch) -> _Handler:
    async def readyz(_: web.Request) -> web.Response:
        names = ("kafka", "redis", "catalog")
        work = (services.events.reachable(), services.redis.ping(), services.catalog.revision())
        checks = dict(zip(names, await asyncio.gather(*map(_check, work)), strict=True))
        checks["topic"] = watch.topic
        roles: list[RoleState] = []
        progress: Sequence[Progress] = ()
        warnings = [*watch.warnings, *([PROCESS.warning] if PROCESS.warning else [])]
        if all(checks[name] == "ok" for name in ("redis", "catalog")):
            try:
                if not await _endpoints_enabled(services):
                    warnings.append(NOWHERE_TO_GO)
                beats, problems = await watch.others()
                progress = await watch.progress()
            except (RedisError, OSError) as error:
                checks["redis"] = type(error).__name__
            else:
                warnings += [*problems, *watch.standing_still(), *_quarantine_warnings(progress)]
                roles = [
                    RoleState(
                        role=beat.role,
                        process=beat.process,
                        ready=beat.ready and not beat.stale,
                        reported_s=round(beat.age_s, 1),
                        checks=dict(beat.checks),
                    )
                    for beat in beats
                ]
        ready = all(result == "ok" for result in checks.values())
        lag = {str(partition): records for partition, records in sorted(watch.lag_records.items())}
        answer = Readiness(
            ready=ready,
            checks=checks,
            warnings=warnings,
            roles=roles,
            lag_records=lag,
            last_commits={str(at): _instant(each.committed_ms) for at, each in enumerate(progress)},
            quarantined={str(at): each.quarantined for at, each in enumerate(progress) if each.quarantined},
        )
        return _json(200 if ready else 503, answer.model_dump())

    return readyz


def metrics(services: Services) -> _Handler:
    reach = Reach(services)

    async def exposed(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await reach.refresh()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("alerts that cannot fire were not counted again", error=type(error).__name__)
        return await expose(request)

    return exposed


def openapi(routes: list[Route]) -> bytes:
    """The document of the given routes and of this module's own."""
    operations = [
        Operation(
            method=route.method,
            path=route.path,
            summary=route.summary,
            tag=route.tag,
            description=route.handler.__doc__ or "",
            body=route.body if route.method in {"POST", "PUT", "PATCH"} else None,
            query=route.query,
            answer=route.answer,
        )
        for route in routes
    ]
    system = [
        Operation("GET", "/healthz", "Whether the process lives", "system", answer=Health, open=True),
        Operation("GET", "/readyz", "Whether requests can be served", "system", answer=Readiness, open=True),
        Operation("GET", "/metrics", "Metrics for Prometheus", "system", answer=str, open=True, media_type="text/plain"),
        Operation("GET", "/openapi.json", "This document", "system", answer=dict[str, object], open=True),
    ]
    return orjson.dumps(document([*operations, *system], version(DISTRIBUTION)))


def add_system_routes(app: web.Application, services: Services, watch: Watch, routes: list[Route]) -> None:
    described = openapi(routes)

    async def openapi_json(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readiness(services, watch))
    app.router.add_get("/metrics", metrics(services))
    app.router.add_get("/openapi.json", openapi_json)
