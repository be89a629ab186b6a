"""The worker when its surroundings fail: another owner, lost replies, a log that forgot, a Redis that went back, a stop."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError

from connectors.kafka import partition as partition_module
from connectors.kafka.position import UnreadRecordsLost
from connectors.kafka.topics import PartitionCountChanged, ensure_topics
from connectors.redis.keys import CatalogKeys, PartitionKeys
from connectors.redis.partition import PartitionStore
from connectors.redis.types import Batch, Committed, Refused
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer
from tests.support.worker_harness import DEAD_LETTERS, EVENTS, TOPICS, Counters, Harness, customer_in, event


async def test_two_workers_on_one_partition_apply_every_event_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 14. Two consumer groups make both workers believe that they own every partition, over and over."""
    monkeypatch.setattr(partition_module, "_CLAIM_AGAIN_S", 0.3)
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker(consumer_group="one", batch_records_max=7)
    await harness.worker(consumer_group="two", batch_records_max=3)
    names = [f"t-{number}" for number in range(300)]
    for start in range(0, 300, 20):
        await harness.produce_many(0, [event(name, customer_id) for name in names[start : start + 20]])
    await harness.settled()
    assert await harness.applied(customer_id) == names
    notified = (await harness.outbox())[customer_id]
    assert len(notified) == len(set(notified)) == len(names)


