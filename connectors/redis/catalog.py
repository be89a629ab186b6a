"""What all customers share, in Redis: catalog documents under one revision, tokens, webhook endpoints, the partition count."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from connectors.redis.audit import audited
from connectors.redis.batches import pack
from connectors.redis.changes import broadcast
from connectors.redis.keys import CatalogKeys
from connectors.redis.scripts import Script
from connectors.redis.secrets import UNSEALED, Vault
from connectors.redis.types import Change, KeyClaim, Stale, Taken, Written

KINDS = ("metrics", "products", "rate_cards", "alerts", "pricing_units", "custom_field_keys", "packages")

PROOF_KEY_BYTES = 32

_WRITE = Script("catalog_write", "audit", "once")
_ENDPOINT = Script("endpoint", "audit", "once")


class CatalogStore:
    """Documents are JSON as bytes, by kind (``KINDS``) and id."""

    def __init__(self, redis: Redis, vault: Vault = UNSEALED) -> None:
        """``vault``: for those who read or write webhook endpoints."""
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._vault = vault

    # --- documents ------------------------------------------------------------------------------------------------------

    async def revision(self) -> int:
        """Of the catalog; 0 = never written."""
        return int(await self._redis.get(CatalogKeys.REVISION) or 0)

    async def load(self) -> tuple[int, dict[str, dict[str, bytes]]]:
        """The revision and all documents of all kinds, as of one moment."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(CatalogKeys.REVISION)
        for kind in KINDS:
            pipeline.hgetall(CatalogKeys.documents(kind))
        revision, *hashes = await pipeline.execute()
        return int(revision or 0), {kind: _by_id(documents) for kind, documents in zip(KINDS, hashes, strict=True)}

    async def get(self, kind: str, document_id: str) -> bytes | None:
        document: bytes | None = await self._redis.hget(CatalogKeys.documents(kind), document_id)
        return document

    async def get_many(self, kind: str, document_ids: Sequence[str]) -> dict[str, bytes]:
        """By id; those that do not exist are left out."""
        found = await self._redis.hmget(CatalogKeys.documents(kind), document_ids) if document_ids else []
        return {document_id: raw for document_id, raw in zip(document_ids, found, strict=True) if raw is not None}

    async def list(self, kind: str) -> dict[str, bytes]:
        return _by_id(await self._redis.hgetall(CatalogKeys.documents(kind)))

    async def write(
        self,
        expected_revision: int,
        sets: Mapping[str, Mapping[str, bytes]],
        *,
        deletes: Mapping[str, Iterable[str]] | None = None,
        claims: Sequence[KeyClaim] = (),
        releases: Sequence[KeyClaim] = (),
        answer: bytes = b"",
    ) -> Written | Stale | Taken:
        """Set and delete documents, take and free uniqueness keys, all or nothing; then tell every partition (``announce``).

        The new revision is always ``expected_revision + 1``, so documents may name it. On ``Stale``: load again and repeat.
        A key that ``releases`` names is freed before ``claims`` are checked, if its holder is the id it names. ``answer``: see
        connectors.redis.audit.audited; raises Repeated.
        """
        keys = [CatalogKeys.REVISION]

        def place(key: str) -> int:
            if key not in keys:
                keys.append(key)
            return keys.index(key) + 1

        arguments = (
            expected_revision,
            [(place(CatalogKeys.documents(kind)), id_, raw) for kind, by_id in sets.items() for id_, raw in by_id.items()],
            [(place(CatalogKeys.documents(kind)), id_) for kind, ids in (deletes or {}).items() for id_ in ids],
            [(place(CatalogKeys.claims(release.kind)), release.key, release.id) for release in releases],
            [(place(CatalogKeys.claims(c.kind)), c.key, c.id, orjson.dumps({"id": c.id, "owner": c.owner})) for c in claims],
        )
        reply = await audited(
            _WRITE,
            self._redis,
            keys,
            CatalogKeys.AUDIT,
            pack(arguments),
            done=lambda reply: bool(reply[0] == b"ok"),
            answer=answer,
        )
        word, *rest = reply
        if word == b"taken":
            return Taken(rest[0].decode(), rest[1].decode())
        if word == b"stale":
            return Stale(int(rest[0]))
        await self.announce()
        return Written(int(rest[0]))

    async def announce(self) -> None:
        """Tell every partition of the catalog's revision unless it was told. ``write`` does it; the API does it again at its
        start and now and then, in case it died in between."""
        revision, partitions = await self.revision(), await self.partitions()
        if revision and partitions:  # before P is known no worker has begun, and each walks all its customers when it does
            await broadcast(self._redis, partitions, Change("catalog", catalog_revision=revision))

    async def claimed(self, kind: str, key: str) -> str | None:
        """The id of the object that holds a uniqueness key (also: of the rate card with this alias)."""
        claim = await self._redis.hget(CatalogKeys.claims(kind), key)
        return None if claim is None else str(orjson.loads(claim)["id"])

    async def claimed_by(self, kind: str, keys: Sequence[str]) -> dict[str, str]:
        """``claimed`` for many keys; those that nobody holds are left out."""
        claims = await self._redis.hmget(CatalogKeys.claims(kind), list(keys)) if keys else []
        return {key: str(orjson.loads(raw)["id"]) for key, raw in zip(keys, claims, strict=True) if raw is not None}

    # --- customers' references ------------------------------------------------------------------------------------------

    async def resolve(self, refs: Sequence[str]) -> dict[str, str]:
        """Customer ids by customer id or ingest alias; unknown references are left out."""
        if not refs:
            return {}
        owners = await self._redis.hmget(CatalogKeys.REFS, list(refs))
        return {ref: owner.decode() for ref, owner in zip(refs, owners, strict=True) if owner is not None}

    # --- partitions -----------------------------------------------------------------------------------------------------

    async def partitions(self) -> int | None:
        """P, or None before the first start."""
        stored = await self._redis.get(CatalogKeys.PARTITIONS)
        return None if stored is None else int(stored)

    async def fix_partitions(self, partitions: int) -> int:
        """Store P if none is stored; returns what is stored now (the caller refuses to run if it differs)."""
        await self._redis.set(CatalogKeys.PARTITIONS, partitions, nx=True)
        return int(await self._redis.get(CatalogKeys.PARTITIONS))

    async def proof_key(self) -> bytes:
        """This installation's key for proofs (connectors.kafka.proofs), made where there is none yet."""
        await self._redis.set(CatalogKeys.PROOF_KEY, secrets.token_bytes(PROOF_KEY_BYTES), nx=True)
        key: bytes = await self._redis.get(CatalogKeys.PROOF_KEY)
        return key

    async def installation(self) -> str:
        """The id of this installation, that is of all roles on this Redis. Made by whoever asks first."""
        await self._redis.set(CatalogKeys.INSTALLATION, secrets.token_hex(6), nx=True)
        return str((await self._redis.get(CatalogKeys.INSTALLATION)).decode())

    # --- webhook endpoints ----------------------------------------------------------------------------------------------

    async def endpoints(self) -> dict[str, bytes]:
        """Raises SecretsLocked."""
        return {each: self._vault.open(stored) for each, stored in (await self._stored_endpoints()).items()}

    async def endpoint(self, endpoint_id: str) -> bytes | None:
        """Raises SecretsLocked."""
        stored: bytes | None = await self._redis.hget(CatalogKeys.ENDPOINTS, endpoint_id)
        return None if stored is None else self._vault.open(stored)

    async def check_endpoints(self) -> None:
        """Raises SecretsLocked if there are some that the vault cannot open."""
        self._vault.check(await self._stored_endpoints())

    async def seal_endpoints_anew(self) -> int:
        """Seals every endpoint with the vault's first key, whatever it is sealed with now; returns how many there are."""
        count = 0
        for endpoint_id in await self._stored_endpoints():
            while (document := await self.endpoint(endpoint_id)) is not None:
                if await self.replace_endpoint(endpoint_id, document, document):
                    count += 1
                    break
        return count

    async def _stored_endpoints(self) -> dict[str, bytes]:
        return _by_id(await self._redis.hgetall(CatalogKeys.ENDPOINTS))

    async def count_endpoints(self) -> int:
        return int(await self._redis.hlen(CatalogKeys.ENDPOINTS))

    async def endpoints_revision(self) -> int:
        """Another one after every change of an endpoint; 0 = there never was one. Read before the documents it is no younger than
        they are."""
        return int(await self._redis.get(CatalogKeys.ENDPOINTS_REVISION) or 0)

    async def put_endpoint(self, endpoint_id: str, document: bytes, answer: bytes = b"") -> None:
        """Whatever is stored now: for a new endpoint. ``answer``: see connectors.redis.audit.audited; raises Repeated."""
        await self._write_endpoint(endpoint_id, b"", self._vault.seal(document), answer)

    async def replace_endpoint(self, endpoint_id: str, expected: bytes, document: bytes, answer: bytes = b"") -> bool:
        """False: somebody else has changed or deleted it since ``expected`` was read; nothing was written. Raises Repeated."""
        stored: bytes | None = await self._redis.hget(CatalogKeys.ENDPOINTS, endpoint_id)
        if stored is None or self._vault.open(stored) != expected:
            return False
        return await self._write_endpoint(endpoint_id, stored, self._vault.seal(document), answer)

    async def delete_endpoint(self, endpoint_id: str) -> bool:
        return await self._write_endpoint(endpoint_id, b"", b"")

    async def _write_endpoint(self, endpoint_id: str, expected: bytes, document: bytes, answer: bytes = b"") -> bool:
        keys = [CatalogKeys.ENDPOINTS, CatalogKeys.ENDPOINTS_REVISION, CatalogKeys.FAILING]
        arguments = endpoint_id, expected, document
        return bool(await audited(_ENDPOINT, self._redis, keys, CatalogKeys.AUDIT, *arguments, done=bool, answer=answer))

    async def failing(self) -> dict[str, int]:
        """Endpoints of which the latest attempts have all failed: since when (ms)."""
        return {endpoint_id.decode(): int(at) for endpoint_id, at in (await self._redis.hgetall(CatalogKeys.FAILING)).items()}

    async def failed(self, endpoint_id: str, now_ms: int) -> int:
        """An attempt failed; returns since when (ms) they all do."""
        await self._redis.hsetnx(CatalogKeys.FAILING, endpoint_id, now_ms)
        return int(await self._redis.hget(CatalogKeys.FAILING, endpoint_id) or now_ms)

    async def recovered(self, endpoint_id: str) -> None:
        """An attempt succeeded, or someone switched the endpoint on: its time of failure begins anew."""
        await self._redis.hdel(CatalogKeys.FAILING, endpoint_id)

    # --- tokens ---------------------------------------------------------------------------------------------------------

    async def tokens(self) -> dict[str, bytes]:
        """Documents ({"name", "created_at"}) by the token's SHA-256 in hex."""
        return _by_id(await self._redis.hgetall(CatalogKeys.TOKENS))

    async def token(self, token_hash: str) -> bytes | None:
        document: bytes | None = await self._redis.hget(CatalogKeys.TOKENS, token_hash)
        return document

    async def put_token(self, token_hash: str, document: bytes) -> None:
        await self._redis.hset(CatalogKeys.TOKENS, token_hash, document)

    async def delete_token(self, token_hash: str) -> bool:
        return bool(await self._redis.hdel(CatalogKeys.TOKENS, token_hash))


def _by_id(documents: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {document_id.decode(): document for document_id, document in documents.items()}
