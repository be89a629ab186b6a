"""events/search finds every event that was taken, wherever it is now, and says why it is there."""

from __future__ import annotations

import random
from typing import Any

import httpx
from confluent_kafka import Producer
from metronome import AsyncMetronome
from redis.asyncio import Redis

from connectors.redis.fates import Fate, FateStore
from tests.conformance.conftest import Api
from tests.conformance.test_balances import make_customer
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]


async def found(http: httpx.AsyncClient, *ids: str) -> list[tuple[str, str, str | None]]:
    answer = await http.post("/v1/events/search", json={"transactionIds": list(ids)})
    assert answer.status_code == 200, answer.text
    return sorted((each["transaction_id"], each["status"], each.get("reason")) for each in answer.json())


async def test_parked_applied_rejected_and_never_billed(
    sdk: AsyncMetronome, http: httpx.AsyncClient, worker: RunningWorker, clock: Clock
) -> None:
    clock.set("2024-11-20T13:00:00")
    card, _ = await make_priced(sdk)
    customer = await make_customer(sdk)
    await sdk.v1.contracts.create(customer_id=customer, starting_at="2024-10-01T00:00:00Z", rate_card_id=card)

    async def states(*ids: str) -> list[tuple[str, str, str | None]]:
        return await found(http, *ids)

    await use(sdk, customer, "2024-11-19", ("eu", 1))
    await until(lambda: states("2024-11-19-0"), [("2024-11-19-0", "applied", None)])
    await use(sdk, customer, "2024-10-20", ("eu", 1))  # 31 days old
    await until(lambda: states("2024-10-20-0"), [("2024-10-20-0", "applied", "after_finalization")])
    await use(sdk, "someone", "2024-11-18", ("eu", 1))
    await until(lambda: states("2024-11-18-0"), [("2024-11-18-0", "parked", "unknown_customer")])
    strict = await sdk.v1.usage.search(transaction_ids=["2024-11-18-0", "2024-11-19-0"])
    assert [each.matched_customer and each.matched_customer.id for each in strict] == [customer, None]
    await sdk.v1.customers.set_ingest_aliases(customer_id=customer, ingest_aliases=["someone"])
    await until(lambda: states("2024-11-18-0"), [("2024-11-18-0", "applied", None)])

    late = (await sdk.v1.billable_metrics.create(name="late", aggregation_type="COUNT")).data.id
    (event,) = await sdk.v1.usage.search(transaction_ids=["2024-11-19-0"])
    assert late not in [each.id for each in event.matched_billable_metrics or []]
    assert len(event.matched_billable_metrics or []) == 1


async def test_what_a_producer_sent_wrongly(http: httpx.AsyncClient, api: Api, worker: RunningWorker) -> None:
    """Whatever can be read of it is shown; the official client takes it."""
    producer = Producer({"bootstrap.servers": api.settings.kafka_bootstrap_servers})
    for value in (
        b'{"transaction_id": "old", "customer_id": "c", "event_type": "e", "timestamp": "1999-01-01T00:00:00Z"}',
        b'[{"transaction_id": "odd", "customer_id": 7, "event_type": ["x"], "timestamp": "never", "properties": {"a": 1}}]',
        b'{"transaction_id": "\\ud800", "customer_id": "c"}',
        b"not JSON",
    ):
        producer.produce("usage-events", value)
    producer.flush()

    async def states() -> list[tuple[str, str, bool]]:
        return [(name, state, reason is not None) for name, state, reason in await found(http, "old", "odd")]

    await until(states, [("odd", "rejected", True), ("old", "rejected", True)])
    async with AsyncMetronome(
        base_url=api.url, bearer_token=http.headers["Authorization"].split()[1], _strict_response_validation=True
    ) as strict:
        assert len(await strict.v1.usage.search(transaction_ids=["old", "odd"])) == 2


async def test_notes_are_bounded(api: Api) -> None:
    """By number and age; the latest note of an id stays."""
    redis = Redis.from_url(api.settings.redis_url.get_secret_value())
    store = FateStore(redis, 1, events_max=10, days=1)

    def fate(name: str, state: str = "parked") -> Any:
        return Fate(name, state, "reason", "detail", "c", "e", "", "t/0/0/0", 0)

    names = [str(number) for number in range(600)]
    random.Random(1).shuffle(names)
    await store.note(map(fate, names), 1)
    await store.note([fate("x"), fate("x", "rejected")], 2)
    assert (await store.find(["x"]))["x"].state == "rejected"
    assert len(await store.find(["x", *names])) == 10
    await store.note([fate("y")], 86_400_002)
    assert set(await store.find(["x", "y", *names])) == {"x", "y"}
    await redis.aclose()
