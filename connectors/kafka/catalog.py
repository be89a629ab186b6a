"""The catalog as all partitions of a worker process share it: loaded once for each revision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from connectors.redis.catalog import CatalogStore
from engine.catalog import Catalog
from engine.compiled import compile_catalog
from schemas.documents import load_catalog


class CatalogUnusable(Exception):
    """The stored catalog cannot be read or compiled by this release. What customers would be evaluated under is not known, and
    under the former catalog usage would be counted wrongly for good: so nobody is, and usage waits in the log."""

    to_do = "mend the document by the API, or run the release that wrote it; usage waits in the log"


class SharedCatalog:
    """``current`` only grows in revision. Partitions take it over when they have read of the change: see changes.py."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self.current: Catalog | None = None

    async def at_least(self, revision: int) -> Catalog:
        """The catalog at ``revision`` or later (at revision 0: whatever is known). RedisError goes to the caller.

        Raises CatalogUnusable; the next call looks again, since a document that is mended is a new revision."""
        current = self.current
        if current is not None and current.revision >= revision:
            return current
        async with self._lock:
            current = self.current
            if current is None or current.revision < revision:
                stored_revision, parts = await self._store.load()
                current = self.current = _read(stored_revision, parts)
            return current

    def forget(self) -> None:
        """Redis may have gone back: the same revision may come to mean something else."""
        self.current = None

    async def stored_revision(self) -> int:
        return await self._store.revision()


def _read(revision: int, parts: Mapping[str, Mapping[str, bytes]]) -> Catalog:
    try:
        catalog = load_catalog(revision, parts)
        compile_catalog(catalog)  # kept for the customers
    except Exception as error:
        raise CatalogUnusable(f"revision {revision} of the catalog cannot be used: {error}") from error
    return catalog
