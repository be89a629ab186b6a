"""The commit: all or nothing, once, and only by the partition's owner."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from connectors.redis.client import connect
from connectors.redis.customers import CustomerStore
from connectors.redis.hashes import FIELDS_AT_ONCE
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.outbox import Outbox
from connectors.redis.seen import seen_id
from connectors.redis.types import Batch, Committed, LoadedCustomer, Parked, ParkedSizes, Position, Prepared, Refused
from connectors.settings import Settings
from engine.effects import Delta, StoredCustomer
from tests.support.redis_server import KINDS, Kind, RedisServer
from tests.support.redis_stores import NOW_MS, batch_at, delta_of, entry_of, partition_store, snapshot


def full_batch(position: Position, next_offset: int) -> Batch:
    """One of everything."""
    return batch_at(
        position,
        next_offset,
        deltas={
            "acme": Delta(
                state_set={"spend": "12.5", "days": "20454"},
                windows_set={20454: {"m:3": "12.5"}},
                folded_set={"2025-11": {"m:7": "1"}},
                timer_us=1_767_229_200_000_001,
            )
        },
        seen=[(seen_id("acme", "tx-1"), 7)],
        parked=[("stranger", b'{"transaction_id": "tx-2"}')],
        notifications=[entry_of(1, b'{"spend": 12.5}')],
    )


async def test_everything_of_a_batch_is_written_together(redis: Redis) -> None:
    store = partition_store(redis)
    claim = await store.claim("worker-1")
    assert claim == Position(epoch=1, next_offset=None, sequence=0, revision=0, applied_revision=0, catalog_revision=0)

    assert await store.commit(full_batch(claim, 8)) == Committed(sequence=1)

    position = await store.position()
    assert (position.next_offset, position.sequence, position.epoch) == (8, 1, 1)
    assert await store.load(["acme"]) == {
        "acme": LoadedCustomer(None, StoredCustomer({"spend": "12.5", "days": "20454"}, {20454: {"m:3": "12.5"}}))
    }
    prepared = await store.prepare(1, [seen_id("acme", "tx-1"), seen_id("acme", "tx-9")], [], NOW_MS)
    assert isinstance(prepared, Prepared)
    assert prepared.duplicates == [True, False]
    assert await store.parked_events(["stranger"], 10) == {"stranger": [b'{"transaction_id": "tx-2"}']}
    assert await store.due_timers(1_767_229_200_000, 10) == []
    assert await store.due_timers(1_767_229_200_001, 10) == ["acme"]  # never before its microsecond
    ((_, fields),) = await redis.xrange(PartitionKeys(3).outbox)
    assert fields[b"body"] == b'{"spend": 12.5}'
    assert await redis.hgetall(PartitionKeys(3).folded("acme", "2025-11")) == {b"m:7": b"1"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"epoch": 1}, "epoch"),  # another worker has claimed since: fault 14
        ({"epoch": 3}, "epoch"),  # Redis lost the claim
        ({"expected_offset": None}, "offset_ahead"),
        ({"expected_offset": 5}, "offset_ahead"),
        ({"expected_offset": 9, "next_offset": 20}, "offset_behind"),
        ({"expected_sequence": 0}, "offset_ahead"),
        ({"expected_sequence": 2}, "offset_behind"),
        ({"expected_revision": 1}, "revision"),
    ],
)
async def test_a_refused_batch_writes_nothing(redis: Redis, changed: dict[str, int | None], reason: str) -> None:
    store = partition_store(redis)
    await store.commit(full_batch(await store.claim("worker-1"), 8))
    position = await store.claim("worker-2")
    batch = replace(full_batch(position, 12), **changed)  # type: ignore[arg-type]
    before = await snapshot(redis)

    assert await store.commit(batch) == Refused(reason, position)  # type: ignore[arg-type]

    assert await snapshot(redis) == before


async def test_an_offset_that_was_lost_altogether_is_behind(redis: Redis) -> None:
    store = partition_store(redis)
    position = await store.claim("worker-1")
    outcome = await store.commit(replace(batch_at(position, 12), expected_offset=8))
    assert outcome == Refused("offset_behind", position)


async def test_a_malformed_batch_writes_nothing(redis: Redis) -> None:
    store = partition_store(redis)
    position = await store.claim("worker-1")
    before = await snapshot(redis)
    with pytest.raises(ValueError, match="must not move the offset back"):
        await store.commit(replace(batch_at(position), expected_offset=8, next_offset=7))
    with pytest.raises(ValueError, match="12 bytes"):
        await store.commit(batch_at(position, 8, seen=[(b"short", 7)]))
    with pytest.raises(ValueError, match="before it is written"):
        await store.commit(batch_at(position, 8, applied_revision=1))
    assert await snapshot(redis) == before


async def test_numbers_of_any_batch_size_fit_into_one_script(redis: Redis) -> None:
    """Lua's stack would end at about 8,000 arguments of one command."""
    store = partition_store(redis)
    claim = await store.claim("worker-1")
    state = {f"field-{i}": str(i) for i in range(9_001)}
    others = {f"customer-{i}": delta_of(timer_us=i * 1000, spend="1") for i in range(9_001)}
    assert isinstance(await store.commit(batch_at(claim, 1, deltas={"acme": Delta(state_set=state), **others})), Committed)
    assert (await store.load(["acme"]))["acme"].stored.state == state
    assert len(await store.due_timers(NOW_MS, 10_000)) == 9_001
    deleted = Delta(state_deleted=list(state))
    await store.commit(batch_at(await store.position(), 2, deltas={"acme": deleted}))
    assert (await store.load(["acme"]))["acme"].stored == StoredCustomer()


