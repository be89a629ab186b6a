"""A process whose clock is wrong for a while: nothing that only time brings happens, and afterwards everything goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson
import pytest

from connectors import clock
from connectors.agreement import PROCESS
from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys
from connectors.redis.types import Written
from connectors.testing.behaviours import Answer
from connectors.testing.receiver import Receiver
from engine.customer import CustomerAggregate
from tests.support.dispatching import Box, dispatching, notification, settings_for, until
from tests.support.worker_harness import Harness, customer_in, event

DAY_S = 86_400
METRIC = {"id": "calls", "name": "calls", "aggregation_type": "COUNT"}
ALERT = {
    "id": "over-2",
    "type": "usage_threshold_reached",
    "name": "over 2",
    "threshold": "2",
    "created_version": 1,
    "version": 1,
    "evaluate_on_create": True,
    "billable_metric_id": "calls",
}


@pytest.fixture(autouse=True)
def _right_afterwards() -> Iterator[None]:
    yield
    clock.set_skew_s(0)


async def test_a_worker_40_days_ahead_ends_no_period_and_counts_all_events(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.aggregates.CustomerAggregate", CustomerAggregate)
    documents = {"metrics": {"calls": orjson.dumps(METRIC)}, "alerts": {"over-2": orjson.dumps(ALERT)}}
    assert isinstance(await CatalogStore(harness.redis).write(0, documents), Written)
    customer_id = customer_in(0)
    await harness.create(customer_id)
    late = [event(f"late-{number}", customer_id) for number in range(3)]  # of the right time
    await harness.worker()
    await harness.produce_many(0, [event(f"t-{number}", customer_id) for number in range(3)])
    await harness.settled()
    told = (await harness.outbox())[customer_id]
    assert len(told) == 1
    assert await harness.redis.zscore(PartitionKeys(0).timers, customer_id) is not None

    clock.set_skew_s(40 * DAY_S)
    await asyncio.sleep(0.5)  # 25 looks at the timers
    assert PROCESS.warning is not None
    await harness.produce(0, late[0])
    await harness.settled()
    state = await harness.state(customer_id)
    assert (await harness.outbox())[customer_id] == told
    assert orjson.loads(state["meta"])["now"] < clock.now_us() - 39 * DAY_S * 1_000_000

    clock.set_skew_s(0)
    await harness.produce_many(0, late[1:])
    await harness.settled()
    assert PROCESS.agrees
    assert (await harness.outbox())[customer_id] == told
    assert await harness.dead_letters() == []
    days = [key async for key in harness.redis.scan_iter(match="tidemark:{0}:windows:*")]
    counts = [value for day in days for value in (await harness.redis.hgetall(day)).values()]
    assert sum(int(value.rpartition(b":")[2]) for value in counts) == 6


@pytest.mark.parametrize("days", [3, 6])
async def test_a_dispatcher_days_ahead_gives_nothing_up_and_switches_nothing_off(
    box: Box, redis_url: str, receiver: Receiver, days: int
) -> None:
    receiver.default["/hook"] = Answer(500)
    await box.add_endpoint("endpoint", receiver.url)
    async with dispatching(settings_for(redis_url)):
        await box.write([notification(number) for number in range(20)])
        await box.until_depth(0, 20)
        await until(lambda: len(receiver.received) >= 3)
        clock.set_skew_s(days * DAY_S)
        await box.write([notification(number) for number in range(20, 25)])  # first attempts go on
        await asyncio.sleep(1.5)
        assert PROCESS.warning is not None
        await box.until_depth(0, 25)
        assert orjson.loads((await box.catalog.endpoints())["endpoint"])["enabled"]
        clock.set_skew_s(0)
        receiver.default["/hook"] = Answer()
        await box.until_empty()
    assert {each.status for each in await box.logged()} == {"delivered"}
