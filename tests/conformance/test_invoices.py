"""Invoices, breakdowns and balances after real usage, through a worker and the official SDK: the guides' worked examples.

The examples keep their dates, October 2024: the clocks of the API and of the worker are set by the test.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import uuid4

import metronome
import pytest
from metronome import AsyncMetronome

from connectors.clock import set_shift_s, shift_s
from tests.conformance.conftest import Api
from tests.conformance.test_api_refusals import UNKNOWN
from tests.conformance.test_balances import access, all_of, make_customer, make_fixed, segment
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

SEPTEMBER, OCTOBER, NOVEMBER = (f"2024-{month:02d}-01T00:00:00Z" for month in (9, 10, 11))
AUTUMN: dict[str, Any] = {"starting_on": OCTOBER, "ending_before": NOVEMBER}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Clock:
    """The time of day of every role in this process. It runs on from what it is set to, of which it is never short."""

    def set(self, text: str) -> None:
        set_shift_s(ceil(instant(text).timestamp() - time.time()))


@pytest.fixture
def clock() -> Iterator[Clock]:
    before_s = shift_s()
    clock = Clock()
    clock.set("2024-09-01T00:00:00")
    yield clock
    set_shift_s(before_s)


@pytest.fixture
async def worker(clock: Clock, api: Api) -> AsyncIterator[RunningWorker]:
    update = {"tick_ms": 20, "consumer_group": f"group-{uuid4()}"}
    running = await RunningWorker(api.settings.model_copy(update=update)).start()
    yield running
    await running.stop()


async def make_priced(sdk: AsyncMetronome) -> tuple[str, str]:
    """A rate card that asks 100 cents for a unit, split by region; and its product."""
    metric = await sdk.v1.billable_metrics.create(
        name="units",
        aggregation_type="SUM",
        aggregation_key="units",
        property_filters=[{"name": "units", "exists": True}],
        group_keys=[["region"]],
    )
    product = await sdk.v1.contracts.products.create(
        name="My Product", type="USAGE", billable_metric_id=metric.data.id, presentation_group_key=["region"], tags=["core"]
    )
    card = await sdk.v1.contracts.rate_cards.create(name="List prices")
    await sdk.v1.contracts.rate_cards.rates.add(
        rate_card_id=card.data.id,
        product_id=product.data.id,
        entitled=True,
        rate_type="FLAT",
        price=100,
        starting_at="2024-01-01T00:00:00Z",
    )
    return card.data.id, product.data.id


async def use(sdk: AsyncMetronome, customer: str, day: str, *quantities: tuple[str, int]) -> None:
    """Usage by region, at noon."""
    events: Any = [
        {
            "transaction_id": f"{day}-{number}",
            "customer_id": customer,
            "event_type": "call",
            "timestamp": f"{day}T12:00:00Z",
            "properties": {"units": units, "region": region},
        }
        for number, (region, units) in enumerate(quantities)
    ]
    await sdk.v1.usage.ingest(usage=events)


async def test_the_october_example(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """Prepaid $100 from September, a reward credit of $5 in October to be used first; $65 spent in September, $20 in October."""
    card, _ = await make_priced(sdk)
    prepaid, reward = await make_fixed(sdk), await make_fixed(sdk, "Reward credit")
    customer = await make_customer(sdk)
    year = segment(10_000, SEPTEMBER, "2025-09-01T00:00:00Z")
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=SEPTEMBER,
            rate_card_id=card,
            commits=[
                {
                    "type": "PREPAID",
                    "product_id": prepaid,
                    "priority": 100,
                    "access_schedule": access(year),
                    "invoice_schedule": {"schedule_items": [{"timestamp": SEPTEMBER, "amount": 10_000}]},
                }
            ],
            credits=[{"product_id": reward, "priority": 1, "access_schedule": access(segment(500, OCTOBER, NOVEMBER))}],
        )
    ).data.id
    query: Any = {"customer_id": customer, "starting_at": SEPTEMBER, "include_contract_balances": True}

    async def balances() -> dict[str, float | None]:
        rows = sdk.v1.contracts.list_balances(**query, include_balance=True)
        return {each.product.name: each.balance async for each in rows}

    async def ledgers() -> dict[str, list[Any]]:
        rows = sdk.v1.contracts.list_balances(**query, include_ledgers=True)
        return {each.product.name: [(e.type, e.timestamp, e.amount) for e in each.ledger or []] async for each in rows}

    async def net(mode: Any) -> float:
        return (await sdk.v1.contracts.get_net_balance(customer_id=customer, invoice_inclusion_mode=mode)).data.balance

    clock.set("2024-09-15T13:00:00")
    await use(sdk, customer, "2024-09-15", ("eu", 65))
    await until(balances, {"Prepaid Credits": 3500, "Reward credit": 0})  # the credit is not open yet
    assert await net("FINALIZED") == 10_000
    granted = ("PREPAID_COMMIT_SEGMENT_START", instant("2024-09-01"), 10_000)
    assert (await ledgers())["Prepaid Credits"] == [granted]

    clock.set("2024-10-01T23:50:00")  # grace goes on
    assert (await ledgers())["Prepaid Credits"] == [granted]
    assert await balances() == {"Prepaid Credits": 3500, "Reward credit": 500}
    clock.set("2024-10-02T00:00:00")
    taken = ("PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION", instant("2024-10-01"), -6500)
    assert (await ledgers())["Prepaid Credits"] == [granted, taken]  # final at once, whether or not a worker has looked

    clock.set("2024-10-20T00:00:00")
    await use(sdk, customer, "2024-10-19", ("eu", 20))
    await until(balances, {"Prepaid Credits": 2000, "Reward credit": 0})
    assert (await net("FINALIZED"), await net("FINALIZED_AND_DRAFT")) == (4000, 2000)
    invoices = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer, type="USAGE")]
    assert [(each.status, each.total, each.start_timestamp) for each in invoices] == [
        ("FINALIZED", 0, instant("2024-09-01")),
        ("DRAFT", 0, instant("2024-10-01")),
    ]
    applied = {
        (each.name, each.total, each.applied_commit_or_credit and each.applied_commit_or_credit.type)
        for each in invoices[1].line_items
    }
    assert applied == {
        ("My Product", 2000, None),
        ("Reward credit applied", -500, "CREDIT"),
        ("Prepaid Credits applied", -1500, "PREPAID"),
    }

    stored: Any = {"customer_id": customer, "starting_on": SEPTEMBER, "ending_before": OCTOBER}
    (bought, day) = await all_of(sdk.v1.customers.invoices.list_breakdowns(**stored))
    assert (bought.type, bought.total, bought.breakdown_start_timestamp) == ("SCHEDULED", 10_000, instant("2024-09-01"))
    assert (day.id, day.status, day.breakdown_start_timestamp) == (invoices[0].id, "FINALIZED", instant("2024-09-15"))
    assert [each.total for each in day.line_items] == [6500, -6500]
    hours = await all_of(sdk.v1.customers.invoices.list_breakdowns(**stored, window_size="HOUR"))
    spans = [each.breakdown_end_timestamp - each.breakdown_start_timestamp for each in hours]
    assert spans == [timedelta(hours=1), timedelta(days=1)]  # so it was the worker that kept it: by days

    clock.set("2024-11-02T00:00:00")
    assert await ledgers() == {
        "Prepaid Credits": [
            granted,
            taken,
            ("PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION", instant("2024-11-01"), -1500),
        ],
        "Reward credit": [
            ("CREDIT_SEGMENT_START", instant("2024-10-01"), 500),
            ("CREDIT_AUTOMATED_INVOICE_DEDUCTION", instant("2024-11-01"), -500),
        ],
    }
    assert await balances() == {"Prepaid Credits": 2000, "Reward credit": 0}
    assert (await net("FINALIZED"), await net("FINALIZED_AND_DRAFT")) == (2000, 2000)
    whole = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract, include_ledgers=True)).data
    deduction = (whole.commits[0].ledger or [])[1]
    assert deduction.type == "PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION"
    invoice = (await sdk.v1.customers.invoices.retrieve(customer_id=customer, invoice_id=deduction.invoice_id)).data
    assert (invoice.id, invoice.status, invoice.end_timestamp) == (invoices[0].id, "FINALIZED", instant("2024-10-01"))
    assert invoice.issued_at == instant("2024-10-02")


async def billed(sdk: AsyncMetronome, clock: Clock, **more: Any) -> tuple[str, str]:
    """The customer of the guide's daily breakdowns, in October 2024, and its product."""
    card, product = await make_priced(sdk)
    customer = await make_customer(sdk)
    await sdk.v1.contracts.create(customer_id=customer, starting_at=OCTOBER, rate_card_id=card, **more)
    clock.set("2024-10-20T00:00:00")
    await use(sdk, customer, "2024-10-01", ("ap-south-1", 37), ("us-east-1", 24), ("us-east-2", 12))
    await use(sdk, customer, "2024-10-02", ("ap-south-1", 91))

    async def quantity() -> float:
        drafts = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer)]
        return sum(item.quantity or 0 for each in drafts for item in each.line_items)

    await until(quantity, 164)
    return customer, product


