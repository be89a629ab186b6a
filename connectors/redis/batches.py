"""A batch as the arguments of commit.lua: keys, and one MessagePack array (described at the top of that script)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgpack

from connectors.redis.keys import PartitionKeys
from connectors.redis.seen import ID_BYTES, IDS_PER_BUCKET
from connectors.redis.types import Batch, OutboxEntry, Parked
from engine.effects import Delta

CHUNK = 2_000
"""Arguments of one Redis command: Lua's unpack fails beyond its stack of about 8,000 slots."""

_MS_PER_DAY = 86_400_000

Atom = str | bytes | int


def pack(value: object) -> bytes:
    """MessagePack for Redis' cmsgpack: text and bytes both become Lua strings. It knows the raw types of the old format only, and
    fails on the ``bin`` ones."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


class _Writes:
    """Collects commands and the keys that they name."""

    def __init__(self, *first_keys: str) -> None:
        self.keys = list(first_keys)
        self.commands: list[list[Atom]] = []
        self._places: dict[str, int] = {}

    def place(self, key: str) -> int:
        """The key's place in KEYS, counted from 1 as Lua does."""
        place = self._places.get(key)
        if place is None:
            self.keys.append(key)
            place = self._places[key] = len(self.keys)
        return place

    def add(self, command: str, key: str, arguments: Sequence[Atom]) -> None:
        """In chunks; ``CHUNK`` is even, so pairs stay together."""
        place = self.place(key)
        for start in range(0, len(arguments), CHUNK):
            self.commands.append([command, place, *arguments[start : start + CHUNK]])


def encode_commit(keys: PartitionKeys, batch: Batch, dedup_days: float) -> tuple[list[str], bytes]:
    """KEYS and ARGV[1] of commit.lua. Raises ValueError for a batch that no commit may carry."""
    _check(batch)
    writes = _Writes(keys.position, keys.seen_meta, keys.changes, keys.parked, keys.parked_bytes, keys.parked_total)
    for customer_id, delta in batch.deltas.items():
        _add_delta(writes, keys, customer_id, delta)
    _add_timers(writes, keys, batch.deltas.items())
    _add_quarantine(writes, keys, batch)
    parking = _add_parking(writes, keys, batch)
    for entry in batch.notifications:
        writes.add("XADD", keys.outbox, ("*", *outbox_fields(entry)))
    arguments = (
        (batch.epoch, batch.expected_sequence, _or_false(batch.expected_offset), batch.expected_revision),
        (_or_false(batch.next_offset), _or_false(batch.applied_revision), _or_false(batch.catalog_revision)),
        writes.commands,
        parking,
        _filter(batch, dedup_days),
    )
    return writes.keys, pack(arguments)


def outbox_fields(entry: OutboxEntry) -> tuple[Atom, ...]:
    """Fields of an entry in the outbox stream; the same names in the same order, which a stream keeps only once a node."""
    appended: Atom = "" if entry.appended_at_ms is None else entry.appended_at_ms
    trace: tuple[Atom, ...] = ("traceparent", entry.traceparent) if entry.traceparent else ()
    return (
        *("id", entry.id, "type", entry.type, "customer_id", entry.customer_id, "alert_id", entry.alert_id),
        *("body", entry.body, "appended_at_ms", appended, "written_at_ms", entry.written_at_ms),
        *trace,
    )


def _check(batch: Batch) -> None:
    before, after = batch.expected_offset, batch.next_offset
    if before is not None and (after is None or after < before):
        raise ValueError(f"a commit must not move the offset back from {before} to {after}")
    if any(len(seen_id) != ID_BYTES for seen_id, _ in batch.seen):
        raise ValueError(f"an id of the duplicate filter has {ID_BYTES} bytes")
    if batch.applied_revision is not None and batch.applied_revision > batch.expected_revision:
        raise ValueError("a change cannot be applied before it is written")


def _or_false(number: int | None) -> int | bool:
    """Lua's arrays end at nil, so absent numbers travel as false."""
    return False if number is None else number


def _add_delta(writes: _Writes, keys: PartitionKeys, customer_id: str, delta: Delta) -> None:
    if delta.state_deleted:
        writes.add("HDEL", keys.state(customer_id), delta.state_deleted)
    if delta.state_set:
        writes.add("HSET", keys.state(customer_id), _flat(delta.state_set.items()))
    for day in delta.windows_deleted:
        writes.commands.append(["UNLINK", writes.place(keys.windows(customer_id, day))])
    for day, fields in delta.windows_set.items():
        writes.add("HSET", keys.windows(customer_id, day), _flat(fields.items()))
    for month, fields in delta.folded_set.items():
        writes.add("HSET", keys.folded(customer_id, month), _flat(fields.items()))
    for month in delta.folded_deleted:
        writes.commands.append(["UNLINK", writes.place(keys.folded(customer_id, month))])


def _add_timers(writes: _Writes, keys: PartitionKeys, deltas: Iterable[tuple[str, Delta]]) -> None:
    due: list[Atom] = []
    never: list[Atom] = []
    for customer_id, delta in deltas:
        if delta.timer_us is None:
            never.append(customer_id)
        else:
            due += (-(-delta.timer_us // 1000), customer_id)  # rounded up: a timer must not be early
    if due:
        writes.add("ZADD", keys.timers, due)
    if never:
        writes.add("ZREM", keys.timers, never)


def _add_quarantine(writes: _Writes, keys: PartitionKeys, batch: Batch) -> None:
    """A customer that enters or stays has no timer: time passes for it when it is released."""
    for customer_id, count in batch.taken.items():
        writes.commands.append(["LTRIM", writes.place(keys.quarantined_events(customer_id)), count, -1])
    for customer_id, event in batch.held:
        writes.add("RPUSH", keys.quarantined_events(customer_id), (event,))
    kept = [(customer_id, record) for customer_id, record in batch.quarantined.items() if record is not None]
    if kept:
        writes.add("HSET", keys.quarantined, [part for pair in kept for part in pair])
        writes.add("ZREM", keys.timers, [customer_id for customer_id, _ in kept])
    gone = [customer_id for customer_id, record in batch.quarantined.items() if record is None]
    if gone:
        writes.add("HDEL", keys.quarantined, gone)


def _add_parking(writes: _Writes, keys: PartitionKeys, batch: Batch) -> list[tuple[int, str, int, int, int]]:
    for ref, event in batch.parked:
        writes.add("RPUSH", keys.parked_events(ref), (event,))
    changes = {ref: (-left.events, -left.bytes) for ref, left in batch.unparked.items()}
    for ref, event in batch.parked:
        events, size = changes.get(ref, (0, 0))
        changes[ref] = events + 1, size + len(event)
    none = Parked(0, 0)
    return [
        (writes.place(keys.parked_events(ref)), ref, batch.unparked.get(ref, none).events, events, size)
        for ref, (events, size) in changes.items()
    ]


def _flat(items: Iterable[tuple[str, str]]) -> list[Atom]:
    return [part for item in items for part in item]


def _filter(batch: Batch, dedup_days: float) -> tuple[object, ...]:
    """A generation lasts half the window, so that at most three live at once, and ids are kept 1 to 1.5 windows."""
    window_ms = int(dedup_days * _MS_PER_DAY)
    ids = b"".join(seen_id for seen_id, _ in batch.seen)
    return (batch.now_ms, max(window_ms // 2, 1), window_ms, IDS_PER_BUCKET, ids, [offset for _, offset in batch.seen])
