"""Scheduled charges, invoice schedules of commits and SCHEDULED invoices through the official SDK in strict mode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_api_refusals import UNKNOWN, post
from tests.conformance.test_balances import access, all_of, make_customer, make_fixed, segment

START = "2026-01-01T00:00:00Z"
FUTURE = "2090-01-31T00:00:00Z"


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def make(sdk: AsyncMetronome, **contract: Any) -> tuple[str, str]:
    customer = await make_customer(sdk)
    made = await sdk.v1.contracts.create(customer_id=customer, starting_at=START, **contract)
    return customer, made.data.id


async def scheduled(sdk: AsyncMetronome, customer: str, **query: Any) -> list[Any]:
    return await all_of(sdk.v1.customers.invoices.list(customer_id=customer, type="SCHEDULED", **query))


async def test_a_charge_is_invoiced_at_its_dates(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk, "Onboarding")
    items: Any = [{"timestamp": START, "amount": 250.5}, {"timestamp": FUTURE, "unit_price": 0.1, "quantity": 3}]
    charge: Any = {"product_id": fixed, "name": "Set-up", "schedule": {"schedule_items": items}, "custom_fields": {"a": "b"}}
    customer, contract = await make(sdk, scheduled_charges=[charge])
    first, second = await scheduled(sdk, customer)
    assert [(each.status, each.total, each.issued_at) for each in (first, second)] == [
        ("FINALIZED", 250.5, day("2026-01-01")),
        ("DRAFT", 0.3, day("2090-01-31")),
    ]
    (line,) = second.line_items
    assert (line.type, line.name, line.quantity, line.unit_price, line.total) == ("scheduled", "Set-up", 3, 0.1, 0.3)
    assert (line.product_id, line.product_type) == (fixed, "FixedProductListItem")
    assert (line.scheduled_charge_custom_fields, line.starting_at) == ({"a": "b"}, None)

    for shown in (
        (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data,
        (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data.current,
        (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data.initial,
    ):
        (answer,) = shown.scheduled_charges
        assert (answer.id, answer.product.name, answer.name) == (line.scheduled_charge_id, "Onboarding", "Set-up")
        assert [each.invoice_id for each in answer.schedule.schedule_items] == [first.id, second.id]
    assert [each.id for each in await scheduled(sdk, customer, status="DRAFT")] == [second.id]
    assert [each.id for each in await scheduled(sdk, customer, starting_on="2089-01-01T00:00:00Z")] == [second.id]
    assert await scheduled(sdk, customer, contract_id=UNKNOWN) == []
    got = await sdk.v1.customers.invoices.retrieve(customer_id=customer, invoice_id=first.id)
    assert (got.data.type, got.data.start_timestamp) == ("SCHEDULED", None)
    window: Any = {"customer_id": customer, "starting_on": START, "ending_before": "2026-01-03T00:00:00Z"}
    parts = await all_of(sdk.v1.customers.invoices.list_breakdowns(**window))
    assert [(each.id, each.total) for each in parts if each.type == "SCHEDULED"] == [(first.id, 250.5)]


@pytest.mark.parametrize(
    ("distribution", "frequency", "ending", "amounts", "dates"),
    [
        ("EACH", "MONTHLY", "2026-05-01", [100, 100, 100, 100], ["01-31", "02-28", "03-31", "04-30"]),
        ("DIVIDED", "QUARTERLY", "2027-01-30", [25, 25, 25, 25], ["01-31", "04-30", "07-31", "10-31"]),
        ("DIVIDED_ROUNDED", "SEMI_ANNUAL", "2027-02-01", [33, 33, 34], ["01-31", "07-31", "01-31"]),
        ("DIVIDED", "ANNUAL", "2026-02-01", [100], ["01-31"]),
        ("DIVIDED_ROUNDED", "WEEKLY", "2026-02-21", [33, 33, 34], ["01-31", "02-07", "02-14"]),
    ],
)
async def test_recurring_schedules(
    sdk: AsyncMetronome, distribution: Any, frequency: Any, ending: str, amounts: list[float], dates: list[str]
) -> None:
    fixed = await make_fixed(sdk)
    recurring: Any = {
        "amount": 100,
        "amount_distribution": distribution,
        "frequency": frequency,
        "starting_at": "2026-01-31T00:00:00Z",
        "ending_before": f"{ending}T00:00:00Z",
    }
    schedule: Any = {"recurring_schedule": recurring}
    commit: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access(segment()), "invoice_schedule": schedule}
    customer, _ = await make(sdk, commits=[commit], scheduled_charges=[{"product_id": fixed, "schedule": schedule}])
    invoices = await scheduled(sdk, customer)
    assert [each.total for each in invoices] == [2 * amount for amount in amounts]  # both are due together
    assert [each.issued_at.strftime("%m-%d") for each in invoices] == dates
    assert {each.type for invoice in invoices for each in invoice.line_items} == {"scheduled", "commit_purchase"}


async def test_equal_parts_add_up_to_the_amount(sdk: AsyncMetronome) -> None:
    recurring: Any = {"unit_price": 10, "quantity": 10, "amount_distribution": "DIVIDED", "frequency": "MONTHLY"}
    recurring |= {"starting_at": START, "ending_before": "2026-04-01T00:00:00Z"}
    charge: Any = {"product_id": await make_fixed(sdk), "schedule": {"recurring_schedule": recurring}}
    customer, contract = await make(sdk, scheduled_charges=[charge])
    answer = await sdk.v2.contracts.with_raw_response.retrieve(customer_id=customer, contract_id=contract)
    text = await answer.text()
    assert text.count('"amount":33.333333333333333333,') == 2
    assert text.count('"amount":33.333333333333333334,') == 1


async def test_charges_are_added_changed_and_archived(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk)
    customer, contract = await make(sdk)
    edit: Any = {"customer_id": customer, "contract_id": contract}
    items: Any = [{"timestamp": START, "amount": 1}, {"timestamp": FUTURE, "amount": 2}]
    added = await sdk.v2.contracts.edit(
        **edit, add_scheduled_charges=[{"product_id": fixed, "schedule": {"schedule_items": items}}]
    )
    assert added.data.edit is not None
    (charge,) = added.data.edit.add_scheduled_charges or []
    due, later = charge.schedule.schedule_items or []
    with pytest.raises(metronome.BadRequestError, match="its invoice is final"):
        await sdk.v2.contracts.edit(
            **edit,
            update_scheduled_charges=[
                {"scheduled_charge_id": charge.id, "invoice_schedule": {"remove_schedule_items": [{"id": due.id}]}}
            ],
        )
    change: Any = {
        "update_schedule_items": [{"id": later.id, "amount": 7}],
        "add_schedule_items": [{"timestamp": START, "amount": 5}, {"timestamp": FUTURE, "amount": 3}],
    }
    edited = await sdk.v2.contracts.edit(
        **edit, update_scheduled_charges=[{"scheduled_charge_id": charge.id, "invoice_schedule": change}]
    )
    assert edited.data.edit is not None
    (update,) = edited.data.edit.update_scheduled_charges or []
    assert update.invoice_schedule is not None
    assert [each.amount for each in update.invoice_schedule.update_schedule_items or []] == [7]
    invoices = await scheduled(sdk, customer)
    assert sorted((each.status, each.total) for each in invoices) == [("DRAFT", 10), ("FINALIZED", 1), ("FINALIZED", 5)]

    await sdk.v2.contracts.edit(**edit, archive_scheduled_charges=[{"id": charge.id}])
    assert [each.total for each in await scheduled(sdk, customer)] in ([1, 5], [5, 1])
    shown = (await sdk.v2.contracts.retrieve(**edit)).data.scheduled_charges
    assert shown is not None
    assert [each.archived_at is not None for each in shown] == [True]
    history = (await sdk.v2.contracts.get_edit_history(**edit)).data
    assert [bool(each.archive_scheduled_charges) for each in history] == [False, False, True]
    with pytest.raises(metronome.BadRequestError, match="is archived"):
        await sdk.v2.contracts.edit(**edit, update_scheduled_charges=[{"scheduled_charge_id": charge.id, "invoice_schedule": {}}])
    with pytest.raises(metronome.NotFoundError):
        await sdk.v2.contracts.edit(**edit, archive_scheduled_charges=[{"id": UNKNOWN}])


async def test_archived_contracts_and_their_invoices(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk)
    items: Any = [{"timestamp": START, "amount": 1}, {"timestamp": FUTURE, "amount": 2}]
    for void in (True, False):
        customer, contract = await make(sdk, scheduled_charges=[{"product_id": fixed, "schedule": {"schedule_items": items}}])
        await sdk.v1.contracts.archive(customer_id=customer, contract_id=contract, void_invoices=void)
        invoices = await scheduled(sdk, customer)
        assert [(each.status, each.total) for each in invoices] == [("VOID" if void else "FINALIZED", 1)]


async def test_a_commit_that_was_trued_up_gets_no_more_entries(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk)
    due = "2026-02-01T00:00:00Z"
    postpaid: Any = {"type": "POSTPAID", "product_id": fixed, "access_schedule": access(segment(500, START, due))}
    postpaid["invoice_schedule"] = {"schedule_items": [{"timestamp": due, "amount": 500}]}
    customer, contract = await make(sdk, commits=[postpaid])
    (invoice,) = await scheduled(sdk, customer)
    assert (invoice.status, invoice.total) == ("FINALIZED", 500)
    (commit,) = await all_of(sdk.v1.customers.commits.list(customer_id=customer, include_contract_commits=True))
    with pytest.raises(metronome.BadRequestError, match="was trued up at 2026-02-01"):
        await sdk.v1.contracts.add_manual_balance_entry(
            customer_id=customer,
            contract_id=contract,
            id=commit.id,
            segment_id=commit.access_schedule.schedule_items[0].id,
            amount=-1,
            reason="late",
        )


async def test_a_commit_is_bought_and_trued_up(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk)
    end = "2090-01-01T00:00:00Z"
    postpaid: Any = {"type": "POSTPAID", "product_id": fixed, "access_schedule": access(segment(500, START, end))}
    postpaid["invoice_schedule"] = {"schedule_items": [{"timestamp": end, "amount": 500}]}
    silent: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access(segment())}
    silent["invoice_schedule"] = {"do_not_invoice": True, "schedule_items": [{"timestamp": START, "amount": 90}]}
    customer, contract = await make(sdk, commits=[postpaid, silent])
    own: Any = {"customer_id": customer, "type": "PREPAID", "product_id": fixed, "priority": 1, "invoice_contract_id": contract}
    schedule: Any = {"schedule_items": [{"timestamp": START, "amount": 80}]}
    commit = await sdk.v1.customers.commits.create(**own, access_schedule=access(segment()), invoice_schedule=schedule)
    bought, true_up = await scheduled(sdk, customer)
    (line,) = bought.line_items
    assert (bought.status, bought.total, line.type, line.commit_id) == ("FINALIZED", 80, "commit_purchase", commit.data.id)
    assert (line.name, line.commit_type, line.postpaid_commit) == ("Prepaid Credits", "PrepaidCommit", None)
    (line,) = true_up.line_items
    assert (true_up.status, true_up.total, line.commit_type) == ("DRAFT", 500, "PostpaidCommit")
    assert line.postpaid_commit.id == line.commit_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product_id": UNKNOWN}, "scheduled_charges[0].product_id: there is no product"),
        ({"schedule": {}}, "schedule must have schedule_items or a recurring_schedule"),
        ({"schedule": {"schedule_items": [{"timestamp": START}]}}, "give either amount, or unit_price and quantity"),
        ({"schedule": {"schedule_items": [{"timestamp": START, "amount": -1}]}}, "amount: must not be negative"),
        (
            {"schedule": {"do_not_invoice": True, "schedule_items": [{"timestamp": START, "amount": 1}]}},
            "to commits only",
        ),
        ({"schedule": {"credit_type_id": UNKNOWN, "schedule_items": [{"timestamp": START, "amount": 1}]}}, "only US dollars"),
        (
            {
                "schedule": {
                    "recurring_schedule": {
                        "starting_at": START,
                        "ending_before": FUTURE,
                        "frequency": "WEEKLY",
                        "amount_distribution": "EACH",
                        "amount": 1,
                    }
                }
            },
            "has more than 1000 dates",
        ),
    ],
)
async def test_refused_charges(sdk: AsyncMetronome, http: httpx.AsyncClient, change: dict[str, Any], message: str) -> None:
    customer = await make_customer(sdk)
    charge = {"product_id": await make_fixed(sdk), "schedule": {"schedule_items": [{"timestamp": START, "amount": 1}]}, **change}
    body = {"customer_id": customer, "starting_at": START, "scheduled_charges": [charge]}
    assert message in (await post(http, "/v1/contracts/create", body, 400))["message"]
