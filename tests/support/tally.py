"""Stands in for engine.customer.CustomerAggregate where a test is about the worker: it writes down what was done to it.

State: ``applied`` = transaction ids in the order in which they were applied; ``resets``, ``advances``: how often.
Every event notifies. The id follows from the customer, the place of the event in its history and its transaction id, so
a replay that differs in anything shows as another id. An event with property ``refuse`` is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from engine.catalog import Catalog, CustomerConfig
from engine.customer import EngineSettings
from engine.effects import Counted, Delta, Evidence, Notification, Rejection, StoredCustomer, TriggeredBy, UsageEvent

TIMER_PROPERTY = "wake_at_us"


class TallyAggregate:
    def __init__(
        self, customer: CustomerConfig, catalog: Catalog, stored: StoredCustomer, settings: EngineSettings, now_us: int
    ) -> None:
        state = stored.state
        self._id = customer.id
        self._applied = state.get("applied", "").split()
        self._resets = int(state.get("resets", "0"))
        self._advances = int(state.get("advances", "0"))
        self._timer_us = int(state["timer_us"]) if "timer_us" in state else None
        self._notifications: list[Notification] = []
        self.customer_version = customer.version
        self.catalog_revision = catalog.revision

    def apply(self, event: UsageEvent, now_us: int) -> Rejection | None:
        if "refuse" in event.properties:
            return Rejection("property_not_a_number", "refused by the test")
        self._applied.append(event.transaction_id)
        if TIMER_PROPERTY in event.properties:
            self._timer_us = int(str(event.properties[TIMER_PROPERTY]))
        self._notifications.append(self._notification(event, now_us))
        return None

    def apply_all(self, events: Sequence[Counted], whole: Callable[[int], UsageEvent], now_us: int) -> dict[int, Rejection]:
        outcomes = enumerate([self.apply(whole(place), now_us) for place in range(len(events))])
        return {place: rejection for place, rejection in outcomes if rejection is not None}

    def reconfigure(self, customer: CustomerConfig, catalog: Catalog, now_us: int) -> None:
        self.customer_version = customer.version
        self.catalog_revision = catalog.revision

    def reset(self, alert_id: str, now_us: int) -> None:
        self._resets += 1

    def advance(self, now_us: int) -> None:
        self._advances += 1
        self._timer_us = None

    def collect(self) -> Delta:
        state = {
            "applied": " ".join(self._applied),
            "resets": str(self._resets),
            "advances": str(self._advances),
            "customer_version": str(self.customer_version),
            "catalog_revision": str(self.catalog_revision),
        }
        notifications, self._notifications = self._notifications, []
        return Delta(state_set=state, notifications=notifications, timer_us=self._timer_us, evaluations=len(notifications))

    def _notification(self, event: UsageEvent, now_us: int) -> Notification:
        place = len(self._applied)
        return Notification(
            id=str(uuid5(NAMESPACE_URL, f"{self._id}/{place}/{event.transaction_id}")),
            type="alerts.usage_threshold_reached",
            customer_id=self._id,
            alert_id="an-alert",
            alert_name="an alert",
            alert_version=1,
            threshold=Decimal(1),
            previous_value=Decimal(place - 1),
            value=Decimal(place),
            period_starting_us=0,
            period_ending_us=1,
            sequence=place,
            triggered_by=TriggeredBy.USAGE,
            timestamp_us=now_us,
            measure={"current_usage": Decimal(place), "billable_metric_id": "a-metric"},
            evidence=Evidence(
                event.transaction_id, event.topic, event.partition, event.offset, event.timestamp_us, event.appended_at_ms, now_us
            ),
        )
