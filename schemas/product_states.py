"""What a product is called, and how it is tagged, at a moment: its first state, and what updates change from their dates on.

product  {initial: {name, tags?, ...}, updates?: [{starting_at, created_at, created_by, name?, tags?, ...}], current}

Updates count in the order of their dates, those of one date in the order in which they were made; each changes what it names.
``current`` is what holds at the moment of reading: ``as_of`` makes it anew, since nothing is written when a date comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

_OF_THE_UPDATE = frozenset({"starting_at", "created_at", "created_by"})


def states(product: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(since when, state) after each date at which the product changes, oldest first. The first state is not among them."""
    state = dict(first_state(product))
    updates = sorted(product.get("updates") or (), key=lambda each: datetime.fromisoformat(each["starting_at"]))
    for place, update in enumerate(updates):
        state = {**state, **{name: value for name, value in update.items() if name not in _OF_THE_UPDATE}}
        following = updates[place + 1]["starting_at"] if place + 1 < len(updates) else None
        if following is None or datetime.fromisoformat(following) != datetime.fromisoformat(update["starting_at"]):
            yield update["starting_at"], state


def first_state(product: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = product.get("initial") or product["current"]
    return found


def as_of(product: dict[str, Any], now: str) -> dict[str, Any]:
    """The product with ``current`` as it is at an instant (RFC 3339)."""
    moment = datetime.fromisoformat(now)
    current = first_state(product)
    for since, state in states(product):
        if datetime.fromisoformat(since) <= moment:
            current = state
    return {**product, "current": current}
