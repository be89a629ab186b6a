"""The dispatchers' side of a partition: from the outbox stream into the endpoints' lanes, and out of them.

    outbox stream ── admit ──► lane (due zset of one endpoint) ── take ──► a dispatcher ── conclude ──► log
                                        ▲                                       │
                                        └────────────── put_back ───────────────┘

Each arrow is one script: a crash leaves a delivery where it was, or where it was going. ``admit`` moves entries in the order of
the stream, and of those with one order key (endpoint, customer, alert, group) only the earliest is ever due: so the next one
waits for it, through its retries and whichever dispatcher makes them. What a dispatcher takes is leased to it; if the lease runs
out the delivery is due again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgpack
import orjson
import structlog
from redis.asyncio import Redis

from connectors.metrics import WEBHOOK_CONTAINED
from connectors.redis.batches import outbox_fields, pack
from connectors.redis.client import BLOCK_MS_MAX
from connectors.redis.keys import PartitionKeys
from connectors.redis.scripts import Argument, Script
from connectors.redis.types import (
    Admission,
    Delivery,
    Ended,
    Ending,
    ExhaustedNotice,
    OutboxDepth,
    OutboxEntry,
    PutBack,
    is_notice,
)
from engine.versions import CURRENT, KEY, StoredByNewerRelease, check

_VERSION = b"%d" % CURRENT["notification"]

ATTEMPTS_KEPT = 50
"""How many attempts of one delivery the log keeps: the latest ones."""

HELD_MS = 20 * 86_400_000
"""How long the list of what is held for a digest is kept."""

ORDER_LENGTH = 16
"""Of an order key, at the beginning of a place (see lua/lanes.lua)."""

UNREADABLE = "unreadable"
"""Type of an entry whose fields are not those of a notification; its body is what there is of it."""

_log = structlog.get_logger("redis.outbox")

_ADMIT = Script("admit", "lanes")
_TAKE = Script("take", "lanes")
_PUT_BACK = Script("put_back", "lanes")
_CONCLUDE = Script("conclude", "lanes")


Admitted = tuple[int, list[Delivery], int]
"""How many entries were moved, the deliveries that are now leased to the caller, and how many were superseded."""


class Outbox:
    """The outbox of one partition. ``log_ms``: how long attempts are kept; ``unwanted_max``: how many notifications that no
    endpoint wanted the log keeps."""

    def __init__(self, redis: Redis, partition: int, *, log_ms: int = 14 * 86_400_000, unwanted_max: int = 10_000) -> None:
        self.partition = partition
        self.keys = PartitionKeys(partition)
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._log_ms = log_ms
        self._unwanted_max = unwanted_max

    async def admit(self, entries: Sequence[tuple[OutboxEntry, Sequence[Admission]]], now_ms: int, lease_ms: int) -> Admitted:
        """Move entries, which were read from the stream's beginning, into the lanes; what begins at once is leased to the caller
        for ``lease_ms`` (a duration). What another dispatcher has moved is not moved again."""
        return (await admit_all(self._redis, [(self, entries)], now_ms, lease_ms))[0]

    def admission(
        self, entries: Sequence[tuple[OutboxEntry, Sequence[Admission]]], now_ms: int, lease_ms: int
    ) -> tuple[list[str], list[Argument], dict[str, Delivery]]:
        """Keys and arguments of the script, and the deliveries that it may lease, by their id."""
        keys, lease_ends_ms = self.keys, now_ms + lease_ms
        names = [keys.outbox, keys.delivery_lanes, keys.delivery_leases, keys.deliveries, keys.deliveries_at]
        names += [keys.delivery_places, keys.delivery_log, keys.delivery_log_at, keys.delivery_unwanted]
        going = [each for _, parts in entries for each in parts if not each.delivery.unwanted]
        endpoints = list(dict.fromkeys(each.delivery.endpoint_id for each in going))
        due_of = {endpoint_id: place for place, endpoint_id in enumerate(endpoints, len(names) + 1)}
        windows = dict.fromkeys(each.delivery.digest for _, parts in entries for each in parts if each.delivery.digest)
        held_of = {window: place for place, window in enumerate(windows, len(names) + len(endpoints) + 1)}
        placed = {}
        moves = []
        for entry, parts in entries:
            rows = []
            unwanted: tuple[str, bytes] | bool = False
            group = _group(entry) if any(not each.delivery.unwanted for each in parts) else ()
            for each in parts:
                delivery = each.delivery
                if delivery.unwanted:
                    unwanted = delivery.id, encode_delivery(delivery)
                    continue
                delivery = replace(
                    delivery, place=_place(entry, group, delivery.endpoint_id, entry.entry_id), lease_ms=lease_ends_ms
                )
                placed[delivery.id] = delivery
                row = (delivery.id, due_of[delivery.endpoint_id], delivery.endpoint_id, delivery.place, delivery.due_ms)
                held = held_of.get(delivery.digest, False)
                rows.append((*row, each.lease, each.supersede, encode_delivery(delivery), held))
            moves.append((entry.entry_id, rows, unwanted))
        names += [keys.due(endpoint_id) for endpoint_id in endpoints]
        names += [keys.held(window) for window in held_of]
        return names, [now_ms, lease_ends_ms, HELD_MS, pack(moves), self._unwanted_max], placed

    async def due_endpoints(self, now_ms: int) -> list[str]:
        """Endpoints whose lane holds something that is due, the longest due first."""
        return (await due_endpoints(self._redis, [self], now_ms))[0]

    async def take(self, limits: Mapping[str, int], now_ms: int, lease_ms: int) -> list[Delivery]:
        """Take due deliveries, of each endpoint at most as many as ``limits`` says. Each is held for ``lease_ms`` (a duration,
        longer than a request may take); one that is neither concluded nor put back until then is due again."""
        return (await take_all(self._redis, [(self, limits)], now_ms, lease_ms))[0][1] if limits else []

    def taking(self, limits: Mapping[str, int], now_ms: int, lease_ms: int) -> tuple[list[str], list[Argument]]:
        """Keys and arguments of the script."""
        keys = [self.keys.delivery_lanes, self.keys.delivery_leases, self.keys.deliveries, *map(self.keys.due, limits)]
        return keys, [now_ms, now_ms + lease_ms, *(part for pair in limits.items() for part in pair)]

    async def put_back(
        self, taken: Delivery, again: Delivery, now_ms: int, attempt: bytes = b"", *, unless_followed: bool = False
    ) -> PutBack:
        """Put a taken delivery back as ``again``, due at ``again.due_ms``.

        ``attempt``: what the log keeps of it (JSON); empty if none was made. ``unless_followed``: not if another one of its order
        key waits behind it.
        """
        if taken.id != again.id:
            raise ValueError(f"{again.id} cannot stand for {taken.id}")
        keys = self.keys
        names = [*self._names(taken), keys.delivery_log_at, keys.delivery_places]
        arguments: list[Argument] = [again.id, again.endpoint_id, taken.lease_ms, again.due_ms, encode_delivery(again)]
        order = taken.place[:ORDER_LENGTH] if unless_followed else ""
        answer = await _PUT_BACK.run(self._redis, names, *arguments, attempt, ATTEMPTS_KEPT, self._log_ms, now_ms, order)
        return PutBack(answer)

    async def conclude(
        self,
        delivery: Delivery,
        status: str,
        now_ms: int,
        lease_ms: int,
        attempt: bytes = b"",
        notice: ExhaustedNotice | None = None,
    ) -> Ended:
        """The delivery has ended (see ``Ending``); what follows it is leased to the caller for ``lease_ms`` (a duration). A
        repetition changes nothing."""
        ending = Ending(delivery, status, attempt, notice)
        return (await conclude_all(self._redis, [(self, [ending])], now_ms, lease_ms))[0][0]

    def conclusion(self, endings: Sequence[Ending], now_ms: int, lease_ms: int) -> tuple[list[str], list[Argument]]:
        """Keys and arguments of the script."""
        keys = self.keys
        names = [keys.delivery_lanes, keys.delivery_leases, keys.deliveries, keys.delivery_log_at, keys.delivery_log]
        names += [keys.deliveries_at, keys.delivery_places, keys.outbox, keys.notices]
        due_of: dict[str, int] = {}
        rows = []
        for ending in endings:
            delivery = ending.delivery
            endpoint_id = delivery.endpoint_id
            if endpoint_id not in due_of:
                names.append(keys.due(endpoint_id))
                due_of[endpoint_id] = len(names)
            names.append(keys.attempts(delivery.id))
            row = (delivery.id, endpoint_id, due_of[endpoint_id], len(names), delivery.place, ending.status)
            notice = () if ending.notice is None else (ending.notice.pause_ms, *outbox_fields(ending.notice.entry))
            rows.append((*row, encode_delivery(delivery), ending.attempt, *notice))
        return names, [now_ms, now_ms + lease_ms, ATTEMPTS_KEPT, self._log_ms, pack(rows)]

    def _names(self, delivery: Delivery) -> list[str]:
        keys = self.keys
        names = [keys.due(delivery.endpoint_id), keys.delivery_lanes, keys.delivery_leases, keys.deliveries]
        return [*names, keys.attempts(delivery.id)]

    async def deliveries(self, ids: Sequence[str]) -> list[Delivery]:
        """Those that have not ended, without a lease."""
        found = await self._redis.hmget(self.keys.deliveries, ids) if ids else []
        return decode_readable(raw for raw in found if raw is not None)

    async def admitted_before(self, before_ms: int, limit: int) -> list[Delivery]:
        """Deliveries that have not ended and were admitted before ``before_ms``, the oldest first, without a lease."""
        keys = self.keys
        ids = await self._redis.zrangebyscore(keys.deliveries_at, "-inf", f"({before_ms}", start=0, num=limit)
        return await self.deliveries(ids)

    async def added_before(self, older_than_ms: int, limit: int) -> list[OutboxEntry]:
        """The first entries, of those added before ``older_than_ms`` (server time): for notifications that no endpoint took."""
        rows = await self._redis.xrange(self.keys.outbox, max=f"{max(older_than_ms, 1) - 1}", count=limit)
        return [_entry(*row) for row in rows]

    async def depth(self) -> OutboxDepth:
        """How much waits, and since when."""
        keys = self.keys
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xlen(keys.outbox)
        pipeline.hlen(keys.deliveries)
        pipeline.xrange(keys.outbox, count=1)
        pipeline.zrange(keys.deliveries_at, 0, 0)
        entries, deliveries, first, admitted = await pipeline.execute()
        oldest = [_entry(*row).written_at_ms for row in first]
        raw = await self._redis.hget(keys.deliveries, admitted[0]) if admitted else None
        if raw is not None:
            oldest.append(decode_delivery(raw).entry.written_at_ms)
        return OutboxDepth(entries, deliveries, min(oldest, default=None))


async def admit_all(
    redis: Redis,
    entries: Sequence[tuple[Outbox, Sequence[tuple[OutboxEntry, Sequence[Admission]]]]],
    now_ms: int,
    lease_ms: int,
) -> list[Admitted]:
    """``Outbox.admit`` for several partitions in one round trip."""
    prepared = [outbox.admission(each, now_ms, lease_ms) for outbox, each in entries]
    answers = await _ADMIT.run_each(redis, [(keys, arguments) for keys, arguments, _ in prepared])
    admitted = []
    for (_, _, placed), (moved, leased, superseded) in zip(prepared, answers, strict=True):
        admitted.append((moved, [placed[delivery_id.decode()] for delivery_id in leased], superseded))
    return admitted


async def due_endpoints(redis: Redis, outboxes: Sequence[Outbox], now_ms: int) -> list[list[str]]:
    """``Outbox.due_endpoints`` of several partitions in one round trip."""
    pipeline: Any = redis.pipeline(transaction=False)
    for outbox in outboxes:
        pipeline.zrangebyscore(outbox.keys.delivery_lanes, "-inf", now_ms)
    return [[each.decode() for each in found] for found in await pipeline.execute()]


async def take_all(
    redis: Redis, limits: Sequence[tuple[Outbox, Mapping[str, int]]], now_ms: int, lease_ms: int
) -> list[tuple[Outbox, list[Delivery]]]:
    """``Outbox.take`` from several partitions in one round trip."""
    answers = await _TAKE.run_each(redis, [outbox.taking(each, now_ms, lease_ms) for outbox, each in limits])
    lease_ends_ms = now_ms + lease_ms
    taken = [[replace(each, lease_ms=lease_ends_ms) for each in decode_readable(answer)] for answer in answers]
    return [(outbox, each) for (outbox, _), each in zip(limits, taken, strict=True)]


async def conclude_all(
    redis: Redis, endings: Sequence[tuple[Outbox, Sequence[Ending]]], now_ms: int, lease_ms: int
) -> list[list[Ended]]:
    """``Outbox.conclude`` for several partitions in one round trip."""
    calls = [outbox.conclusion(each, now_ms, lease_ms) for outbox, each in endings]
    lease_ends_ms = now_ms + lease_ms
    return [[_ended(answer, lease_ends_ms) for answer in answers] for answers in await _CONCLUDE.run_each(redis, calls)]


def _ended(answer: int | bytes, lease_ends_ms: int) -> Ended:
    if isinstance(answer, int):
        return bool(answer), None
    followers = decode_readable([answer])
    return True, replace(followers[0], lease_ms=lease_ends_ms) if followers else None


async def read_first(
    redis: Redis, outboxes: Sequence[Outbox], count: int, block_ms: int | None
) -> list[tuple[Outbox, list[OutboxEntry]]]:
    """The first entries of several partitions, at most ``count`` of each, in one call; waits up to ``block_ms`` (1..5,000; None =
    not) for one. They stay where they are until they are admitted.

    One that a newer release wrote waits for that release, and so do those behind it in its partition; if there is nothing else,
    StoredByNewerRelease is raised."""
    by_stream = {outbox.keys.outbox: outbox for outbox in outboxes}
    block = None if block_ms is None else min(max(block_ms, 1), BLOCK_MS_MAX)
    streams: dict[str, str] = dict.fromkeys(by_stream, "0-0")
    client: Any = redis
    reply = await client.xread(streams, count=count, block=block)
    found: list[tuple[Outbox, list[OutboxEntry]]] = []
    newer: StoredByNewerRelease | None = None
    for stream, rows in reply or ():
        entries: list[OutboxEntry] = []
        for entry_id, fields in rows:
            version = fields.get(b"v", _VERSION)
            if version != _VERSION:
                key = f"{stream.decode()} {entry_id.decode()}"
                newer = StoredByNewerRelease("notification", key, version.decode("utf-8", "replace"), CURRENT["notification"])
                break
            entries.append(_entry(entry_id, fields))
        if entries:
            found.append((by_stream[stream.decode()], entries))
    if newer is not None and not found:
        raise newer
    return found


def place_of(entry: OutboxEntry, endpoint_id: str, position: str) -> str:
    """The prefix of a delivery's place (see lua/lanes.lua). ``position``: an id of the stream, "<milliseconds>-<number>"."""
    return _place(entry, _group(entry), endpoint_id, position)


