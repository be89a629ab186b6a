"""The duplicate filter: exact, small, forgetful at the right time, and searchable."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from connectors.redis.keys import PartitionKeys
from connectors.redis.partition import PartitionStore
from connectors.redis.seen import ID_BYTES, IDS_PER_BUCKET, PREFIX_BYTES, seen_id, seen_prefix
from connectors.redis.types import Committed, Prepared
from tests.support.redis_stores import NOW_MS, batch_at, delta_of, partition_store, snapshot

BYTES_PER_ID_MAX = 24  # the budget
DAY_MS = 86_400_000


async def remember(store: PartitionStore, seen: list[tuple[bytes, int]], now_ms: int = NOW_MS) -> None:
    batch = replace(batch_at(await store.position(), seen=seen), now_ms=now_ms)
    assert isinstance(await store.commit(batch), Committed)


async def duplicates(store: PartitionStore, ids: list[bytes], now_ms: int = NOW_MS) -> list[bool]:
    position = await store.position()
    prepared = await store.prepare(position.epoch, ids, [], now_ms)
    assert isinstance(prepared, Prepared)
    return prepared.duplicates


async def filter_keys(redis: Redis) -> list[bytes]:
    return [key async for key in redis.scan_iter(match=PartitionKeys(3).seen_meta + "*", count=1000)]


def test_an_id_depends_on_both_and_its_prefix_on_the_transaction_alone() -> None:
    ids = {seen_id(customer, tx) for customer in ("a", "ab", "") for tx in ("1", "b1", "", "\ud800", "\u00e9" * 500)}
    assert len(ids) == 15
    assert {len(one) for one in ids} == {ID_BYTES}
    assert seen_id("a", "b1") != seen_id("ab", "1")
    assert seen_id("a", "tx")[:PREFIX_BYTES] == seen_id("b", "tx")[:PREFIX_BYTES] == seen_prefix("tx")


async def test_exactly_the_ids_that_were_kept_are_found_while_the_table_grows(redis: Redis) -> None:
    """Against a plain set, in batches of very different sizes, through hundreds of splits."""
    generator = random.Random(7)
    store = partition_store(redis)
    await store.claim("w")
    kept: dict[bytes, int] = {}
    offset = 5_000_000_000  # beyond 32 bits: only the distance to the first is stored
    for size in (1, 2, 300, 7, 2_500, 1, 4_000, 40, 9_000, 13):
        fresh = [seen_id(f"c{generator.randrange(50)}", f"tx-{offset + i}") for i in range(size)]
        await remember(store, [(one, offset + i) for i, one in enumerate(fresh)])
        kept.update((one, offset + i) for i, one in enumerate(fresh))
        offset += size
        asked = generator.sample(sorted(kept), min(len(kept), 700)) + [seen_id("c1", f"never-{offset}-{i}") for i in range(700)]
        generator.shuffle(asked)
        assert await duplicates(store, asked) == [one in kept for one in asked]
    assert await duplicates(store, list(kept)) == [True] * len(kept)
    assert len(await filter_keys(redis)) - 1 >= len(kept) / IDS_PER_BUCKET > 200
    meta = await redis.hgetall(PartitionKeys(3).seen_meta)
    assert int(meta[b"1"].split()[1]) == len(kept)


async def test_the_budget_of_bytes_per_id(redis: Redis) -> None:
    store = partition_store(redis)
    await store.claim("w")
    ids, step = 24_000, 4_000
    for start in range(0, ids, step):
        # offsets as in a log that holds several billion records, other customers' in between
        await remember(store, [(seen_id(f"c{i % 997}", f"tx-{i}"), 3_000_000_000 + 900 * i) for i in range(start, start + step)])
    keys = await filter_keys(redis)
    used = sum([await redis.memory_usage(key, samples=0) for key in keys])
    assert used / ids <= BYTES_PER_ID_MAX
    compact = {await redis.object("encoding", key) for key in keys}
    assert compact <= {b"listpack", b"ziplist"}


async def test_no_key_of_the_filter_stays_for_ever(redis: Redis) -> None:
    store = partition_store(redis, dedup_days=34)
    await store.claim("w")
    await remember(store, [(seen_id("c", f"tx-{i}"), i) for i in range(2_000)])
    await remember(store, [(seen_id("c", f"tx-{i}"), i) for i in range(2_000, 4_000)], NOW_MS + DAY_MS)
    buckets = [key for key in await filter_keys(redis) if key != PartitionKeys(3).seen_meta.encode()]
    assert len(buckets) >= 4_000 / IDS_PER_BUCKET
    for key in buckets:
        left_ms = await redis.pttl(key)
        assert 49 * DAY_MS < left_ms <= 51 * DAY_MS, key  # to the end of its generation, and the window after that


async def test_an_id_is_known_through_its_window_and_generations_end_whole(redis: Redis) -> None:
    """Window of 34 days: generations of 17, each kept 34 days after its end."""
    store = partition_store(redis, dedup_days=34)
    await store.claim("w")
    first, late, second, third = (seen_id("c", name) for name in ("first", "late", "second", "third"))
    await remember(store, [(first, 100)], NOW_MS)
    await remember(store, [(late, 90)], NOW_MS + 17 * DAY_MS - 1)  # the last moment of the first generation; an older offset
    await remember(store, [(second, 300)], NOW_MS + 17 * DAY_MS)
    await remember(store, [(third, 400)], NOW_MS + 40 * DAY_MS)
    assert await store.find(["first", "late", "second", "third", "none"]) == [[100], [90], [300], [400], []]

    just_before_the_end = NOW_MS + 51 * DAY_MS - 1  # the late one's window ends a millisecond later
    assert await duplicates(store, [first, late, second, third], just_before_the_end) == [True] * 4
    assert await duplicates(store, [first, late, second, third], NOW_MS + 51 * DAY_MS) == [False, False, True, True]

    await remember(store, [(seen_id("c", "fourth"), 500)], NOW_MS + 52 * DAY_MS)
    assert sorted(await redis.hkeys(PartitionKeys(3).seen_meta)) == [b"2", b"3", b"current"]
    await remember(store, [(first, 600)], NOW_MS + 52 * DAY_MS)  # a new life
    assert await duplicates(store, [first], NOW_MS + 52 * DAY_MS) == [True]


async def test_an_expired_bucket_is_gone_from_the_server(redis: Redis) -> None:
    store = partition_store(redis, dedup_days=20 / DAY_MS)  # 20 ms
    await store.claim("w")
    await remember(store, [(seen_id("c", f"tx-{i}"), i) for i in range(500)])
    for key in await filter_keys(redis):
        if key != PartitionKeys(3).seen_meta.encode():
            left_ms = await redis.pttl(key)
            assert left_ms <= 30
            assert left_ms != -1


async def test_another_window_does_not_lose_what_is_kept(redis: Redis) -> None:
    long, short = partition_store(redis, dedup_days=34), partition_store(redis, dedup_days=2)
    await long.claim("w")
    await remember(long, [(seen_id("c", "a"), 1)])
    await remember(short, [(seen_id("c", "b"), 2)], NOW_MS + 5 * DAY_MS)
    assert await duplicates(short, [seen_id("c", "a"), seen_id("c", "b")], NOW_MS + 30 * DAY_MS) == [True, True]


async def test_search_names_every_candidate(redis: Redis) -> None:
    """Two customers may use one transaction id; both records are candidates, whatever the number of buckets."""
    store = partition_store(redis)
    await store.claim("w")
    await remember(store, [(seen_id("a", "tx-1"), 11), (seen_id("b", "tx-1"), 12)])
    await remember(store, [(seen_id("a", f"filler-{i}"), 100 + i) for i in range(5_000)])
    assert [sorted(offsets) for offsets in await store.find(["tx-1", "filler-4999", "nothing"])] == [[11, 12], [5_099], []]
    assert await store.find([]) == []


async def test_partitions_do_not_share_ids(redis: Redis) -> None:
    one, other = partition_store(redis, 1), partition_store(redis, 2)
    await one.claim("w")
    await other.claim("w")
    await remember(one, [(seen_id("c", "tx"), 1)])
    assert await duplicates(other, [seen_id("c", "tx")]) == [False]


async def test_a_filter_that_makes_no_sense_stops_a_commit_before_its_first_write(redis: Redis) -> None:
    store = partition_store(redis)
    await store.claim("w")
    await remember(store, [(seen_id("c", "tx"), 1)])
    await redis.hset(PartitionKeys(3).seen_meta, "1", "one two three")
    before = await snapshot(redis)
    with pytest.raises(ResponseError):
        await store.commit(batch_at(await store.position(), 9, deltas={"acme": delta_of(x="1")}, seen=[(seen_id("c", "b"), 2)]))
    assert await snapshot(redis) == before
