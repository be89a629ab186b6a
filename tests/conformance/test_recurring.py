"""Recurring commits and credits, and subscriptions, through the official SDK in strict mode: shown, changed, billed, watched."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_api_refusals import UNKNOWN, post
from tests.conformance.test_balances import all_of, make_customer, make_fixed
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]

JANUARY, FEBRUARY, MARCH, APRIL = (f"2025-{month:02d}-01T00:00:00Z" for month in (1, 2, 3, 4))
WHOLE: dict[str, Any] = {"is_prorated": True}


async def make_plan(sdk: AsyncMetronome, card: str, price: int = 3100, frequency: Any = "MONTHLY", **more: Any) -> str:
    product = (await sdk.v1.contracts.products.create(name="Pro plan", type="SUBSCRIPTION", tags=["plans"])).data.id
    rate: Any = {"entitled": True, "rate_type": "FLAT", "price": price, "starting_at": "2024-01-01T00:00:00Z", **more}
    await sdk.v1.contracts.rate_cards.rates.add(rate_card_id=card, product_id=product, billing_frequency=frequency, **rate)
    return product


def plan(product: str, quantity: float = 10, **more: Any) -> dict[str, Any]:
    fields = {
        "subscription_rate": {"billing_frequency": "monthly", "product_id": product},
        "collection_schedule": "arrears",
        "proration": WHOLE,
        "initial_quantity": quantity,
    }
    return {**fields, **more}


def grant(product: str, amount: float = 1000, **more: Any) -> dict[str, Any]:
    fields = {
        "product_id": product,
        "access_amount": {"unit_price": amount, "quantity": 1},
        "commit_duration": {"value": 1, "unit": "periods"},
        "priority": 1,
        "starting_at": JANUARY,
    }
    return {**fields, **more}


async def contract_of(sdk: AsyncMetronome, customer: str, contract: str, **more: Any) -> Any:
    return (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract, **more)).data


async def credits_of(sdk: AsyncMetronome, customer: str) -> list[Any]:
    """By their start: those that appeared at one time are listed in no particular order."""
    every = await all_of(
        sdk.v1.customers.credits.list(
            customer_id=customer, include_contract_credits=True, include_balance=True, include_ledgers=True
        )
    )
    return sorted(every, key=lambda each: each.access_schedule.schedule_items[0].starting_at)


async def test_recurring_ones_are_shown_with_what_they_make(sdk: AsyncMetronome, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    usd = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
    commit: Any = grant(
        fixed,
        3000,
        name="Included usage",
        invoice_amount={"credit_type_id": usd, "unit_price": 2000, "quantity": 1},
        recurrence_frequency="weekly",
        commit_duration={"value": 2},
        proration="NONE",
        proration_rounding={"access": {"rounding_method": "half_up", "decimal_places": 0}},
        ending_before=APRIL,
        applicable_product_tags=["core"],
    )
    credit: Any = grant(fixed, specifiers=[{"presentation_group_values": {"region": "eu"}}])
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=JANUARY, recurring_commits=[commit], recurring_credits=[credit]
        )
    ).data.id

    shown = await contract_of(sdk, customer, contract, include_balance=True)
    (recurring,) = shown.recurring_commits
    assert (recurring.product.name, recurring.name, recurring.priority, recurring.proration) == (
        "Prepaid Credits",
        "Included usage",
        1,
        "NONE",
    )
    assert (recurring.access_amount.unit_price, recurring.access_amount.quantity) == (3000, 1)
    assert (recurring.invoice_amount.unit_price, recurring.commit_duration.value) == (2000, 2)
    assert (recurring.recurrence_frequency, recurring.rate_type, recurring.contract.id) == ("WEEKLY", "LIST_RATE", contract)
    assert recurring.proration_rounding.access.rounding_method == "HALF_UP"
    assert recurring.starting_at == recurring.anchor_date
    # Weeks begin on January 1st and 8th, and the next one appears a week ahead.
    assert [each.access_schedule.schedule_items[0].starting_at.day for each in shown.commits] == [1, 8, 15]
    assert [each.access_schedule.schedule_items[0].ending_before.day for each in shown.commits] == [15, 22, 29]
    assert [(each.type, each.recurring_commit_id, each.balance) for each in shown.commits] == [
        ("PREPAID", recurring.id, 3000),
        ("PREPAID", recurring.id, 3000),
        ("PREPAID", recurring.id, 0),
    ]
    assert shown.commits[0].invoice_schedule.schedule_items[0].amount == 2000
    assert shown.commits[0].applicable_product_tags == ["core"]

    (recurring_credit,) = shown.recurring_credits
    assert recurring_credit.anchor_date.isoformat() == "2025-01-01T00:00:00+00:00"
    assert [each.recurring_credit_id for each in shown.credits] == [recurring_credit.id] * 2
    assert shown.credits[0].specifiers[0].presentation_group_values == {"region": "eu"}

    old = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data
    assert [each.id for each in old.current.recurring_commits] == [recurring.id]
    assert [each.id for each in old.initial.recurring_credits] == [recurring_credit.id]
    assert [each.id for each in old.current.commits] == [each.id for each in shown.commits]
    (january, february) = await credits_of(sdk, customer)
    assert [each.balance for each in (january, february)] == [1000, 0]
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 7000


async def test_a_monthly_credit_pays_usage_and_is_granted_anew(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """$10 each month; an alert at $2 left is reached by $8 of usage, and resolved by the first of the next month."""
    clock.set("2025-01-10T00:00:00")
    card, _ = await make_priced(sdk)
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    alert = (
        await sdk.v1.alerts.create(alert_type="low_remaining_contract_credit_balance_reached", name="low", threshold=200)
    ).data.id
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            rate_card_id=card,
            recurring_credits=[grant(fixed)],  # type: ignore[list-item]
        )
    ).data.id

    async def status() -> str | None:
        return (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert)).data.customer_status

    await until(status, "ok")
    await use(sdk, customer, "2025-01-09", ("eu", 7))
    await use(sdk, customer, "2025-01-10", ("eu", 1))
    await until(status, "in_alarm")
    january, _ = await credits_of(sdk, customer)
    assert january.balance == 200

    clock.set("2025-02-01T00:00:01")
    await until(status, "ok")
    clock.set("2025-02-02T00:00:01")
    await use(sdk, customer, "2025-02-01", ("eu", 3))

    async def left() -> list[float | None]:
        return [each.balance for each in await credits_of(sdk, customer)]

    await until(left, [0, 700, 0])
    january = (await credits_of(sdk, customer))[0]
    assert [(each.type, each.amount) for each in january.ledger] == [
        ("CREDIT_SEGMENT_START", 1000),
        ("CREDIT_AUTOMATED_INVOICE_DEDUCTION", -800),
        ("CREDIT_EXPIRATION", -200),
    ]
    invoices = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract))
    assert [(each.status, each.total) for each in invoices] == [("FINALIZED", 0), ("DRAFT", 0)]
    assert [each.name for each in invoices[0].line_items] == ["My Product", "Prepaid Credits applied"]


async def test_a_child_is_changed_by_its_own_id(sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            recurring_credits=[grant(fixed)],
            recurring_commits=[grant(fixed, 500)],  # type: ignore[list-item]
        )
    ).data.id
    january, february = await credits_of(sdk, customer)
    segment = january.access_schedule.schedule_items[0].id
    entry: Any = {"customer_id": customer, "contract_id": contract, "amount": -300, "reason": "by hand"}
    await sdk.v1.contracts.add_manual_balance_entry(id=january.id, segment_id=segment, **entry)
    assert (await credits_of(sdk, customer))[0].balance == 700
    assert [each.type for each in (await credits_of(sdk, customer))[0].ledger] == ["CREDIT_SEGMENT_START", "CREDIT_MANUAL"]

    await sdk.v2.contracts.edit_credit(customer_id=customer, credit_id=january.id, priority=7)
    await sdk.v1.customers.credits.update_end_date(
        customer_id=customer, credit_id=february.id, access_ending_before="2025-02-15T00:00:00Z"
    )
    commit = (await contract_of(sdk, customer, contract)).commits[0].id
    await sdk.v2.contracts.edit(customer_id=customer, contract_id=contract, archive_commits=[{"id": commit}])
    first, second = await credits_of(sdk, customer)
    assert (first.id, first.balance, first.priority, first.recurring_credit_id) == (
        january.id,
        700,
        7,
        january.recurring_credit_id,
    )
    assert second.access_schedule.schedule_items[0].ending_before.day == 15
    assert commit not in [each.id for each in (await contract_of(sdk, customer, contract)).commits]
    refused = await http.post("/v1/contracts/addManualBalanceLedgerEntry", json={**entry, "id": UNKNOWN, "segment_id": UNKNOWN})
    assert refused.status_code == 404


async def test_recurring_ones_are_added_and_changed_by_edits(sdk: AsyncMetronome, clock: Clock) -> None:
    """The guide's example: from 50 to 70 credits a month, for what has not begun."""
    clock.set("2025-01-10T00:00:00")
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=JANUARY)).data.id
    usd = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
    invoice: Any = {"credit_type_id": usd, "unit_price": 3000, "quantity": 1}
    added = await sdk.v2.contracts.edit(
        customer_id=customer,
        contract_id=contract,
        add_recurring_commits=[grant(fixed, 50, invoice_amount=invoice)],  # type: ignore[list-item]
        add_recurring_credits=[grant(fixed)],  # type: ignore[list-item]
    )
    assert added.data.edit is not None
    (recurring,) = added.data.edit.add_recurring_commits or []
    assert recurring.access_amount.unit_price == 50
    await sdk.v2.contracts.edit(
        customer_id=customer,
        contract_id=contract,
        update_recurring_commits=[{"recurring_commit_id": recurring.id, "access_amount": {"unit_price": 70}}],
        update_recurring_credits=[
            {"recurring_credit_id": added.data.edit.add_recurring_credits[0].id, "ending_before": "2025-01-15T00:00:00Z"}  # type: ignore[index]
        ],
    )
    shown = await contract_of(sdk, customer, contract)
    assert [each.access_schedule.schedule_items[0].amount for each in shown.commits] == [50, 70]
    assert [each.invoice_schedule.schedule_items[0].amount for each in shown.commits] == [3000, 3000]
    assert shown.recurring_commits[0].access_amount.unit_price == 70
    # What has begun stays as it is; no other credit comes.
    assert [each.access_schedule.schedule_items[0].ending_before.month for each in shown.credits] == [2]
    assert shown.recurring_credits[0].ending_before.day == 15
    old = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data
    assert (old.initial.recurring_commits, len(old.current.recurring_commits or [])) == ([], 1)
    _, changed = (await sdk.v2.contracts.get_edit_history(customer_id=customer, contract_id=contract)).data
    assert changed.update_recurring_commits is not None
    assert changed.update_recurring_commits[0].access_amount.unit_price == 70  # type: ignore[union-attr]


