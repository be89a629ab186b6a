"""Terms of commits and credits after real usage, through a worker and the official SDK: units, commit rates, renewals."""

from __future__ import annotations

from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_api_refusals import UNKNOWN, post
from tests.conformance.test_balances import END, START, access, all_of, make_customer, make_fixed, segment
from tests.conformance.test_invoices import NOVEMBER, OCTOBER, Clock, clock, make_priced, use, worker
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]

DECEMBER = "2024-12-01T00:00:00Z"
NO_CREDIT_TYPE = "00000000-0000-0000-0000-000000000000"


async def status(sdk: AsyncMetronome, customer: str, alert: str) -> str | None:
    return (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert)).data.customer_status


async def draft(sdk: AsyncMetronome, customer: str, contract: str) -> Any:
    found = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract, status="DRAFT"))
    (one,) = [each for each in found if each.start_timestamp.strftime("%Y-%m") == "2024-10"]
    return one


async def test_a_credit_of_units(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """50 units are free of charge: of 60 at 100 cents, 10 are owed."""
    clock.set("2024-10-10T00:00:00")
    card, product = await make_priced(sdk)
    fixed, customer = await make_fixed(sdk, "Included units"), await make_customer(sdk)
    credit: Any = {
        "product_id": fixed,
        "access_schedule": access(segment(50, OCTOBER, NOVEMBER), access_type="quantity"),
        "applicable_product_ids": [product],
    }
    contract = (
        await sdk.v1.contracts.create(customer_id=customer, starting_at=OCTOBER, rate_card_id=card, credits=[credit])
    ).data.id
    low: Any = {"alert_type": "low_remaining_contract_credit_balance_reached", "name": "few units", "threshold": 20}
    in_units = (await sdk.v1.alerts.create(**low, access_type="QUANTITY")).data.id
    in_money = (await sdk.v1.alerts.create(**low)).data.id

    async def settled() -> bool:
        return await status(sdk, customer, in_units) == "ok" and await status(sdk, customer, in_money) == "ok"

    await until(settled, True)
    await use(sdk, customer, "2024-10-08", ("eu", 20))
    await use(sdk, customer, "2024-10-09", ("eu", 40))

    async def alarmed() -> bool:
        return await status(sdk, customer, in_units) == "in_alarm"

    await until(alarmed, True)
    assert await status(sdk, customer, in_money) == "ok"
    told = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=in_units)).data.alert
    assert (told.access_type, told.credit_type) == ("QUANTITY", None)

    invoice = await draft(sdk, customer, contract)
    assert invoice.total == 1000
    usage, applied = invoice.line_items
    assert (usage.type, usage.quantity, usage.unit_price, usage.total) == ("usage", 60, 100, 6000)
    assert (applied.type, applied.quantity, applied.total) == ("applied_commit_or_credit", 50, -5000)
    assert applied.applied_commit_or_credit.access_type == "QUANTITY"

    (row,) = await all_of(
        sdk.v1.customers.credits.list(customer_id=customer, include_balance=True, include_contract_credits=True)
    )
    assert (row.balance, row.access_schedule.access_type, row.access_schedule.credit_type) == (0, "QUANTITY", None)
    net = (await sdk.v1.contracts.get_net_balance(customer_id=customer, access_type="QUANTITY")).data
    assert (net.balance, net.credit_type_id) == (0, NO_CREDIT_TYPE)
    final = await sdk.v1.contracts.get_net_balance(
        customer_id=customer, access_type="QUANTITY", invoice_inclusion_mode="FINALIZED"
    )
    assert final.data.balance == 50
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 0

    clock.set("2024-11-02T01:00:00")

    async def final_ledger() -> bool:
        await use(sdk, customer, "2024-11-01", ("eu", 1))  # somebody has to look
        (row,) = await all_of(
            sdk.v1.customers.credits.list(customer_id=customer, include_ledgers=True, include_contract_credits=True)
        )
        return [(each.type, each.amount) for each in row.ledger] == [
            ("CREDIT_SEGMENT_START", 50),
            ("CREDIT_AUTOMATED_INVOICE_DEDUCTION", -50),
        ]

    await until(final_ledger, True)