async def test_daily_breakdowns(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    customer, product = await billed(sdk, clock)
    rows = [each async for each in sdk.v1.customers.invoices.list_breakdowns(customer_id=customer, **AUTUMN, window_size="DAY")]
    assert [(each.breakdown_start_timestamp, each.breakdown_end_timestamp, each.total) for each in rows] == [
        (instant("2024-10-01"), instant("2024-10-02"), 7300),
        (instant("2024-10-02"), instant("2024-10-03"), 9100),
    ]
    assert [
        [(item.presentation_group_values, item.quantity, item.unit_price, item.total) for item in each.line_items]
        for each in rows
    ] == [
        [
            ({"region": "ap-south-1"}, 37, 100, 3700),
            ({"region": "us-east-1"}, 24, 100, 2400),
            ({"region": "us-east-2"}, 12, 100, 1200),
        ],
        [({"region": "ap-south-1"}, 91, 100, 9100)],
    ]
    item = rows[0].line_items[0]
    assert (item.name, item.type, item.product_id, item.product_type) == ("My Product", "usage", product, "UsageProductListItem")
    assert (item.starting_at, item.ending_before, item.product_tags) == (instant("2024-10-01"), instant("2024-11-01"), ["core"])
    whole = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer)]
    assert [(each.id, each.total, each.status, each.type) for each in whole] == [(rows[0].id, 16_400, "DRAFT", "USAGE")]
    assert rows[0].credit_type.name == "USD (cents)"
    assert rows[0].issued_at == instant("2024-11-02")