async def test_subscriptions_are_billed_and_alerted_on(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """Ten seats at $31, twelve from January 21st; $5 of usage. Spend alerts see the usage only, invoice totals all of it."""
    clock.set("2025-01-10T00:00:00")
    card, _ = await make_priced(sdk)
    product, customer = await make_plan(sdk, card), await make_customer(sdk)
    total: Any = {"alert_type": "invoice_total_reached", "name": "total", "threshold": 33700}
    spend: Any = {"alert_type": "spend_threshold_reached", "name": "spend", "threshold": 501}
    alerts = [(await sdk.v1.alerts.create(**each)).data.id for each in (total, spend)]
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            rate_card_id=card,
            subscriptions=[plan(product, name="Seats", custom_fields={"tier": "pro"})],  # type: ignore[list-item]
        )
    ).data.id
    (subscription,) = (await contract_of(sdk, customer, contract)).subscriptions
    assert (subscription.subscription_rate.product.name, subscription.subscription_rate.billing_frequency) == (
        "Pro plan",
        "MONTHLY",
    )
    assert (subscription.collection_schedule, subscription.proration.is_prorated) == ("ARREARS", True)
    assert (subscription.quantity_management_mode, subscription.name) == ("QUANTITY_ONLY", "Seats")
    assert subscription.billing_periods.current.starting_at.isoformat() == "2025-01-01T00:00:00+00:00"
    assert (subscription.billing_periods.previous, subscription.billing_periods.next.ending_before.month) == (None, 3)
    await use(sdk, customer, "2025-01-09", ("eu", 5))

    async def states() -> list[str | None]:
        found = [await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=each) for each in alerts]
        return [each.data.customer_status for each in found]

    await until(states, ["ok", "ok"])
    edit: Any = {
        "subscription_id": subscription.id,
        "quantity_updates": [{"starting_at": "2025-01-21T00:00:00Z", "quantity_delta": 2}],
    }
    await sdk.v2.contracts.edit(customer_id=customer, contract_id=contract, update_subscriptions=[edit])
    await until(states, ["in_alarm", "ok"])  # 31,000 + 2 x 1,100 + 500
    (draft,) = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract))
    assert [(each.type, each.name, each.quantity, each.unit_price, each.total) for each in draft.line_items] == [
        ("usage", "My Product", 5, 100, 500),
        ("subscription", "Seats", 10, 3100, 31000),
        ("subscription", "Seats", 2, 1100, 2200),
    ]
    charged = draft.line_items[1]
    assert (charged.subscription_id, charged.subscription_custom_fields) == (subscription.id, {"tier": "pro"})
    assert charged.product_type == "SubscriptionProductListItem"
    shown = (await contract_of(sdk, customer, contract)).subscriptions[0].quantity_schedule
    assert [(each.quantity, each.starting_at.day) for each in shown] == [(10, 1), (12, 21)]
    clock.set("2025-01-22T00:00:00")
    shown = (await contract_of(sdk, customer, contract)).subscriptions[0].quantity_schedule
    assert [each.quantity for each in shown] == [12]
    days = await all_of(
        sdk.v1.customers.invoices.list_breakdowns(customer_id=customer, starting_on=JANUARY, ending_before=FEBRUARY)
    )
    assert sum(each.total for each in days) == draft.total
    clock.set("2025-02-02T00:00:01")  # the grace period is over: nobody uses anything, and the invoice becomes final

    async def final() -> list[tuple[str, float]]:
        found = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract, status="FINALIZED"))
        return [(each.status, each.total) for each in found]

    await until(final, [("FINALIZED", 33700)])


