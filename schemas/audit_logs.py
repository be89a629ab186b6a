"""The audit log: what a request changes, told from its route; entries, as stored and as answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from schemas.common import Answer, Cursor, Instant, OutInstant, Query, Text, rfc3339
from schemas.documents import Document, instant_text, instant_us

_READS = re.compile(r"(get|list|search)([A-Z].*)?\Z")
_NOT_CONFIGURATION = frozenset({"/v1/ingest", "/v1/usage", "/v1/usage/groups"})
_RESOURCES = (
    ("/v1/alerts", "alert"),
    ("/v1/customer-alerts", "alert"),
    ("/v1/customers", "customer"),
    ("/v1/billable-metrics", "billable_metric"),
    ("/v1/contract-pricing/products", "product"),
    ("/v1/contract-pricing/rate-cards", "rate_card"),
    ("/v1/contracts/addManualBalanceLedgerEntry", "balance"),
    ("/v1/contracts/customerCommits", "commit"),
    ("/v1/contracts/customerCredits", "credit"),
    ("/v2/contracts/commits", "commit"),
    ("/v2/contracts/credits", "credit"),
    ("/v1/contracts", "contract"),
    ("/v2/contracts", "contract"),
    ("/v1/credit-types", "pricing_unit"),
    ("/v1/customFields", "custom_field"),
    ("/v1/packages", "package"),
    ("/v1/invoices", "invoice"),
    ("/v1/webhook-endpoints", "webhook_endpoint"),
    ("/v1/webhook-deliveries", "webhook_delivery"),
)
"""The first prefix counts."""
_CUSTOMERS = re.compile(r"/v1/(\w+?)Customer(\w+)\Z")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
_DESCRIPTION_CHARACTERS_MAX = 500
_RESOURCE_ID_CHARACTERS_MAX = 128


class Subject(NamedTuple):
    """What a route changes, and how."""

    resource_type: str
    action: str


def subject_of(method: str, path: str) -> Subject | None:
    """``path``: the route's pattern. None for a request that only reads, or that brings usage.

    The action is the last part of a path in snake case ("archive", "update_end_date"), or what the method stands for."""
    last = path.rsplit("/", 1)[-1]
    if method == "GET" or path in _NOT_CONFIGURATION or last == "previewEvents" or _READS.match(last):
        return None
    of_customer = _CUSTOMERS.match(path)
    if of_customer is not None:
        return Subject("customer", _snake(of_customer[1] + of_customer[2]))
    resource = next((name for prefix, name in _RESOURCES if path.startswith(prefix)), None)
    if resource is None:
        resource = _snake(path.strip("/").split("/")[1])
    bare = last.startswith("{") or any(path == prefix for prefix, _ in _RESOURCES)
    return Subject(resource, _VERBS[method] if bare else _snake(last))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", name).lower()


def named_resource(subject: Subject, path: Mapping[str, str], body: object) -> Document:
    """``resource_type`` and, where the request names it, ``resource_id``. Values of custom fields belong to their entity."""
    given: Mapping[str, Any] = {**(body if isinstance(body, dict) else {}), **path}
    if subject.resource_type == "custom_field" and isinstance(given.get("entity"), str) and "entity_id" in given:
        return _resource(given["entity"], given["entity_id"])
    if subject.resource_type == "custom_field" and isinstance(given.get("key"), str):
        return _resource("custom_field", f"{given.get('entity')}/{given['key']}")
    if isinstance(given.get("data"), list) and given["data"] and isinstance(given["data"][0], dict):
        given = {**given["data"][0], **given}  # a list of configurations, all of one customer
    if subject.action == "create":
        return {"resource_type": subject.resource_type}
    kind = subject.resource_type.removeprefix("webhook_")
    found = next((given[name] for name in (f"{kind}_id", "id") if name in given), None)
    return _resource(subject.resource_type, found)


def _resource(resource_type: str, resource_id: object) -> Document:
    shown = {"resource_id": resource_id[:_RESOURCE_ID_CHARACTERS_MAX]} if isinstance(resource_id, str) else {}
    return {"resource_type": resource_type[:_RESOURCE_ID_CHARACTERS_MAX], **shown}


def audit_failure(fields: Document, message: str) -> Document:
    return {**fields, "status": "failure", "description": message[:_DESCRIPTION_CHARACTERS_MAX]}


class AuditLogQuery(Query):
    """``sort``, ``starting_on`` and ``ending_before`` are kept in the cursor."""

    limit: int = Field(default=100, ge=1, le=100)
    next_page: Cursor | None = None
    starting_on: Instant | None = None
    ending_before: Instant | None = None
    sort: Literal["date_asc", "date_desc"] | None = None
    resource_type: Text | None = None
    resource_id: Text | None = None

    @model_validator(mode="after")
    def _together(self) -> AuditLogQuery:
        if (self.resource_type is None) != (self.resource_id is None):
            raise ValueError("resource_type and resource_id are given together")
        if self.starting_on is not None and self.ending_before is not None and self.ending_before <= self.starting_on:
            raise ValueError("ending_before must be after starting_on")
        return self

    def bounds_ms(self) -> tuple[int, int | None]:
        """[from, until); entries are timed in whole milliseconds."""

        def milliseconds(moment: Instant) -> int:
            return -(-instant_us(rfc3339(moment)) // 1000)

        return (
            0 if self.starting_on is None else milliseconds(self.starting_on),
            None if self.ending_before is None else milliseconds(self.ending_before),
        )

    def wants(self, entry: Document) -> bool:
        return self.resource_id is None or (
            entry.get("resource_id") == self.resource_id and entry.get("resource_type") == self.resource_type
        )


class AuditRequest(Answer):
    """``id``: as in the answer's header X-Request-Id."""

    id: str
    ip: str | None = None
    user_agent: str | None = None


class AuditActor(Answer):
    """The token: its name, and the beginning of its SHA-256."""

    id: str
    name: str


class AuditLogEntry(Answer):
    id: str
    timestamp: OutInstant
    request: AuditRequest
    actor: AuditActor
    resource_type: str
    resource_id: str | None = None
    action: str
    status: str
    description: str | None = None


def audit_answer(entry: Document, at_ms: int) -> AuditLogEntry:
    return AuditLogEntry.model_validate({**entry, "timestamp": instant_text(at_ms * 1000)})
