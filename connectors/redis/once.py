"""One effect for each Idempotency-Key, whatever dies.

    begin ── first ─► run ─► the script that decides: change + answer, in one step ─► the answer under the key
      │                              ▲
      ├── again ─► is the change made already? (looked for under every hash tag) ── yes ─► its answer
      │                              └── no: run, with the same ids
      ├── running ─► another run has a lease at this moment
      └── answer, other

The key itself lies in the catalog's slot, while a change is made under the tag of what it changes. So the script that makes a
request's decisive change keeps the request's answer beside it (lua/once.lua), and refuses to make it twice. A run that dies
leaves either nothing, or its change together with its answer. Steps before the decisive one (references, uniqueness keys, values
that must be unique) may be done twice, because the ids of what a request makes follow from a seed that is kept with its key: a
second run meets its own claims.

A run holds a lease on its key, prolonged while it lives. It is there for politeness, not for safety: two runs at once make one
change, and both give its answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from redis.asyncio import Redis

from connectors.redis.keys import CatalogKeys, PartitionKeys
from connectors.redis.scripts import Script
from connectors.redis.secrets import UNSEALED, Vault

LEASE_MS = 2_000
"""A retry waits at most so long for a process that died. A request that runs longer prolongs it."""

_BEGIN = Script("key_begin")
_LEASE = Script("key_lease")


class Repeated(Exception):
    """The change of this key is made already. ``answer``: what was kept with it."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Keyed:
    """A run of a request with a key. ``place``: names the key; ``request``: its fingerprint; ``keep_s``: how long the
    key is kept; ``vault``: seals the kept answer; ``run``: tells the runs of one request apart."""

    place: str
    request: str
    keep_s: int
    vault: Vault = field(default=UNSEALED, repr=False)
    seed: str = ""
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def ids(self) -> Callable[[], str]:
        """A source of ids that is the same in each run."""
        seed, numbers = uuid.UUID(self.seed), count()
        return lambda: str(uuid.uuid5(seed, str(next(numbers))))


CURRENT: ContextVar[Keyed | None] = ContextVar("keyed_request", default=None)


@contextmanager
def keyed(request: Keyed) -> Iterator[None]:
    token = CURRENT.set(request)
    try:
        yield
    finally:
        CURRENT.reset(token)


class KeyStore:
    """``partitions``: P."""

    def __init__(self, redis: Redis, partitions: int) -> None:
        self._redis: Any = redis  # its own types name every shape a reply has under any setting
        self._partitions = partitions

    async def begin(self, request: Keyed) -> tuple[str, bytes]:
        """(word, its argument) as lua/key_begin.lua says."""
        arguments = request.request, uuid.uuid4().hex, request.run, LEASE_MS, request.keep_s
        word, *rest = await _BEGIN.run(self._redis, [CatalogKeys.idempotency(request.place)], *arguments)
        return word.decode(), rest[0] if rest else b""

    async def made(self, request: Keyed) -> bytes | None:
        """The answer that was kept with the change of an earlier run, if it got so far."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(CatalogKeys.once(request.place))
        for partition in range(self._partitions):
            pipeline.get(PartitionKeys(partition).once(request.place))
        answer: bytes | None = next((each for each in await pipeline.execute() if each is not None), None)
        return answer

    async def finish(self, request: Keyed, answer: bytes) -> None:
        await self._redis.set(CatalogKeys.idempotency(request.place), answer, ex=request.keep_s)

    async def prolong(self, request: Keyed) -> None:
        await self._lease(request, LEASE_MS)

    async def interrupt(self, request: Keyed) -> None:
        """It is not known how the run ended: the same request may come again at once, another one may not have its key."""
        await self._lease(request, 0)

    async def give_back(self, request: Keyed) -> None:
        """The run changed nothing: the key may be used for any request."""
        await self._lease(request, "")

    async def _lease(self, request: Keyed, lease: int | str) -> None:
        await _LEASE.run(self._redis, [CatalogKeys.idempotency(request.place)], request.run, lease)