async def test_a_pool_of_credits_follows_its_subscription(sdk: AsyncMetronome, clock: Clock) -> None:
    """100 seats of 50 credits; 110 from January 21st on, which is 11 of 31 days."""
    clock.set("2025-01-22T00:00:00")
    card = (await sdk.v1.contracts.rate_cards.create(name="Plans")).data.id
    product, fixed, customer = await make_plan(sdk, card, 0), await make_fixed(sdk), await make_customer(sdk)
    pooled: Any = grant(
        fixed,
        access_amount={"unit_price": 62},
        subscription_config={"subscription_id": "seats", "apply_seat_increase_config": {"is_prorated": True}},
    )
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            rate_card_id=card,
            subscriptions=[plan(product, 100, temporary_id="seats")],  # type: ignore[list-item]
            recurring_credits=[pooled],
        )
    ).data.id
    shown = await contract_of(sdk, customer, contract)
    (subscription,) = shown.subscriptions
    link = shown.recurring_credits[0].subscription_config
    assert (link.subscription_id, link.allocation, link.apply_seat_increase_config.is_prorated) == (
        subscription.id,
        "POOLED",
        True,
    )
    update: Any = {
        "subscription_id": subscription.id,
        "quantity_updates": [{"starting_at": "2025-01-21T00:00:00Z", "quantity": 110}],
    }
    await sdk.v2.contracts.edit(customer_id=customer, contract_id=contract, update_subscriptions=[update])
    january, february = await credits_of(sdk, customer)
    assert january.balance == 6200 + 220
    assert [(each.type, each.amount) for each in january.ledger] == [
        ("CREDIT_SEGMENT_START", 6200),
        ("CREDIT_SEAT_BASED_ADJUSTMENT", 220),
    ]
    assert february.access_schedule.schedule_items[0].amount == 6820


