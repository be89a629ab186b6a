"""The outermost layer of every request: one log line, two metrics, and errors in the API's own form."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace

import structlog
from aiohttp import web

from connectors.http.audit import REQUEST_ID
from connectors.http.connections import Connection
from connectors.http.dispatch import UNAVAILABLE, defect, response, unavailable
from connectors.http.replies import error_reply
from connectors.metrics import HTTP_REQUESTS, HTTP_SECONDS
from schemas.errors import ApiError, NotFound, TooLarge
from schemas.texts import clean

log = structlog.get_logger("http")

_UNMATCHED = "unmatched"


class _MethodNotAllowed(ApiError):
    status = 405


def _route(request: web.Request) -> str:
    """The route's pattern: a path itself would make a metric series of each id."""
    resource = request.match_info.route.resource
    return _UNMATCHED if resource is None else resource.canonical


async def _answered(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        reply = error_reply(error)
    except web.HTTPNotFound:
        reply = error_reply(NotFound(f"there is no path {clean(request.path)}"))
    except web.HTTPMethodNotAllowed as error:
        refused = error_reply(_MethodNotAllowed(f"{request.method} is not allowed here"))
        allowed = ", ".join(sorted(error.allowed_methods))
        reply = replace(refused, headers=(*refused.headers, ("Allow", allowed)))
    except web.HTTPRequestEntityTooLarge:
        reply = error_reply(TooLarge(f"the body is larger than {request.client_max_size} bytes"))
    except web.HTTPException:
        raise
    except UNAVAILABLE as error:
        reply = unavailable(error, _route(request))
    except Exception:  # noqa: BLE001 - the outermost layer: the client gets a JSON body all the same
        reply = defect(_route(request))
    return response(reply)


@web.middleware
async def observe(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    started = time.perf_counter()
    request_id = request[REQUEST_ID] = str(uuid.uuid4())
    connection = request.protocol
    with connection.request_running() if isinstance(connection, Connection) else nullcontext():
        answered = await _answered(request, handler)
    answered.headers["X-Request-Id"] = request_id
    route = _route(request)
    elapsed_s = time.perf_counter() - started
    method = request.method if route != _UNMATCHED else "any"  # clients may invent methods
    HTTP_REQUESTS.labels(route, method, str(answered.status)).inc()
    HTTP_SECONDS.labels(route).observe(elapsed_s)
    log.info(
        "request",
        method=method,
        route=route,
        status=answered.status,
        duration_ms=round(elapsed_s * 1000, 2),
        request_id=request_id,
    )
    return answered
