"""Which notifications an endpoint wants. Pure, but for the severity of an alert, which is looked up (``severities.py``).

What is not set lets everything through, with one exception: notices about endpoints and deliveries (notices.py) go only to those
that name their type, since an endpoint for alerts has no use for them. They belong to no alert: of the filters only that on
types, and where a notice tells of a customer's delivery that on customers, is held against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from connectors.redis.types import is_notice


@dataclass(frozen=True, slots=True)
class SeverityFilter:
    """``key``: of the alert's custom field. Either its value is one of ``values``, or it is at least ``minimum``: both are
    numbers, or both stand in the order of the setting ``severities``. Letters of either case are the same. An alert without the
    field, or with a value that cannot be compared, does not pass."""

    key: str
    values: frozenset[str] = frozenset()
    minimum: str | None = None

    def passes(self, fields: Mapping[str, str], order: Sequence[str]) -> bool:
        value = fields.get(self.key, "").casefold()
        if self.minimum is None:
            return value in self.values
        rank, least = _rank(value, order), _rank(self.minimum, order)
        return rank is not None and least is not None and type(rank) is type(least) and rank >= least


def _rank(value: str, order: Sequence[str]) -> int | Decimal | None:
    if value in order:
        return order.index(value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


@dataclass(frozen=True, slots=True)
class EndpointFilter:
    """None: not looked at. ``event_types``: exact, or with ``*`` for any text."""

    event_types: tuple[str, ...] | None = None
    customer_ids: frozenset[str] | None = None
    alert_ids: frozenset[str] | None = None
    severity: SeverityFilter | None = None

    @classmethod
    def of(cls, document: Mapping[str, object]) -> EndpointFilter:
        """Raises TypeError, KeyError or ValueError for a document that makes no sense."""
        types = _strings(document.get("event_types"))
        customers, alerts = _strings(document.get("customer_ids")), _strings(document.get("alert_ids"))
        return cls(
            None if types is None else tuple(types),
            None if customers is None else frozenset(customers),
            None if alerts is None else frozenset(alerts),
            _severity(document.get("severity")),
        )

    def wants_type(self, event_type: str) -> bool:
        if self.event_types is None:
            return not is_notice(event_type)
        return _any_matches(self.event_types, event_type)

    def refusal(self, event_type: str, customer_id: str, alert_id: str) -> str:
        """Which part of the filter does not let it through; empty where only the severity may not."""
        if not self.wants_type(event_type):
            return "event_types"
        if self.customer_ids is not None and customer_id and customer_id not in self.customer_ids:
            return "customer_ids"
        if self.alert_ids is not None and not is_notice(event_type) and alert_id not in self.alert_ids:
            return "alert_ids"
        return ""

    def wants(self, event_type: str, customer_id: str, alert_id: str) -> bool:
        """All but the severity."""
        return (
            self.wants_type(event_type)
            and (self.customer_ids is None or not customer_id or customer_id in self.customer_ids)
            and (self.alert_ids is None or is_notice(event_type) or alert_id in self.alert_ids)
        )


@lru_cache(maxsize=4096)
def _any_matches(patterns: tuple[str, ...], event_type: str) -> bool:
    return any(matches(each, event_type) for each in patterns)


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which ``*`` stands for any text, also for none.

    Linear in both, whatever the pattern: what stands between the stars is looked for from left to right, each part where it first
    occurs, and nothing is tried twice. (A regular expression made of a user's text would try every way to share out the text
    among the stars.)
    """
    first, *parts = pattern.split("*")
    if not parts:
        return text == first
    last = parts.pop()
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in filter(None, parts):  # of a run of stars all but one are nothing
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _strings(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("a filter is a list of texts")
    return value


def _severity(value: object) -> SeverityFilter | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError("the severity filter is an object")
    minimum = value.get("minimum")
    values = _strings(value.get("values")) or ()
    return SeverityFilter(
        str(value["key"]), frozenset(each.casefold() for each in values), None if minimum is None else str(minimum).casefold()
    )