async def test_overrides_of_a_subscription_rate(sdk: AsyncMetronome, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    card = (await sdk.v1.contracts.rate_cards.create(name="Plans")).data.id
    product, customer = await make_plan(sdk, card, entitled=False), await make_customer(sdk)
    specifier: Any = {"product_id": product, "billing_frequency": "monthly"}
    override: Any = {"starting_at": JANUARY, "entitled": True, "override_specifiers": [specifier]}
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            rate_card_id=card,
            subscriptions=[plan(product, 1)],  # type: ignore[list-item]
            overrides=[override, {**override, "type": "MULTIPLIER", "multiplier": 0.5}],
        )
    ).data.id
    (draft,) = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract))
    assert draft.total == 1550
    rows = (await sdk.v1.contracts.rate_cards.retrieve_rate_schedule(rate_card_id=card, starting_at=JANUARY)).data
    assert [(each.billing_frequency, each.rate.price) for each in rows] == [("MONTHLY", 3100)]


async def test_billing_immediately_is_refused(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    """No invoice is made within a billing period, so that it cannot be what it says."""
    card = (await sdk.v1.contracts.rate_cards.create(name="Plans")).data.id
    subscription = {**plan(await make_plan(sdk, card)), "collection_schedule": "ADVANCE"}
    subscription["proration"] = {"is_prorated": True, "invoice_behavior": "bill_immediately"}
    body = {"customer_id": await make_customer(sdk), "starting_at": JANUARY, "rate_card_id": card}
    response = await http.post("/v1/contracts/create", json={**body, "subscriptions": [subscription]})
    assert (response.status_code, "BILL_IMMEDIATELY is not supported" in response.json()["message"]) == (501, True), response.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_quantity": None}, "initial_quantity is required"),
        ({"subscription_rate": {"billing_frequency": "ANNUAL", "product_id": "PLAN"}}, "no ANNUAL rate"),
        ({"subscription_rate": {"billing_frequency": "MONTHLY", "product_id": "FIXED"}}, "must be a SUBSCRIPTION product"),
        ({"proration": {"is_prorated": True, "invoice_behavior": "BILL_IMMEDIATELY"}}, "ADVANCE"),
        ({"billing_cycle_config": {"anchor_date": "2024-12-01T00:00:00Z"}}, "ADVANCE"),
        ({"starting_at": "2024-12-31T00:00:00Z"}, "must not be before the contract's"),
        ({"starting_at": FEBRUARY, "ending_before": FEBRUARY}, "after the subscription's start"),
    ],
)
async def test_subscriptions_that_are_refused(
    sdk: AsyncMetronome, http: httpx.AsyncClient, changes: dict[str, Any], message: str
) -> None:
    card = (await sdk.v1.contracts.rate_cards.create(name="Plans")).data.id
    ids = {"PLAN": await make_plan(sdk, card), "FIXED": await make_fixed(sdk)}
    body = {"customer_id": await make_customer(sdk), "starting_at": JANUARY, "rate_card_id": card}
    subscription = {**plan(ids["PLAN"]), **changes}
    rate = subscription["subscription_rate"]
    subscription["subscription_rate"] = {**rate, "product_id": ids.get(rate["product_id"], rate["product_id"])}
    response = await http.post("/v1/contracts/create", json={**body, "subscriptions": [subscription]})
    assert (response.status_code, message in response.json()["message"]) == (400, True), response.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"access_amount": {"unit_price": 5}}, "quantity is required"),
        ({"commit_duration": {"value": 1.5}}, "whole number"),
        ({"ending_before": JANUARY}, "after starting_at"),
        (
            {"subscription_config": {"subscription_id": "nobody", "apply_seat_increase_config": {"is_prorated": True}}},
            "no subscription 'nobody'",
        ),
        ({"product_id": UNKNOWN}, "there is no product"),
        ({"recurrence_frequency": "HOURLY"}, "recurrence_frequency"),
    ],
)
async def test_recurring_ones_that_are_refused(
    sdk: AsyncMetronome, http: httpx.AsyncClient, changes: dict[str, Any], message: str
) -> None:
    body = {"customer_id": await make_customer(sdk), "starting_at": JANUARY}
    credit = {**grant(await make_fixed(sdk)), **changes}
    response = await http.post("/v1/contracts/create", json={**body, "recurring_credits": [credit]})
    assert (response.status_code, message in response.json()["message"]) == (400, True), response.text