async def test_any_bytes_survive(redis: Redis) -> None:
    store = partition_store(redis)
    every_byte = bytes(range(256)) * 300  # longer than 64 KiB: another MessagePack form
    claim = await store.claim("worker-1")
    text = "\0\r\n}{ \u00e9\u2603\U0001f600"
    batch = batch_at(
        claim,
        2**53 - 1,
        deltas={f"customer {text}": delta_of(**{text: text})},
        parked=[(text, every_byte)],
        notifications=[entry_of(1, every_byte)],
    )
    assert await store.commit(batch) == Committed(1)
    assert (await store.position()).next_offset == 2**53 - 1
    assert (await store.load([f"customer {text}"]))[f"customer {text}"].stored.state == {text: text}
    assert await store.parked_events([text], 1) == {text: [every_byte]}
    ((_, fields),) = await redis.xrange(PartitionKeys(3).outbox)
    assert fields[b"body"] == every_byte


# --- a lost reply (fault 15) --------------------------------------------------------------------------------------------


async def test_a_batch_sent_again_is_refused_as_done(redis: Redis) -> None:
    store = partition_store(redis)
    batch = full_batch(await store.claim("worker-1"), 8)
    await store.commit(batch)
    before = await snapshot(redis)
    again = await store.commit(batch)
    assert again == Refused("offset_ahead", await store.position())
    assert await snapshot(redis) == before


async def test_a_commit_without_usage_sent_again_is_refused_as_done(redis: Redis) -> None:
    """The offset does not tell these apart: the sequence does."""
    store = partition_store(redis)
    batch = batch_at(await store.claim("worker-1"), deltas={"acme": delta_of(x="1")}, notifications=[entry_of(1)])
    assert await store.commit(batch) == Committed(1)
    assert await store.commit(batch) == Refused("offset_ahead", await store.position())
    assert await redis.xlen(PartitionKeys(3).outbox) == 1


