"""The engine raises for some customers: they stand aside, the others go on, and nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import orjson
import pytest
import structlog
from click.testing import CliRunner, Result
from prometheus_client import REGISTRY
from redis.exceptions import ResponseError

from connectors import clock
from connectors.cli.main import cli
from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.partition import PartitionStore
from connectors.redis.quarantine import QuarantineStore
from connectors.redis.types import Batch, Committed, Refused, Written
from engine import numbers
from engine.customer import CustomerAggregate, EngineSettings
from engine.effects import StoredCustomer, UsageEvent
from schemas.documents import load_catalog, load_customer
from schemas.events import Reason
from tests.support.faulty_engine import Faults, faulty
from tests.support.redis_server import RedisServer
from tests.support.tally import TIMER_PROPERTY, TallyAggregate
from tests.support.worker_harness import PARTITIONS, Counters, Harness, customer_in, event

TROUBLES = ("refuses", "defect")
METRIC = {"id": "calls", "name": "calls", "aggregation_type": "SUM", "aggregation_key": "amount"}
ALERTS = [
    {
        "id": f"over-{threshold}",
        "type": "usage_threshold_reached",
        "name": f"over {threshold}",
        "threshold": str(threshold),
        "created_version": 1,
        "version": 1,
        "evaluate_on_create": True,
        "billable_metric_id": "calls",
    }
    for threshold in (1, 5, 12, 30, 44)
]


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    """Hundreds of tracebacks with all their variables would be most of these tests' time."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, harness: Harness) -> Faults:
    """TallyAggregate, which raises where it is told to."""
    faults = Faults()
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", faulty(TallyAggregate, faults))
    return faults


def store(harness: Harness) -> QuarantineStore:
    return QuarantineStore(harness.redis, PARTITIONS)


async def is_in(harness: Harness, customer_id: str) -> bool:
    return await store(harness).record(customer_id) is not None


async def release(harness: Harness, customer_id: str) -> None:
    await store(harness).request_release(customer_id)

    async def out() -> bool:
        return not await is_in(harness, customer_id)

    await harness.until(out, f"{customer_id} to leave quarantine")


async def test_a_customer_that_raises_stands_aside_and_the_others_go_on(harness: Harness, faults: Faults) -> None:
    bad, good = customer_in(0), customer_in(0, 1)
    for customer_id in (bad, good):
        await harness.create(customer_id)
    faults.poison = {"b-2"}
    counters = Counters()
    await harness.worker()
    await harness.produce_many(0, [event(f"{who}-{n}", {"a": good, "b": bad}[who]) for n in range(5) for who in "ab"])
    await harness.settled()
    assert await harness.applied(good) == [f"a-{n}" for n in range(5)]
    record = await store(harness).record(bad)
    assert record is not None
    assert (record.stage, record.failures, record.dead_lettered) == ("apply", 1, 0)
    assert "Broken: apply of" in record.error
    applied, held = await harness.applied(bad), await store(harness).events(bad, 100)
    assert applied + [orjson.loads(each.event)["transaction_id"] for each in held] == [f"b-{n}" for n in range(5)]
    assert record.events == len(held) > 0
    assert record.bytes == sum([len(raw) for raw in await harness.redis.lrange(PartitionKeys(0).quarantined_events(bad), 0, -1)])
    assert await store(harness).counts() == [1, 0, 0]
    assert REGISTRY.get_sample_value("tidemark_quarantined_customers", {"partition": "0"}) == 1
    assert await harness.redis.zscore(PartitionKeys(0).timers, bad) is None

    await harness.produce_many(0, [event("b-5", bad), event("a-5", good), event("b-1", bad)])
    await harness.settled()
    assert len(await store(harness).events(bad, 100)) >= record.events + 1
    faults.poison.clear()
    await release(harness, bad)
    assert await harness.applied(bad) == [f"b-{n}" for n in range(6)]
    assert await harness.applied(good) == [f"a-{n}" for n in range(6)]
    notified = await harness.outbox()
    assert [len(notified[each]) for each in (bad, good)] == [6, 6]
    await harness.produce(0, event("b-6", bad))
    await harness.settled()
    assert (await harness.applied(bad))[-1] == "b-6"
    grown = counters.grown()
    assert grown["consumed"] == sum(grown[name] for name in ("applied", "duplicate", "rejected", "parked", "forwarded"))