async def test_daily_breakdowns_under_a_commit(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """The same usage, paid by a prepaid commit of $200."""
    commit = {
        "type": "PREPAID",
        "product_id": await make_fixed(sdk),
        "access_schedule": access(segment(20_000, OCTOBER, "2025-10-01T00:00:00Z")),
        "custom_fields": {"campaign": "autumn"},
    }
    customer, _ = await billed(sdk, clock, commits=[commit])
    rows = [each async for each in sdk.v1.customers.invoices.list_breakdowns(customer_id=customer, **AUTUMN)]
    assert [each.total for each in rows] == [0, 0]
    assert [[(item.name, item.total, item.commit_type) for item in each.line_items] for each in rows] == [
        [
            ("My Product", 3700, "PrepaidCommit"),
            ("Prepaid Credits applied", -3700, "PrepaidCommit"),
            ("My Product", 2400, "PrepaidCommit"),
            ("Prepaid Credits applied", -2400, "PrepaidCommit"),
            ("My Product", 1200, "PrepaidCommit"),
            ("Prepaid Credits applied", -1200, "PrepaidCommit"),
        ],
        [("My Product", 9100, "PrepaidCommit"), ("Prepaid Credits applied", -9100, "PrepaidCommit")],
    ]
    balance = (await all_of(sdk.v1.contracts.list_balances(customer_id=customer, include_contract_balances=True)))[0]
    assert balance.access_schedule is not None
    applied = rows[1].line_items[1]
    assert (applied.commit_id, applied.commit_segment_id, applied.commit_custom_fields, applied.quantity) == (
        balance.id,
        balance.access_schedule.schedule_items[0].id,
        {"campaign": "autumn"},
        None,
    )
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 3600


async def test_pages_and_filters(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    customer, _ = await billed(sdk, clock)
    invoices: Any = sdk.v1.customers.invoices

    async def starts(**more: Any) -> list[str]:
        rows = invoices.list_breakdowns(customer_id=customer, **{**AUTUMN, **more})
        return [each.breakdown_start_timestamp.strftime("%d %H") async for each in rows]

    assert await starts(limit=1) == ["01 00", "02 00"]
    assert await starts(limit=1, sort="date_desc") == ["02 00", "01 00"]
    assert await starts(window_size="hour") == ["01 12", "02 12"]
    first = await invoices.list_breakdowns(customer_id=customer, **AUTUMN, window_size="HOUR")
    assert len(first.data) == 1  # 24 hours end a page
    assert first.next_page is not None
    assert await starts(starting_on="2024-10-01T01:00:00Z") == ["02 00"]  # windows that lie within
    assert await starts(ending_before="2024-10-02T23:00:00Z") == ["01 00"]
    assert await starts(status="FINALIZED") == []
    assert await starts(credit_type_id=UNKNOWN) == []

    async def count(**filters: Any) -> int:
        return len([each async for each in invoices.list(customer_id=customer, **filters)])

    contract = (await all_of(invoices.list(customer_id=customer)))[0].contract_id
    for filters, expected in (
        ({"status": "DRAFT"}, 1),
        ({"status": "VOID"}, 0),
        ({"type": "USAGE"}, 1),
        ({"type": "SCHEDULED"}, 0),
        ({"contract_id": contract}, 1),
        ({"contract_id": UNKNOWN}, 0),
        ({"starting_on": OCTOBER, "ending_before": NOVEMBER}, 1),
        ({"starting_on": "2024-10-01T01:00:00Z"}, 0),
        ({"ending_before": "2024-10-31T23:00:00Z"}, 0),
        ({"skip_zero_qty_line_items": True}, 1),
    ):
        assert await count(**filters) == expected, filters

    clock.set("2024-11-20T00:00:00")  # October is final, November a draft without usage
    listed = [each async for each in invoices.list(customer_id=customer, limit=1)]
    assert [(each.status, each.total) for each in listed] == [("FINALIZED", 16_400), ("DRAFT", 0)]
    newest = [each async for each in invoices.list(customer_id=customer, limit=1, sort="date_desc")]
    assert [each.id for each in newest] == [each.id for each in reversed(listed)]
    assert await starts(status="FINALIZED") == ["01 00", "02 00"]
    with pytest.raises(metronome.NotFoundError, match="there is no invoice"):
        await invoices.retrieve(customer_id=customer, invoice_id=UNKNOWN)
    with pytest.raises(metronome.NotFoundError, match="there is no customer"):
        await invoices.retrieve(customer_id=UNKNOWN, invoice_id=UNKNOWN)
    with pytest.raises(metronome.BadRequestError, match="ending_before must be after"):
        await invoices.list_breakdowns(customer_id=customer, starting_on=NOVEMBER, ending_before=OCTOBER)
    with pytest.raises(metronome.BadRequestError, match="status"):
        await invoices.list(customer_id=customer, status="PAID")


async def test_an_archived_customers_account_stays(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    customer, _ = await billed(sdk, clock)
    await worker.stop()  # it would see the clock jump before it sees the customer archived
    await sdk.v1.customers.archive(id=customer)
    clock.set("2024-12-20T00:00:00")
    listed = [each async for each in sdk.v1.customers.invoices.list(customer_id=customer)]
    assert [(each.status, each.total) for each in listed] == [("DRAFT", 16_400)]


async def test_a_manual_entry_is_evaluated_at_once(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    customer, fixed = await make_customer(sdk), await make_fixed(sdk)
    commit = await sdk.v1.customers.commits.create(
        customer_id=customer,
        type="PREPAID",
        product_id=fixed,
        priority=1,
        access_schedule=access(segment(100, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")),
    )
    alert = await sdk.v1.alerts.create(
        alert_type="low_remaining_commit_balance_reached", name="low", threshold=30, customer_id=customer
    )

    async def standing() -> tuple[str | None, str | None]:
        found = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert.data.id)).data
        return found.customer_status, found.triggered_by

    await until(standing, ("ok", None))
    (row,) = await all_of(sdk.v1.customers.commits.list(customer_id=customer))
    where: Any = {"customer_id": customer, "id": commit.data.id, "segment_id": row.access_schedule.schedule_items[0].id}
    await sdk.v1.contracts.add_manual_balance_entry(**where, amount=-70, reason="taken back")
    await until(standing, ("in_alarm", "balance_change"))
