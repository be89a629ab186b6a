"""Writing an object into a customer's document under a uniqueness key: taken first, given back if nothing is written."""

from __future__ import annotations

from collections.abc import Callable

from connectors.http.editing import claim_for_customer, edit_customer
from connectors.http.services import Services
from connectors.redis.types import KeyClaim
from schemas.documents import Document
from schemas.errors import ApiError


async def edit_claiming(
    services: Services, customer_id: str, claim: KeyClaim | None, change: Callable[[Document], Document | None], now_ms: int
) -> Document:
    """As ``edit_customer``. Raises Conflict if another object has the key. ``claim.kind`` is the list of the customer's document
    that the object is put into.

    A key whose write fails without an answer stays taken until it is known to belong to nothing (claim_for_customer)."""
    if claim is None:
        return await edit_customer(services, customer_id, change)
    await claim_for_customer(services, claim, now_ms)
    try:
        return await edit_customer(services, customer_id, change)
    except ApiError:
        await services.customers.release_key(claim)
        raise


def claim_of(kind: str, key: str | None, object_id: str, customer_id: str) -> KeyClaim | None:
    return None if key is None else KeyClaim(kind, key, object_id, customer_id)
