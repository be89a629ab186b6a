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
    PROOF_KEY = PREFIX + ":{catalog}:proof_key"  # string: 32 random bytes, made when the system is first started
    INSTALLATION = PREFIX + ":{catalog}:installation"  # string: this installation's id, made when it is first started
    HEARTBEATS = PREFIX + ":{catalog}:heartbeats"  # hash: role, host and process id -> its latest report (JSON)
    REFS = PREFIX + ":{catalog}:refs"  # hash: customer id or ingest alias -> customer id
    ALIASES = PREFIX + ":{catalog}:aliases"  # hash: customer id -> its ingest aliases (MessagePack)
    PENDING = PREFIX + ":{catalog}:pending"  # hash: customer id -> changed references that are not announced yet (MessagePack)
    CUSTOMERS = PREFIX + ":{catalog}:customers"  # zset: customer id by creation time (ms), for listing
    TOKENS = PREFIX + ":{catalog}:tokens"  # hash: sha256 of a bearer token (hex) -> {"name", "created_at"}
    ENDPOINTS = PREFIX + ":{catalog}:endpoints"  # hash: endpoint id -> JSON document
    ENDPOINTS_REVISION = (
        PREFIX + ":{catalog}:endpoints_revision"
    )  # string: integer, another one after every change of an endpoint
    AUDIT = PREFIX + ":{catalog}:audit"  # stream: entries of the audit log, of changes under this tag
    NAMES = PREFIX + ":{catalog}:names"  # set: MessagePack (entity, key) of custom fields and seats that customers have had
    ALERT_NAMES = PREFIX + ":{catalog}:alert_names"  # hash: id of an alert of one customer -> JSON of what it names
    FAILING = PREFIX + ":{catalog}:failing"  # hash: endpoint id -> since when every attempt has failed (ms)

    @staticmethod
    def documents(kind: str) -> str:
        """Hash id -> JSON document. kind: metrics, products, rate_cards, alerts, pricing_units, custom_field_keys, packages."""
        return f"{PREFIX}:{{catalog}}:{kind}"

    @staticmethod
    def claims(kind: str) -> str:
        """Hash uniqueness key -> JSON {"id", "owner", "at"}. kind: alerts, contracts, rate_card_aliases, ..."""
        return f"{PREFIX}:{{catalog}}:claims:{kind}"

    @staticmethod
    def bucket(endpoint_id: str) -> str:
        """String with TTL: the token bucket of an endpoint with a rate limit."""
        return f"{PREFIX}:{{catalog}}:bucket:{endpoint_id}"

    @staticmethod
    def digest_window(endpoint_id: str, alert_id: str) -> str:
        """Hash with TTL: the open window of an endpoint that wants digests (see lua/digest_window.lua)."""
        return f"{PREFIX}:{{catalog}}:digest:{endpoint_id}:{alert_id}"

    @staticmethod
    def idempotency(place: str) -> str:
        """String with TTL: how the request of one Idempotency-Key stands (see lua/key_begin.lua). ``place``: token and key."""
        return f"{PREFIX}:{{catalog}}:idempotency:{place}"

    @staticmethod
    def once(place: str) -> str:
        """String with TTL: the answer of the request whose change under this tag was made under an Idempotency-Key."""
        return f"{PREFIX}:{{catalog}}:once:{place}"


