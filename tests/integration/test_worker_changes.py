"""Configuration changes and time reach the customers, with usage and without."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.partition import PartitionStore
from connectors.redis.types import Prepared, Refused, Written
from tests.support.redis_stores import set_aliases
from tests.support.worker_harness import PARTITIONS, Counters, Harness, customer_in, event, now_ms


async def _rename(harness: Harness, customer_id: str) -> None:
    stored = await harness.customers.get(customer_id)
    assert stored is not None
    version, document = stored
    changed = orjson.dumps({**orjson.loads(document), "version": version + 1, "name": "another"})
    assert isinstance(await harness.customers.update(customer_id, version, changed), Written)


async def _write_catalog(harness: Harness, revision: int) -> None:
    unit = orjson.dumps({"id": f"unit-{revision}", "name": "unit"})
    assert isinstance(
        await CatalogStore(harness.redis).write(revision - 1, {"pricing_units": {f"unit-{revision}": unit}}), Written
    )


async def _has(harness: Harness, customer_id: str, **fields: str) -> bool:
    state = await harness.state(customer_id)
    return all(state.get(name) == value for name, value in fields.items())


async def test_a_customer_change_is_evaluated_without_usage(harness: Harness) -> None:
    known, cold = customer_in(0), customer_in(1)
    await harness.create(known)
    await harness.create(cold)
    await harness.worker()
    await harness.produce(0, event("a", known))
    await harness.settled()
    for customer_id in (known, cold):
        await _rename(harness, customer_id)
        await harness.until(lambda: _has(harness, customer_id, customer_version="2"), "version 2 to be evaluated")  # noqa: B023
    assert await harness.applied(known) == ["a"]


async def test_a_catalog_change_reaches_every_customer_and_is_recorded(harness: Harness) -> None:
    customers = [customer_in(partition, number) for partition in range(PARTITIONS) for number in range(3)]
    for customer_id in customers:
        await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customers[0]))
    await harness.settled()
    for revision in (1, 2):
        await _write_catalog(harness, revision)
        for customer_id in customers:
            await harness.until(
                lambda: _has(harness, customer_id, catalog_revision=str(revision)),  # noqa: B023
                f"{customer_id} to be evaluated under revision {revision}",
            )

        async def recorded() -> bool:
            stored = [await harness.redis.hget(PartitionKeys(p).position, "catalog_revision") for p in range(PARTITIONS)]
            return stored == [str(revision).encode()] * PARTITIONS  # noqa: B023

        await harness.until(recorded, "the walk to be recorded")
    assert await harness.applied(customers[0]) == ["a"]


async def test_a_catalog_change_while_no_worker_runs_is_caught_up(harness: Harness) -> None:
    customer_id = customer_in(2)
    await harness.create(customer_id)
    await _write_catalog(harness, 1)
    await harness.worker()
    await harness.until(lambda: _has(harness, customer_id, catalog_revision="1"), "the walk")


async def test_a_change_that_the_stream_lost_is_found_by_its_revision(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    keys = PartitionKeys(0)
    async with harness.redis.pipeline(transaction=True) as pipeline:
        pipeline.hincrby(keys.position, "revision", 1)
        await pipeline.execute()
    await harness.produce(0, event("b", customer_id))
    await harness.settled()
    assert await harness.applied(customer_id) == ["a", "b"]


async def test_a_reset_happens_once(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.customers.request_reset(customer_id, "an-alert")
    await harness.until(lambda: _has(harness, customer_id, resets="1"), "the reset")
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    assert await _has(harness, customer_id, resets="1", applied="a")


async def test_a_due_timer_lets_time_pass_once(harness: Harness) -> None:
    customer_id = customer_in(0)
    await harness.create(customer_id)
    await harness.worker()
    await harness.produce(0, event("a", customer_id, wake_at_us=now_ms() * 1_000))
    await harness.until(lambda: _has(harness, customer_id, advances="1"), "the timer")
    assert await harness.redis.zcard(PartitionKeys(0).timers) == 0
    await harness.produce(0, event("b", customer_id))
    await harness.settled()
    assert await _has(harness, customer_id, advances="1", applied="a b")


async def test_a_freed_alias_means_its_new_owner_from_then_on(harness: Harness) -> None:
    first, second = customer_in(0), customer_in(1)
    await harness.create(first, "shared")
    await harness.create(second)
    counters = Counters()
    await harness.worker()
    await harness.produce(0, event("a", "shared"))
    await harness.settled()
    assert await set_aliases(harness.customers, first, [], now_ms()) is None
    await harness.produce(0, event("b", "shared"))  # nobody's: parked
    await harness.settled()
    assert counters.grown()["parked"] == 1
    assert await set_aliases(harness.customers, second, ["shared"], now_ms()) is None
    await harness.produce(0, event("c", "shared"))

    async def arrived() -> bool:
        return sorted(await harness.applied(second)) == ["b", "c"]

    await harness.until(arrived, "both events to reach the new owner")
    assert await harness.applied(first) == ["a"]


async def test_usage_produced_after_a_change_is_never_evaluated_before_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes between prepare and commit: the commit is refused, and the batch is done again under the change."""
    customer_id = customer_in(0)
    await harness.create(customer_id)
    prepare = PartitionStore.prepare
    changed = asyncio.Event()

    async def then_change(store: PartitionStore, *arguments: object) -> Prepared | Refused:
        prepared = await prepare(store, *arguments)  # type: ignore[arg-type]
        if not changed.is_set():
            changed.set()
            await _rename(harness, customer_id)
        return prepared

    monkeypatch.setattr(PartitionStore, "prepare", then_change)
    await harness.worker()
    await harness.produce(0, event("a", customer_id))
    await harness.settled()
    assert changed.is_set()
    assert await _has(harness, customer_id, applied="a", customer_version="2")
    assert len((await harness.outbox())[customer_id]) == 1


async def test_a_small_cache_forgets_customers_but_not_their_state(harness: Harness) -> None:
    customers = [customer_in(0, number) for number in range(6)]
    for customer_id in customers:
        await harness.create(customer_id)
    await harness.worker(customers_cached_max=3, batch_records_max=1)
    for number in range(3):
        for customer_id in customers:
            assert partition_of(customer_id, PARTITIONS) == 0
            await harness.produce(0, event(f"t-{number}", customer_id))
    await harness.settled()
    for customer_id in customers:
        assert await harness.applied(customer_id) == ["t-0", "t-1", "t-2"]