async def test_a_zombie_with_an_old_epoch_changes_nothing(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit is held back while another worker takes the partition and applies the same events."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    held, release = asyncio.Event(), asyncio.Event()
    refusals: list[Committed | Refused] = []
    commit = PartitionStore.commit

    async def hold_first(store: PartitionStore, batch: Batch) -> Committed | Refused:
        if not batch.seen or held.is_set():
            return await commit(store, batch)
        held.set()
        await release.wait()
        refusals.append(outcome := await commit(store, batch))
        return outcome

    monkeypatch.setattr(PartitionStore, "commit", hold_first)
    await harness.worker(consumer_group="zombie")
    await harness.produce(0, event("a", customer_id))
    await held.wait()
    await harness.worker(consumer_group="successor")
    await harness.settled()
    release.set()
    await harness.until(lambda: refusals, "the zombie's commit to be answered")
    (refused,) = refusals
    assert isinstance(refused, Refused)
    assert refused.reason == "epoch"
    assert await harness.applied(customer_id) == ["a"]


@pytest.mark.parametrize("executed", [True, False], ids=["the reply is lost", "the request is lost"])
async def test_a_commit_without_a_reply_counts_once(harness: Harness, monkeypatch: pytest.MonkeyPatch, executed: bool) -> None:
    """Fault 15."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    commit = PartitionStore.commit
    lost: list[int] = []

    async def lose_every_second(store: PartitionStore, batch: Batch) -> Committed | Refused:
        if batch.expected_sequence in lost or batch.expected_sequence % 2:
            return await commit(store, batch)
        lost.append(batch.expected_sequence)
        if executed:
            await commit(store, batch)
        raise RedisConnectionError("the connection broke")

    monkeypatch.setattr(PartitionStore, "commit", lose_every_second)
    counters = Counters()
    await harness.worker(batch_records_max=5)
    names = [f"t-{number}" for number in range(50)]
    await harness.produce_many(0, [event(name, customer_id) for name in names])
    await harness.settled()
    assert lost
    assert await harness.applied(customer_id) == names
    notified = (await harness.outbox())[customer_id]
    assert len(notified) == len(set(notified)) == len(names)
    await harness.until(lambda: counters.grown()["applied"] == len(names), "the counters")
    assert counters.grown()["duplicate"] == 0


async def test_a_log_that_forgot_its_records_is_read_from_its_beginning(harness: Harness, worker_valkey: RedisServer) -> None:
    """The embedded broker was restarted: the stored position is beyond the new log's end, and new events are in it already."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    first = await harness.worker()
    for number in range(10):
        await harness.produce(0, event(f"old-{number}", customer_id))
    await harness.settled()
    await first.stop()
    with MockKafka(TOPICS) as fresh:
        async with Harness(fresh.bootstrap_servers, worker_valkey.url) as again:
            await again.produce(0, event("new-0", customer_id))
            await again.worker()
            await again.settled()
            await again.produce(0, event("new-1", customer_id))
            await again.settled()
            applied = await again.applied(customer_id)
            assert applied == [*(f"old-{number}" for number in range(10)), "new-0", "new-1"]


async def test_records_deleted_before_they_were_read_stop_the_worker_if_it_is_told_so(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.redis.hset(PartitionKeys(0).position, "next_offset", 2)
    large = b"x" * 900_000  # the mock cluster keeps 5 MiB of a partition
    for _ in range(12):
        await harness.produce(0, large)
    with pytest.raises(UnreadRecordsLost, match=r"usage-events\[0\]: records 2 to"):
        await (await harness.worker(unknown_offset_policy="fail")).ended()
    harness.workers.clear()  # it ended, as it should
    assert await harness.redis.hget(PartitionKeys(0).position, "next_offset") == b"2"
    await harness.worker()  # unknown_offset_policy=earliest goes on at what is there
    await harness.settled()


async def test_redis_going_back_replays_to_the_same_states_and_ids(harness: Harness) -> None:
    """Redis is restored from a copy of an earlier moment while the worker runs."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker(batch_records_max=4)
    names = [f"t-{number}" for number in range(40)]
    await harness.produce_many(0, [event(name, customer_id) for name in names[:15]])
    await harness.settled()
    keys = [key async for key in harness.redis.scan_iter(count=1_000)]
    earlier = {key: await harness.redis.dump(key) for key in keys}
    await harness.produce_many(0, [event(name, customer_id) for name in names[15:30]])
    await harness.settled()
    before = (await harness.outbox())[customer_id]

    async with harness.redis.pipeline(transaction=True) as pipeline:
        pipeline.flushdb()
        for key, value in earlier.items():
            pipeline.restore(key, 0, value)
        await pipeline.execute()
    await harness.produce_many(0, [event(name, customer_id) for name in names[30:]])
    await harness.settled()
    assert await harness.applied(customer_id) == names
    after = (await harness.outbox())[customer_id]
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == len(names)


async def test_redis_away_for_a_while_loses_nothing(
    harness: Harness, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    commit, prepare = PartitionStore.commit, PartitionStore.prepare
    away = asyncio.Event()
    failures: list[str] = []

    def failing(name: str, call):  # type: ignore[no-untyped-def]
        async def fail(store: PartitionStore, *arguments: object) -> object:
            if away.is_set():
                failures.append(name)
                raise RedisConnectionError("away")
            return await call(store, *arguments)

        return fail

    monkeypatch.setattr(PartitionStore, "commit", failing("commit", commit))
    monkeypatch.setattr(PartitionStore, "prepare", failing("prepare", prepare))
    away.set()
    await harness.produce(0, event("b", customer_id))
    await harness.until(lambda: failures, "the worker to notice")
    assert await harness.applied(customer_id) == ["a"]
    away.clear()
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]


async def test_a_stop_commits_the_batch_in_flight(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    commit = PartitionStore.commit
    committing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(store: PartitionStore, batch: Batch) -> Committed | Refused:
        if batch.seen:
            committing.set()
            await go_on.wait()
        return await commit(store, batch)

    monkeypatch.setattr(PartitionStore, "commit", slow)
    worker = await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await committing.wait()
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert await harness.applied(customer_id) == ["a"]
    assert await harness.mirrored(0) == 1


async def test_a_worker_killed_at_any_commit_leaves_nothing_half_done(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    names = [f"t-{number}" for number in range(30)]
    await harness.produce_many(0, [event(name, customer_id) for name in names])
    commit = PartitionStore.commit
    reached = asyncio.Event()
    crashes: list[bool] = []

    async def crash(store: PartitionStore, batch: Batch) -> Committed | Refused:
        if batch.seen:
            if len(crashes) % 2:  # written, but the worker never hears of it
                await commit(store, batch)
            reached.set()
            await asyncio.Event().wait()
        return await commit(store, batch)

    for _ in range(4):
        reached.clear()
        with monkeypatch.context() as patch:
            patch.setattr(PartitionStore, "commit", crash)
            worker = await harness.worker(batch_records_max=6, drain_timeout_s=0.01)
            await reached.wait()
            await worker.stop()
        crashes.append(True)
    await harness.worker()
    await harness.settled()
    assert await harness.applied(customer_id) == names
    notified = (await harness.outbox())[customer_id]
    assert len(notified) == len(set(notified)) == len(names)


async def test_kafka_away_for_a_while_loses_nothing(harness: Harness, mock_kafka: MockKafka) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    mock_kafka.set_down()
    await asyncio.sleep(0.3)
    mock_kafka.set_up()
    await harness.produce(0, event("b", customer_id))
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]


async def test_a_failing_dead_letter_topic_holds_the_batch_back(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged first, committed then: what could not be dead-lettered is not passed over."""
    from connectors.kafka.outgoing import Outgoing

    customer_id = customer_in(0)
    await harness.create(customer_id)
    bury = Outgoing.bury
    failures: list[int] = []

    async def fail_twice(outgoing: Outgoing, rejected, sent) -> None:  # type: ignore[no-untyped-def]
        if rejected and len(failures) < 2:
            failures.append(1)
            raise KafkaConnectionError("no broker")
        await bury(outgoing, rejected, sent)

    monkeypatch.setattr(Outgoing, "bury", fail_twice)
    await harness.worker()
    await harness.produce(0, b"bad")
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    assert len(failures) == 2
    assert len(await harness.dead_letters()) == 1
    assert await harness.applied(customer_id) == ["a"]


async def test_another_number_of_partitions_is_refused(harness: Harness) -> None:
    assert await ensure_topics(harness.settings) == TOPICS[EVENTS]
    assert await harness.redis.get(CatalogKeys.PARTITIONS) == b"3"
    with MockKafka({EVENTS: 4, DEAD_LETTERS: 1}) as other:
        moved = harness.settings.model_copy(update={"kafka_bootstrap_servers": other.bootstrap_servers})
        with pytest.raises(PartitionCountChanged, match="has 4 partitions, but Redis was filled when it had 3"):
            await ensure_topics(moved)


async def test_a_worker_is_ready_once_it_has_looked_where_the_log_is(
    harness: Harness, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a log that forgot could grow past the stored position before anyone looks, and its first events be skipped."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    first = await harness.worker()
    for number in range(3):
        await harness.produce(0, event(f"old-{number}", customer_id))
    await harness.settled()
    await first.stop()
    place = partition_module.place

    async def place_late(*arguments: object, **named: object) -> object:
        await asyncio.sleep(0.3)
        return await place(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(partition_module, "place", place_late)
    with MockKafka(TOPICS) as fresh:
        async with Harness(fresh.bootstrap_servers, worker_valkey.url) as again:
            await again.worker()
            await again.produce_many(0, [event(f"new-{number}", customer_id) for number in range(9)])
            await again.settled()
            applied = await again.applied(customer_id)
            assert applied[3:] == [f"new-{number}" for number in range(9)]
