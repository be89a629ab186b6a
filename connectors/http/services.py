"""What handlers work with: the stores, the event log, a clock and a source of ids; made once by the server."""

from __future__ import annotations

import uuid
from asyncio import Lock
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from connectors.agreement import PROCESS
from connectors.http.event_log import EventLog
from connectors.redis.catalog import CatalogStore
from connectors.redis.customers import CustomerStore
from connectors.redis.once import KeyStore
from connectors.redis.secrets import UNSEALED, Vault
from connectors.settings import Settings

_CUSTOMER_LOCKS = 64


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Services:
    """``editing``, ``editing_customers``: this process changes the catalog, and each customer, one request at a time: its own
    requests do not make each other stale. (Other processes may; that is what compare-and-set is for.)"""

    settings: Settings
    redis: Redis
    catalog: CatalogStore
    customers: CustomerStore
    events: EventLog
    keys: KeyStore
    partitions: int
    vault: Vault = UNSEALED
    now_us: Callable[[], int] = PROCESS.now_us
    new_id: Callable[[], str] = _new_id
    editing: Lock = field(default_factory=Lock)
    editing_customers: tuple[Lock, ...] = field(default_factory=lambda: tuple(Lock() for _ in range(_CUSTOMER_LOCKS)))

    def editing_customer(self, customer_id: str) -> Lock:
        return self.editing_customers[hash(customer_id) % _CUSTOMER_LOCKS]
