"""Notices: what other endpoints may be told about an endpoint.

endpoint.failing      every attempt has failed for some time (setting ``webhook_failing_notice_minutes``)
endpoint.recovered    an attempt has succeeded, after endpoint.failing
endpoint.disabled     it was switched off for failing, or because it said that it is gone
message.exhausted     a notification was given up; of one endpoint and partition at most one within an hour (setting
                      ``webhook_notice_pause_minutes``): the log of deliveries lists all

They go through the outbox, lanes and retries as all else does, to endpoints that name their type, and never to the one that they
are about. Ids follow from the cause, so that a cause that is found twice has one notice. Where nobody is subscribed none is
written. None is written about the delivery of a notice: two endpoints that fail would tell each other of it for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5

import orjson
import structlog
from redis.asyncio import Redis

from connectors.redis.notices import NoticeStore
from connectors.redis.types import Delivery, ExhaustedNotice, OutboxEntry, is_notice
from connectors.settings import Settings
from connectors.webhooks.endpoints import Endpoint, EndpointDirectory
from connectors.webhooks.persist import clock_ms
from schemas.documents import instant_text

_log = structlog.get_logger("webhooks.notices")
_NAMESPACE = UUID("0b8f5c0e-7a53-4c55-9c47-1d2f6f0c7a11")
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_TEST_TYPE = "webhooks.test"


class Notices:
    def __init__(self, redis: Redis, partitions: int, directory: EndpointDirectory, settings: Settings) -> None:
        self._store = NoticeStore(redis, partitions)
        self._directory = directory
        self._failing_ms = int(settings.webhook_failing_notice_minutes * _MINUTE_MS)
        self._pause_ms = int(settings.webhook_notice_pause_minutes * _MINUTE_MS)
        self._settled: set[tuple[str, str, int]] = set()  # told, or wanted by nobody: Redis need not be asked again
        self._enabled: Mapping[str, Endpoint] | None = None
        self._subscribers: list[Endpoint] = []

    async def look(self) -> None:
        """Tell of endpoints that fail or were switched off, as the directory knows them. Raises RedisError."""
        now_ms = clock_ms()
        if not self._subscribed():
            return
        for endpoint_id, since_ms in self._directory.failing.items():
            if now_ms - since_ms >= self._failing_ms and endpoint_id in self._directory.enabled:
                properties = {"failing_since": _text(since_ms)}
                await self._tell("endpoint.failing", endpoint_id, since_ms, since_ms + self._failing_ms, properties)
        for endpoint_id, (at_ms, reason) in self._directory.disabled.items():
            if now_ms - at_ms < _DAY_MS:  # what is older was told, or nobody wanted to know
                await self._tell("endpoint.disabled", endpoint_id, at_ms, at_ms, {"reason": reason})

    async def recovered(self, endpoint_id: str) -> None:
        """Before the directory forgets that it has failed. Raises RedisError."""
        since_ms = self._directory.failing.get(endpoint_id)
        if since_ms is not None:
            after = _id("endpoint.failing", endpoint_id, since_ms)
            properties = {"failing_since": _text(since_ms)}
            await self._tell("endpoint.recovered", endpoint_id, since_ms, clock_ms(), properties, after=after)

    def exhausted(self, delivery: Delivery) -> ExhaustedNotice | None:
        """To be written when the delivery's end is."""
        entry = delivery.entry
        if not self._subscribed() or is_notice(entry.type) or entry.type == _TEST_TYPE:
            return None
        properties: dict[str, object] = {
            "endpoint_id": delivery.endpoint_id,
            "timestamp": _text(clock_ms()),
            "delivery_id": delivery.id,
            "notification_id": entry.id,
            "notification_type": entry.type,
            "customer_id": entry.customer_id,
            "alert_id": entry.alert_id,
            "attempts": delivery.attempts,
            "last_error": delivery.last_error,
        }
        cause = f"{delivery.id}:{delivery.first_attempt_ms}"
        notice = _entry("message.exhausted", cause, properties, entry.customer_id, entry.alert_id)
        return ExhaustedNotice(notice, self._pause_ms) if self._wanted(notice, delivery.endpoint_id) else None

    async def _tell(
        self, kind: str, endpoint_id: str, cause_ms: int, at_ms: int, properties: Mapping[str, object], *, after: str = ""
    ) -> None:
        if not self._subscribed() or (kind, endpoint_id, cause_ms) in self._settled:
            return
        notice = _entry(kind, f"{endpoint_id}:{cause_ms}", {"endpoint_id": endpoint_id, "timestamp": _text(at_ms), **properties})
        if self._wanted(notice, endpoint_id) and await self._store.write(notice, after=after):
            _log.info("notice", type=kind, endpoint_id=endpoint_id, notification_id=notice.id)
        self._settled.add((kind, endpoint_id, cause_ms))

    def _subscribed(self) -> list[Endpoint]:
        """Endpoints that name types, and so perhaps those of notices."""
        if self._enabled is not self._directory.enabled:
            self._enabled = self._directory.enabled
            self._subscribers = [each for each in self._enabled.values() if each.filter.event_types is not None]
            self._settled.clear()
        return self._subscribers

    def _wanted(self, notice: OutboxEntry, about: str) -> bool:
        return any(
            each.id != about and each.filter.wants(notice.type, notice.customer_id, notice.alert_id)
            for each in self._subscribed()
        )


def _id(kind: str, endpoint_id: str, cause_ms: int) -> str:
    return str(uuid5(_NAMESPACE, f"{kind}:{endpoint_id}:{cause_ms}"))


def _entry(kind: str, cause: str, properties: dict[str, object], customer_id: str = "", alert_id: str = "") -> OutboxEntry:
    notice_id = str(uuid5(_NAMESPACE, f"{kind}:{cause}"))
    body = orjson.dumps({"id": notice_id, "type": kind, "properties": properties})
    return OutboxEntry(notice_id, kind, customer_id, alert_id, body, None, clock_ms())


def _text(at_ms: int) -> str:
    return instant_text(at_ms * 1000)
