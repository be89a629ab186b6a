"""Reading a customer's state and windows together while its worker commits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from redis.asyncio import Redis

from connectors.redis.customers import CustomerStore
from connectors.redis.types import Committed
from engine.effects import Delta, StoredCustomer
from tests.support.redis_stores import batch_at, days_of, partition_store

PARTITIONS = 1


def listed(state: Mapping[str, str]) -> tuple[int, ...]:
    return tuple(days_of(state))


async def test_state_and_windows_of_one_moment(redis: Redis) -> None:
    """Every commit writes a day that the state lists; whatever is read, is from between two commits."""
    store, customers = partition_store(redis, 0), CustomerStore(redis, PARTITIONS)
    assert await customers.stored("acme", listed) == StoredCustomer()
    position = await store.claim("w")
    done = False

    async def commits() -> None:
        nonlocal done, position
        for day in range(1, 60):
            days = " ".join(map(str, range(1, day + 1)))
            delta = Delta(state_set={"days": days, "last": str(day)}, windows_set={1: {"h": str(day)}, day: {"h": str(day)}})
            assert isinstance(await store.commit(batch_at(position, deltas={"acme": delta})), Committed)
            position = await store.position()
            await asyncio.sleep(0.005)  # days do not begin more often than they can be read
        done = True

    writing = asyncio.create_task(commits())
    reads = 0
    while not done:
        stored = await customers.stored("acme", listed)
        last = int(stored.state.get("last", 0))
        assert set(stored.windows) == set(range(1, last + 1))
        assert all(fields for fields in stored.windows.values())
        assert last == 0 or stored.windows[1]["h"] == str(last)
        reads += 1
    await writing
    assert reads > 1
    assert len((await customers.stored("acme", listed)).windows) == 59


async def test_a_commit_between_the_two_reads(redis: Redis) -> None:
    """The days that the first read finds are out of date: they are read again."""
    store, customers = partition_store(redis, 0), CustomerStore(redis, PARTITIONS)
    fold = Delta(state_set={"days": "2"}, windows_set={2: {"h": "2"}})
    await store.commit(batch_at(await store.claim("w"), deltas={"acme": fold}))
    answers = [(1,)]  # of the first read; then what is so now
    stored = await customers.stored("acme", lambda _: answers.pop() if answers else (2,))
    assert stored.windows == {2: {"h": "2"}}
