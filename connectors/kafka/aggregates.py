"""The customers that a partition has in memory.

An aggregate is ahead of what is stored from its first ``apply`` until the commit. After anything but a commit it has to be
dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from connectors.kafka.garbage import GARBAGE
from connectors.redis.types import LoadedCustomer
from engine.catalog import Catalog, CustomerConfig
from engine.customer import CustomerAggregate, EngineSettings
from schemas.documents import load_customer


class Aggregates:
    """The least recently used go first. ``limit`` is checked by ``trim``, between batches: a batch keeps all that it touches."""

    def __init__(self, settings: EngineSettings, limit: int) -> None:
        self._settings = settings
        self._limit = limit
        self._cached: dict[str, tuple[CustomerAggregate, CustomerConfig]] = {}

    def missing(self, customer_ids: Iterable[str]) -> list[str]:
        return [customer_id for customer_id in customer_ids if customer_id not in self._cached]

    def get(self, customer_id: str, catalog: Catalog, now_us: int) -> CustomerAggregate | None:
        """The cached customer, evaluated under ``catalog``. Raises what the engine raises for it; then it is not cached."""
        cached = self._cached.pop(customer_id, None)
        if cached is None:
            return None
        aggregate, config = cached
        if aggregate.catalog_revision != catalog.revision:
            aggregate.reconfigure(config, catalog, now_us)
            GARBAGE.let_go(1)  # its gauges
        self._cached[customer_id] = cached  # now the most recently used
        return aggregate

    def put(self, customer_id: str, loaded: LoadedCustomer, catalog: Catalog, now_us: int) -> CustomerAggregate | None:
        """The customer as it is stored, evaluated under its document and ``catalog``; None if it has no document (yet).

        A cached one takes the document and keeps its state, which is the stored one. Raises what was raised when it was read, and
        what the engine raises for it; then it is not cached.
        """
        if loaded.fault is not None:
            raise loaded.fault
        if loaded.document is None:
            self._cached.pop(customer_id, None)
            return None
        cached = self._cached.pop(customer_id, None)
        config = load_customer(loaded.document)
        if cached is None:
            aggregate = CustomerAggregate(config, catalog, loaded.stored, self._settings, now_us)
        else:
            aggregate = cached[0]
            if (aggregate.customer_version, aggregate.catalog_revision) != (config.version, catalog.revision):
                aggregate.reconfigure(config, catalog, now_us)
                GARBAGE.let_go(1)
        self._cached[customer_id] = (aggregate, config)
        return aggregate

    def drop(self, customer_ids: Iterable[str]) -> None:
        for customer_id in customer_ids:
            if self._cached.pop(customer_id, None) is not None:
                GARBAGE.let_go(1)

    def drop_all(self) -> None:
        GARBAGE.let_go(len(self._cached))
        self._cached.clear()

    def __len__(self) -> int:
        return len(self._cached)

    def trim(self) -> None:
        surplus = len(self._cached) - self._limit
        if surplus > 0:
            self.drop([customer_id for customer_id, _ in zip(self._cached, range(surplus), strict=False)])