class PartitionKeys:
    """Keys of one partition of the events topic."""

    __slots__ = (
        "_base",
        "audit",
        "changes",
        "customers",
        "deliveries",
        "deliveries_at",
        "delivery_lanes",
        "delivery_leases",
        "delivery_log",
        "delivery_log_at",
        "delivery_places",
        "delivery_unwanted",
        "fates",
        "fates_at",
        "notices",
        "outbox",
        "parked",
        "parked_bytes",
        "parked_total",
        "partition",
        "position",
        "quarantined",
        "seen_meta",
        "timers",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._base = f"{PREFIX}:{{{partition}}}"
        self.position = f"{self._base}:position"
        # ^ hash: epoch, owner, next_offset, sequence, revision, applied_revision, catalog_revision, announced_catalog,
        # committed_at_ms, topic_id
        self.changes = f"{self._base}:changes"  # stream: configuration changes, ids "<revision>-0"
        self.audit = f"{self._base}:audit"  # stream: entries of the audit log, of changes under this tag
        self.customers = f"{self._base}:customers"  # set: ids of all customers that this partition owns
        self.timers = f"{self._base}:timers"  # zset: customer id by due time (ms)
        self.outbox = f"{self._base}:outbox"  # stream: notifications to deliver
        self.deliveries = f"{self._base}:deliveries"  # hash: delivery id -> delivery that has not ended (MessagePack)
        self.deliveries_at = f"{self._base}:deliveries_at"  # zset: id of a delivery that has not ended by its admission (ms)
        self.delivery_lanes = f"{self._base}:delivery_lanes"  # zset: endpoint id by the earliest due time in its lane (ms)
        self.delivery_leases = f"{self._base}:delivery_leases"  # hash: delivery id -> end of a dispatcher's lease (ms)
        self.delivery_places = f"{self._base}:delivery_places"  # zset: who waits for whom (see lua/lanes.lua)
        self.delivery_log = f"{self._base}:delivery_log"  # hash: delivery id -> how it ended, when (ms), the delivery
        self.delivery_log_at = f"{self._base}:delivery_log_at"  # zset: delivery id by its last change (ms)
        self.delivery_unwanted = f"{self._base}:delivery_unwanted"  # zset: those in the log that no endpoint wanted, by time (ms)
        self.notices = f"{self._base}:notices"
        # ^ zset by time (ms): id of a notice that was written, or endpoint id of the latest message.exhausted
        self.parked = f"{self._base}:parked"  # zset: unknown customer reference by the arrival of its oldest parked event (ms)
        self.fates_at = f"{self._base}:fates_at"  # zset: transaction id by the time of its note (see connectors.redis.fates)
        self.fates = f"{self._base}:fates"  # hash: transaction id -> what became of its event
        self.parked_bytes = f"{self._base}:parked_bytes"  # hash: such a reference -> bytes of its parked events
        self.parked_total = f"{self._base}:parked_total"  # hash: events, bytes -> of all of them
        self.quarantined = f"{self._base}:quarantined"  # hash: customer id -> why, since when (see connectors.redis.quarantine)
        self.seen_meta = f"{self._base}:seen"  # hash: generations of the duplicate filter (see lua/seen.lua)

    def once(self, place: str) -> str:
        """As ``CatalogKeys.once``, for changes of this partition."""
        return f"{self._base}:once:{place}"

    def due(self, endpoint_id: str) -> str:
        """Zset: an endpoint's deliveries that may be tried, by the time of their next attempt (ms)."""
        return f"{self._base}:due:{endpoint_id}"

    def held(self, window: str) -> str:
        """List with TTL: ids of deliveries that are held for a digest."""
        return f"{self._base}:held:{window}"

    def digests(self, window: str) -> str:
        """Hash with TTL: the digests of a window (see lua/digest.lua)."""
        return f"{self._base}:digests:{window}"

    def attempts(self, delivery_id: str) -> str:
        """List with TTL: the latest attempts of a delivery (JSON)."""
        return f"{self._base}:attempts:{delivery_id}"

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

    def quarantined_events(self, customer_id: str) -> str:
        """List: events of a customer that is in quarantine, in their order (see connectors.redis.quarantine)."""
        return f"{self._base}:quarantined:{customer_id}"

    def seen(self, generation: int, bucket: int) -> str:
        """Hash: one bucket of the duplicate filter."""
        return f"{self._base}:seen:{generation}:{bucket}"


def once_beside(log: str, place: str) -> str:
    """The ``once`` key under the tag of an audit log."""
    return f"{log.removesuffix('audit')}once:{place}"
