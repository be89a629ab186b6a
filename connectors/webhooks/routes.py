"""Which endpoints get a notification: those whose filters let it through. Most filters of a system with many endpoints name
customers, so those are found by the customer, and only the rest is gone through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, islice

import orjson

from connectors.redis.types import OutboxEntry, is_notice
from connectors.webhooks.endpoints import Endpoint

REASONS_MAX = 20
"""Of so many endpoints it is told why they did not want a notification."""


class Routes:
    """For one set of enabled endpoints. ``severities``: the order of severities, the lowest first, in lower case."""

    def __init__(self, enabled: Mapping[str, Endpoint], severities: Sequence[str]) -> None:
        self.enabled = enabled
        self.severities = severities
        self._by_severity = any(endpoint.filter.severity is not None for endpoint in enabled.values())
        self._of_all: list[Endpoint] = []
        self._of_customer: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in enabled.values():
            if endpoint.filter.customer_ids is None:
                self._of_all.append(endpoint)
            for customer_id in endpoint.filter.customer_ids or ():
                self._of_customer[customer_id].append(endpoint)

    def candidates(self, entry: OutboxEntry) -> list[Endpoint]:
        """Those that want it if its alert's severity is right."""
        notice = is_notice(entry.type)
        if notice and not entry.customer_id:
            each: Sequence[Endpoint] = list(self.enabled.values())
        else:
            each = list(chain(self._of_all, self._of_customer.get(entry.customer_id, ())))
        about = orjson.loads(entry.body)["properties"].get("endpoint_id") if notice else None
        return [
            endpoint
            for endpoint in each
            if endpoint.id != about and endpoint.filter.wants(entry.type, entry.customer_id, entry.alert_id)
        ]

    def wanted(self, entry: OutboxEntry, fields: Mapping[str, Mapping[str, str]]) -> list[Endpoint]:
        """``fields``: custom fields by alert id; needed where ``needs_fields`` says so."""
        return [
            endpoint
            for endpoint in self.candidates(entry)
            if endpoint.filter.severity is None
            or is_notice(entry.type)
            or endpoint.filter.severity.passes(fields.get(entry.alert_id, {}), self.severities)
        ]

    def unwanted(self, entry: OutboxEntry) -> tuple[tuple[str, str], ...]:
        """Why none of them wants it: (endpoint id, part of its filter), of the first ``REASONS_MAX``."""
        each = islice(self.enabled.values(), REASONS_MAX)
        return tuple(
            (endpoint.id, endpoint.filter.refusal(entry.type, entry.customer_id, entry.alert_id) or "severity")
            for endpoint in each
        )

    def needs_fields(self, entry: OutboxEntry) -> bool:
        if not self._by_severity or is_notice(entry.type):
            return False
        return any(endpoint.filter.severity is not None for endpoint in self.candidates(entry))


def severity_order(text: str) -> tuple[str, ...]:
    """Of the setting: words, comma separated, the lowest first."""
    return tuple(word.strip().casefold() for word in text.split(",") if word.strip())
