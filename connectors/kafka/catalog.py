"""The catalog as all partitions of a worker process share it: loaded once for each revision."""

from __future__ import annotations

import asyncio

from connectors.redis.catalog import CatalogStore
from engine.catalog import Catalog
from schemas.documents import load_catalog


class SharedCatalog:
    """``current`` only grows in revision. Partitions take it over when they have read of the change: see changes.py."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self.current: Catalog | None = None

    async def at_least(self, revision: int) -> Catalog:
        """The catalog at ``revision`` or later (at revision 0: whatever is known). RedisError goes to the caller."""
        current = self.current
        if current is not None and current.revision >= revision:
            return current
        async with self._lock:
            current = self.current
            if current is None or current.revision < revision:
                stored_revision, parts = await self._store.load()
                current = self.current = load_catalog(stored_revision, parts)
            return current

    def forget(self) -> None:
        """Redis may have gone back: the same revision may come to mean something else."""
        self.current = None

    async def stored_revision(self) -> int:
        return await self._store.revision()
