"""A store in memory for one customer, as plain as the engine's contract allows, and a driver of its aggregate."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.catalog import Catalog, CustomerConfig
from engine.customer import CustomerAggregate, EngineSettings, stored_days
from engine.effects import Delta, Notification, Rejection, StoredCustomer, UsageEvent


@dataclass
class Store:
    """What a store holds after applying deltas one by one."""

    state: dict[str, str] = field(default_factory=dict)
    windows: dict[int, dict[str, str]] = field(default_factory=dict)
    folded: dict[str, dict[str, str]] = field(default_factory=dict)

    def write(self, delta: Delta) -> None:
        for name in delta.state_deleted:
            assert name not in delta.state_set, "a field is set or deleted, not both"
            self.state.pop(name, None)
        self.state.update(delta.state_set)
        for day, fields in delta.windows_set.items():
            assert day not in delta.windows_deleted
            self.windows.setdefault(day, {}).update(fields)
        for day in delta.windows_deleted:
            self.windows.pop(day, None)
        for month, fields in delta.folded_set.items():
            self.folded.setdefault(month, {}).update(fields)
        for month in delta.folded_deleted:
            self.folded.pop(month, None)

    def read(self) -> StoredCustomer:
        days = stored_days(self.state)
        assert set(self.windows) <= set(days), "every day stored is listed"
        return StoredCustomer(dict(self.state), {day: dict(self.windows.get(day, {})) for day in days})


class Driver:
    """Feeds an aggregate, and can at any point write what changed and load it again as another process would."""

    def __init__(self, customer: CustomerConfig, catalog: Catalog, now_us: int, settings: EngineSettings | None = None) -> None:
        self.customer, self.catalog = customer, catalog
        self.settings = settings or EngineSettings()
        self.store = Store()
        self.notifications: list[Notification] = []
        self.evaluations = self.after_finalization = 0
        self.timer_us: int | None = None
        self.now_us = now_us
        self.aggregate = CustomerAggregate(customer, catalog, StoredCustomer(), self.settings, now_us)
        self.collect()

    def event(self, event: UsageEvent, now_us: int | None = None) -> Rejection | None:
        self.now_us = self.now_us if now_us is None else now_us
        return self.aggregate.apply(event, self.now_us)

    def collect(self) -> list[Notification]:
        """Writes what changed; returns the notifications in it."""
        delta = self.aggregate.collect()
        self.store.write(delta)
        self.notifications += delta.notifications
        self.evaluations += delta.evaluations
        self.after_finalization += delta.after_finalization
        self.timer_us = delta.timer_us
        return delta.notifications

    def reload(self) -> None:
        """Writes, drops the aggregate, and loads it at the same time again."""
        self.collect()
        self.aggregate = CustomerAggregate(self.customer, self.catalog, self.store.read(), self.settings, self.now_us)

    def advance(self, now_us: int) -> list[Notification]:
        self.now_us = now_us
        self.aggregate.advance(now_us)
        return self.collect()

    def reconfigure(self, customer: CustomerConfig | None = None, catalog: Catalog | None = None) -> list[Notification]:
        self.customer, self.catalog = customer or self.customer, catalog or self.catalog
        self.aggregate.reconfigure(self.customer, self.catalog, self.now_us)
        return self.collect()