async def test_a_release_that_raises_again_loses_nothing_and_an_event_can_be_left_out(harness: Harness, faults: Faults) -> None:
    bad = customer_in(1)
    await harness.create(bad)
    faults.poison = {"b-3"}
    await harness.worker(batch_records_max=1)
    await harness.produce_many(1, [event(f"b-{n}", bad) for n in range(6)])
    await harness.settled()
    before = await store(harness).record(bad)
    assert before is not None
    assert (before.events, before.transaction_id) == (3, "b-3")
    await store(harness).request_release(bad)

    async def failed_again() -> bool:
        record = await store(harness).record(bad)
        return record is not None and record.failures == 2 and not record.releasing

    await harness.until(failed_again, "the release to raise")
    again = await store(harness).record(bad)
    assert again is not None
    assert (again.transaction_id, again.events, again.since_ms) == ("b-3", 3, before.since_ms)
    assert await harness.applied(bad) == ["b-0", "b-1", "b-2"]

    await store(harness).request_release(bad, without=("b-3",))
    await harness.until(lambda: _is_out(harness, bad), "it to leave")
    assert await harness.applied(bad) == ["b-0", "b-1", "b-2", "b-4", "b-5"]
    ((headers, value),) = await harness.dead_letters()
    assert headers["reason"] == Reason.QUARANTINED
    assert headers["offset"] == "3"
    assert value is not None
    assert orjson.loads(value)["transaction_id"] == "b-3"


async def _is_out(harness: Harness, customer_id: str) -> bool:
    return not await is_in(harness, customer_id)


async def test_a_quarantine_survives_a_restart_and_holds_no_more_than_it_may(harness: Harness, faults: Faults) -> None:
    bad = customer_in(2)
    await harness.create(bad)
    faults.chances = {bad: 1.0}
    first = await harness.worker(quarantine_events_max=3)
    await harness.produce_many(2, [event(f"b-{n}", bad) for n in range(2)])
    await harness.settled()
    assert await is_in(harness, bad)
    await first.stop()
    await harness.produce_many(2, [event(f"b-{n}", bad) for n in range(2, 5)])
    second = await harness.worker(quarantine_events_max=3)
    await harness.settled()
    record = await store(harness).record(bad)
    assert record is not None
    assert (record.events, record.dead_lettered) == (3, 2)
    assert [headers["reason"] for headers, _ in await harness.dead_letters()] == ["quarantined"] * 2
    await second.stop()
    faults.chances = {}
    await harness.worker(quarantine_events_max=3)
    await release(harness, bad)
    assert await harness.applied(bad) == ["b-0", "b-1", "b-2"]