async def test_commit_rates_and_overrides_for_commits(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """List price 100, commit rate 80. One commit draws at 80; for another, named by its temporary id, that is halved."""
    clock.set("2024-10-10T00:00:00")
    card, product = await make_priced(sdk)
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    added = await sdk.v1.contracts.rate_cards.rates.add(
        rate_card_id=card,
        product_id=product,
        entitled=True,
        rate_type="FLAT",
        price=100,
        commit_rate={"rate_type": "FLAT", "price": 80},
        starting_at=OCTOBER,
    )
    assert added.data.commit_rate is not None
    assert (added.data.price, added.data.commit_rate.price) == (100, 80)
    (row,) = await all_of(sdk.v1.contracts.rate_cards.rates.list(rate_card_id=card, at=OCTOBER))
    assert (row.rate.price, row.commit_rate.rate_type, row.commit_rate.price) == (100, "FLAT", 80)

    def commit(amount: int, priority: int, **more: Any) -> Any:
        schedule = {"schedule_items": [{"timestamp": OCTOBER, "amount": amount}]}
        year = access(segment(amount, OCTOBER, NOVEMBER))
        own = {
            "type": "PREPAID",
            "product_id": fixed,
            "priority": priority,
            "access_schedule": year,
            "invoice_schedule": schedule,
        }
        return {**own, "rate_type": "COMMIT_RATE", **more}

    halved: Any = {
        "starting_at": OCTOBER,
        "type": "MULTIPLIER",
        "multiplier": 0.5,
        "is_commit_specific": True,
        "target": "COMMIT_RATE",
        "override_specifiers": [{"product_id": product, "commit_ids": ["second"]}],
    }
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=OCTOBER,
            rate_card_id=card,
            commits=[commit(800, 1), commit(2000, 2, temporary_id="second")],
            overrides=[halved],
        )
    ).data.id
    shown = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data
    first, second = shown.commits
    (override,) = shown.overrides
    assert (first.rate_type, override.is_commit_specific, override.target) == ("COMMIT_RATE", True, "COMMIT_RATE")
    assert override.override_specifiers is not None
    assert override.override_specifiers[0].commit_ids == [second.id]
    (rate,) = (await sdk.v1.contracts.retrieve_rate_schedule(customer_id=customer, contract_id=contract)).data
    assert rate.commit_rate is not None
    assert (rate.list_rate.price, rate.commit_rate.price, rate.override_rate) == (100, 80, None)

    await use(sdk, customer, "2024-10-09", ("eu", 61))

    async def total() -> float:
        return (await draft(sdk, customer, contract)).total if await drafted() else -1.0

    async def drafted() -> bool:
        found = await all_of(sdk.v1.customers.invoices.list(customer_id=customer, contract_id=contract, status="DRAFT"))
        return any(each.line_items for each in found)

    await until(total, 100.0)  # 10 units at 80, 50 at 40, and one at list price
    invoice = await draft(sdk, customer, contract)
    assert [(each.type, each.quantity, each.unit_price, each.total, each.commit_id) for each in invoice.line_items] == [
        ("usage", 10, 80, 800, first.id),
        ("applied_commit_or_credit", None, None, -800, first.id),
        ("usage", 50, 40, 2000, second.id),
        ("applied_commit_or_credit", None, None, -2000, second.id),
        ("usage", 1, 100, 100, None),
    ]
    await sdk.v2.contracts.edit_commit(customer_id=customer, commit_id=first.id, rate_type="LIST_RATE")
    await until(total, 300.0)  # 8 at 100, 50 at 40, three at list price


async def test_balances_are_updated_and_archived_with_their_contract(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    commit: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access()}
    credit: Any = {"product_id": fixed, "access_schedule": access()}
    contract = (
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, commits=[commit], credits=[credit])
    ).data.id
    where: Any = {"customer_id": customer, "contract_id": contract}
    shown = (await sdk.v2.contracts.retrieve(**where)).data
    old, given = shown.commits[0], (shown.credits or [])[0]
    assert old.access_schedule is not None
    item = old.access_schedule.schedule_items[0].id
    more = {"amount": 7, "starting_at": END, "ending_before": "2028-01-01T00:00:00Z"}
    update: Any = {
        "commit_id": old.id,
        "name": "More",
        "priority": 3,
        "rate_type": "COMMIT_RATE",
        "access_schedule": {"add_schedule_items": [more], "update_schedule_items": [{"id": item, "amount": 250}]},
    }
    gift: Any = {"credit_id": given.id, "description": "a gift", "netsuite_sales_order_id": "so-1"}
    done = await sdk.v2.contracts.edit(**where, update_commits=[update], update_credits=[gift])
    assert done.data.edit is not None
    (told,) = done.data.edit.update_commits or []
    assert (told.id, told.name, told.rate_type) == (old.id, "More", "COMMIT_RATE")
    assert told.access_schedule is not None
    assert [each.amount for each in told.access_schedule.add_schedule_items or []] == [7]
    assert [(each.id, each.amount) for each in told.access_schedule.update_schedule_items or []] == [(item, 250)]
    now = (await sdk.v2.contracts.retrieve(**where)).data
    changed = now.commits[0]
    assert (changed.name, changed.priority, changed.rate_type) == ("More", 3, "COMMIT_RATE")
    assert changed.access_schedule is not None
    assert [each.amount for each in changed.access_schedule.schedule_items] == [250, 7]
    assert [(each.description, each.netsuite_sales_order_id) for each in now.credits or []] == [("a gift", "so-1")]
    wrong: Any
    for wrong in ({"update_commits": [{"commit_id": given.id}]}, {"update_credits": [{"credit_id": old.id}]}):
        with pytest.raises(metronome.NotFoundError):
            await sdk.v2.contracts.edit(**where, **wrong)

    amendment = (await sdk.v1.contracts.amend(**where, starting_at=START, commits=[commit], credits=[credit])).data.id
    one = (await sdk.v1.contracts.retrieve(**where)).data
    (added,) = one.amendments
    assert added.id == amendment
    assert [each.id for each in one.current.commits] == [old.id, added.commits[0].id]
    assert [each.id for each in one.initial.commits] == [old.id]
    assert len(added.credits or []) == 1

    for path, body in (("commits", {"commit_id": old.id}), ("credits", {"credit_id": given.id})):
        for _ in range(2):
            assert (await post(http, f"/v2/contracts/{path}/archive", {"customer_id": customer, **body}, 200))["data"]["id"]
    assert (await sdk.v2.contracts.retrieve(**where)).data.commits[0].id == added.commits[0].id
    await post(http, "/v2/contracts/credits/archive", {"customer_id": customer, "credit_id": old.id}, 404)


