"""What a contract's answers and its creation need for its own prices: overrides and usage filters."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.http.editing import read_catalog
from connectors.http.services import Services
from schemas.common import rfc3339
from schemas.contracts import ContractCreate, has_names
from schemas.documents import Document
from schemas.override_rules import with_overrides, with_usage_filter
from schemas.overrides import Named, usage_filter_document


async def with_own_prices(services: Services, body: ContractCreate, contract: Document) -> Document:
    """The new contract's document with the overrides and the usage filter of the body."""
    if not body.overrides and body.usage_filter is None:
        return contract
    catalog, now = await read_catalog(services), contract["created_at"]
    contract = with_overrides(contract, body.overrides, (), catalog, services.new_id, now, "overrides")
    contract = {**contract, "initial_overrides": contract.get("overrides") or []}
    if body.usage_filter is None:
        return contract
    starting_at = contract["starting_at"] if body.usage_filter.starting_at is None else rfc3339(body.usage_filter.starting_at)
    usage_filter = usage_filter_document(body.usage_filter, starting_at, now)
    return with_usage_filter(contract, usage_filter, catalog, "usage_filter.")


async def named_in(services: Services, contracts: Sequence[Document]) -> Named:
    """The names that answers about these contracts show."""
    if not any(has_names(each) for each in contracts):
        return Named({}, {})
    catalog = await read_catalog(services)
    return Named(catalog.all("products"), catalog.all("pricing_units"))