async def test_what_an_edit_may_not_do(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    card = (await sdk.v1.contracts.rate_cards.create(name="Plans")).data.id
    product, fixed, customer = await make_plan(sdk, card), await make_fixed(sdk), await make_customer(sdk)
    daily: Any = grant(fixed, recurrence_frequency="DAILY")
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=JANUARY,
            rate_card_id=card,
            subscriptions=[plan(product, 2)],  # type: ignore[list-item]
            recurring_credits=[daily],
        )
    ).data.id
    before = await contract_of(sdk, customer, contract)
    subscription, recurring = before.subscriptions[0].id, before.recurring_credits[0].id
    body = {"customer_id": customer, "contract_id": contract}

    async def refused(status: int, **edit: Any) -> None:
        await post(http, "/v2/contracts/edit", {**body, **edit}, status)

    await refused(404, update_subscriptions=[{"subscription_id": UNKNOWN}])
    fewer = {"starting_at": FEBRUARY, "quantity_delta": -3}
    await refused(400, update_subscriptions=[{"subscription_id": subscription, "quantity_updates": [fewer]}])
    early = {"starting_at": "2024-12-01T00:00:00Z", "quantity": 3}
    await refused(400, update_subscriptions=[{"subscription_id": subscription, "quantity_updates": [early]}])
    await refused(400, add_recurring_credits=[daily])
    await refused(404, update_recurring_commits=[{"recurring_commit_id": recurring}])
    await refused(400, update_recurring_credits=[{"recurring_credit_id": recurring, "ending_before": JANUARY}])
    assert await contract_of(sdk, customer, contract) == before