def is_readable(body: bytes) -> bool:
    """Whether a notification has the form by which its order is kept. Raises ValueError, AttributeError or TypeError where it is
    something else altogether."""
    properties = orjson.loads(body).get("properties", {})
    return all("key" in part and "value" in part for part in properties.get("group_values", ()))


def _group(entry: OutboxEntry) -> Sequence[Mapping[str, str]]:
    """What tells apart orders of one customer and alert. Notices about one endpoint have an order, those about messages none."""
    properties = orjson.loads(entry.body).get("properties", {})
    if is_notice(entry.type):
        about = entry.id if entry.customer_id else properties["endpoint_id"]
        return [{"key": "notice", "value": about}]
    values: Sequence[Mapping[str, str]] = properties.get("group_values", ())
    return values


def _place(entry: OutboxEntry, group: Sequence[Mapping[str, str]], endpoint_id: str, position: str) -> str:
    key = [endpoint_id, entry.customer_id, entry.alert_id, *((part["key"], part["value"]) for part in group)]
    milliseconds, _, number = position.partition("-")
    return f"{blake2b(orjson.dumps(key), digest_size=8).hexdigest()}:{int(milliseconds):015d}-{int(number):010d}"


def _entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> OutboxEntry:
    """One that cannot be read must not hold up those behind it: it goes on as ``UNREADABLE``, into the log."""
    try:
        return _readable_entry(entry_id, fields)
    except (KeyError, ValueError) as error:
        _log.error("outbox.unreadable", entry_id=entry_id.decode(), error=type(error).__name__)
        WEBHOOK_CONTAINED.labels("stored").inc()
        place = entry_id.decode()
        content = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}
        return OutboxEntry(place, UNREADABLE, "", "", orjson.dumps(content), None, int(place.partition("-")[0]), place)


