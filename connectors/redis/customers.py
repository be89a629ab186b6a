"""The API's side of customers: documents under their partitions, references in the catalog, changes told to the workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from redis.asyncio import Redis

from connectors.redis.types import Change, KeyClaim, Stale, Taken, Written
from engine.effects import StoredCustomer


class CustomerStore:
    """``partitions``: P, fixed when the system first starts (CatalogStore.partitions)."""

    def __init__(self, redis: Redis, partitions: int) -> None:
        raise NotImplementedError

    async def create(self, customer_id: str, aliases: Sequence[str], document: bytes, now_ms: int) -> Taken | None:
        """Take the id and the aliases (all or nothing), write the document as version 1, list it, tell every partition that these
        references now resolve. ``Taken`` names the first reference that is in use, and its customer."""
        raise NotImplementedError

    async def get(self, customer_id: str) -> tuple[int, bytes] | None:
        """(version, document)."""
        raise NotImplementedError

    async def get_many(self, customer_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        raise NotImplementedError

    async def update(self, customer_id: str, expected_version: int, document: bytes) -> Written | Stale:
        """Replace the document; its version becomes ``expected_version + 1`` and the owning worker evaluates it at once."""
        raise NotImplementedError

    async def set_aliases(self, customer_id: str, aliases: Sequence[str]) -> Taken | None:
        """Replace the ingest aliases (all or nothing): old ones that are not in the list become free. Tells every partition.
        The document is the caller's to ``update`` afterwards."""
        raise NotImplementedError

    async def list(self, after: str | None, limit: int) -> list[str]:
        """Customer ids in order of creation, after the id ``after`` (None = from the first)."""
        raise NotImplementedError

    async def list_reversed(self, before: str | None, limit: int) -> list[str]:
        """Customer ids, newest first."""
        raise NotImplementedError

    async def request_reset(self, customer_id: str, alert_id: str) -> int:
        """Ask the owning worker to reset one alert's state; returns the partition's new revision."""
        raise NotImplementedError

    async def broadcast(self, change: Change) -> None:
        """Append a change to every partition's stream."""
        raise NotImplementedError

    async def state(self, customer_id: str) -> tuple[StoredCustomer, int, int, int]:
        """(state without windows, applied revision, revision, catalog revision), the latter three of its partition."""
        raise NotImplementedError

    async def windows(
        self, customer_id: str, days: Sequence[int], months: Sequence[str]
    ) -> tuple[dict[int, Mapping[str, str]], dict[str, Mapping[str, str]]]:
        """Hourly windows by day and folded ones by month ("YYYY-MM"), as of one moment; those without usage are left out."""
        raise NotImplementedError

    async def claim_key(self, claim: KeyClaim, exists: Callable[[KeyClaim], Awaitable[bool]], now_ms: int) -> Taken | None:
        """Take a uniqueness key for an object that is about to be written into a customer's document.

        None = it is yours. A holder that was claimed over 30 s ago and does not ``exists`` (its writer died) loses it.
        """
        raise NotImplementedError

    async def release_key(self, claim: KeyClaim) -> bool:
        """Free a key, if the claim's id holds it."""
        raise NotImplementedError

    async def recover(self, now_ms: int) -> int:
        """Finish or undo customers whose creation was interrupted over 30 s ago (the API calls this at its start and now and
        then); returns how many there were."""
        raise NotImplementedError
