"""What all customers share, in Redis: catalog documents under one revision, tokens, webhook endpoints, the partition count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from redis.asyncio import Redis

from connectors.redis.types import KeyClaim, Stale, Taken, Written

KINDS = ("metrics", "products", "rate_cards", "alerts", "pricing_units")


class CatalogStore:
    """Documents are JSON as bytes, by kind (``KINDS``) and id."""

    def __init__(self, redis: Redis) -> None:
        raise NotImplementedError

    async def revision(self) -> int:
        """Of the catalog; 0 = never written."""
        raise NotImplementedError

    async def load(self) -> tuple[int, dict[str, dict[str, bytes]]]:
        """The revision and all documents of all kinds, as of one moment."""
        raise NotImplementedError

    async def get(self, kind: str, document_id: str) -> bytes | None:
        raise NotImplementedError

    async def list(self, kind: str) -> dict[str, bytes]:
        raise NotImplementedError

    async def write(
        self,
        expected_revision: int,
        sets: Mapping[str, Mapping[str, bytes]],
        *,
        deletes: Mapping[str, Iterable[str]] | None = None,
        claims: Sequence[KeyClaim] = (),
        releases: Sequence[KeyClaim] = (),
    ) -> Written | Stale | Taken:
        """Set and delete documents, take and free uniqueness keys, all or nothing; then tell every partition (``announce``).

        The new revision is always ``expected_revision + 1``, so documents may name it. On ``Stale``: load again and repeat.
        A key that ``releases`` names is freed before ``claims`` are checked, if its holder is the id it names.
        """
        raise NotImplementedError

    async def announce(self) -> None:
        """Tell every partition of the catalog's revision unless it was told. ``write`` does it; the API does it again at its start,
        in case it died in between."""
        raise NotImplementedError

    async def claimed(self, kind: str, key: str) -> str | None:
        """The id of the object that holds a uniqueness key (also: of the rate card with this alias)."""
        raise NotImplementedError

    async def resolve(self, refs: Sequence[str]) -> dict[str, str]:
        """Customer ids by customer id or ingest alias; unknown references are left out."""
        raise NotImplementedError

    async def partitions(self) -> int | None:
        """P, or None before the first start."""
        raise NotImplementedError

    async def fix_partitions(self, partitions: int) -> int:
        """Store P if none is stored; returns what is stored now (the caller refuses to run if it differs)."""
        raise NotImplementedError

    async def endpoints(self) -> dict[str, bytes]:
        raise NotImplementedError

    async def put_endpoint(self, endpoint_id: str, document: bytes) -> None:
        raise NotImplementedError

    async def delete_endpoint(self, endpoint_id: str) -> bool:
        raise NotImplementedError

    async def tokens(self) -> dict[str, bytes]:
        """Documents ({"name", "created_at"}) by the token's SHA-256 in hex."""
        raise NotImplementedError

    async def has_token(self, token_hash: str) -> bool:
        raise NotImplementedError

    async def put_token(self, token_hash: str, document: bytes) -> None:
        raise NotImplementedError

    async def delete_token(self, token_hash: str) -> bool:
        raise NotImplementedError

    async def idempotency_begin(self, token_hash: str, key: str, hold_s: int) -> bytes | None:
        """None: the caller is first and has ``hold_s`` seconds; b"": another request with this key is under way;
        else the stored answer."""
        raise NotImplementedError

    async def idempotency_finish(self, token_hash: str, key: str, answer: bytes, keep_s: int) -> None:
        """Keep the (non-empty) answer for ``keep_s`` seconds."""
        raise NotImplementedError

    async def idempotency_abandon(self, token_hash: str, key: str) -> None:
        """The request failed without an effect: let it be tried again at once."""
        raise NotImplementedError
