"""The names of all Redis keys, and the one place that knows hash tags.

    {catalog}                 what all customers share
    {<p>}                     all that belongs to partition p of the events topic: one slot, so one script sees it whole

Partition p owns a customer: murmur2(customer id) mod P, the default partitioner of the Java client and of aiokafka.
"""

from __future__ import annotations

from aiokafka.partitioner import murmur2

PREFIX = "tidemark"


def partition_of(customer_id: str, partitions: int) -> int:
    """The partition that owns a customer (Java's ``toPositive(murmur2(key)) % P``)."""
    return int((murmur2(customer_id.encode()) & 0x7FFFFFFF) % partitions)


class CatalogKeys:
    """Keys under the catalog's tag."""

    REVISION = PREFIX + ":{catalog}:revision"  # string: integer
    PARTITIONS = PREFIX + ":{catalog}:partitions"  # string: P, fixed when the system is first started
    REFS = PREFIX + ":{catalog}:refs"  # hash: customer id or ingest alias -> customer id
    ALIASES = PREFIX + ":{catalog}:aliases"  # hash: customer id -> its ingest aliases (MessagePack)
    PENDING = PREFIX + ":{catalog}:pending"  # hash: customer id -> changed references that are not announced yet (MessagePack)
    CUSTOMERS = PREFIX + ":{catalog}:customers"  # zset: customer id by creation time (ms), for listing
    TOKENS = PREFIX + ":{catalog}:tokens"  # hash: sha256 of a bearer token (hex) -> {"name", "created_at"}
    ENDPOINTS = PREFIX + ":{catalog}:endpoints"  # hash: endpoint id -> JSON document

    @staticmethod
    def documents(kind: str) -> str:
        """Hash id -> JSON document. kind: metrics, products, rate_cards, alerts, pricing_units."""
        return f"{PREFIX}:{{catalog}}:{kind}"

    @staticmethod
    def claims(kind: str) -> str:
        """Hash uniqueness key -> JSON {"id", "owner", "at"}. kind: alerts, contracts, rate_card_aliases, ..."""
        return f"{PREFIX}:{{catalog}}:claims:{kind}"

    @staticmethod
    def idempotency(token_hash: str, key: str) -> str:
        """String with TTL: the stored answer of one Idempotency-Key."""
        return f"{PREFIX}:{{catalog}}:idempotency:{token_hash[:16]}:{key}"


class PartitionKeys:
    """Keys of one partition of the events topic."""

    __slots__ = (
        "_base",
        "changes",
        "customers",
        "deliveries",
        "exhausted",
        "outbox",
        "parked",
        "partition",
        "position",
        "retries",
        "retries_written",
        "seen_meta",
        "timers",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._base = f"{PREFIX}:{{{partition}}}"
        self.position = f"{self._base}:position"
        # ^ hash: epoch, owner, next_offset, sequence, revision, applied_revision, catalog_revision, announced_catalog
        self.changes = f"{self._base}:changes"  # stream: configuration changes, ids "<revision>-0"
        self.customers = f"{self._base}:customers"  # set: ids of all customers that this partition owns
        self.timers = f"{self._base}:timers"  # zset: customer id by due time (ms)
        self.outbox = f"{self._base}:outbox"  # stream: notifications to deliver
        self.retries = f"{self._base}:retries"  # zset: delivery id by due time (ms)
        self.retries_written = f"{self._base}:retries_written"  # zset: delivery id by the time its notification was written (ms)
        self.deliveries = f"{self._base}:deliveries"  # hash: delivery id -> delivery that waits for a retry (MessagePack)
        self.exhausted = f"{self._base}:exhausted"  # stream: deliveries that were given up, for people to look at (MessagePack)
        self.parked = f"{self._base}:parked"  # zset: unknown customer reference by time of its first parked event (ms)
        self.seen_meta = f"{self._base}:seen"  # hash: generations of the duplicate filter (see lua/seen.lua)

    def customer(self, customer_id: str) -> str:
        """String: the customer's configuration document (version, line feed, JSON), written by the API."""
        return f"{self._base}:customer:{customer_id}"

    def state(self, customer_id: str) -> str:
        """Hash: the engine's state of the customer."""
        return f"{self._base}:state:{customer_id}"

    def windows(self, customer_id: str, day: int) -> str:
        """Hash: hourly quantities of one UTC day (days since the epoch)."""
        return f"{self._base}:windows:{customer_id}:{day}"

    def folded(self, customer_id: str, month: str) -> str:
        """Hash: daily quantities of one UTC month ("YYYY-MM"), for days whose hours were folded away."""
        return f"{self._base}:folded:{customer_id}:{month}"

    def parked_events(self, ref: str) -> str:
        """List: events (JSON) for a customer reference that nobody owns yet."""
        return f"{self._base}:parked:{ref}"

    def seen(self, generation: int, bucket: int) -> str:
        """Hash: one bucket of the duplicate filter."""
        return f"{self._base}:seen:{generation}:{bucket}"