async def test_a_change_of_its_document_tries_it_again_and_a_reset_waits_for_it(harness: Harness, faults: Faults) -> None:
    bad = customer_in(0)
    await harness.create(bad)
    faults.chances = {bad: 1.0}
    await harness.worker()
    await harness.produce(0, event("b-0", bad))
    await harness.settled()
    await harness.customers.request_reset(bad, "an-alert")

    async def noted() -> bool:
        record = await store(harness).record(bad)
        return record is not None and record.resets == ("an-alert",)

    await harness.until(noted, "the reset to be noted")
    faults.chances = {}
    stored = await harness.customers.get(bad)
    assert stored is not None
    version, document = stored
    changed = orjson.dumps({**orjson.loads(document), "version": version + 1, "name": "mended"})
    assert isinstance(await harness.customers.update(bad, version, changed), Written)
    await harness.until(lambda: _is_out(harness, bad), "it to leave")
    state = await harness.state(bad)
    assert (state["applied"], state["resets"], state["customer_version"]) == ("b-0", "1", "2")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_raises_the_others_are_right_and_so_is_everyone_after_the_release(
    harness: Harness, faults: Faults, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each call may raise: load, apply, apply_all, advance, reconfigure, reset, collect; with changes, timers and a restart."""
    dice = faults.dice = Random(seed)
    monkeypatch.setattr("connectors.kafka.releases._PAGE", (1, 2, 5, 500)[seed])
    customers = [customer_in(partition, number) for partition in range(PARTITIONS) for number in range(4)]
    for customer_id in customers:
        await harness.create(customer_id)
    faults.chances = {customer_id: dice.choice((0.05, 0.2, 0.5)) for customer_id in customers[::2]}
    worker = await harness.worker(batch_records_max=dice.choice((3, 20)))
    sent: dict[str, list[str]] = {customer_id: [] for customer_id in customers}
    for turn in range(6):
        for partition in range(PARTITIONS):
            batch = []
            for _ in range(12):
                customer_id = dice.choice([each for each in customers if partition_of(each, PARTITIONS) == partition])
                sent[customer_id].append(f"t-{turn}-{len(sent[customer_id])}")
                due = {TIMER_PROPERTY: str(clock.now_us())} if dice.random() < 0.3 else {}
                batch.append(event(sent[customer_id][-1], customer_id, **due))
            await harness.produce_many(partition, batch)
        changed = dice.choice(customers)
        if dice.random() < 0.5:
            await harness.customers.request_reset(changed, "an-alert")
        else:
            unit = orjson.dumps({"id": "unit", "name": "unit"})
            revision = await CatalogStore(harness.redis).revision()
            assert isinstance(await CatalogStore(harness.redis).write(revision, {"pricing_units": {"unit": unit}}), Written)
        if turn == 3:
            await worker.stop()
            worker = await harness.worker()
        if await is_in(harness, changed):
            await store(harness).request_release(changed)
        await harness.settled()
    assert faults.raised
    for customer_id in customers[1::2]:
        assert await harness.applied(customer_id) == sent[customer_id]
    faults.chances = {}
    for customer_id in await store(harness).records():
        await release(harness, customer_id)
    notified = await harness.outbox()
    for customer_id in customers:
        assert await harness.applied(customer_id) == sent[customer_id]
        assert len(set(notified.get(customer_id, []))) == len(notified.get(customer_id, [])) == len(sent[customer_id])


async def test_alerts_after_a_release_are_those_of_a_run_without_faults(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real engine: the same notifications under the same ids."""
    faults = Faults(Random(7))
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", faulty(CustomerAggregate, faults))
    documents = {"metrics": {"calls": orjson.dumps(METRIC)}, "alerts": {a["id"]: orjson.dumps(a) for a in ALERTS}}
    assert isinstance(await CatalogStore(harness.redis).write(0, documents), Written)
    customers = [customer_in(0, number) for number in range(6)]
    for customer_id in customers:
        await harness.create(customer_id)
    faults.chances = dict.fromkeys(customers[::2], 0.3)
    await harness.worker(batch_records_max=7)
    sent: dict[str, list[int]] = {customer_id: [] for customer_id in customers}
    for _ in range(8):
        batch = []
        for _ in range(20):
            customer_id, amount = faults.dice.choice(customers), faults.dice.randrange(1, 5)
            batch.append(event(f"t-{len(sent[customer_id])}", customer_id, amount=amount))
            sent[customer_id].append(amount)
        await harness.produce_many(0, batch)
        await harness.settled()
    assert faults.raised
    faults.chances = {}
    for customer_id in await store(harness).records():
        await release(harness, customer_id)
    notified = await harness.outbox()
    for customer_id in customers:
        assert sorted(notified[customer_id]) == sorted(await _expected(harness, customer_id, sent[customer_id]))


async def test_time_passes_for_a_released_customer_as_it_would_have_passed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in quarantine over the end of its period: what waits counts in the period in which it arrived, which ends then."""
    faults = Faults()
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", faulty(CustomerAggregate, faults))
    documents = {"metrics": {"calls": orjson.dumps(METRIC)}, "alerts": {a["id"]: orjson.dumps(a) for a in ALERTS}}
    assert isinstance(await CatalogStore(harness.redis).write(0, documents), Written)
    bad, good = customer_in(0), customer_in(0, 1)
    for customer_id in (bad, good):
        await harness.create(customer_id)
    await harness.worker()
    await harness.produce_many(0, [event(f"t-{n}", each, amount=3) for n in range(2) for each in (bad, good)])
    await harness.settled()
    faults.chances = {bad: 1.0}
    await harness.produce_many(0, [event(f"t-{n}", each, amount=4) for n in range(2, 5) for each in (bad, good)])
    await harness.settled()
    before_s = clock.shift_s()
    try:
        clock.set_shift_s(before_s + 40 * 86_400)

        async def resolved() -> bool:
            return len((await harness.outbox())[good]) == 6

        await harness.until(resolved, "the good customer's period to end")
        faults.chances = {}
        await release(harness, bad)
        told: dict[str, list[tuple[str, bytes]]] = {bad: [], good: []}
        for _, fields in await harness.redis.xrange(PartitionKeys(0).outbox):
            told[fields[b"customer_id"].decode()].append((fields[b"alert_id"].decode(), fields[b"type"]))
        assert told[bad] == told[good]
    finally:
        clock.set_shift_s(before_s)


async def _expected(harness: Harness, customer_id: str, amounts: list[int]) -> list[str]:
    """Ids of a run without faults."""
    numbers.activate()
    stored = await harness.customers.get(customer_id)
    assert stored is not None
    catalog = load_catalog(*await CatalogStore(harness.redis).load())
    now_us = clock.now_us()
    aggregate = CustomerAggregate(load_customer(stored[1]), catalog, StoredCustomer(), EngineSettings(), now_us)
    for number, amount in enumerate(amounts):
        at = UsageEvent(
            f"t-{number}", "call", now_us, now_us // 3_600_000_000, {"amount": amount}, "t", 0, number, now_us // 1000
        )
        assert aggregate.apply(at, now_us) is None
    return [notification.id for notification in aggregate.collect().notifications]


async def test_a_catalog_that_cannot_be_read_stops_the_partitions_until_it_is_mended(
    harness: Harness, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the former catalog usage would be counted wrongly for good: it waits in the log instead."""
    monkeypatch.setattr("connectors.kafka.stopped.AGAIN_FIRST_S", 0.05)
    customer_id = customer_in(0)
    await harness.create(customer_id)
    worker = await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    unknown = orjson.dumps({**METRIC, "aggregation_type": "MEDIAN"})
    assert isinstance(await CatalogStore(harness.redis).write(0, {"metrics": {"calls": unknown}}), Written)
    await harness.produce(0, event("b", customer_id))

    def stopped() -> bool:
        return bool(REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": "CatalogUnusable"}))

    await harness.until(stopped, "the partition to stop")
    assert not worker.over
    assert await harness.applied(customer_id) == ["a"]
    assert isinstance(await CatalogStore(harness.redis).write(1, {"metrics": {"calls": orjson.dumps(METRIC)}}), Written)
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("meta", b'{"v": 2, "cv": 1, "cr": 0, "now": 0}', "StoredByNewerRelease: state 'meta' has version 2"),
        ("meta", b"{", "JSONDecodeError"),
        ("s|an-alert|1-2|", b'["in_agony", "usage", 0]', "ValueError: 'in_agony' is not a valid State"),
        ("c|\xff", b"", "UnicodeDecodeError"),
    ],
    ids=["newer", "broken", "unknown state", "no text"],
)
async def test_a_state_that_this_release_does_not_know_is_one_customers_affair(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, field: str, value: bytes, error: str
) -> None:
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", CustomerAggregate)
    bad, good = customer_in(0), customer_in(0, 1)
    for customer_id in (bad, good):
        await harness.create(customer_id)
    await harness.redis.hset(PartitionKeys(0).state(bad), field.encode("latin-1"), value)
    await harness.worker()
    await harness.produce_many(0, [event("b", bad), event("a", good)])
    await harness.settled()
    record = await store(harness).record(bad)
    assert record is not None
    assert record.stage == "load"
    assert record.error.startswith(error)
    assert record.events == 1
    assert await store(harness).counts() == [1, 0, 0]
    await harness.redis.hdel(PartitionKeys(0).state(bad), field.encode("latin-1"))
    await release(harness, bad)


