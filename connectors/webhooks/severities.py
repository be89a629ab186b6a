"""The custom fields of alerts, for filters on severity: as they are at the moment when a notification is shared out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson
from redis.asyncio import Redis

from connectors.redis.catalog import CatalogStore
from connectors.redis.customers import CustomerStore
from connectors.redis.types import OutboxEntry


class AlertFields:
    def __init__(self, redis: Redis, partitions: int) -> None:
        self._catalog = CatalogStore(redis)
        self._customers = CustomerStore(redis, partitions)

    async def of(self, entries: Iterable[OutboxEntry]) -> dict[str, Mapping[str, str]]:
        """By alert id; an alert that is gone has none. Raises RedisError."""
        customer_of = {entry.alert_id: entry.customer_id for entry in entries}
        documents = await self._catalog.get_many("alerts", list(customer_of))
        found = {alert_id: _fields(orjson.loads(raw)) for alert_id, raw in documents.items()}
        own = {customer_id for alert_id, customer_id in customer_of.items() if alert_id not in found}
        for _, raw in (await self._customers.get_many(sorted(own))).values():
            for alert in orjson.loads(raw)["alerts"]:
                if alert["id"] in customer_of:
                    found[alert["id"]] = _fields(alert)
        return found


def _fields(alert: Mapping[str, object]) -> Mapping[str, str]:
    fields = alert.get("custom_fields")
    return fields if isinstance(fields, dict) else {}
