"""What the parts of one partition's task share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from connectors.kafka.aggregates import Aggregates
from connectors.kafka.catalog import SharedCatalog
from connectors.kafka.commits import Commits
from connectors.kafka.intake import Intake
from connectors.kafka.outgoing import Outgoing
from connectors.kafka.patience import Patience
from connectors.kafka.proofs import Proofs
from connectors.redis.catalog import CatalogStore
from connectors.redis.partition import PartitionStore
from connectors.settings import Settings
from engine.catalog import Catalog
from engine.customer import CustomerAggregate

Clock = Callable[[], int]


@dataclass(slots=True)
class Context:
    """``partitions``: of the topic; ``assigned``: how many of them this process serves at once.

    ``catalog``: the one under which this partition evaluates; it changes only when a change is applied (changes.py)."""

    settings: Settings
    partition: int
    partitions: int
    assigned: int
    store: PartitionStore
    catalog_store: CatalogStore
    shared_catalog: SharedCatalog
    intake: Intake
    aggregates: Aggregates
    outgoing: Outgoing
    proofs: Proofs
    patience: Patience
    commits: Commits
    clock_us: Clock
    catalog: Catalog

    async def bring(self, customer_ids: Iterable[str], now_us: int) -> dict[str, CustomerAggregate]:
        """The customers, from memory or Redis, evaluated under the current catalog; those without a document are left out."""
        ids = list(dict.fromkeys(customer_ids))
        missing = self.aggregates.missing(ids)
        if missing:
            await self.reload(missing, now_us)
        brought = {customer_id: self.aggregates.get(customer_id, self.catalog, now_us) for customer_id in ids}
        return {customer_id: aggregate for customer_id, aggregate in brought.items() if aggregate is not None}

    async def reload(self, customer_ids: Sequence[str], now_us: int) -> dict[str, CustomerAggregate]:
        """The customers under their documents as they are stored now."""
        loaded, _ = await self.patience(lambda: self.store.load(customer_ids))
        found: dict[str, CustomerAggregate] = {}
        for customer_id, customer in loaded.items():
            aggregate = self.aggregates.put(customer_id, customer, self.catalog, now_us)
            if aggregate is not None:
                found[customer_id] = aggregate
        return found

    async def resolve(self, refs: Sequence[str]) -> dict[str, str]:
        resolved, _ = await self.patience(lambda: self.catalog_store.resolve(refs))
        return resolved
