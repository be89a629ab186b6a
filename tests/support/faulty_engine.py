"""An engine that raises: any call of an aggregate may, for the customers that are told, by dice with a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from engine.catalog import Catalog, CustomerConfig
from engine.customer import EngineSettings
from engine.effects import Counted, Delta, Rejection, StoredCustomer, UsageEvent


class Broken(ArithmeticError):
    """What it raises."""


@dataclass
class Faults:
    """``chances``: customer -> the probability that a call raises; ``stages``: those that may (empty = all). ``raised``: how
    often each stage did. ``poison``: transaction ids that raise always."""

    dice: Random = field(default_factory=Random)
    chances: dict[str, float] = field(default_factory=dict)
    stages: set[str] = field(default_factory=set)
    poison: set[str] = field(default_factory=set)
    raised: dict[str, int] = field(default_factory=dict)

    def roll(self, customer_id: str, stage: str) -> None:
        if (not self.stages or stage in self.stages) and self.dice.random() < self.chances.get(customer_id, 0.0):
            self.fail(customer_id, stage)

    def fail(self, customer_id: str, stage: str) -> None:
        self.raised[stage] = self.raised.get(stage, 0) + 1
        raise Broken(f"{stage} of {customer_id}")


def faulty(base: Any, faults: Faults) -> type:
    """``base``: CustomerAggregate, or what stands for it. It raises before or after it has done its work, so that what is left of
    the aggregate is of no use."""

    class FaultyAggregate(base):  # type: ignore[misc]
        def __init__(
            self, customer: CustomerConfig, catalog: Catalog, stored: StoredCustomer, settings: EngineSettings, now_us: int
        ) -> None:
            self._faulty_id = customer.id
            super().__init__(customer, catalog, stored, settings, now_us)
            faults.roll(customer.id, "load")

        def apply(self, event: UsageEvent, now_us: int) -> Rejection | None:
            answer: Rejection | None = super().apply(event, now_us)
            if event.transaction_id in faults.poison:
                faults.fail(self._faulty_id, "apply")
            faults.roll(self._faulty_id, "apply")
            return answer

        def apply_all(self, events: Sequence[Counted], whole: Callable[[int], UsageEvent], now_us: int) -> dict[int, Rejection]:
            answer: dict[int, Rejection] = super().apply_all(events, whole, now_us)
            faults.roll(self._faulty_id, "apply_all")
            return answer

        def reconfigure(self, customer: CustomerConfig, catalog: Catalog, now_us: int) -> None:
            super().reconfigure(customer, catalog, now_us)
            faults.roll(self._faulty_id, "reconfigure")

        def advance(self, now_us: int) -> None:
            super().advance(now_us)
            faults.roll(self._faulty_id, "advance")

        def reset(self, alert_id: str, now_us: int) -> None:
            super().reset(alert_id, now_us)
            faults.roll(self._faulty_id, "reset")

        def collect(self) -> Delta:
            delta: Delta = super().collect()
            faults.roll(self._faulty_id, "collect")
            return delta

    return FaultyAggregate
