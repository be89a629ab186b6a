"""The audit log: an entry is written with the change that it tells of, or not at all; streams are read as one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from connectors.redis.audit import CURRENT, AuditDraft, AuditEntry, AuditLog
from connectors.redis.catalog import CatalogStore
from connectors.redis.customers import CustomerStore
from connectors.redis.keys import CatalogKeys, PartitionKeys, partition_of
from connectors.redis.types import KeyClaim, Stale, Taken, Written
from tests.support.redis_stores import NOW_MS, set_aliases

P = 3


@pytest.fixture
async def catalog(redis: Redis) -> CatalogStore:
    catalog = CatalogStore(redis)
    await catalog.fix_partitions(P)
    return catalog


@pytest.fixture
def customers(redis: Redis) -> CustomerStore:
    return CustomerStore(redis, P)


@pytest.fixture
def log(redis: Redis) -> AuditLog:
    return AuditLog(redis, P)


async def read(log: AuditLog, *, newest_first: bool = False, **after: str) -> list[AuditEntry]:
    return [entry async for entry in log.read(0, None, after, newest_first=newest_first)]


def begin(name: str) -> AuditDraft:
    """A request begins. (Each test is a task with a context of its own.)"""
    draft = AuditDraft({"id": name}, 0)
    CURRENT.set(draft)
    return draft


async def test_a_write_that_is_refused_leaves_no_entry(catalog: CatalogStore, log: AuditLog) -> None:
    draft = begin("one")
    assert await catalog.write(7, {"metrics": {"m": b"{}"}}) == Stale(0)
    assert (await read(log), draft.written) == ([], False)
    claim = KeyClaim("alerts", "key", "a")
    assert await catalog.write(0, {"alerts": {"a": b"{}"}}, claims=[claim]) == Written(1)
    assert draft.written
    assert [(each.place, each.fields) for each in await read(log)] == [("c", {"id": "one", "status": "success"})]
    begin("two")
    assert await catalog.write(1, {"alerts": {"b": b"{}"}}, claims=[KeyClaim("alerts", "key", "b")]) == Taken("key", "a")
    assert len(await read(log)) == 1


async def test_a_customers_entry_lies_with_its_document(redis: Redis, customers: CustomerStore, log: AuditLog) -> None:
    begin("create")
    assert await customers.create("acme", ["alias"], b"{}", NOW_MS) is None
    assert await redis.xlen(CatalogKeys.AUDIT) == 0, "the references alone are no customer yet"
    assert await redis.xlen(PartitionKeys(partition_of("acme", P)).audit) == 1
    draft = begin("update")
    assert await customers.update("acme", 7, b"{2}") == Stale(1)
    assert not draft.written
    await customers.update("acme", 1, b"{2}")
    await customers.update("acme", 2, b"{3}")  # the same request's second change
    begin("aliases")
    await set_aliases(customers, "acme", ["other"], NOW_MS)
    begin("reset")
    await customers.request_reset("acme", "alert")
    told = [each.fields["id"] for each in await read(log)]
    assert told[:2] == ["create", "update"]
    assert sorted(told[2:]) == ["aliases", "reset"], "of two streams: within one millisecond either may come first"


async def test_an_endpoints_entry(catalog: CatalogStore, log: AuditLog) -> None:
    begin("put")
    await catalog.put_endpoint("e", b"1")
    draft = begin("replace")
    assert not await catalog.replace_endpoint("e", b"other", b"2")
    assert not draft.written
    assert await catalog.replace_endpoint("e", b"1", b"2")
    begin("delete")
    assert await catalog.delete_endpoint("e")
    assert [each.fields["id"] for each in await read(log)] == ["put", "replace", "delete"]


async def test_changes_outside_of_requests_have_no_entry(catalog: CatalogStore, customers: CustomerStore, log: AuditLog) -> None:
    CURRENT.set(None)
    await catalog.write(0, {"metrics": {"m": b"{}"}})
    await customers.create("acme", [], b"{}", NOW_MS)
    await catalog.put_endpoint("e", b"1")
    assert await read(log) == []


async def add(redis: Redis, stream: str, position: str) -> None:
    await redis.xadd(stream, {"entry": b'{"id":"%s"}' % position.encode()}, id=position)


async def test_streams_are_read_in_one_order(redis: Redis, log: AuditLog) -> None:
    for position in ("5-0", "5-1", "9-0"):
        await add(redis, CatalogKeys.AUDIT, position)
    for position in ("3-0", "5-0", "8-0"):
        await add(redis, PartitionKeys(1).audit, position)
    order = [("1", "3-0"), ("1", "5-0"), ("c", "5-0"), ("c", "5-1"), ("1", "8-0"), ("c", "9-0")]
    assert [each[:2] for each in await read(log)] == order
    assert [each[:2] for each in await read(log, c="5-0")] == [order[0], order[1], *order[3:]]
    newest = [each[:2] for each in await read(log, newest_first=True)]
    assert (sorted(newest), newest[0], newest[-1]) == (sorted(order), order[-1], order[0])
    assert newest.index(("c", "5-1")) < newest.index(("c", "5-0"))
    bounded = [each[:2] async for each in log.read(5, 9, {}, newest_first=False)]
    assert bounded == order[1:5]
    backwards = [each[:2] async for each in log.read(5, 9, {}, newest_first=True)]
    assert sorted(backwards) == sorted(bounded)


async def test_long_streams_are_read_to_the_end(redis: Redis, log: AuditLog) -> None:
    pipeline = redis.pipeline()
    for number in range(1, 1_202):
        pipeline.xadd(CatalogKeys.AUDIT, {"entry": b"{}"}, id=f"{number}-0")
    pipeline.xadd(PartitionKeys(0).audit, {"entry": b"{}"}, id="700-0")
    await pipeline.execute()
    for newest_first in (False, True):
        times = [each.at_ms for each in await read(log, newest_first=newest_first)]
        assert times == sorted(times, reverse=newest_first)
        assert len(times) == 1_202


async def test_old_entries_go(redis: Redis, catalog: CatalogStore, log: AuditLog) -> None:
    for stream in (CatalogKeys.AUDIT, PartitionKeys(2).audit):
        for position in ("1-0", "2-0", "3-0"):
            await add(redis, stream, position)
    await log.trim(3)
    assert [each[:2] for each in await read(log)] == [("2", "3-0"), ("c", "3-0")]
