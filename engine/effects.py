"""What goes into and comes out of a customer's aggregate, as plain data.

A stored customer is two kinds of string maps, which a store keeps as it likes (ours: Redis hashes):
``state`` (one map) and ``windows`` (one map for each UTC day that has usage). The engine alone knows what their fields mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol


class UsageEvent(NamedTuple):
    """One decoded usage event, already resolved to its customer and checked for form.

    ``properties`` values are str, int, Decimal, bool or None, or an opaque list/dict (never a float).
    ``appended_at_ms``: when Kafka took the record. ``only``: the metrics for which it counts, where it counted for the others
    before; None: for all. ``hour`` is ``timestamp_us`` in whole hours since the epoch.
    A NamedTuple and not a dataclass: it is made once for each event, and costs a third.
    """

    transaction_id: str
    event_type: str
    timestamp_us: int
    hour: int
    properties: Mapping[str, object]
    topic: str
    partition: int
    offset: int
    appended_at_ms: int
    only: frozenset[str] | None = None


class Counted(Protocol):
    """What of a usage event decides how it is counted. The rest is evidence: only an event that crosses a line needs it."""

    @property
    def event_type(self) -> str: ...
    @property
    def timestamp_us(self) -> int: ...
    @property
    def properties(self) -> Mapping[str, object]: ...


class Rejection(NamedTuple):
    """Why an event cannot be applied. ``reason`` is a short fixed word (a metric label), ``detail`` names field and rule.

    ``missed``: ids of the metrics that could not read it, where it did count for others; empty: it counted for none, and nothing
    was changed."""

    reason: str
    detail: str
    missed: tuple[str, ...] = ()


class TriggeredBy(StrEnum):
    USAGE = "usage"
    INVOICE_GENERATION = "invoice_generation"
    PERIOD_RESET = "period_reset"
    BALANCE_CHANGE = "balance_change"
    CONTRACT_CHANGE = "contract_change"
    TIME = "time"
    RESET = "reset"
    CREATION = "creation"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The event that crossed the line, and when it was appended and evaluated."""

    transaction_id: str
    topic: str
    partition: int
    offset: int
    event_timestamp_us: int
    appended_at_ms: int
    evaluated_at_us: int


@dataclass(frozen=True, slots=True)
class Notification:
    """One change of one alert's state, to be told. ``id`` is a version-5 UUID of (customer, alert, sub-key, period, sequence).

    ``type`` is the wire type, e.g. "alerts.spend_threshold_reached" or "alerts.spend_threshold_resolved".
    ``measure``: type-specific wire fields, e.g. {"current_spend": Decimal, "credit_type_id": ...}.
    ``uniqueness_key``: the alert's. ``customer_name``, ``customer_aliases`` and ``metric_name``: as they were at the evaluation.
    """

    id: str
    type: str
    customer_id: str
    alert_id: str
    alert_name: str
    alert_version: int
    threshold: Decimal
    previous_value: Decimal
    value: Decimal
    period_starting_us: int
    period_ending_us: int
    sequence: int
    triggered_by: TriggeredBy
    timestamp_us: int
    measure: Mapping[str, object]
    group_values: tuple[tuple[str, str], ...] = ()
    evidence: Evidence | None = None
    uniqueness_key: str | None = None
    customer_name: str | None = None
    customer_aliases: tuple[str, ...] = ()
    metric_name: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """What a store holds of one customer; both empty for one that was never evaluated. ``windows`` is keyed by UTC day
    (days since the epoch) and holds every day the state's meta field lists (see engine.customer.stored_days)."""

    state: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[int, Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Merged:
    """Values of one declared group key of a metric that were too many to be kept apart (engine.metering.bounded). ``event``: the
    first of those that had such; ``times``: how often."""

    metric_id: str
    group_key: tuple[str, ...]
    event: UsageEvent
    times: int = 0


@dataclass(slots=True)
class Delta:
    """What has changed since the last time it was asked: to be written in one atomic step, or dropped as a whole.

    ``windows_deleted``: days folded away into ``folded_set`` (month "YYYY-MM" -> fields), to be deleted in that same step.
    ``folded_deleted``: months whose map has outlived its time.
    ``timer_us``: when this customer next needs ``advance`` without usage; None = never.
    """

    state_set: dict[str, str] = field(default_factory=dict)
    state_deleted: list[str] = field(default_factory=list)
    windows_set: dict[int, dict[str, str]] = field(default_factory=dict)
    windows_deleted: list[int] = field(default_factory=list)
    folded_set: dict[str, dict[str, str]] = field(default_factory=dict)
    folded_deleted: list[str] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    timer_us: int | None = None
    evaluations: int = 0
    after_finalization: int = 0  # events counted in windows only, because their invoice is final
    merged: Mapping[str, Merged] = field(default_factory=dict)  # by engine.metering.series.dimension_name

    def __bool__(self) -> bool:
        return bool(
            self.state_set
            or self.state_deleted
            or self.windows_set
            or self.windows_deleted
            or self.folded_set
            or self.folded_deleted
            or self.notifications
        )