async def test_too_many_in_quarantine_stop_the_partition(
    harness: Harness, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.stopped.AGAIN_FIRST_S", 0.05)
    customers = [customer_in(0, number) for number in range(4)]
    for customer_id in customers:
        await harness.create(customer_id)
    faults.chances = dict.fromkeys(customers, 1.0)
    await harness.worker(quarantine_customers_max=3)
    await harness.produce_many(0, [event("a", customer_id) for customer_id in customers])

    def stopped() -> bool:
        return bool(REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": "TooManyQuarantined"}))

    await harness.until(stopped, "the partition to stop")
    faults.chances = {}
    await harness.settled()
    for customer_id in await store(harness).records():
        await release(harness, customer_id)
    assert [await harness.applied(customer_id) for customer_id in customers] == [["a"]] * 4


async def test_a_quarantine_goes_with_its_partition_from_worker_to_worker(
    harness: Harness, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups make both workers believe that they own every partition, over and over."""
    monkeypatch.setattr("connectors.kafka.partition._CLAIM_AGAIN_S", 0.5)
    bad, good = customer_in(0), customer_in(0, 1)
    for customer_id in (bad, good):
        await harness.create(customer_id)
    faults.chances = {bad: 0.3}
    faults.dice.seed(3)
    await harness.worker(consumer_group="one", batch_records_max=5)
    await harness.worker(consumer_group="two", batch_records_max=3)
    names = [f"t-{number}" for number in range(120)]
    for start in range(0, 120, 20):
        await harness.produce_many(0, [event(name, who) for name in names[start : start + 20] for who in (bad, good)])
        if await is_in(harness, bad):
            await store(harness).request_release(bad)
    await harness.settled()
    assert await harness.applied(good) == names
    faults.chances = {}
    if await is_in(harness, bad):
        await release(harness, bad)
    assert await harness.applied(bad) == names
    notified = await harness.outbox()
    assert [len(set(notified[each])) for each in (bad, good)] == [len(notified[each]) for each in (bad, good)] == [120, 120]


async def test_an_error_of_a_script_stops_its_partition_and_one_that_passes_is_waited_out(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.stopped.AGAIN_FIRST_S", 0.05)
    here, elsewhere = customer_in(0), customer_in(1)
    for customer_id in (here, elsewhere):
        await harness.create(customer_id)
    commit = PartitionStore.commit
    answers = [ResponseError("OOM command not allowed when used memory > 'maxmemory'.")] * 2
    answers += [ResponseError("ERR user_script:7: attempt to index a nil value")] * 2

    async def refuse(partition_store: PartitionStore, batch: Batch) -> Committed | Refused:
        if batch.seen and partition_store._keys.partition == 0 and answers:
            raise answers.pop(0)
        return await commit(partition_store, batch)

    monkeypatch.setattr(PartitionStore, "commit", refuse)
    before = {kind: REGISTRY.get_sample_value("tidemark_redis_failures_total", {"kind": kind}) or 0 for kind in TROUBLES}
    stops = REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": "ResponseError"}) or 0
    await harness.worker()
    await harness.produce(0, event("a", here))
    await harness.produce(1, event("b", elsewhere))
    await harness.settled()
    assert (await harness.applied(here), await harness.applied(elsewhere)) == (["a"], ["b"])
    failed = {kind: REGISTRY.get_sample_value("tidemark_redis_failures_total", {"kind": kind}) or 0 for kind in TROUBLES}
    assert {kind: failed[kind] - before[kind] for kind in TROUBLES} == {"refuses": 2, "defect": 2}
    assert REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": "ResponseError"}) == stops + 2


async def test_the_command_line_lists_shows_and_releases(
    harness: Harness, faults: Faults, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_REDIS_URL", worker_valkey.url)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["quarantine", *arguments])

    bad = customer_in(0)
    await harness.create(bad)
    faults.poison = {"b-1"}
    await harness.worker(batch_records_max=1)
    empty = await run("list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "0 in quarantine\n")
    await harness.produce_many(0, [event(f"b-{n}", bad) for n in range(3)])
    await harness.settled()
    listed = await run("list")
    assert listed.stdout.startswith(f"{bad}  since ")
    assert "2 events (" in listed.stdout
    assert "Broken: apply of" in listed.stdout
    shown = (await run("show", bad)).stdout
    assert "raised in apply at event b-1, 1 times" in shown
    assert shown.count("usage-events/0/") == 2
    again = await run("release", bad)
    assert again.exit_code == 1
    assert "it failed again in apply at event b-1: Broken" in again.stderr
    done = await run("release", bad, "--without", "b-1")
    assert done.exit_code == 0
    assert done.stdout.endswith("released\n")  # the worker's log is in the same process
    assert await harness.applied(bad) == ["b-0", "b-2"]
    gone = await run("show", bad)
    assert (gone.exit_code, gone.stderr) == (1, f"Error: customer {bad} is not in quarantine\n")


async def test_records_of_a_newer_release_are_refused_by_version(
    harness: Harness, worker_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partition stops, and says so: it would otherwise count for a customer that is to stand aside."""
    monkeypatch.setenv("TIDEMARK_REDIS_URL", worker_valkey.url)
    monkeypatch.setattr("connectors.kafka.stopped.AGAIN_FIRST_S", 0.05)
    bad, good = customer_in(0), customer_in(1)
    for customer_id in (bad, good):
        await harness.create(customer_id)
    await harness.redis.hset(PartitionKeys(0).quarantined, bad, b'{"v": 7}')
    await harness.worker()
    await harness.produce(1, event("a", good))

    async def applied() -> bool:
        return await harness.applied(good) == ["a"]

    await harness.until(applied, "the other partition to go on")
    assert REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": "StoredByNewerRelease"})
    listed = await asyncio.to_thread(CliRunner().invoke, cli, ["quarantine", "list"])
    assert listed.exit_code == 1
    assert f"quarantine '{bad}' has version 7, and this release knows 1 at most" in listed.stderr
    await harness.redis.hdel(PartitionKeys(0).quarantined, bad)
