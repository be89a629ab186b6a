"""Values of custom fields that must be unique among all customers, contracts, commits or credits.

Each such value is claimed in the catalog before the document that holds it is written, and released when it is gone from there.
A claim whose writer died is taken over once it is old (CustomerStore.claim_key).
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from connectors.http.services import Services
from connectors.redis.named import note_names
from connectors.redis.types import KeyClaim, Taken
from schemas.alert_reach import names_in
from schemas.custom_fields import KEYS_KIND, FieldValue, key_id, unique_keys, values_in
from schemas.documents import Document
from schemas.errors import ApiError, Conflict, InProgress


async def read_unique_keys(services: Services) -> frozenset[tuple[str, str]]:
    """(entity, key) of all keys that enforce uniqueness."""
    return unique_keys(orjson.loads(raw) for raw in (await services.catalog.list(KEYS_KIND)).values())


def taken_by(message: str, taken: Taken) -> ApiError:
    """The refusal of a key that somebody else has, or is about to have."""
    if taken.pending:
        return InProgress(f"{message} It is being made.")
    return Conflict(message, taken.id)


def _claim(customer_id: str, value: FieldValue) -> KeyClaim:
    return KeyClaim(f"{KEYS_KIND}/{key_id(value.entity, value.key)}", value.value, value.entity_id, customer_id)


async def claim_values(services: Services, customer_id: str, values: Iterable[FieldValue]) -> list[KeyClaim]:
    """Takes all of these values or none. Raises Conflict if another entity has one."""
    taken: list[KeyClaim] = []
    for value in sorted(values):

        async def exists(holder: KeyClaim, value: FieldValue = value) -> bool:
            found = await services.customers.get(holder.owner or "")
            held = () if found is None else values_in(orjson.loads(found[1]))
            return value._replace(entity_id=holder.id) in held

        claim = _claim(customer_id, value)
        other = await services.customers.claim_key(claim, exists, services.now_us() // 1000)
        if other is not None:
            await release_values(services, taken)
            raise taken_by(f"custom_fields: another {value.entity} has this value of {value.key!r}.", other)
        taken.append(claim)
    return taken


async def release_values(services: Services, claims: Iterable[KeyClaim]) -> None:
    for claim in claims:
        await services.customers.release_key(claim)


async def claim_difference(
    services: Services, customer_id: str, before: Document | None, after: Document
) -> tuple[list[KeyClaim], list[KeyClaim]]:
    """(claims taken for the unique values that ``after`` brings, those of the values that it no longer has: to be released once
    it is written). ``before`` None: a customer that is about to be made."""
    await note_names(services.redis, names_in(after) - (set() if before is None else names_in(before)))
    had = set() if before is None else set(values_in(before))
    has = set(values_in(after))
    if had == has:
        return [], []
    keys = await read_unique_keys(services)
    brought = [each for each in has - had if (each.entity, each.key) in keys]
    gone = [_claim(customer_id, each) for each in had - has if (each.entity, each.key) in keys]
    return await claim_values(services, customer_id, brought), gone