async def test_what_is_left_rolls_over_at_renewal(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """Of 10000, 6500 are used in October; half of it may roll over, 3500 are left. They go before the new contract's credit."""
    clock.set("2024-10-10T00:00:00")
    card, _ = await make_priced(sdk)
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    commit: Any = {
        "type": "PREPAID",
        "product_id": fixed,
        "access_schedule": access(segment(10_000, OCTOBER, NOVEMBER)),
        "invoice_schedule": {"schedule_items": [{"timestamp": OCTOBER, "amount": 10_000}]},
        "priority": 9,
        "rollover_fraction": 0.5,
    }
    credit: Any = {"product_id": fixed, "access_schedule": access(segment(1000, NOVEMBER, DECEMBER)), "priority": 1}
    open_ended = (await sdk.v1.contracts.create(customer_id=customer, starting_at=OCTOBER, rate_card_id=card)).data.id
    old = (
        await sdk.v1.contracts.create(
            customer_id=customer, starting_at=OCTOBER, ending_before=NOVEMBER, rate_card_id=card, commits=[commit]
        )
    ).data.id
    await sdk.v1.contracts.archive(customer_id=customer, contract_id=open_ended, void_invoices=False)
    renewal: Any = {"type": "RENEWAL", "from_contract_id": old}
    terms: Any = {"customer_id": customer, "starting_at": NOVEMBER, "ending_before": DECEMBER, "rate_card_id": card}
    for wrong, words in (
        ({**renewal, "from_contract_id": UNKNOWN}, "has no contract"),
        ({**renewal, "from_contract_id": open_ended}, "has no contract"),
    ):
        with pytest.raises(metronome.BadRequestError, match=words):
            await sdk.v1.contracts.create(**terms, transition=wrong)
    with pytest.raises(metronome.BadRequestError, match="must end by"):
        await sdk.v1.contracts.create(**{**terms, "starting_at": OCTOBER}, transition=renewal)
    new = (await sdk.v1.contracts.create(**terms, transition=renewal, credits=[credit])).data.id
    with pytest.raises(metronome.BadRequestError, match="renewed already"):
        await sdk.v1.contracts.create(**terms, transition=renewal)
    with pytest.raises(metronome.BadRequestError, match="must end by"):
        await sdk.v1.contracts.update_end_date(customer_id=customer, contract_id=old, ending_before=DECEMBER)
    (transition,) = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=new)).data.transitions
    assert (transition.from_contract_id, transition.to_contract_id, transition.type) == (old, new, "RENEWAL")

    await use(sdk, customer, "2024-10-09", ("eu", 65))

    async def rolled() -> Any:
        shown = await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=new, include_balance=True, include_ledgers=True)
        return shown.data.commits[0]

    async def amount() -> float:
        schedule = (await rolled()).access_schedule
        return float(schedule.schedule_items[0].amount)

    await until(amount, 3500.0)
    assert (await rolled()).balance == 0  # it is not open yet
    clock.set("2024-11-05T00:00:00")
    await use(sdk, customer, "2024-11-04", ("eu", 40))

    async def left() -> float:
        return float((await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance)

    await until(left, 500.0)  # 3500 of the commit and 500 of the credit have paid for 40 units
    over = await rolled()
    assert over.rolled_over_from is not None
    source = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=old, include_ledgers=True)).data.commits[0]
    assert (over.rolled_over_from.contract_id, over.rolled_over_from.commit_id, over.balance) == (old, source.id, 0)
    assert source.rollover_fraction == 0.5
    assert [(each.type, each.amount) for each in source.ledger or []] == [
        ("PREPAID_COMMIT_SEGMENT_START", 10_000),
        ("PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION", -6500),
        ("PREPAID_COMMIT_ROLLOVER", -3500),
    ]
    assert source.ledger is not None
    assert source.ledger[2].new_contract_id == new  # type: ignore[union-attr]