class DroppingProxy:
    """Stands between client and server; while ``drop`` is set it cuts the connection instead of passing a reply on.

    ``requests_left``: how many more requests it passes on before it cuts the connection; None = any number.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.drop = False
        self.requests_left: int | None = None
        self.replies_dropped = 0

    async def __aenter__(self) -> DroppingProxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        requests = asyncio.create_task(self._pass_on(reader, to_writer))
        while reply := await to_reader.read(65536):
            if self.drop:
                self.replies_dropped += 1
                break
            writer.write(reply)
        writer.close()
        to_writer.close()
        await requests

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.requests_left == 0:
                break
            if self.requests_left is not None:
                self.requests_left -= 1
            writer.write(data)
        writer.close()


async def test_the_client_never_repeats_a_write_by_itself(redis: Redis, redis_server: RedisServer) -> None:
    async with DroppingProxy(redis_server.port) as proxy:
        client = connect(Settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0"))
        await client.incr("counter")
        proxy.drop = True
        with pytest.raises(RedisConnectionError):
            await client.incr("counter")
        assert proxy.replies_dropped == 1
        await client.aclose()
    assert await redis.get("counter") == b"2"


async def test_a_commit_whose_reply_was_lost_counts_once(redis: Redis, redis_server: RedisServer) -> None:
    async with DroppingProxy(redis_server.port) as proxy:
        client = connect(Settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0"))
        store = partition_store(client)
        batch = full_batch(await store.claim("worker-1"), 8)
        other = partition_store(redis, 4)
        await other.commit(batch_at(await other.claim("worker-1"), 1))  # the server knows the script: one request, one reply
        proxy.drop = True
        with pytest.raises(RedisConnectionError):
            await store.commit(batch)
        proxy.drop = False
        outcome = await store.commit(batch)
        assert isinstance(outcome, Refused)
        assert outcome.reason == "offset_ahead"
        await client.aclose()
    assert await redis.xlen(PartitionKeys(3).outbox) == 1
    assert await redis.llen(PartitionKeys(3).parked_events("stranger")) == 1


@pytest.mark.parametrize("requests", range(4))
async def test_a_worker_that_dies_after_any_request_leaves_no_half_of_a_commit(
    redis: Redis, redis_server: RedisServer, requests: int
) -> None:
    """Faults 7 and 8: state and notification and offset are there together, or not at all."""
    async with DroppingProxy(redis_server.port) as proxy:
        client = connect(Settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0"))
        store, other = partition_store(client), partition_store(redis, 4)
        await other.commit(batch_at(await other.claim("worker-1"), 1))  # the server knows the script
        batch = full_batch(await store.claim("worker-1"), 8)
        proxy.requests_left = requests
        with contextlib.suppress(RedisConnectionError):
            await store.commit(batch)
        await client.aclose()

    keys = PartitionKeys(3)
    state, notified, parked, timer, (offset, sequence) = (
        await redis.exists(keys.state("acme"), keys.windows("acme", 20454), keys.folded("acme", "2025-11")) == 3,
        await redis.xlen(keys.outbox) == 1,
        await redis.llen(keys.parked_events("stranger")) == 1,
        await redis.zscore(keys.timers, "acme") is not None,
        await redis.hmget(keys.position, "next_offset", "sequence"),
    )
    done = requests > 0
    assert (state, notified, parked, timer, offset == b"8", sequence == b"1") == (done,) * 6


def test_credentials_do_not_show(redis_server: RedisServer) -> None:
    client = connect(Settings(redis_url=f"redis://someone:hunter2@127.0.0.1:{redis_server.port}/0"))
    assert "hunter2" not in repr(client)
    assert "hunter2" not in repr(Settings(redis_url="redis://someone:hunter2@127.0.0.1/0"))


# --- owners (fault 14) --------------------------------------------------------------------------------------------------


async def test_a_zombie_reads_and_writes_nothing(redis: Redis) -> None:
    zombie, owner = partition_store(redis), partition_store(redis)
    old = await zombie.claim("worker-1")
    new = await owner.claim("worker-2")
    assert new.epoch == old.epoch + 1
    assert await zombie.prepare(old.epoch, [], ["acme"], NOW_MS) == Refused("epoch", new)
    before = await snapshot(redis)
    assert await zombie.commit(full_batch(old, 8)) == Refused("epoch", new)
    assert await zombie.rewind(old.epoch, old.sequence, 3) == Refused("epoch", new)
    assert await snapshot(redis) == before
    assert await owner.commit(full_batch(new, 8)) == Committed(1)


async def test_two_owners_of_the_same_epoch_cannot_both_commit(redis: Redis) -> None:
    """Redis lost a claim, so the same epoch was given out twice: the offset still lets one of them through only."""
    first, second = partition_store(redis), partition_store(redis)
    claim = await first.claim("worker-1")
    await redis.hset(PartitionKeys(3).position, "epoch", 0)
    assert (await second.claim("worker-2")).epoch == claim.epoch
    outcomes = await asyncio.gather(first.commit(full_batch(claim, 8)), second.commit(full_batch(claim, 9)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Refused"]
    assert await redis.xlen(PartitionKeys(3).outbox) == 1


async def test_rewind_moves_only_the_position(redis: Redis) -> None:
    store = partition_store(redis)
    await store.commit(full_batch(await store.claim("worker-1"), 800))
    position = await store.position()
    assert await store.rewind(position.epoch, position.sequence, 0) == Committed(position.sequence + 1)
    assert await store.rewind(position.epoch, position.sequence, 0) == Refused("offset_ahead", await store.position())
    assert (await store.position()).next_offset == 0
    assert (await store.load(["acme"]))["acme"].stored.state["spend"] == "12.5"
    assert await store.commit(batch_at(await store.position(), 5, seen=[(seen_id("acme", "tx-5"), 4)])) == Committed(3)
    assert await store.find(["tx-1", "tx-5"]) == [[7], [4]]


# --- configuration ------------------------------------------------------------------------------------------------------


async def test_a_change_of_configuration_refuses_the_batch_until_it_is_applied(redis: Redis) -> None:
    customers, store = CustomerStore(redis, 1), partition_store(redis, 0)
    claim = await store.claim("worker-1")
    await customers.create("acme", ["acme-alias"], b'{"id": "acme"}', NOW_MS)
    refused = await store.commit(full_batch(claim, 8))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.position.revision) == ("revision", 2)

    changes = await store.changes(claim.applied_revision, 10)
    assert [(change.revision, change.kind) for change in changes] == [(1, "customer"), (2, "refs")]
    assert changes[0].customer_id == "acme"
    assert set(changes[1].refs) == {"acme", "acme-alias"}
    assert [change.revision for change in await store.changes(1, 10)] == [2]
    assert [change.revision for change in await store.changes(0, 1)] == [1]

    assert await store.commit(replace(full_batch(refused.position, 8), applied_revision=1, catalog_revision=7)) == Committed(1)
    position = await store.position()
    assert (position.applied_revision, position.catalog_revision) == (1, 7)
    assert await redis.xlen(PartitionKeys(0).changes) == 1  # what is applied is trimmed, what is not stays
    assert [change.revision for change in await store.changes(1, 10)] == [2]


async def test_waiting_for_changes(redis: Redis) -> None:
    customers, store = CustomerStore(redis, 1), partition_store(redis, 0)
    assert not await store.wait_changes(0, 1)
    waiting = asyncio.create_task(store.wait_changes(0, 5_000))
    await asyncio.sleep(0)
    assert await customers.request_reset("acme", "alert-1") == 1
    assert await waiting
    (change,) = await store.changes(0, 10)
    assert (change.kind, change.customer_id, change.alert_id) == ("reset", "acme", "alert-1")
    assert not await store.wait_changes(1, 1)


# --- parked events, timers, walks ---------------------------------------------------------------------------------------


async def test_a_large_customer_is_loaded_in_pages_and_whole(redis: Redis) -> None:
    """No call reads much at once; beside it, small ones come with the script."""
    store, keys = partition_store(redis), PartitionKeys(3)
    fields = {f"field-{number}": str(number) for number in range(2 * FIELDS_AT_ONCE)}
    windows = {
        day: {f"m:{number}": str(day) for number in range(size)} for day, size in ((1, 5), (2, 3_000), (3, 1_500), (4, 900))
    }
    large = Delta(state_set={**fields, "days": "1 2 3 4"}, windows_set=windows)
    names = [f"small-{number}" for number in range(1_500)]
    small = {name: Delta(state_set={"name": name, "days": ""}) for name in names}
    claim = await store.claim("w")
    await store.commit(batch_at(claim, deltas={"large": large, **small}))
    await redis.set(keys.customer("large"), b"1\n{}")
    await redis.config_resetstat()
    loaded = await store.load([*names[:700], "large", *names[700:], "unknown"])
    assert loaded["large"] == LoadedCustomer(b"{}", StoredCustomer(dict(large.state_set), windows))
    assert [loaded[name].stored.state["name"] for name in names] == names
    assert loaded["unknown"] == LoadedCustomer(None, StoredCustomer())
    calls = {name: row["calls"] for name, row in (await redis.info("commandstats")).items()}
    assert calls["cmdstat_hscan"] >= (2 * FIELDS_AT_ONCE + 3_000 + 1_500) // 2_000
    prepared = await store.prepare(claim.epoch, [], [*names, "large"], NOW_MS)
    assert isinstance(prepared, Prepared)
    assert prepared.customers["large"] == loaded["large"]


async def test_a_large_customer_is_read_as_of_one_moment_where_there_is_one(redis: Redis) -> None:
    """By others than the owner: in pages again, when a commit came in between."""
    partition = partition_of("large", 4)
    store, customers = partition_store(redis, partition), CustomerStore(redis, 4)
    first = {f"field-{number}": "before" for number in range(2 * FIELDS_AT_ONCE)}
    await store.commit(
        batch_at(
            await store.claim("w"), deltas={"large": Delta(state_set={**first, "days": "1"}, windows_set={1: {"m:1": "before"}})}
        )
    )
    after = batch_at(
        await store.position(),
        deltas={"large": Delta(state_set=dict.fromkeys(first, "after"), windows_set={1: {"m:1": "after"}})},
    )
    reading = asyncio.create_task(customers.stored("large", days_of_state))
    await asyncio.sleep(0.01)
    await store.commit(after)
    stored = await reading
    values = {value for name, value in stored.state.items() if name != "days"} | set(stored.windows[1].values())
    assert values in ({"before"}, {"after"})


def days_of_state(state: Mapping[str, str]) -> Sequence[int]:
    return tuple(map(int, state.get("days", "").split()))


async def test_parked_events_leave_in_order_with_the_commit_that_released_them(redis: Redis) -> None:
    store = partition_store(redis)
    claim = await store.claim("worker-1")
    await store.commit(batch_at(claim, 3, parked=[("a", b"1"), ("a", b"2"), ("b", b"3")]))
    later = replace(batch_at(await store.position(), 4, parked=[("a", b"4")]), now_ms=NOW_MS + 10)
    await store.commit(later)
    assert await store.parked_refs(["b", "a", "c"]) == ["b", "a"]
    assert await store.parked_refs([]) == []
    assert await store.parked_page(0, 10) == (0, ["a", "b"])
    assert await store.parked_sizes(["a", "c"]) == ParkedSizes(Parked(4, 4), {"a": Parked(3, 3), "c": Parked(0, 0)})
    assert await store.parked_expired(0, 10) == []
    assert await store.parked_expired(1, 10) == ["a", "b"]  # what does not say when it arrived is of long ago
    assert await store.parked_events(["a"], 2) == {"a": [b"1", b"2"]}

    release = batch_at(await store.position(), unparked={"a": Parked(2, 2), "b": Parked(1, 1)})
    await store.commit(release)
    assert isinstance(await store.commit(release), Refused)  # not twice
    assert await store.parked_events(["a"], 10) == {"a": [b"4"]}
    assert await store.parked_page(0, 10) == (0, ["a"])
    assert await store.parked_sizes(["a"]) == ParkedSizes(Parked(1, 1), {"a": Parked(1, 1)})
    await store.commit(batch_at(await store.position(), unparked={"a": Parked(1, 1)}))
    assert await store.parked_page(0, 10) == (0, [])
    assert not await redis.exists(PartitionKeys(3).parked_bytes, PartitionKeys(3).parked_total)


async def test_a_reference_is_looked_at_by_the_arrival_of_its_oldest_parked_event(redis: Redis) -> None:
    """500 references that still get events must not keep those behind them from being buried (the page was never left)."""
    store = partition_store(redis)
    claim = await store.claim("worker-1")
    await store.commit(batch_at(claim, 3, parked=[("a", b"[5,0]\n1"), ("a", b"[9,0]\n2"), ("b", b"[7,0]\n3")]))
    assert await store.parked_expired(6, 10) == ["a"]
    await store.commit(batch_at(await store.position(), unparked={"a": Parked(1, 7)}))
    assert await store.parked_expired(6, 10) == []
    assert await store.parked_expired(10, 10) == ["b", "a"]


async def test_a_timer_is_replaced_or_removed(redis: Redis) -> None:
    store = partition_store(redis)
    await store.commit(batch_at(await store.claim("w"), deltas={"a": delta_of(5_000, x="1"), "b": delta_of(3_000, x="1")}))
    assert await store.due_timers(5, 10) == ["b", "a"]
    assert await store.due_timers(5, 1) == ["b"]
    await store.commit(batch_at(await store.position(), deltas={"a": delta_of(9_000), "b": delta_of(None)}))
    assert await store.due_timers(8, 10) == []
    assert await store.due_timers(9, 10) == ["a"]


async def test_folded_windows_replace_the_days(redis: Redis) -> None:
    store, customers = partition_store(redis, 0), CustomerStore(redis, 1)
    both = Delta(state_set={"days": "1 2"}, windows_set={1: {"h": "1"}, 2: {"h": "2"}})
    await store.commit(batch_at(await store.claim("w"), deltas={"acme": both}))
    fold = Delta(state_set={"days": "2"}, windows_deleted=[1], folded_set={"1970-01": {"d": "1"}})
    await store.commit(batch_at(await store.position(), deltas={"acme": fold}))
    assert await customers.windows("acme", [1, 2, 3], ["1970-01", "1970-02"]) == ({2: {"h": "2"}}, {"1970-01": {"d": "1"}})
    assert (await store.load(["acme"]))["acme"].stored.windows == {2: {"h": "2"}}
    state, *_ = await customers.state("acme")
    assert state.state == {"days": "2"}


async def test_a_walk_meets_every_customer(redis: Redis) -> None:
    customers, store = CustomerStore(redis, 1), partition_store(redis, 0)
    names = {f"customer-{i}" for i in range(1_200)}
    for name in names:
        await customers.update(name, 0, b"{}")
    met: set[str] = set()
    cursor, ids = await store.customers(0, 100)
    met.update(ids)
    while cursor:
        cursor, ids = await store.customers(cursor, 100)
        met.update(ids)
    assert met == names


# --- kill -9 (faults 7 and 8) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_kill_9_keeps_every_acknowledged_commit_whole(tmp_path: Path, kind: Kind) -> None:
    """After the kill, offset, state, filter and outbox tell the same story: what was acknowledged, and nothing in halves."""
    server = RedisServer(kind=kind, dir=tmp_path, appendonly=True)
    server.start()
    try:
        client = connect(Settings(redis_url=server.url))
        store = partition_store(client)
        position = await store.claim("worker-1")
        acknowledged = 0

        async def commit_on() -> None:
            nonlocal position, acknowledged
            while True:
                n = acknowledged + 1
                batch = batch_at(
                    position,
                    n,
                    deltas={"acme": delta_of(count=str(n))},
                    seen=[(seen_id("acme", f"tx-{n}"), n - 1)],
                    notifications=[entry_of(n)],
                )
                assert await store.commit(batch) == Committed(n)
                acknowledged = n
                position = replace(position, next_offset=n, sequence=n)

        committing = asyncio.create_task(commit_on())
        while acknowledged < 50:
            await asyncio.sleep(0.005)
        server.kill()
        with pytest.raises(RedisConnectionError):
            await committing
        await client.aclose()

        server.start()
        client = connect(Settings(redis_url=server.url))
        store = partition_store(client)
        stored = (await store.claim("worker-2")).next_offset
        assert stored in (acknowledged, acknowledged + 1)  # the last one may have been done, its answer lost
        loaded = await store.prepare(2, [seen_id("acme", f"tx-{n}") for n in range(1, stored + 2)], ["acme"], NOW_MS)
        assert isinstance(loaded, Prepared)
        assert loaded.customers["acme"].stored.state == {"count": str(stored)}
        assert loaded.duplicates == [True] * stored + [False]
        assert (await Outbox(client, 3).depth()).entries == stored
        await client.aclose()
    finally:
        server.stop()


async def test_a_restart_forgets_the_scripts_but_not_the_way(redis: Redis) -> None:
    store = partition_store(redis)
    claim = await store.claim("worker-1")
    await store.commit(full_batch(claim, 8))
    await redis.script_flush()
    assert isinstance(await store.commit(full_batch(await store.position(), 9)), Committed)


async def test_a_script_error_is_raised_not_swallowed(redis: Redis) -> None:
    store = partition_store(redis)
    await redis.set(PartitionKeys(3).position, "not a hash")
    with pytest.raises(ResponseError):
        await store.claim("worker-1")
