"""What a lane sends to. One module each: ``webhook`` (signed requests), ``slack``, ``topic`` (Kafka), ``console`` (development).

Order, retries, rates, the log and sending again are the lane's: a destination makes one attempt, and says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import Endpoint


class Destination(Protocol):
    """The way to one endpoint. It holds no connection before the first attempt, nor after ``close``, from which the next attempt
    begins anew."""

    @property
    def endpoint(self) -> Endpoint: ...

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        """Send once. ``first_byte`` is called right before it leaves. Never raises for what the network or the receiver does."""
        ...

    async def close(self) -> None: ...
