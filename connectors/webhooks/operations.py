"""What people do with deliveries: find them, look at their attempts, send them again. For the API and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import orjson
from redis.asyncio import Redis

from connectors.redis.catalog import CatalogStore
from connectors.redis.deliveries import DeliveryLog, Resent
from connectors.redis.keys import partition_of
from connectors.redis.secrets import Vault
from connectors.redis.types import Delivery, LoggedDelivery, OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.endpoints import parse_endpoint
from connectors.webhooks.routes import Routes, severity_order
from connectors.webhooks.severities import AlertFields

STATUSES = ("waiting", "delivered", "exhausted", "superseded", "endpoint_removed", "unwanted")
RESEND_MAX = 10_000
"""How many deliveries one request may send again; a repetition goes on where it ended, since what was resent then waits."""

LOOKED_AT_MAX = 100_000
"""How many deliveries of the log one search for what an endpoint has missed looks at; it takes some seconds."""

TEST_TYPE = "webhooks.test"

_SERVED = frozenset({"delivered", "waiting", "superseded"})

_SCAN = 200
_SCANNED_MAX = 5_000  # of the log, for one page

Cursor = tuple[int, str | None]
"""The last change (ms) and the id of the last delivery looked at."""
START: Cursor = (2**53, None)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What is None is not looked at. ``since_ms`` (included) to ``until_ms`` (excluded): of the last change."""

    endpoint_id: str | None = None
    customer_id: str | None = None
    alert_id: str | None = None
    type: str | None = None
    statuses: frozenset[str] = frozenset(STATUSES)
    since_ms: int = 0
    until_ms: int = 2**53

    def matches(self, logged: LoggedDelivery) -> bool:
        delivery, entry = logged.delivery, logged.delivery.entry
        wanted = (self.endpoint_id, self.customer_id, self.alert_id, self.type)
        found = (delivery.endpoint_id, entry.customer_id, entry.alert_id, entry.type)
        return (
            all(each is None or each == value for each, value in zip(wanted, found, strict=True))
            and logged.status in self.statuses
            and self.since_ms <= logged.changed_ms < self.until_ms
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """``deliveries``: the latest change first. ``complete``: there are no more than these. ``looked_until_ms``: where it is not
    complete, the last change up to which the log was looked at, for a search from the earliest on."""

    deliveries: list[LoggedDelivery]
    complete: bool
    looked_until_ms: int | None = None


class DeliveryOperations:
    def __init__(self, redis: Redis, partitions: int, settings: Settings) -> None:
        self._catalog = CatalogStore(redis, Vault.of(settings))
        self._fields = AlertFields(redis, partitions)
        self._severities = severity_order(settings.severities)
        self._logs = [DeliveryLog(redis, partition) for partition in range(partitions)]

    async def page(self, wanted: DeliveryFilter, cursor: Cursor, limit: int) -> tuple[list[LoggedDelivery], Cursor | None]:
        """The latest change first. The page may hold fewer than ``limit``, even none, and still have a next one: a search through
        a long log is spread over several requests."""
        shown: list[LoggedDelivery] = []
        scanned = 0
        async for logged in self._newest_first(cursor):
            if logged.changed_ms < wanted.since_ms:
                return shown, None
            if len(shown) == limit or scanned == _SCANNED_MAX:
                return shown, cursor
            scanned += 1
            cursor = logged.changed_ms, logged.delivery.id
            if wanted.matches(logged):
                shown.append(logged)
        return shown, None

    async def find(self, delivery_id: str) -> tuple[LoggedDelivery, list[bytes]] | None:
        """A delivery with its latest attempts (JSON)."""
        for log in self._logs:
            logged = await log.get(delivery_id)
            if logged is not None:
                return logged, await log.attempts(delivery_id)
        return None

    async def select(self, wanted: DeliveryFilter) -> Selection:
        """At most ``RESEND_MAX``, the oldest change last. Digests only where they are asked for by type: what they list is found
        by itself."""
        found: list[LoggedDelivery] = []
        async for logged in self._newest_first((wanted.until_ms, None)):
            if logged.changed_ms < wanted.since_ms:
                break
            if wanted.matches(logged) and (not logged.delivery.members or wanted.type is not None):
                if len(found) == RESEND_MAX:
                    return Selection(found, False)
                found.append(logged)
        return Selection(found, True)

    async def missed(self, endpoint_id: str, since_ms: int, until_ms: int = 2**53) -> Selection:
        """What an endpoint wants and has not got of the notifications of that time (by the last change of any of their
        deliveries; ``until_ms`` excluded), also of those that others alone were sent. What was superseded, the endpoint did not
        want any more.

        The log may hold millions: so much of it as ``RESEND_MAX`` and ``LOOKED_AT_MAX`` let is looked at, from the earliest on,
        and the answer says up to when."""
        found: dict[str, LoggedDelivery] = {}
        looked_at = 0
        cursor: Cursor = since_ms, None
        while page := await self._oldest_first(cursor, until_ms):
            for logged in await self._wanted(endpoint_id, await self._not_got(endpoint_id, page, since_ms)):
                found.setdefault(logged.delivery.entry.id, logged)
            looked_at += len(page)
            cursor = _position(page[-1])
            if (len(found) >= RESEND_MAX or looked_at >= LOOKED_AT_MAX) and cursor[0] > since_ms:
                return Selection([*reversed(found.values())], False, cursor[0])
        return Selection([*reversed(found.values())], True)

    async def _not_got(self, endpoint_id: str, page: Sequence[LoggedDelivery], since_ms: int) -> list[LoggedDelivery]:
        """Of the notifications of a page those that were not delivered to the endpoint and are not on their way to it. Where it
        has a delivery of its own that has changed since then, that one's page decides."""
        missing: dict[str, LoggedDelivery] = {}
        own_ids = {logged.delivery.id for logged in page if logged.delivery.endpoint_id == endpoint_id}
        for logged in page:
            delivery = logged.delivery
            if delivery.entry.type == TEST_TYPE or delivery.members:
                continue
            if delivery.endpoint_id != endpoint_id:
                delivery_id = f"{delivery.entry.id}:{endpoint_id}"
                if delivery_id not in own_ids:
                    missing.setdefault(delivery_id, for_endpoint(logged, endpoint_id))
            elif logged.status not in _SERVED:
                missing[delivery.id] = logged
        by_partition: dict[int, list[str]] = {}
        for delivery_id, logged in missing.items():
            by_partition.setdefault(partition_of(logged.delivery.entry.customer_id, len(self._logs)), []).append(delivery_id)
        for partition, ids in by_partition.items():
            for delivery_id, changed_ms in zip(ids, await self._logs[partition].changed(ids), strict=True):
                if changed_ms is None or delivery_id in own_ids:
                    continue
                own = await self._logs[partition].get(delivery_id) if changed_ms < since_ms else None
                if own is None or own.status in _SERVED:
                    del missing[delivery_id]
        return list(missing.values())

    async def _oldest_first(self, cursor: Cursor, until_ms: int) -> list[LoggedDelivery]:
        """A page of all partitions, in the order of the last change and then of the id."""
        pages = await asyncio.gather(*(log.after(*cursor, until_ms, _SCAN) for log in self._logs))
        return sorted((each for page in pages for each in page), key=_position)[:_SCAN]

    async def _wanted(self, endpoint_id: str, missing: Sequence[LoggedDelivery]) -> list[LoggedDelivery]:
        document = await self._catalog.endpoint(endpoint_id)
        if document is None:
            return []
        routes = Routes({endpoint_id: parse_endpoint(endpoint_id, document)}, self._severities)
        fields = await self._fields.of([entry for each in missing if routes.needs_fields(entry := each.delivery.entry)])
        return [each for each in missing if routes.wanted(each.delivery.entry, fields)]

    async def knows(self, endpoint_id: str) -> bool:
        return await self._catalog.endpoint(endpoint_id) is not None

    async def resend(self, logged: LoggedDelivery, now_ms: int) -> Resent:
        """Under the same id, with the whole schedule; one that waits for its next attempt makes it now."""
        partition = partition_of(logged.delivery.entry.customer_id, len(self._logs))  # where its notification was written
        return await self._logs[partition].resend(logged, now_ms)

    async def resend_all(self, selection: Selection, now_ms: int) -> None:
        """The oldest first, so that order is kept among them."""
        for logged in reversed(selection.deliveries):
            await self.resend(logged, now_ms)

    async def send_test(self, endpoint_id: str, notification_id: str, now_ms: int) -> str:
        """A message of type ``webhooks.test`` to one endpoint, signed and tried as any other; returns the delivery's id."""
        body = orjson.dumps({"id": notification_id, "type": TEST_TYPE})
        entry = OutboxEntry(notification_id, TEST_TYPE, "", f"{TEST_TYPE}:{notification_id}", body, None, now_ms)
        delivery = Delivery(entry, endpoint_id, attempts=0, first_attempt_ms=now_ms, due_ms=now_ms)
        await self.resend(LoggedDelivery(delivery, "waiting", now_ms), now_ms)
        return delivery.id

    async def _newest_first(self, cursor: Cursor) -> AsyncIterator[LoggedDelivery]:
        """Of all partitions, in the order of the last change and then of the id, both falling."""
        while True:
            pages = await asyncio.gather(*(log.before(*cursor, _SCAN) for log in self._logs))
            merged = sorted((each for page in pages for each in page), key=_position, reverse=True)[:_SCAN]
            for logged in merged:
                yield logged
            if len(merged) < _SCAN:
                return
            cursor = _position(merged[-1])


def _position(logged: LoggedDelivery) -> tuple[int, str]:
    return logged.changed_ms, logged.delivery.id


def for_endpoint(logged: LoggedDelivery, endpoint_id: str) -> LoggedDelivery:
    """The same notification to an endpoint that did not get it, or did not want it."""
    return replace(logged, delivery=replace(logged.delivery, endpoint_id=endpoint_id, unwanted=()))