async def test_a_recurring_commit_is_charged_and_drawn_at_commit_rates(
    sdk: AsyncMetronome, worker: RunningWorker, clock: Clock
) -> None:
    """$50 of commit for $40 at the start of each month, drawn at half price."""
    clock.set("2025-01-10T00:00:00")
    card, product = await make_priced(sdk)
    half: Any = {"rate_type": "FLAT", "price": 50}
    rate: Any = {"product_id": product, "entitled": True, "rate_type": "FLAT", "price": 100, "commit_rate": half}
    await sdk.v1.contracts.rate_cards.rates.add(rate_card_id=card, starting_at="2024-01-01T00:00:00Z", **rate)
    usd = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
    commit: Any = grant(
        await make_fixed(sdk),
        5000,
        rate_type="commit_rate",
        invoice_amount={"credit_type_id": usd, "unit_price": 4000, "quantity": 1},
    )
    customer = await make_customer(sdk)
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=JANUARY, rate_card_id=card, recurring_commits=[commit], ending_before=MARCH
        )
    ).data.id
    await use(sdk, customer, "2025-01-09", ("eu", 20))

    async def balances() -> list[float | None]:
        shown = await contract_of(sdk, customer, contract, include_balance=True)
        return sorted(each.balance for each in shown.commits)

    await until(balances, [0, 4000])
    shown = await contract_of(sdk, customer, contract)
    assert {each.rate_type for each in (*shown.commits, *shown.recurring_commits)} == {"COMMIT_RATE"}
    scheduled = await all_of(
        sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract, type="SCHEDULED", status="FINALIZED")
    )
    assert [(each.total, each.issued_at.day, each.line_items[0].type) for each in scheduled] == [(4000, 1, "commit_purchase")]
