"""What the parts of one partition's task share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from connectors.kafka.aggregates import Aggregates
from connectors.kafka.catalog import SharedCatalog
from connectors.kafka.commits import Commits
from connectors.kafka.gathered import Gathered, gather
from connectors.kafka.intake import Intake
from connectors.kafka.outgoing import Outgoing
from connectors.kafka.patience import Patience
from connectors.kafka.proofs import Proofs
from connectors.kafka.quarantine import Quarantine
from connectors.redis.catalog import CatalogStore
from connectors.redis.fates import Fate, FateStore
from connectors.redis.partition import PartitionStore
from connectors.redis.types import LoadedCustomer
from connectors.settings import Settings
from engine.catalog import Catalog
from engine.customer import CustomerAggregate

Clock = Callable[[], int]
NO_TRACES: Mapping[int, str] = MappingProxyType({})


@dataclass(slots=True)
class Context:
    """``partitions``: of the topic; ``assigned``: how many of them this process serves at once. ``topic_id``: of the events topic
    as it is now; None where the brokers give no ids.

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
    quarantine: Quarantine
    fates: FateStore
    clock_us: Clock
    catalog: Catalog
    topic_id: str | None

    async def bring(self, customer_ids: Iterable[str], now_us: int) -> dict[str, CustomerAggregate]:
        """The customers, from memory or Redis, evaluated under the current catalog; those without a document are left out, and
        those in quarantine."""
        ids = self.quarantine.outside(dict.fromkeys(customer_ids))
        missing = self.aggregates.missing(ids)
        loaded = await self._load(missing) if missing else {}
        return self.touch(ids, loaded, now_us)

    async def reload(self, customer_ids: Sequence[str], now_us: int) -> dict[str, CustomerAggregate]:
        """The customers under their documents as they are stored now; but for those in quarantine."""
        ids = self.quarantine.outside(customer_ids)
        return self.touch(ids, await self._load(ids), now_us)

    async def _load(self, customer_ids: Sequence[str]) -> dict[str, LoadedCustomer]:
        loaded, _ = await self.patience(lambda: self.store.load(customer_ids))
        return loaded

    def touch(
        self, customer_ids: Iterable[str], loaded: Mapping[str, LoadedCustomer], now_us: int
    ) -> dict[str, CustomerAggregate]:
        """The customers, as they are in ``loaded``, or else in memory, evaluated under the current catalog. Those without a
        document are left out, and those that raise: these are in quarantine from now on."""
        touched: dict[str, CustomerAggregate] = {}
        for customer_id in customer_ids:
            fresh = loaded.get(customer_id)
            try:
                if fresh is None:
                    aggregate = self.aggregates.get(customer_id, self.catalog, now_us)
                else:
                    aggregate = self.aggregates.put(customer_id, fresh, self.catalog, now_us)
            except Exception as error:  # noqa: BLE001 - one customer's: it goes into quarantine, the others go on
                self.fail(customer_id, "reconfigure" if fresh is None else "load", error, now_us)
            else:
                if aggregate is not None:
                    touched[customer_id] = aggregate
        return touched

    def fail(self, customer_id: str, stage: str, error: Exception, now_us: int, transaction_id: str = "") -> None:
        """The engine has raised for the customer. See Quarantine.note."""
        self.aggregates.drop((customer_id,))
        self.quarantine.note(customer_id, stage, error, now_us, self.catalog.revision, transaction_id)

    def gather(self, touched: Mapping[str, CustomerAggregate], now_us: int, traces: Mapping[int, str] = NO_TRACES) -> Gathered:
        """What the customers want written; those that raise are in quarantine from now on."""
        return gather(touched, now_us, traces, lambda customer_id, error: self.fail(customer_id, "collect", error, now_us))

    async def note(self, fates: Iterable[Fate]) -> None:
        """What became of events, for whoever searches for them."""
        noted = list(fates)
        if noted:
            await self.patience(lambda: self.fates.note(noted, self.clock_us() // 1000))

    async def resolve(self, refs: Sequence[str]) -> dict[str, str]:
        resolved, _ = await self.patience(lambda: self.catalog_store.resolve(refs))
        return resolved
