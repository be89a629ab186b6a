"""The API's side of customers: documents under their partitions, references in the catalog, changes told to the workers.

A creation touches two hash tags, so it cannot be one script. It takes the references first and notes that in a hash of pending
customers; then it writes the document; then it tells the workers, and removes the note. Whatever dies in between is finished
or undone by ``recover`` (or by whoever is in conflict with it) once the note is ``CLAIM_GRACE_MS`` old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
import orjson
from redis.asyncio import Redis

from connectors.redis.audit import audited
from connectors.redis.batches import pack
from connectors.redis.changes import ANNOUNCE, announce_arguments, broadcast
from connectors.redis.documents import decode_document
from connectors.redis.hashes import FIELDS_AT_ONCE, lengths, read_hashes
from connectors.redis.keys import CatalogKeys, PartitionKeys, partition_of
from connectors.redis.scripts import Script
from connectors.redis.types import Change, KeyClaim, Stale, Taken, Written
from engine.effects import StoredCustomer

CLAIM_GRACE_MS = 30_000
"""How long references without their customer are respected: longer than a request that is still going to write it can take."""
WRITER_MS = 1_000
"""How long somebody who claims a uniqueness key waits for the object of the one who has it."""
_POLL_MS = 50

_REFS = Script("refs", "audit")
_FORGET = Script("forget")
_CONFIGURE = Script("configure", "audit", "once")
_SWAP = Script("swap")

_REFS_KEYS = [CatalogKeys.REFS, CatalogKeys.ALIASES, CatalogKeys.CUSTOMERS, CatalogKeys.PENDING]

_PAGED_READS_MAX = 3


class CustomerStore:
    """``partitions``: P, fixed when the system first starts (CatalogStore.partitions)."""

    def __init__(self, redis: Redis, partitions: int) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._partitions = partitions

    # --- creation and references ----------------------------------------------------------------------------------------

    async def create(
        self, customer_id: str, aliases: Sequence[str], document: bytes, now_ms: int, answer: bytes = b""
    ) -> Taken | None:
        """Take the id and the aliases (all or nothing), write the document as version 1, list it, tell every partition that
        these references now resolve. ``Taken`` names the first reference that is in use, and its customer. ``answer``: see
        connectors.redis.audit.audited; raises Repeated."""
        refs = await self._take_refs(customer_id, aliases, now_ms, create=True)
        if isinstance(refs, Taken):
            return refs
        written = await self.update(customer_id, 0, document, answer)
        assert isinstance(written, Written), f"customer {customer_id} has a document, but no reference led to it"
        await self.announce_refs(customer_id, refs)
        return None

    async def take_aliases(self, customer_id: str, aliases: Sequence[str], now_ms: int) -> Taken | list[str]:
        """Replace the ingest aliases (all or nothing): old ones that are not in the list become free. The document is the
        caller's to ``update`` next, and then the references that have changed are to be announced. Whatever dies in between,
        ``recover`` does both."""
        return await self._take_refs(customer_id, aliases, now_ms, create=False)

    async def announce_refs(self, customer_id: str, refs: Sequence[str]) -> None:
        """Tell every partition that these references have changed; the customer is settled then."""
        if refs:
            await self.broadcast(Change("refs", refs=tuple(refs)))
        await self._redis.hdel(CatalogKeys.PENDING, customer_id)

    async def announce_made(self) -> None:
        """Announce the references of every customer that is made already, however young its note is."""
        for raw_id, raw in (await self._redis.hgetall(CatalogKeys.PENDING)).items():
            if await self.get(raw_id.decode()) is not None:
                await self._settle(raw_id.decode(), raw)

    async def recover(self, now_ms: int) -> int:
        """Finish or undo customers whose creation (or new aliases) was interrupted over 30 s ago; the API calls this at its
        start and now and then. Returns how many there were."""
        pending = await self._redis.hgetall(CatalogKeys.PENDING)
        old = {raw_id.decode(): raw for raw_id, raw in pending.items() if msgpack.unpackb(raw)[0] <= now_ms - CLAIM_GRACE_MS}
        for customer_id, note in old.items():
            await self._settle(customer_id, note)
        return len(old)

    async def _take_refs(self, customer_id: str, aliases: Sequence[str], now_ms: int, *, create: bool) -> list[str] | Taken:
        arguments = pack((customer_id, list(dict.fromkeys(aliases)), now_ms, create))
        while True:
            word, *rest = await audited(
                _REFS,
                self._redis,
                _REFS_KEYS,
                CatalogKeys.AUDIT,
                arguments,
                done=lambda reply: not create and bool(reply[0] == b"ok"),
            )
            if word == b"ok":
                return [ref.decode() for ref in rest[0]]
            taken = Taken(rest[0].decode(), rest[1].decode())
            note = await self._abandoned(taken.id, now_ms)
            if note is None:
                return replace(taken, pending=await self.get(taken.id) is None)
            await self._settle(taken.id, note)

    async def _abandoned(self, customer_id: str, now_ms: int) -> bytes | None:
        """The note of a customer whose references are held, but whose document never came."""
        note: bytes | None = await self._redis.hget(CatalogKeys.PENDING, customer_id)
        if note is None or msgpack.unpackb(note)[0] > now_ms - CLAIM_GRACE_MS:
            return None
        return note if await self.get(customer_id) is None else None

    async def _settle(self, customer_id: str, note: bytes) -> None:
        found = await self.get(customer_id)
        if found is None:
            await _FORGET.run(self._redis, _REFS_KEYS, customer_id, note)
            return
        aliases = await self._redis.hget(CatalogKeys.ALIASES, customer_id)
        await self._rewrite(customer_id, {} if aliases is None else {"ingest_aliases": msgpack.unpackb(aliases)}, only_new=True)
        await self.announce_refs(customer_id, msgpack.unpackb(note)[1])

    async def _rewrite(self, customer_id: str, fields: Mapping[str, Any], *, only_new: bool) -> bool:
        """Write the document with these fields under its next version; False if there is none. ``only_new``: unless it has them.
        Not a part of any request, and so not in the audit log."""
        keys = self._keys(customer_id)
        names = [keys.position, keys.changes, keys.customers, keys.customer(customer_id), keys.audit, keys.audit]
        while (found := await self.get(customer_id)) is not None:
            version, document = found[0], orjson.loads(found[1])
            if only_new and {**document, **fields} == document:
                return True
            changed = orjson.dumps({**document, **fields, "version": version + 1})
            done, _ = await _CONFIGURE.run(self._redis, names, version, changed, customer_id, b"", 0, b"", 0)
            if done:
                return True
        return False

    # --- documents ------------------------------------------------------------------------------------------------------

    async def get(self, customer_id: str) -> tuple[int, bytes] | None:
        """(version, document)."""
        version, document = decode_document(await self._redis.get(self._keys(customer_id).customer(customer_id)))
        return None if document is None else (version, document)

    async def get_many(self, customer_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """(version, document) by id; those that do not exist are left out."""
        pipeline = self._redis.pipeline(transaction=False)
        for customer_id in customer_ids:
            pipeline.get(self._keys(customer_id).customer(customer_id))
        decoded = [decode_document(raw) for raw in await pipeline.execute()]
        pairs = zip(customer_ids, decoded, strict=True)
        return {customer_id: (version, document) for customer_id, (version, document) in pairs if document is not None}

    async def update(self, customer_id: str, expected_version: int, document: bytes, answer: bytes = b"") -> Written | Stale:
        """Replace the document; its version becomes ``expected_version + 1`` and the owning worker evaluates it at once.
        ``answer``: see connectors.redis.audit.audited; raises Repeated."""
        keys = self._keys(customer_id)
        key_names = [keys.position, keys.changes, keys.customers, keys.customer(customer_id)]
        arguments = expected_version, document, customer_id
        done, number = await audited(
            _CONFIGURE, self._redis, key_names, keys.audit, *arguments, done=lambda reply: bool(reply[0]), answer=answer
        )
        return Written(int(number)) if done else Stale(int(number))

    async def list(self, after: str | None, limit: int) -> list[str]:
        """Customer ids in order of creation, after the id ``after`` (None = from the first; an unknown one = none)."""
        rank = -1 if after is None else await self._redis.zrank(CatalogKeys.CUSTOMERS, after)
        if rank is None or limit < 1:
            return []
        ids = await self._redis.zrange(CatalogKeys.CUSTOMERS, rank + 1, rank + limit)
        return [customer_id.decode() for customer_id in ids]

    # --- changes --------------------------------------------------------------------------------------------------------

    async def request_reset(self, customer_id: str, alert_id: str, answer: bytes = b"") -> int:
        """Ask the owning worker to reset one alert's state; returns the partition's new revision. ``answer``: see
        connectors.redis.audit.audited; raises Repeated."""
        keys = self._keys(customer_id)
        change = Change("reset", customer_id=customer_id, alert_id=alert_id)
        names = [keys.position, keys.changes]
        arguments = announce_arguments(change)
        return int(await audited(ANNOUNCE, self._redis, names, keys.audit, *arguments, done=bool, answer=answer))

    async def broadcast(self, change: Change) -> None:
        """Append a change to every partition's stream."""
        await broadcast(self._redis, self._partitions, change)

    # --- what the worker keeps ------------------------------------------------------------------------------------------

    async def state(self, customer_id: str) -> tuple[StoredCustomer, int, int, int]:
        """(state without windows, applied revision, revision, catalog revision), the latter three of its partition."""
        keys = self._keys(customer_id)
        # The position first: a state that is newer than that is taken for one that is still to be evaluated, never the reverse.
        names = ["applied_revision", "revision", "catalog_revision"]
        applied, revision, catalog = await self._redis.hmget(keys.position, names)
        (state,) = await self._whole(keys, [keys.state(customer_id)])
        return StoredCustomer(state), int(applied or 0), int(revision or 0), int(catalog or 0)

    async def windows(
        self, customer_id: str, days: Sequence[int], months: Sequence[str]
    ) -> tuple[dict[int, Mapping[str, str]], dict[str, Mapping[str, str]]]:
        """Hourly windows by day and folded ones by month ("YYYY-MM"), as of one moment; those without usage are left out."""
        keys = self._keys(customer_id)
        names = [keys.windows(customer_id, day) for day in days] + [keys.folded(customer_id, month) for month in months]
        maps = await self._whole(keys, names)
        hourly, folded = maps[: len(days)], maps[len(days) :]
        return (
            {day: fields for day, fields in zip(days, hourly, strict=True) if fields},
            {month: fields for month, fields in zip(months, folded, strict=True) if fields},
        )

    async def stored(self, customer_id: str, days_of: Callable[[Mapping[str, str]], Sequence[int]]) -> StoredCustomer:
        """State and hourly windows as of one moment. ``days_of``: the days whose windows a state has."""
        keys = self._keys(customer_id)
        (before,) = await self._whole(keys, [keys.state(customer_id)])
        while True:
            days = days_of(before)
            names = [keys.state(customer_id), *(keys.windows(customer_id, day) for day in days)]
            state, *windows = await self._whole(keys, names)
            if days_of(state) == days:
                return StoredCustomer(state, dict(zip(days, windows, strict=True)))
            before = state  # a commit came between the two reads

    async def _whole(self, keys: PartitionKeys, names: Sequence[str]) -> Sequence[dict[str, str]]:
        """Hashes of one customer, as of one moment.

        What is too large to be read in one transaction is read in pages, up to three times, until no commit came in between. In a
        partition that never rests one does: then it is what was read last, each field as of some moment of that second.
        """
        sizes = await lengths(self._redis, names)
        if sum(sizes) <= FIELDS_AT_ONCE:
            pipeline = self._redis.pipeline(transaction=True)
            for name in names:
                pipeline.hgetall(name)
            return [_text(fields) for fields in await pipeline.execute()]
        maps: Sequence[dict[bytes, bytes]] = ()
        for _ in range(_PAGED_READS_MAX):
            before = await self._redis.hget(keys.position, "sequence")
            maps = await read_hashes(self._redis, names)
            if await self._redis.hget(keys.position, "sequence") == before:
                break
        return [_text(fields) for fields in maps]

    # --- uniqueness keys of objects in customers' documents -------------------------------------------------------------

    async def claim_key(self, claim: KeyClaim, exists: Callable[[KeyClaim], Awaitable[bool]], now_ms: int) -> Taken | None:
        """Take a uniqueness key for an object that is about to be written into a customer's document, which must have been read
        *before*, and is then to be written by compare-and-set. None = it is yours.

        Keys lie in the catalog's slot, so a claim and its object are two steps, and a claim whose writer died between them must
        end. A holder whose object does not ``exists`` is waited for (``WRITER_MS``: it may be about to write it), and then loses
        its key: the claim is taken over, and the document that it was for gets a new version, so that the compare-and-set of a
        writer who is late fails, finds its claim gone, and gives way. Only then it is certain that the object never comes.
        """
        mine = orjson.dumps({"id": claim.id, "owner": claim.owner, "at": now_ms})
        waited_ms = 0
        while not await self._swap(claim, b"", mine):
            held = await self._redis.hget(CatalogKeys.claims(claim.kind), claim.key)
            if held is None:
                continue
            holder = orjson.loads(held)
            if holder["id"] == claim.id:
                return None
            other = KeyClaim(claim.kind, claim.key, holder["id"], holder["owner"])
            if await exists(other):
                return Taken(claim.key, other.id)
            age_ms = now_ms + waited_ms - holder.get("at", now_ms)
            if age_ms < WRITER_MS and waited_ms < WRITER_MS:
                await asyncio.sleep(_POLL_MS / 1000)
                waited_ms += _POLL_MS
                continue
            if age_ms < CLAIM_GRACE_MS and await self.get(other.owner or "") is None:
                return Taken(claim.key, other.id, pending=True)  # of a customer that is being made: it has no version yet
            if await self._swap(claim, held, mine):
                await self._rewrite(other.owner or "", {}, only_new=False)
                if not await exists(other):
                    return None
                await self._swap(claim, mine, held)
                return Taken(claim.key, other.id)
        return None

    async def release_key(self, claim: KeyClaim) -> bool:
        """Free a key, if the claim's id holds it."""
        held = await self._redis.hget(CatalogKeys.claims(claim.kind), claim.key)
        return held is not None and orjson.loads(held)["id"] == claim.id and await self._swap(claim, held, b"")

    async def _swap(self, claim: KeyClaim, before: bytes, after: bytes) -> bool:
        return bool(await _SWAP.run(self._redis, [CatalogKeys.claims(claim.kind)], claim.key, before, after))

    def _keys(self, customer_id: str) -> PartitionKeys:
        return PartitionKeys(partition_of(customer_id, self._partitions))


def _text(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in fields.items()}
