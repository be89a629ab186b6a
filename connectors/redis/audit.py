"""The audit log: one stream under each hash tag, so that a change and its entry are written by one script.

    request ──► AuditDraft (CURRENT) ──► the first script that changes something ──► document + entry

A store needs not know what a request is about: ``audited`` runs its script, which takes the draft of the request under way along
(lua/audit.lua). A change made outside of a request (by the dispatcher, the command line) has no entry.

Entries of all streams are read in one order: by the milliseconds at which Redis took them, then by stream.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis

from connectors.redis import once
from connectors.redis.keys import CatalogKeys, PartitionKeys, once_beside
from connectors.redis.scripts import Argument, Script

CATALOG = "c"
"""The place of the catalog's stream; a partition's is its number."""
_CHUNK = 500

_APPEND = Script("audit_append", "audit")

Fields = dict[str, Any]
Place = str


@dataclass(slots=True)
class AuditDraft:
    """The entry that a request is going to leave. ``fields``: JSON. ``oldest_ms``: what is older has outlived its retention.
    ``written``: the change has been made, and the entry with it; a request leaves one entry of success."""

    fields: Fields
    oldest_ms: int
    written: bool = False


CURRENT: ContextVar[AuditDraft | None] = ContextVar("audit_draft", default=None)


async def audited(
    script: Script,
    redis: Redis,
    keys: Sequence[str],
    log: str,
    *args: Argument,
    done: Callable[[Any], bool],
    answer: bytes = b"",
) -> Any:
    """Runs a script that ends with lua/audit.lua's ``audit``. ``log``: the stream under the script's hash tag. ``done``: whether
    a reply tells that something was changed. ``answer``: of the request under way, where its Idempotency-Key is taken by this
    script (lua/once.lua). Raises Repeated, where it was taken before."""
    request = once.CURRENT.get() if answer else None
    place, keep_s = (log, 0) if request is None else (once_beside(log, request.place), request.keep_s)
    draft = CURRENT.get()
    pending = draft is not None and not draft.written
    entry = orjson.dumps({**draft.fields, "status": "success"}) if draft is not None and pending else b""
    oldest_ms = draft.oldest_ms if draft is not None else 0
    kept = answer if request is not None else b""
    reply = await script.run(redis, [*keys, place, log], *args, kept, keep_s, entry, oldest_ms)
    if isinstance(reply, list) and reply[0] == b"repeated":
        raise once.Repeated(reply[1])
    if draft is not None and pending and done(reply):
        draft.written = True
    return reply


class AuditEntry(NamedTuple):
    """``position``: the entry's id in its stream. ``at_ms``: when Redis took it."""

    place: Place
    position: str
    at_ms: int
    fields: Fields


@dataclass(slots=True)
class _Tail:
    """What is still to be read of one stream."""

    place: Place
    name: str
    bound: str
    buffer: deque[AuditEntry] = field(default_factory=deque)
    exhausted: bool = False


class AuditLog:
    """``partitions``: P."""

    def __init__(self, redis: Redis, partitions: int) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._streams: dict[Place, str] = {CATALOG: CatalogKeys.AUDIT}
        self._streams.update((str(partition), PartitionKeys(partition).audit) for partition in range(partitions))

    async def append(self, fields: Fields, oldest_ms: int) -> None:
        """An entry of its own."""
        await _APPEND.run(self._redis, [CatalogKeys.AUDIT], orjson.dumps(fields), oldest_ms)

    async def trim(self, oldest_ms: int) -> None:
        """Drops what is older: where nothing is written any more, no writing does it."""
        pipeline = self._redis.pipeline(transaction=False)
        for name in self._streams.values():
            pipeline.xtrim(name, minid=oldest_ms, approximate=False)
        await pipeline.execute()

    async def read(
        self, from_ms: int, until_ms: int | None, after: Mapping[Place, str], *, newest_first: bool
    ) -> AsyncIterator[AuditEntry]:
        """Entries of [from_ms, until_ms) in order, those beyond the positions ``after`` only. What comes in meanwhile may be
        left out; a position that was not given yet will not be passed over."""
        lowest, highest = str(from_ms), "+" if until_ms is None else str(until_ms - 1)
        tails = []
        for place, name in self._streams.items():
            position = f"({after[place]}" if place in after else None
            tails.append(_Tail(place, name, position or (highest if newest_first else lowest)))
        end = lowest if newest_first else highest
        await self._fill(tails, end, newest_first)
        sign = -1 if newest_first else 1
        heap = [(_order(tail.buffer[0], sign), index) for index, tail in enumerate(tails) if tail.buffer]
        heapq.heapify(heap)
        while heap:
            _, index = heapq.heappop(heap)
            tail = tails[index]
            yield tail.buffer.popleft()
            if not tail.buffer and not tail.exhausted:
                await self._fill([tail], end, newest_first)
            if tail.buffer:
                heapq.heappush(heap, (_order(tail.buffer[0], sign), index))

    async def _fill(self, tails: Sequence[_Tail], end: str, newest_first: bool) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for tail in tails:
            if newest_first:
                pipeline.xrevrange(tail.name, tail.bound, end, count=_CHUNK)
            else:
                pipeline.xrange(tail.name, tail.bound, end, count=_CHUNK)
        for tail, found in zip(tails, await pipeline.execute(), strict=True):
            for raw_id, fields in found:
                position = raw_id.decode()
                entry = AuditEntry(tail.place, position, int(position.partition("-")[0]), orjson.loads(fields[b"entry"]))
                tail.buffer.append(entry)
            tail.exhausted = len(found) < _CHUNK
            if found:
                tail.bound = f"({tail.buffer[-1].position}"


def _order(entry: AuditEntry, sign: int) -> tuple[int, str, int]:
    """Within a stream the sequence counts the entries of one millisecond."""
    return sign * entry.at_ms, entry.place, sign * int(entry.position.partition("-")[2])
