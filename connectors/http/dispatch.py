"""From an HTTP request to a handler's call and back: tokens, bodies, answers, errors.

request ── token ── Idempotency-Key ── body and query checked ── handler ── answer as JSON
                                └───────────── any error: {"message": ...} ─────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, get_origin

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError

from connectors.http.audit import with_audit
from connectors.http.idempotency import HEADER, fingerprint, keyed_request, once
from connectors.http.replies import Reply, answer_reply, error_reply
from connectors.http.routing import Call, Route
from connectors.http.services import Services
from connectors.http.tokens import Tokens
from connectors.redis.errors import Trouble, told, trouble
from connectors.redis.once import Repeated
from schemas.common import NoBody
from schemas.errors import ApiError, BadRequest, TooSlow, Unavailable, refusal
from schemas.ingest import IngestBody
from schemas.numbers import parse_json
from schemas.texts import RULE, clean, is_one_line, odd_place

log = structlog.get_logger("http")

UNAVAILABLE = (RedisError, KafkaError, OSError, TimeoutError)
"""What tells that a service cannot be reached or refuses; ``unavailable`` knows which errors of Redis are defects of ours."""
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
_NAME_CHARACTERS_SHOWN = 64
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=list(reply.headers))


def _body(route: Route, raw: bytes, services: Services) -> BaseModel:
    if route.body is IngestBody and not raw:
        return IngestBody.nothing()
    try:
        parsed = parse_json(raw or b"{}")
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    odd = None if route.body is IngestBody else odd_place(raw, parsed)
    if odd is not None:
        raise BadRequest(f"{odd}: {RULE}")
    settings = services.settings
    context = {
        "properties_bytes_max": settings.properties_bytes_max,
        "now_us": services.now_us(),
        "age_max_days": settings.event_age_max_days,
        "ahead_max_hours": settings.event_ahead_max_hours,
    }
    try:
        return route.body.model_validate(parsed, context=context)
    except ValidationError as error:
        raise (IngestBody.refusal(error) if route.body is IngestBody else refusal(error)) from None


def _query(route: Route, request: web.Request) -> BaseModel:
    """Arrays come as one text with commas, or as a repeated parameter."""
    values: dict[str, Any] = {}
    for name in request.query:
        if not is_one_line(name) or not all(map(is_one_line, request.query.getall(name))):
            raise BadRequest(f"{clean(name)[:_NAME_CHARACTERS_SHOWN]}: {RULE}")
        field = route.query.model_fields.get(name)
        given = request.query.getall(name)
        if field is not None and get_origin(field.annotation) is list:
            values[name] = [part for text in given for part in text.split(",") if part]
        elif len(given) > 1:
            raise BadRequest(f"{name}: is given more than once")
        else:
            values[name] = given[0]
    try:
        return route.query.model_validate(values)
    except ValidationError as error:
        raise refusal(error) from None


async def _read(request: web.Request, timeout_s: float) -> bytes:
    """The body, decoded as its Content-Encoding says. Raises ApiError, or HTTPRequestEntityTooLarge once it is too large."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise BadRequest("Content-Encoding: must be gzip or deflate, or left out")
    try:
        async with asyncio.timeout(timeout_s):
            return await request.read()
    except TimeoutError:
        raise TooSlow(f"the body did not come within {timeout_s:g} s") from None
    except web.RequestPayloadError:
        raise BadRequest("the body does not match its Content-Encoding, Transfer-Encoding or Content-Length") from None


async def _answer(route: Route, request: web.Request, raw: bytes, services: Services) -> Reply:
    """What goes wrong is a reply, too. Raises Repeated."""
    try:
        path = _path(request.match_info)
        call: Call[Any, Any] = Call(
            services=services,
            body=_body(route, raw, services) if route.method in _WITH_BODY else NoBody(),
            query=_query(route, request),
            path=path,
            now_us=services.now_us(),
        )
        return answer_reply(await route.handler(call))
    except ApiError as error:
        return error_reply(error)
    except Repeated:
        raise  # it is the answer of an earlier run, and so the Idempotency-Key's to tell
    except UNAVAILABLE as error:
        return unavailable(error, route.path)
    except Exception:  # noqa: BLE001 - a defect of ours in one request is an answer of that request
        return defect(route.path)


def _path(match_info: Mapping[str, str]) -> dict[str, str]:
    """Ids in the path. Raises BadRequest for bytes that are not UTF-8, and for control characters."""
    for name, text in match_info.items():
        if not is_one_line(text):
            raise BadRequest(f"{name}: {RULE}")
    return dict(match_info)


def unavailable(error: Exception, route: str) -> Reply:
    """503 with one line in the log; a defect's answer, where Redis' answer says that no later request will fare better."""
    if not isinstance(error, RedisError):
        log.warning("service unavailable", error=type(error).__name__)
        return error_reply(Unavailable("Kafka or Redis cannot be reached; try again"))
    if trouble(error) is Trouble.DEFECT:
        return defect(route)
    log.warning("service unavailable", error=type(error).__name__, detail=told(error))
    return error_reply(Unavailable(f"{told(error)}; try again"))


def defect(route: str) -> Reply:
    """To be called where the exception is being handled: its traceback goes to the log, and nothing of it to the client."""
    log.exception("request failed", route=route)
    return error_reply(ApiError("internal error"))


def handler_of(route: Route, services: Services, tokens: Tokens) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The aiohttp handler of a route that needs a token."""

    async def handle(request: web.Request) -> web.Response:
        holder = await tokens.check(request.headers.get("Authorization"), request.remote)
        raw = await _read(request, services.settings.api_body_timeout_s) if route.method in _WITH_BODY else b""

        async def run(services: Services) -> Reply:
            return await with_audit(route, request, raw, holder, services, lambda given: _answer(route, request, raw, given))

        key = request.headers.get(HEADER)
        if key is None or route.method != "POST":
            return response(await run(services))
        print_ = fingerprint(request.method, request.path_qs, raw)
        keyed = keyed_request(holder.hash, key, print_, services.settings.idempotency_hours * 3600, services.vault)
        return response(
            await once(
                services.keys,
                keyed,
                lambda begun: run(replace(services, new_id=begun.ids())),
                lambda: _settle(services),
            )
        )

    return handle


async def _settle(services: Services) -> None:
    """What was changed is told to the workers before anybody is answered, also where the one who changed it died."""
    await services.catalog.announce()
    await services.customers.announce_made()
