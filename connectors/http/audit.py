"""Keeping the audit log: each request that changes something leaves one entry, whether it succeeds or fails.

The entry of a change is written with it, by the same script (connectors.redis.audit). What was refused, and what found nothing to
change, is entered afterwards. A request whose answer from Redis was lost may have left both an entry of success and one of
failure, under one request id. A request without a valid token has no actor, and is not entered.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from connectors.http.replies import Reply
from connectors.http.routing import Route
from connectors.http.services import Services
from connectors.http.tokens import Holder
from connectors.redis.audit import CURRENT, AuditDraft, AuditLog
from schemas.audit_logs import Subject, audit_failure, named_resource, subject_of
from schemas.texts import clean

log = structlog.get_logger("http")

REQUEST_ID = web.RequestKey("request_id", str)
"""Of an aiohttp request: where its id is kept."""
_DAY_MS = 86_400_000
_USER_AGENT_CHARACTERS_MAX = 256
_UNSUPPORTED = "unsupported"


def oldest_ms(services: Services) -> int:
    """Entries before it have outlived their retention."""
    return services.now_us() // 1000 - services.settings.audit_log_days * _DAY_MS


def audited_subject(route: Route) -> Subject | None:
    return None if route.tag == _UNSUPPORTED else subject_of(route.method, route.path)


def _draft(subject: Subject, request: web.Request, raw: bytes, holder: Holder, services: Services) -> AuditDraft:
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        body = None
    agent = request.headers.get("User-Agent")
    named = named_resource(subject, request.match_info, body)
    fields = {
        "id": str(uuid.uuid4()),
        "request": {
            "id": request[REQUEST_ID],
            **({} if request.remote is None else {"ip": request.remote}),
            **({} if agent is None else {"user_agent": clean(agent[:_USER_AGENT_CHARACTERS_MAX])}),
        },
        "actor": {"id": holder.id, "name": holder.name},
        "action": subject.action,
        **{name: clean(text) for name, text in named.items()},
    }
    return AuditDraft(fields, oldest_ms(services))


def _noting(services: Services, draft: AuditDraft) -> Services:
    """The first id that a creating request makes is that of what it creates."""

    def new_id() -> str:
        made = services.new_id()
        draft.fields.setdefault("resource_id", made)
        return made

    return replace(services, new_id=new_id)


async def with_audit(
    route: Route,
    request: web.Request,
    raw: bytes,
    holder: Holder,
    services: Services,
    answer: Callable[[Services], Awaitable[Reply]],
) -> Reply:
    """``answer`` with the entry of its request at hand for the stores."""
    subject = audited_subject(route)
    if subject is None:
        return await answer(services)
    draft = _draft(subject, request, raw, holder, services)
    token = CURRENT.set(draft)
    try:
        reply = await answer(_noting(services, draft) if subject.action == "create" else services)
    finally:
        CURRENT.reset(token)
    if reply.status >= 400:
        await _enter(services, draft, audit_failure(draft.fields, orjson.loads(reply.body)["message"]))
    elif not draft.written:
        await _enter(services, draft, {**draft.fields, "status": "success"})
    return reply


async def _enter(services: Services, draft: AuditDraft, fields: dict[str, object]) -> None:
    """The answer stands, even if its entry cannot be written: nothing was changed that it could tell of."""
    if fields["status"] == "failure" and draft.fields["action"] == "create" and not draft.written:
        fields = {name: value for name, value in fields.items() if name != "resource_id"}  # it was never made
    try:
        await AuditLog(services.redis, services.partitions).append(fields, draft.oldest_ms)
    except (RedisError, OSError) as error:
        log.warning("audit entry lost", request_id=draft.fields["request"]["id"], error=type(error).__name__)
