"""What an endpoint's filter names and does not exist: told with every answer that shows the endpoint.

What can never be meant is refused (an event type that is none, schemas/endpoints.py). Ids are taken and warned of: a filter may
name a customer of another installation, or stay when an alert has gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from connectors.http.reach import OWNERS
from connectors.http.services import Services
from connectors.webhooks.filters import matches
from connectors.webhooks.routes import severity_order
from schemas.documents import Document
from schemas.endpoints import EVENT_TYPES

_NAMED_MAX = 5  # in one warning


async def warnings_of(services: Services, documents: Sequence[Document]) -> list[list[str]]:
    """For each endpoint, in three round trips for all of them."""
    customer_ids = sorted({each for document in documents for each in document.get("customer_ids") or ()})
    alert_ids = sorted({each for document in documents for each in document.get("alert_ids") or ()})
    customers = await services.catalog.resolve(customer_ids)
    owners = await services.catalog.claimed_by(OWNERS, alert_ids)
    for_all = await services.catalog.get_many("alerts", alert_ids)
    known_alerts = owners.keys() | for_all.keys()
    severities = severity_order(services.settings.severities)
    return [
        [
            *_types(document.get("event_types") or ()),
            *_customers(document.get("customer_ids") or (), customers),
            *_alerts(document, owners, known_alerts),
            *_severity(document.get("severity") or {}, severities),
        ]
        for document in documents
    ]


def _types(patterns: Sequence[str]) -> list[str]:
    idle = [each for each in patterns if not any(matches(each, event_type) for event_type in EVENT_TYPES)]
    return _told("event_types", idle, "match no type of notification")


def _customers(named: Sequence[str], found: dict[str, str]) -> list[str]:
    aliases = [each for each in named if found.get(each, each) != each]
    told = _told("customer_ids", [each for each in named if each not in found], "are no customers")
    return told + [
        f"customer_ids: {each!r} is an ingest alias; the customer's id is {found[each]}" for each in aliases[:_NAMED_MAX]
    ]


def _alerts(document: Document, owners: dict[str, str], known: frozenset[str] | set[str]) -> list[str]:
    named, customers = document.get("alert_ids") or (), document.get("customer_ids")
    told = _told("alert_ids", [each for each in named if each not in known], "are no alerts")
    if customers is not None:
        others = [each for each in named if each in owners and owners[each] not in customers]
        told += _told("alert_ids", others, "belong to customers that customer_ids does not name")
    return told


def _severity(severity: Document, order: Sequence[str]) -> list[str]:
    minimum = severity.get("minimum")
    if minimum is None or minimum.casefold() in order:
        return []
    try:
        if Decimal(minimum).is_finite():
            return []
    except InvalidOperation:
        pass
    return [f"severity: no alert passes {minimum!r}, which is neither a number nor one of {', '.join(order)}"]


def _told(field: str, named: Sequence[str], what: str) -> list[str]:
    """One warning for all of a kind."""
    if not named:
        return []
    shown = ", ".join(repr(each) for each in named[:_NAMED_MAX])
    more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    return [f"{field}: {shown}{more}: {what}"]
