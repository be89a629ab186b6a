"""Searching the documents of all customers, for what has no index: rare requests, whose cost grows with the customers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from connectors.http.services import Services
from schemas.documents import Document

_SCAN = 500
"""So many customers are read at a time."""


async def customers_holding(services: Services, text: bytes | None = None) -> AsyncIterator[Document]:
    """All customers in order of creation, or those whose document holds a text."""
    after: str | None = None
    while ids := await services.customers.list(after, _SCAN):
        for _, raw in (await services.customers.get_many(ids)).values():
            if text is None or text in raw:
                yield orjson.loads(raw)
        after = ids[-1]
