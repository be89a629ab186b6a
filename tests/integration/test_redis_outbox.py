"""The outbox: nothing is lost when a dispatcher dies, and nothing is taken by two at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from connectors.redis.keys import PartitionKeys
from connectors.redis.outbox import Outbox, read_new
from connectors.redis.types import Committed, Delivery, OutboxDepth, OutboxEntry
from tests.support.redis_stores import NOW_MS, batch_at, entry_of, partition_store, snapshot


async def write(redis: Redis, *entries: OutboxEntry, partition: int = 3) -> Outbox:
    store = partition_store(redis, partition)
    position = await store.claim("worker")
    assert isinstance(await store.commit(batch_at(position, notifications=entries)), Committed)
    outbox = Outbox(redis, partition)
    await outbox.ensure_group()
    return outbox


def retry_of(entry: OutboxEntry, endpoint_id: str = "endpoint-1", due_ms: int = NOW_MS + 1_000, attempts: int = 1) -> Delivery:
    return Delivery(entry, endpoint_id, attempts, first_attempt_ms=NOW_MS, due_ms=due_ms, last_error="status 500")


async def test_entries_are_read_once_in_order_with_every_byte(redis: Redis) -> None:
    written = [entry_of(1, bytes(range(256))), replace(entry_of(2), appended_at_ms=None)]
    outbox = await write(redis, *written)  # before the group existed: it begins at the first entry
    read = await read_new(redis, [outbox], "d1", 10, None)
    assert [replace(entry, entry_id="") for _, entry in read] == written
    assert {box for box, _ in read} == {outbox}
    assert await read_new(redis, [outbox], "d1", 10, None) == []
    assert await read_new(redis, [outbox], "d2", 10, 1) == []


async def test_several_partitions_in_one_read(redis: Redis) -> None:
    boxes = [await write(redis, entry_of(p), entry_of(p + 10), partition=p) for p in range(3)]
    read = await read_new(redis, boxes, "d1", 1, None)
    assert [(box.partition, entry.id) for box, entry in read] == [(p, f"notification-{p}") for p in range(3)]
    assert len(await read_new(redis, boxes, "d1", 10, 100)) == 3


async def test_a_waiting_reader_is_woken(redis: Redis) -> None:
    outbox = await write(redis)
    waiting = asyncio.create_task(read_new(redis, [outbox], "d1", 10, 5_000))
    await asyncio.sleep(0)
    await write(redis, entry_of(1))
    assert [entry.id for _, entry in await waiting] == ["notification-1"]


async def test_a_missing_group_is_an_error_that_ensure_group_mends(redis: Redis) -> None:
    outbox = Outbox(redis, 3)
    with pytest.raises(ResponseError, match="NOGROUP"):
        await read_new(redis, [outbox], "d1", 10, None)
    await outbox.ensure_group()
    await outbox.ensure_group()
    assert await read_new(redis, [outbox], "d1", 10, None) == []


async def test_a_finished_entry_is_gone_and_finished_only_once(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1), entry_of(2))
    ((_, first), (_, second)) = await read_new(redis, [outbox], "d1", 10, None)
    assert await outbox.finish(first.entry_id)
    assert await outbox.depth() == OutboxDepth(1, 0, second.written_at_ms)
    before = await snapshot(redis)
    assert not await outbox.finish(first.entry_id)
    assert not await outbox.finish(first.entry_id, [retry_of(first)])  # the reply was lost: no second life as a retry
    assert await snapshot(redis) == before
    assert (await redis.xpending(outbox.keys.outbox, "dispatcher"))["pending"] == 1


async def test_an_entry_of_a_dead_dispatcher_is_taken_over(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1), entry_of(2))
    read = await read_new(redis, [outbox], "dead", 10, None)
    assert await outbox.autoclaim("d2", 3_600_000, 10) == []  # it may still be at it
    await outbox.finish(read[1][1].entry_id)
    await redis.xdel(outbox.keys.outbox, "1-1")
    assert await outbox.autoclaim("d2", 0, 10) == [read[0][1]]
    assert await outbox.finish(read[0][1].entry_id)
    assert await outbox.autoclaim("d2", 0, 10) == []


async def test_a_pending_entry_that_was_deleted_is_skipped(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1), entry_of(2))
    read = await read_new(redis, [outbox], "dead", 10, None)
    await redis.xdel(outbox.keys.outbox, read[0][1].entry_id)
    assert await outbox.autoclaim("d2", 0, 10) == [read[1][1]]


async def test_failed_first_attempts_become_retries_in_the_same_step(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1, b"\xff\x00body"))
    ((_, entry),) = await read_new(redis, [outbox], "d1", 10, None)
    retries = [retry_of(entry, "endpoint-1", NOW_MS + 1_000), retry_of(entry, "endpoint-2", NOW_MS + 500)]
    assert await outbox.finish(entry.entry_id, retries)
    assert await outbox.depth() == OutboxDepth(0, 2, entry.written_at_ms)
    assert await outbox.next_due_ms() == NOW_MS + 500

    assert await outbox.due(NOW_MS + 499, 10, 30_000) == []
    taken = await outbox.due(NOW_MS + 1_000, 10, 30_000)
    assert taken == [replace(retries[1], lease_ms=NOW_MS + 31_000), replace(retries[0], lease_ms=NOW_MS + 31_000)]


async def test_two_dispatchers_never_hold_the_same_delivery(redis: Redis) -> None:
    entries = [entry_of(i) for i in range(40)]
    outbox = await write(redis, *entries)
    for _, entry in await read_new(redis, [outbox], "d1", 100, None):
        await outbox.finish(entry.entry_id, [retry_of(entry)])
    taken = await asyncio.gather(*(outbox.due(NOW_MS + 1_000, 10, 30_000) for _ in range(6)))
    ids = [delivery.id for some in taken for delivery in some]
    assert len(ids) == len(set(ids)) == 40


async def test_a_lease_that_ran_out_gives_the_delivery_to_another(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1))
    ((_, entry),) = await read_new(redis, [outbox], "d1", 10, None)
    await outbox.finish(entry.entry_id, [retry_of(entry, due_ms=NOW_MS)])
    (slow,) = await outbox.due(NOW_MS, 10, 30_000)
    assert await outbox.due(NOW_MS + 29_999, 10, 30_000) == []
    (other,) = await outbox.due(NOW_MS + 30_000, 10, 30_000)
    assert other.id == slow.id

    before = await snapshot(redis)
    assert not await outbox.retry_again(slow, replace(slow, attempts=2, due_ms=NOW_MS + 99_000))  # its lease is another's
    assert await snapshot(redis) == before
    again = replace(other, attempts=2, due_ms=NOW_MS + 40_000, last_error="timeout", lease_ms=0)
    assert await outbox.retry_again(other, again)
    assert not await outbox.retry_again(other, again)
    assert await outbox.due(NOW_MS + 39_999, 10, 30_000) == []
    (third,) = await outbox.due(NOW_MS + 40_000, 10, 30_000)
    assert replace(third, lease_ms=0) == again

    assert await outbox.retry_done(third)
    assert not await outbox.retry_done(third)
    assert not await outbox.retry_again(third, again)  # what has ended does not come back
    assert await outbox.depth() == OutboxDepth(0, 0, None)
    keys = PartitionKeys(3)
    assert await redis.exists(keys.retries, keys.deliveries, keys.retries_written) == 0


async def test_a_delivery_is_put_back_as_itself_only(redis: Redis) -> None:
    outbox = await write(redis)
    with pytest.raises(ValueError, match="cannot stand for"):
        await outbox.retry_again(retry_of(entry_of(1)), retry_of(entry_of(2)))


async def test_what_no_endpoint_took_expires_by_age(redis: Redis) -> None:
    outbox = await write(redis, *(entry_of(i) for i in range(5)))
    ids = [entry_id for entry_id, _ in await redis.xrange(outbox.keys.outbox)]
    await read_new(redis, [outbox], "d1", 2, None)  # read or not
    last_ms = int(ids[-1].partition(b"-")[0])
    assert await outbox.expire(0, 10) == []
    assert [entry.id for entry in await outbox.expire(last_ms + 1, 3)] == ["notification-0", "notification-1", "notification-2"]
    assert (await outbox.depth()).entries == 2
    assert (await redis.xpending(outbox.keys.outbox, "dispatcher"))["pending"] == 0


async def test_depth_names_the_oldest_of_entries_and_retries(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1), entry_of(2))
    read = await read_new(redis, [outbox], "d1", 10, None)
    await outbox.finish(read[0][1].entry_id, [retry_of(read[0][1])])
    assert await outbox.depth() == OutboxDepth(1, 1, NOW_MS + 1)
    ((delivery),) = await outbox.due(NOW_MS + 1_000, 1, 1)
    await outbox.retry_done(delivery)
    assert await outbox.depth() == OutboxDepth(1, 0, NOW_MS + 2)