def _readable_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> OutboxEntry:
    appended = fields[b"appended_at_ms"]
    return OutboxEntry(
        id=fields[b"id"].decode(),
        type=fields[b"type"].decode(),
        customer_id=fields[b"customer_id"].decode(),
        alert_id=fields[b"alert_id"].decode(),
        body=fields[b"body"],
        appended_at_ms=int(appended) if appended else None,
        written_at_ms=int(fields[b"written_at_ms"]),
        entry_id=entry_id.decode(),
        traceparent=fields.get(b"traceparent", b"").decode(),
    )


def encode_delivery(delivery: Delivery) -> bytes:
    entry = delivery.entry
    fields: dict[str, object] = {}
    if delivery.digest:
        fields = {"digest": delivery.digest, "digest_at_ms": delivery.digest_at_ms}
    if delivery.members:
        fields["members"] = delivery.members
    if delivery.unwanted:
        fields["unwanted"] = delivery.unwanted
    packed: bytes = msgpack.packb(
        fields
        | {
            "entry": [getattr(entry, name) for name in OutboxEntry.__slots__],
            "endpoint_id": delivery.endpoint_id,
            "attempts": delivery.attempts,
            "first_attempt_ms": delivery.first_attempt_ms,
            "due_ms": delivery.due_ms,
            "last_error": delivery.last_error,
            "place": delivery.place,
            "fault_ms": delivery.fault_ms,
        }
    )
    return packed


def decode_delivery(raw: bytes) -> Delivery:
    """Raises StoredByNewerRelease, and others for what cannot be read at all."""
    fields = msgpack.unpackb(raw, raw=False)
    check("delivery", str(fields.get("place", "")), fields.pop(KEY, 1))
    members = tuple((partition, delivery_id) for partition, delivery_id in fields.pop("members", ()))
    unwanted = tuple((endpoint_id, why) for endpoint_id, why in fields.pop("unwanted", ()))
    return Delivery(entry=OutboxEntry(*fields.pop("entry")), members=members, unwanted=unwanted, **fields)


def decode_readable(raws: Iterable[bytes]) -> list[Delivery]:
    """One that cannot be read harms no other: it is told and left out. If it was leased, it is looked at again when the lease
    runs out, perhaps by a release that can read it."""
    found = []
    for raw in raws:
        try:
            found.append(decode_delivery(raw))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = str(error) if isinstance(error, StoredByNewerRelease) else type(error).__name__
            _log.error("delivery.unreadable", error=text)
            WEBHOOK_CONTAINED.labels("stored").inc()
    return found
