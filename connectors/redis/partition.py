"""One partition of the events topic in Redis: its position, customers' states, parked events, timers, and the one commit.

Every write of the owner is guarded by (epoch, sequence, offset, revision), so that each can be sent again after a lost reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from connectors.redis.batches import encode_commit, pack
from connectors.redis.changes import decode_change
from connectors.redis.client import BLOCK_MS_MAX
from connectors.redis.documents import decode_document
from connectors.redis.hashes import FIELDS_AT_ONCE, read_hashes
from connectors.redis.keys import PartitionKeys
from connectors.redis.scripts import Script
from connectors.redis.seen import seen_prefix
from connectors.redis.types import (
    Batch,
    Change,
    Claim,
    Committed,
    LoadedCustomer,
    Parked,
    ParkedSizes,
    Position,
    Prepared,
    Refused,
)
from engine.effects import StoredCustomer

_CLAIM = Script("claim", "position")
_PREPARE = Script("prepare", "position", "seen")
_COMMIT = Script("commit", "position", "seen")
_REWIND = Script("rewind", "position")
_FIND = Script("find", "seen")

_CUSTOMERS_AT_ONCE = 1_000
"""Of one script; it takes about 3 us for each beside what it reads."""

_POSITION_FIELDS = ("epoch", "next_offset", "sequence", "revision", "applied_revision", "catalog_revision")


class PartitionStore:
    """``stored_days``: engine.customer.stored_days (which days' windows belong to a state). No method retries by itself."""

    def __init__(
        self,
        redis: Redis,
        partition: int,
        *,
        dedup_days: float,
        stored_days: Callable[[Mapping[str, str]], Iterable[int]],
    ) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._keys = PartitionKeys(partition)
        self._dedup_days = dedup_days
        self._stored_days = stored_days

    # --- position -------------------------------------------------------------------------------------------------------

    async def claim(self, owner: str) -> Claim:
        """Take the partition: from now on every other epoch is refused. ``owner`` is a name for people."""
        return _position(await _CLAIM.run(self._redis, [self._keys.position], owner))

    async def position(self) -> Position:
        """The stored position, without a claim."""
        return _position(await self._redis.hmget(self._keys.position, _POSITION_FIELDS))

    async def rewind(
        self, epoch: int, expected_sequence: int, next_offset: int, topic_id: str | None = None
    ) -> Committed | Refused:
        """Move the position to another offset, because the log no longer has the stored one. States stay as they are.
        ``topic_id``: of the topic that the offset is of; None leaves what is stored."""
        arguments = epoch, expected_sequence, next_offset, topic_id or ""
        return _outcome(await _REWIND.run(self._redis, [self._keys.position], pack(arguments)))

    async def topic_id(self) -> str | None:
        """Of the topic that the stored offset is of; None = not known."""
        stored: bytes | None = await self._redis.hget(self._keys.position, "topic_id")
        return None if stored is None else stored.decode()

    async def set_topic_id(self, topic_id: str) -> None:
        """Where nothing was read yet, or the position is older than ids were stored."""
        await self._redis.hset(self._keys.position, "topic_id", topic_id)

    # --- batches --------------------------------------------------------------------------------------------------------

    async def prepare(self, epoch: int, seen_ids: Sequence[bytes], customers: Sequence[str], now_ms: int) -> Prepared | Refused:
        """Which ids were seen, and the customers' documents and states; refused (epoch) if the partition has another owner.

        One round trip; a second one only for the windows of customers that have any.
        """
        return await self._prepare(epoch, seen_ids, customers, now_ms)

    async def seen(self, ids: Sequence[bytes], now_ms: int) -> list[bool]:
        """Which of these ids (12 bytes each) belong to events that were applied, without a claim."""
        prepared = await self._prepare(None, ids, (), now_ms)
        assert isinstance(prepared, Prepared)  # without an epoch nothing is refused
        return prepared.duplicates

    async def load(self, customers: Sequence[str]) -> dict[str, LoadedCustomer]:
        """Documents, states and windows, without a claim."""
        prepared = await self._prepare(None, (), customers, 0)
        assert isinstance(prepared, Prepared)  # without an epoch nothing is refused
        return prepared.customers

    async def commit(self, batch: Batch) -> Committed | Refused:
        """Write the whole batch or nothing. After a lost reply send the same batch again: "offset_ahead" = it was done.

        Raises ValueError for a batch that contradicts itself.
        """
        keys, arguments = encode_commit(self._keys, batch, self._dedup_days)
        return _outcome(await _COMMIT.run(self._redis, keys, arguments))

    async def _prepare(
        self, epoch: int | None, seen_ids: Sequence[bytes], customers: Sequence[str], now_ms: int
    ) -> Prepared | Refused:
        """Many customers come in several scripts. What was written between two of them shows in the position of the last one."""
        asked: Sequence[bytes] = seen_ids
        duplicates = [False] * len(seen_ids)
        loaded: dict[str, LoadedCustomer] = {}
        for start in range(0, max(len(customers), 1), _CUSTOMERS_AT_ONCE):
            some = customers[start : start + _CUSTOMERS_AT_ONCE]
            keys = [self._keys.position, self._keys.seen_meta]
            for customer_id in some:
                keys += (self._keys.customer(customer_id), self._keys.state(customer_id))
            arguments = pack((False if epoch is None else epoch, now_ms, b"".join(asked), FIELDS_AT_ONCE))
            reply = await _PREPARE.run(self._redis, keys, arguments)
            position = _position(reply[0])
            if len(reply) == 1:
                return Refused("epoch", position)
            for place in reply[1]:
                duplicates[place] = True
            await self._read_large(some, reply[2])
            loaded.update(await self._customers_with_windows(some, reply[2]))
            asked = ()
        return Prepared(position, duplicates, loaded)

    async def _read_large(self, customers: Sequence[str], replies: list[Any]) -> None:
        """Puts the states that were too large for the script (see prepare.lua) into its replies."""
        large = [place for place, state in enumerate(replies[1::2]) if isinstance(state, int)]
        sizes = [replies[2 * place + 1] for place in large]
        states = await read_hashes(self._redis, [self._keys.state(customers[place]) for place in large], sizes)
        for place, fields in zip(large, states, strict=True):
            replies[2 * place + 1] = [part for pair in fields.items() for part in pair]

    async def _customers_with_windows(self, customers: Sequence[str], replies: Sequence[Any]) -> dict[str, LoadedCustomer]:
        """Windows are read after their state, not with it: only the owner writes either, and it is the owner who reads; whoever
        lost the partition in between is refused at its commit."""
        states, wanted, faults = self._read_states(replies[1::2])
        windows: list[dict[int, Mapping[bytes, bytes]]] = [{} for _ in customers]
        if wanted:
            names = [self._keys.windows(customers[i], day) for i, day in wanted]
            for (i, day), fields in zip(wanted, await read_hashes(self._redis, names), strict=True):
                windows[i][day] = fields
        return {
            customer_id: LoadedCustomer(None, StoredCustomer(), faults[i])
            if i in faults
            else _loaded(replies[2 * i], states[i], windows[i])
            for i, customer_id in enumerate(customers)
        }

    def _read_states(self, replies: Sequence[Any]) -> tuple[list[Mapping[str, str]], list[tuple[int, int]], dict[int, Exception]]:
        """The states, the (place, day) of the windows that belong to them, and what was raised by those that cannot be read."""
        states: list[Mapping[str, str]] = [{} for _ in replies]
        wanted: list[tuple[int, int]] = []
        faults: dict[int, Exception] = {}
        for i, reply in enumerate(replies):
            if not reply:
                continue
            try:
                states[i] = _text_map(reply)
                wanted += [(i, day) for day in self._stored_days(states[i])]
            except Exception as error:  # noqa: BLE001 - of one customer: the others are read; whoever asked deals with it
                faults[i] = error
        return states, wanted, faults

    # --- configuration --------------------------------------------------------------------------------------------------

    async def changes(self, after_revision: int, limit: int) -> list[Change]:
        """Changes of the configuration with a revision above ``after_revision``, oldest first."""
        entries = await self._redis.xrange(self._keys.changes, min=f"{after_revision + 1}-0", count=limit)
        return [decode_change(entry_id, fields) for entry_id, fields in entries]

    async def wait_changes(self, after_revision: int, block_ms: int) -> bool:
        """Wait until there is a change above ``after_revision``; False after ``block_ms`` (1..5,000) without one."""
        block = min(max(block_ms, 1), BLOCK_MS_MAX)
        return bool(await self._redis.xread({self._keys.changes: f"{after_revision}-0"}, count=1, block=block))

    async def customers(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Ids of the partition's customers, about ``count`` at a time (SSCAN: an id may come twice); begins and ends at 0."""
        cursor, ids = await self._redis.sscan(self._keys.customers, cursor=cursor, count=count)
        return int(cursor), [customer_id.decode() for customer_id in ids]

    # --- timers and parked events ---------------------------------------------------------------------------------------

    async def due_timers(self, now_ms: int, limit: int) -> list[str]:
        """Customers whose timer is due, earliest first."""
        ids = await self._redis.zrangebyscore(self._keys.timers, "-inf", now_ms, start=0, num=limit)
        return [customer_id.decode() for customer_id in ids]

    async def parked_refs(self, refs: Sequence[str]) -> list[str]:
        """Those of ``refs`` for which events are parked here."""
        if not refs:
            return []
        scores = await self._redis.zmscore(self._keys.parked, list(refs))
        return [ref for ref, score in zip(refs, scores, strict=True) if score is not None]

    async def parked_sizes(self, refs: Sequence[str]) -> ParkedSizes:
        """How much is parked here: in all, and for each of ``refs``."""
        pipeline = self._redis.pipeline(transaction=False)  # only the owner changes them, and it is the owner who asks
        pipeline.hmget(self._keys.parked_total, ["events", "bytes"])
        pipeline.hmget(self._keys.parked_bytes, ["", *refs])
        for ref in refs:
            pipeline.llen(self._keys.parked_events(ref))
        (events, size), (_, *sizes), *counts = await pipeline.execute()
        by_ref = {ref: Parked(count, int(of_ref or 0)) for ref, count, of_ref in zip(refs, counts, sizes, strict=True)}
        return ParkedSizes(Parked(int(events or 0), int(size or 0)), by_ref)

    async def parked_page(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """References with parked events, about ``count`` at a time (ZSCAN: one may come twice); begins and ends at 0."""
        cursor, scored = await self._redis.zscan(self._keys.parked, cursor=cursor, count=count)
        return int(cursor), [ref.decode() for ref, _ in scored]

    async def parked_expired(self, older_than_ms: int, limit: int) -> list[str]:
        """References whose oldest parked event arrived before ``older_than_ms``."""
        refs = await self._redis.zrangebyscore(self._keys.parked, "-inf", f"({older_than_ms}", start=0, num=limit)
        return [ref.decode() for ref in refs]

    async def parked_events(self, refs: Sequence[str], limit: int) -> dict[str, list[bytes]]:
        """The oldest parked events of each of ``refs``, in order. They are removed by a commit (``Batch.unparked``)."""
        pipeline = self._redis.pipeline(transaction=False)
        for ref in refs:
            pipeline.lrange(self._keys.parked_events(ref), 0, limit - 1)
        return dict(zip(refs, await pipeline.execute(), strict=True))

    # --- quarantine -----------------------------------------------------------------------------------------------------

    async def quarantined(self) -> dict[str, bytes]:
        """Customer id -> its record in quarantine."""
        stored = await self._redis.hgetall(self._keys.quarantined)
        return {customer_id.decode(): record for customer_id, record in stored.items()}

    async def held_events(self, customer_id: str, limit: int) -> list[bytes]:
        """The oldest events of a customer in quarantine, in order. They are removed by a commit (``Batch.taken``)."""
        events: list[bytes] = await self._redis.lrange(self._keys.quarantined_events(customer_id), 0, limit - 1)
        return events

    # --- search ---------------------------------------------------------------------------------------------------------

    async def find(self, transaction_ids: Sequence[str]) -> list[list[int]]:
        """For each transaction id the offsets of records that may hold it (32 bits are compared: read the record to be sure)."""
        prefixes = b"".join(map(seen_prefix, transaction_ids))
        found: list[list[int]] = await _FIND.run(self._redis, [self._keys.seen_meta], prefixes)
        return found


def _position(values: Sequence[bytes | None]) -> Position:
    epoch, next_offset, sequence, revision, applied, catalog = values
    return Position(
        epoch=int(epoch or 0),
        next_offset=None if next_offset is None else int(next_offset),
        sequence=int(sequence or 0),
        revision=int(revision or 0),
        applied_revision=int(applied or 0),
        catalog_revision=int(catalog or 0),
    )


def _outcome(reply: Sequence[Any]) -> Committed | Refused:
    """The reply of a guarded script: {'ok', sequence} or {reason, position}."""
    word, rest = reply
    return Committed(int(rest)) if word == b"ok" else Refused(word.decode(), _position(rest))


def _loaded(document: bytes | None, state: Mapping[str, str], windows: Mapping[int, Mapping[bytes, bytes]]) -> LoadedCustomer:
    try:
        days = {day: {field.decode(): value.decode() for field, value in fields.items()} for day, fields in windows.items()}
        return LoadedCustomer(decode_document(document)[1], StoredCustomer(state, days))
    except ValueError as error:  # of one customer, like above
        return LoadedCustomer(None, StoredCustomer(), error)


def _text_map(flat: Sequence[bytes]) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in zip(flat[::2], flat[1::2], strict=True)}
