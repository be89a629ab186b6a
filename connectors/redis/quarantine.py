"""What is stored of customers in quarantine: one record each, and a queue of their events.

    {p}:quarantined               hash: customer id -> record (JSON)
    {p}:quarantined:<customer>    list: events, in the order in which they arrived

A customer goes there when the engine raises for it. Both are written by the commit that leaves its delta out, so there is no
moment at which an event is neither counted nor held; and a release counts events and takes them off the queue in one commit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis

from connectors.redis.changes import ANNOUNCE, announce_arguments
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.types import Change
from engine.versions import CURRENT, KEY, check, current

_ERROR_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Record:
    """Why a customer is in quarantine, and what waits for it.

    ``stage``: what was done when it raised: apply, load, reconfigure, advance, reset, collect. ``error``: what was raised.
    ``transaction_id``: the event that was being applied, where that is known. ``since_ms``: when it came here first;
    ``failed_ms``: when it raised last; ``failures``: how often. ``catalog_revision``, ``release``: under which it raised last: it
    is tried again under others. ``events``, ``bytes``: of its queue. ``dead_lettered``: events that found the queue full.
    ``releasing``: it is being tried again. ``resets``: alerts that were to be reset meanwhile. ``without``: transaction ids whose
    events are dead-lettered when it is tried again.
    """

    stage: str
    error: str
    since_ms: int
    failed_ms: int
    transaction_id: str = ""
    failures: int = 1
    catalog_revision: int = 0
    release: str = ""
    events: int = 0
    bytes: int = 0
    dead_lettered: int = 0
    releasing: bool = False
    resets: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def told(error: BaseException) -> str:
    """One line that names an error, at most 500 characters of it."""
    return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX].replace("\n", " ")


def encode_record(record: Record) -> bytes:
    return orjson.dumps(asdict(record))


def decode_record(customer_id: str, raw: bytes) -> Record:
    """Raises StoredByNewerRelease."""
    fields = current("quarantine", customer_id, orjson.loads(raw))
    fields.pop(KEY, None)
    return Record(**{**fields, "resets": tuple(fields["resets"]), "without": tuple(fields["without"])})


class HeldEvent(NamedTuple):
    """``event``: the value of a record of its own. ``seen_id``: what the duplicate filter knows it by (hex).

    The others tell of the record that it came with: ``place`` is its index there, ``origin`` names the record that it came with
    first (topic/partition/offset), before it was moved to this partition."""

    event: bytes
    seen_id: str
    appended_at_ms: int
    topic: str
    partition: int
    offset: int
    place: int
    hops: int
    origin: str
    traceparent: str


def encode_held(held: HeldEvent) -> bytes:
    """One line of JSON about its way, then the event."""
    return orjson.dumps([CURRENT["quarantined event"], *held[1:]]) + b"\n" + held.event


def decode_held(stored: bytes) -> HeldEvent:
    """Raises StoredByNewerRelease."""
    way, _, event = stored.partition(b"\n")  # compact JSON has no line break of its own
    version, *fields = orjson.loads(way)
    check("quarantined event", "", version)
    return HeldEvent(event, *fields)


class QuarantineStore:
    """Quarantine as people look at it: over all partitions, without a claim. ``partitions``: P."""

    def __init__(self, redis: Redis, partitions: int) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._partitions = partitions

    async def counts(self) -> list[int]:
        """How many customers are in quarantine, by partition."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(self._partitions):
            pipeline.hlen(PartitionKeys(partition).quarantined)
        return [int(count) for count in await pipeline.execute()]

    async def records(self) -> dict[str, Record]:
        """Of all customers that are there, those first that came first."""
        found: dict[str, Record] = {}
        for partition in range(self._partitions):
            stored = await self._redis.hgetall(PartitionKeys(partition).quarantined)
            found.update((name.decode(), decode_record(name.decode(), raw)) for name, raw in stored.items())
        return dict(sorted(found.items(), key=lambda item: item[1].since_ms))

    async def record(self, customer_id: str) -> Record | None:
        raw = await self._redis.hget(self._keys(customer_id).quarantined, customer_id)
        return None if raw is None else decode_record(customer_id, raw)

    async def events(self, customer_id: str, limit: int) -> list[HeldEvent]:
        """The oldest of those that wait."""
        stored = await self._redis.lrange(self._keys(customer_id).quarantined_events(customer_id), 0, limit - 1)
        return [decode_held(raw) for raw in stored]

    async def request_release(self, customer_id: str, without: tuple[str, ...] = ()) -> None:
        """Ask the owning worker to try the customer again. ``without``: transaction ids of events to be dead-lettered."""
        keys = self._keys(customer_id)
        change = Change("release", customer_id=customer_id, refs=without)
        await ANNOUNCE.run(self._redis, [keys.position, keys.changes], *announce_arguments(change))

    def _keys(self, customer_id: str) -> PartitionKeys:
        return PartitionKeys(partition_of(customer_id, self._partitions))
