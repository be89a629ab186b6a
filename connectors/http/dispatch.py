"""From an HTTP request to a handler's call and back: tokens, bodies, answers, errors.

request ── token ── Idempotency-Key ── body and query checked ── handler ── answer as JSON
                                └───────────── any error: {"message": ...} ─────────────┘
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_origin

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError

from connectors.http.audit import with_audit
from connectors.http.idempotency import HEADER, Reply, fingerprint, once
from connectors.http.routing import Call, Route
from connectors.http.services import Services
from connectors.http.tokens import Tokens
from connectors.redis.errors import Trouble, told, trouble
from schemas.common import NoBody
from schemas.errors import ApiError, BadRequest, InProgress, Unauthorized, Unavailable, refusal
from schemas.ingest import IngestBody
from schemas.numbers import exact_json, parse_json

log = structlog.get_logger("http")

UNAVAILABLE = (RedisError, KafkaError, OSError, TimeoutError)
"""What tells that a service cannot be reached or refuses; ``unavailable`` knows which errors of Redis are defects of ours."""
JSON_HEADERS = (("Content-Type", "application/json"),)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def error_reply(error: ApiError) -> Reply:
    """``x-should-retry`` tells the SDKs, which would otherwise send a 409 or a 501 three times."""
    headers = [*JSON_HEADERS, ("x-should-retry", "true" if error.retryable else "false")]
    if isinstance(error, Unauthorized):
        headers.append(("WWW-Authenticate", "Bearer"))
    if isinstance(error, InProgress | Unavailable):
        headers.append(("Retry-After", "1"))
    return Reply(error.status, exact_json({"message": error.message, **error.extra}), tuple(headers), error.retryable)


def answer_reply(answer: BaseModel | list[BaseModel] | None) -> Reply:
    if answer is None:
        return Reply(200, b"")
    dumped: Any = (
        [each.model_dump(exclude_unset=True) for each in answer]
        if isinstance(answer, list)
        else answer.model_dump(exclude_unset=True)
    )
    return Reply(200, exact_json(dumped), JSON_HEADERS)


def response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=list(reply.headers))


def _body(route: Route, raw: bytes, services: Services) -> BaseModel:
    empty = b"[]" if route.body is IngestBody else b"{}"
    try:
        parsed = parse_json(raw or empty)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    context = {"properties_bytes_max": services.settings.properties_bytes_max}
    try:
        return route.body.model_validate(parsed, context=context)
    except ValidationError as error:
        raise (IngestBody.refusal(error) if route.body is IngestBody else refusal(error)) from None


def _query(route: Route, request: web.Request) -> BaseModel:
    """Arrays come as one text with commas, or as a repeated parameter."""
    values: dict[str, Any] = {}
    for name in request.query:
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


async def _answer(route: Route, request: web.Request, raw: bytes, services: Services) -> Reply:
    """Never raises: what goes wrong is a reply, too, and so it can be kept under an Idempotency-Key."""
    try:
        call: Call[Any, Any] = Call(
            services=services,
            body=_body(route, raw, services) if route.method in _WITH_BODY else NoBody(),
            query=_query(route, request),
            path=_path(request.match_info),
            now_us=services.now_us(),
        )
        return answer_reply(await route.handler(call))
    except ApiError as error:
        return error_reply(error)
    except UNAVAILABLE as error:
        return unavailable(error, route.path)
    except Exception:  # noqa: BLE001 - the answer to a defect of ours is kept under an Idempotency-Key like any other
        return defect(route.path)


def _path(match_info: Mapping[str, str]) -> dict[str, str]:
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
        holder = await tokens.check(request.headers.get("Authorization"))
        raw = await request.read() if route.method in _WITH_BODY else b""

        async def run() -> Reply:
            return await with_audit(route, request, raw, holder, services, lambda given: _answer(route, request, raw, given))

        key = request.headers.get(HEADER)
        if key is None or route.method != "POST":
            return response(await run())
        print_ = fingerprint(request.method, request.path_qs, raw)
        keep_s = services.settings.idempotency_hours * 3600
        return response(await once(services.catalog, holder.hash, key, print_, keep_s, run))

    return handle
