"""Commits, credits, balances, ledgers and contract edits through the official SDK in strict mode, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.conftest import Api
from tests.conformance.test_api_refusals import UNKNOWN, made, post
from tests.conformance.test_sdk import make_metric, make_product

START = "2026-01-01T00:00:00Z"
MIDDLE = "2026-07-01T00:00:00Z"
END = "2027-01-01T00:00:00Z"
BASE = "/v1/contracts"


def segment(amount: Any = 100, starting_at: str = START, ending_before: str = END) -> dict[str, Any]:
    return {"amount": amount, "starting_at": starting_at, "ending_before": ending_before}


def access(*segments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schedule_items": [*(segments or (segment(),))], **more}


async def all_of(rows: Any) -> list[Any]:
    return [each async for each in rows]


async def make_fixed(sdk: AsyncMetronome, name: str = "Prepaid Credits") -> str:
    return (await sdk.v1.contracts.products.create(name=name, type="FIXED")).data.id


async def make_customer(sdk: AsyncMetronome) -> str:
    return (await sdk.v1.customers.create(name="Acme")).data.id


async def test_contract_commits_and_credits_read_back(sdk: AsyncMetronome) -> None:
    fixed = await make_fixed(sdk)
    usage = await make_product(sdk, await make_metric(sdk), tags=["gpu"])
    customer = await make_customer(sdk)
    commit: Any = {
        "type": "prepaid",
        "product_id": fixed,
        "access_schedule": access(segment("0.1"), segment(2, END, "2028-01-01T00:00:00Z")),
        "invoice_schedule": {"schedule_items": [{"timestamp": START, "unit_price": 5, "quantity": 2}]},
        "priority": 1.5,
        "specifiers": [{"product_id": usage, "pricing_group_values": {"region": "eu"}}, {"product_tags": ["gpu"]}],
        "name": "Year one",
        "description": "not for customers",
        "custom_fields": {"campaign": "spring"},
    }
    commit["access_schedule"]["schedule_items"][0]["amount"] = 0.1
    postpaid: Any = {
        "type": "POSTPAID",
        "product_id": fixed,
        "access_schedule": access(),
        "invoice_schedule": {"schedule_items": [{"timestamp": END, "amount": 100}]},
        "applicable_product_ids": [usage],
        "applicable_product_tags": ["gpu"],
    }
    credit: Any = {"product_id": fixed, "access_schedule": access(), "rate_type": "LIST_RATE", "priority": 0}
    contract = (
        await sdk.v1.contracts.create(customer_id=customer, starting_at=START, commits=[commit, postpaid], credits=[credit])
    ).data.id
    one = (await sdk.v1.contracts.retrieve(customer_id=customer, contract_id=contract)).data
    assert [each.type for each in one.current.commits] == ["PREPAID", "POSTPAID"]
    assert [each.id for each in one.initial.commits] == [each.id for each in one.current.commits]
    shown = (await sdk.v2.contracts.retrieve(customer_id=customer, contract_id=contract)).data
    first, second = shown.commits
    assert (first.product.id, first.product.name, first.priority, first.name) == (fixed, "Prepaid Credits", 1.5, "Year one")
    assert first.contract is not None
    assert (first.contract.id, first.custom_fields, first.rate_type) == (contract, {"campaign": "spring"}, "LIST_RATE")
    assert first.access_schedule is not None
    assert [item.amount for item in first.access_schedule.schedule_items] == [0.1, 2]
    assert first.access_schedule.schedule_items[0].ending_before == datetime(2027, 1, 1, tzinfo=UTC)
    assert first.invoice_schedule is not None
    assert [(i.amount, i.unit_price, i.quantity) for i in first.invoice_schedule.schedule_items or []] == [(10, 5, 2)]
    assert first.specifiers is not None
    assert (first.specifiers[0].product_id, first.specifiers[0].pricing_group_values) == (usage, {"region": "eu"})
    assert first.specifiers[1].product_tags == ["gpu"]
    assert (second.applicable_product_ids, second.applicable_product_tags) == ([usage], ["gpu"])
    assert [each.type for each in shown.credits or []] == ["CREDIT"]
    assert (first.balance, first.ledger) == (None, None)

    asked: Any = {"customer_id": customer, "include_balance": True, "include_ledgers": True}
    listed = [each async for each in sdk.v1.contracts.list(**asked)]
    assert len(listed) == 1
    whole = (await sdk.v2.contracts.retrieve(contract_id=contract, **asked)).data
    assert [each.type for each in whole.commits[1].ledger or []] == ["POSTPAID_COMMIT_INITIAL_BALANCE"]
    ledger = whole.commits[0].ledger or []
    assert [(each.type, each.amount) for each in ledger][:1] == [("PREPAID_COMMIT_SEGMENT_START", 0.1)]
    assert [each.balance for each in whole.commits] == [each.balance for each in listed[0].current.commits]
    assert whole.credits is not None
    assert [each.id async for each in sdk.v1.customers.commits.list(customer_id=customer)] == []
    rows = [each async for each in sdk.v1.customers.commits.list(customer_id=customer, include_contract_commits=True)]
    assert {each.id for each in rows} == {first.id, second.id}
    credits_ = [each async for each in sdk.v1.customers.credits.list(customer_id=customer, include_contract_credits=True)]
    assert [each.id for each in credits_] == [whole.credits[0].id]


async def test_customer_level_balances(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START)).data.id
    common: Any = {"customer_id": customer, "product_id": fixed, "priority": 1}
    commit = (
        await sdk.v1.customers.commits.create(
            **common,
            type="PREPAID",
            access_schedule=access(segment(100)),
            applicable_contract_ids=[contract],
            invoice_contract_id=contract,
            invoice_schedule={"schedule_items": [{"timestamp": START, "amount": 90}, {"timestamp": END, "amount": 1}]},
            uniqueness_key="k",
            custom_fields={"a": "1", "b": "2"},
        )
    ).data.id
    credit = (
        await sdk.v1.customers.credits.create(**common, access_schedule=access(segment(20)), custom_fields={"a": "1"})
    ).data.id
    late = (
        await sdk.v1.customers.credits.create(
            **common, access_schedule=access(segment(7, END, "2028-01-01T00:00:00Z")), salesforce_opportunity_id="sf"
        )
    ).data.id
    with pytest.raises(metronome.ConflictError) as refused:
        await sdk.v1.customers.credits.create(**common, access_schedule=access(), uniqueness_key="k")
    assert refused.value.response.json()["conflicting_id"] == commit

    row = (await all_of(sdk.v1.customers.commits.list(customer_id=customer, include_balance=True)))[0]
    assert (row.id, row.uniqueness_key, row.applicable_contract_ids, row.balance) == (commit, "k", [contract], 100)
    assert row.invoice_contract is not None
    assert (row.invoice_contract.id, row.contract) == (contract, None)

    async def ids(**filters: Any) -> set[str]:
        return {each.id async for each in sdk.v1.contracts.list_balances(customer_id=customer, limit=1, **filters)}

    assert await ids() == {commit, credit, late}
    assert await ids(covering_date=MIDDLE) == {commit, credit}
    assert await ids(starting_at=END) == {late}
    assert await ids(effective_before=END) == {commit, credit}
    assert await ids(id=credit) == {credit}
    assert await ids(access_type="SPEND") == {commit, credit, late}
    assert await ids(access_type="QUANTITY") == set()
    assert await ids(access_type="SPEND") == await ids()
    assert await ids(exclude_zero_balances=True) == {commit, credit}

    async def net(filters: Any = (), **more: Any) -> float:
        return (await sdk.v1.contracts.get_net_balance(customer_id=customer, filters=filters, **more)).data.balance

    assert await net() == 120
    assert await net(invoice_inclusion_mode="FINALIZED") == 120
    assert await net([{"balance_types": ["CREDIT"]}]) == 20
    assert await net([{"balance_types": ["POSTPAID_COMMIT"]}]) == 0
    assert await net([{"custom_fields": {"a": "1"}}]) == 120
    assert await net([{"custom_fields": {"a": "1", "b": "2"}}]) == 100
    assert await net([{"balance_types": ["CREDIT"], "custom_fields": {"b": "2"}}]) == 0
    assert await net([{"balance_types": ["CREDIT"], "ids": [late]}, {"ids": [commit]}]) == 100

    ended = await sdk.v1.customers.commits.update_end_date(
        customer_id=customer, commit_id=commit, access_ending_before=MIDDLE, invoices_ending_before=MIDDLE
    )
    assert ended.data.id == commit
    row = (await all_of(sdk.v1.customers.commits.list(customer_id=customer, commit_id=commit)))[0]
    assert row.access_schedule is not None
    assert [each.ending_before for each in row.access_schedule.schedule_items] == [datetime(2026, 7, 1, tzinfo=UTC)]
    assert row.invoice_schedule is not None
    assert [each.amount for each in row.invoice_schedule.schedule_items or []] == [90]
    assert await net() == 20  # its access is over
    await sdk.v1.customers.credits.update_end_date(customer_id=customer, credit_id=credit, access_ending_before=MIDDLE)
    assert await net() == 0


async def test_manual_ledger_entries(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    contract = (
        await sdk.v1.contracts.create(
            customer_id=customer,
            starting_at=START,
            credits=[{"product_id": fixed, "access_schedule": access(segment(50))}],
        )
    ).data.id

    async def credit() -> Any:
        query: Any = {"include_contract_credits": True, "include_balance": True, "include_ledgers": True}
        return (await all_of(sdk.v1.customers.credits.list(customer_id=customer, **query)))[0]

    row = await credit()
    where: Any = {
        "customer_id": customer,
        "contract_id": contract,
        "id": row.id,
        "segment_id": row.access_schedule.schedule_items[0].id,
    }
    add = sdk.v1.contracts.add_manual_balance_entry
    assert await add(**where, amount=-20.25, reason="goodwill taken back", uniqueness_key="e") is None
    await add(**where, amount=5, reason="a gift", timestamp=MIDDLE)
    row = await credit()
    assert row.balance == 34.75
    assert [(e.type, e.amount, e.timestamp) for e in row.ledger] == [
        ("CREDIT_SEGMENT_START", 50, datetime(2026, 1, 1, tzinfo=UTC)),
        ("CREDIT_MANUAL", -20.25, datetime(2026, 1, 1, tzinfo=UTC)),
        ("CREDIT_MANUAL", 5, datetime(2026, 7, 1, tzinfo=UTC)),
    ]
    assert row.ledger[1].reason == "goodwill taken back"
    with pytest.raises(metronome.ConflictError):
        await add(**where, amount=1, reason="again", uniqueness_key="e")
    with pytest.raises(metronome.BadRequestError, match="belongs to the contract"):
        await add(**{**where, "contract_id": None}, amount=1, reason="r")
    with pytest.raises(metronome.NotFoundError, match="segment"):
        await add(**{**where, "segment_id": UNKNOWN}, amount=1, reason="r")
    with pytest.raises(metronome.NotFoundError, match="commit or credit"):
        await add(**{**where, "id": UNKNOWN}, amount=1, reason="r")
    await add(**where, amount=-100, reason="more than there is")
    assert (await credit()).balance == 0
    await sdk.v1.customers.credits.update_end_date(customer_id=customer, credit_id=row.id, access_ending_before=MIDDLE)
    assert (await credit()).access_schedule.schedule_items[0].ending_before == datetime(2026, 7, 1, tzinfo=UTC)


async def test_contract_edits(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    body: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access()}
    credit: Any = {"product_id": fixed, "access_schedule": access()}
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, commits=[body])).data.id
    where: Any = {"customer_id": customer, "contract_id": contract}
    assert (await sdk.v2.contracts.get_edit_history(**where)).data == []
    first = (await sdk.v2.contracts.edit(**where, add_commits=[body], add_credits=[credit], uniqueness_key="edit")).data
    assert first.edit is not None
    assert first.edit.id == first.id
    added = (first.edit.add_commits or [])[0].id
    given = (first.edit.add_credits or [])[0].id
    one = (await sdk.v1.contracts.retrieve(**where)).data
    original = one.initial.commits[0].id
    assert [each.id for each in one.initial.commits] == [original]
    assert [each.id for each in one.current.commits] == [original, added]
    assert one.current.credits is not None
    assert [each.id for each in one.current.credits] == [given]

    await sdk.v2.contracts.edit(
        **where,
        archive_commits=[{"id": original}],
        archive_credits=[{"id": given}],
        update_contract_end_date=END,
        update_contract_name="Renamed",
    )
    now = (await sdk.v2.contracts.retrieve(**where)).data
    assert ([each.id for each in now.commits], now.credits, now.name) == ([added], [], "Renamed")
    assert now.ending_before == datetime(2027, 1, 1, tzinfo=UTC)
    await sdk.v2.contracts.edit(**where, update_contract_end_date=None)
    assert (await sdk.v2.contracts.retrieve(**where)).data.ending_before is None
    kept = [each async for each in sdk.v1.customers.commits.list(customer_id=customer, include_contract_commits=True)]
    assert [each.id for each in kept] == [added]
    query: Any = {"include_contract_commits": True, "include_archived": True, "include_balance": True}
    archived = (await all_of(sdk.v1.customers.commits.list(customer_id=customer, commit_id=original, **query)))[0]
    assert archived.archived_at is not None
    assert archived.balance == 0

    history = (await sdk.v2.contracts.get_edit_history(**where)).data
    assert history[0].id == first.id
    assert [each.uniqueness_key for each in history] == ["edit", None, None]
    assert [each.id for each in history[1].archive_commits or []] == [original]
    assert (history[1].update_contract_name, history[1].update_contract_end_date) == (
        "Renamed",
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(metronome.ConflictError) as refused:
        await sdk.v2.contracts.edit(**where, update_contract_name="x", uniqueness_key="edit")
    assert refused.value.response.json()["conflicting_id"] == first.id
    with pytest.raises(metronome.NotFoundError):
        await sdk.v2.contracts.edit(**where, update_contract_name="x", archive_credits=[{"id": added}])  # it is a commit
    assert (await sdk.v2.contracts.retrieve(**where)).data.name == "Renamed"


async def test_balances_of_an_archived_contract_are_gone(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    body: Any = {"type": "PREPAID", "product_id": fixed, "access_schedule": access()}
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, commits=[body])).data.id
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 100
    await sdk.v1.contracts.archive(customer_id=customer, contract_id=contract, void_invoices=True)
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 0
    query: Any = {"customer_id": customer, "include_contract_balances": True}
    assert [each async for each in sdk.v1.contracts.list_balances(**query)] == []
    assert len([each async for each in sdk.v1.contracts.list_balances(**query, include_archived=True)]) == 1


async def test_a_refused_balance_leaves_its_key_free(sdk: AsyncMetronome) -> None:
    fixed, customer = await make_fixed(sdk), await make_customer(sdk)
    body: Any = {"customer_id": customer, "product_id": fixed, "priority": 1, "access_schedule": access(), "uniqueness_key": "k"}
    with pytest.raises(metronome.BadRequestError, match="the customer has no contract"):
        await sdk.v1.customers.credits.create(**body, applicable_contract_ids=[UNKNOWN])
    assert (await sdk.v1.customers.credits.create(**body)).data.id


async def test_amounts_keep_every_digit(http: httpx.AsyncClient) -> None:
    digits = "12345678901234567890.123456789012345678"
    customer = await made(http, "/v1/customers", {"name": "a"})
    fixed = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    raw = (
        f'{{"customer_id": "{customer}", "product_id": "{fixed}", "priority": {digits}, "access_schedule": {{"schedule_items": '
        f'[{{"amount": {digits}, "starting_at": "{START}", "ending_before": "{END}"}}]}}}}'
    )
    created = await http.post(f"{BASE}/customerCredits/create", content=raw)
    assert created.status_code == 200, created.text
    body = {"customer_id": customer, "include_balance": True, "include_ledgers": True}
    answer = await http.post(f"{BASE}/customerBalances/list", json=body)
    for field in ("amount", "priority", "balance"):
        assert f'"{field}":{digits}' in answer.text
    answer = await http.post(f"{BASE}/customerBalances/getNetBalance", json={"customer_id": customer})
    assert f'"balance":{digits}' in answer.text


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (
            {"access_schedule": access(segment(1, "2026-01-01T00:30:00Z"))},
            400,
            "schedule_items[0].starting_at: must be on the hour",
        ),
        ({"access_schedule": access(segment(1, END, START))}, 400, "ending_before must be after starting_at"),
        ({"access_schedule": access(segment(-1))}, 400, "amount: must not be negative"),
        ({"access_schedule": {"schedule_items": []}}, 400, "schedule_items"),
        ({"access_schedule": None}, 400, "access_schedule"),
        ({"access_schedule": access(credit_type_id=UNKNOWN)}, 400, "access_schedule.credit_type_id: there is no credit type"),
        ({"product_id": UNKNOWN}, 400, f"product_id: there is no product {UNKNOWN}"),
        ({"product_id": "usage"}, 400, "must be a FIXED product"),
        ({"applicable_product_ids": [UNKNOWN]}, 400, "applicable_product_ids: there is no product"),
        ({"specifiers": [{"product_id": UNKNOWN}]}, 400, "specifiers: there is no product"),
        ({"specifiers": [{}]}, 400, "specifiers[0]: must name a product"),
        ({"specifiers": [{"product_tags": ["a"]}], "applicable_product_tags": ["a"]}, 400, "cannot be used together"),
        ({"priority": None}, 400, "priority"),
        ({"type": "POSTPAID"}, 400, "a POSTPAID commit needs an invoice_schedule"),
        (
            {"type": "POSTPAID", "invoice_schedule": {"schedule_items": [{"timestamp": END, "amount": 99}]}},
            400,
            "must have the same amount",
        ),
        ({"invoice_schedule": {"schedule_items": [{"timestamp": START, "amount": 1}]}}, 400, "invoice_contract_id is required"),
        (
            {"invoice_schedule": {"schedule_items": [{"timestamp": START, "quantity": 1}]}},
            400,
            "give either amount, or unit_price",
        ),
        ({"invoice_contract_id": UNKNOWN}, 400, "invoice_contract_id: the customer has no contract"),
        ({"applicable_contract_ids": [UNKNOWN]}, 400, "applicable_contract_ids: the customer has no contract"),
        ({"colour": 1}, 400, "colour: is not a known field"),
        ({"customer_id": UNKNOWN}, 404, "there is no customer"),
        ({"access_schedule": access(access_type="QUANTITY", credit_type_id=UNKNOWN)}, 400, "must not be given when access_type"),
        ({"access_schedule": access(access_type="WEIGHT")}, 400, "access_type: must be"),
        ({"rate_type": "some_rate"}, 400, "rate_type"),
        ({"rollover_fraction": 0.5}, 501, "rollover_fraction: is not supported yet"),
        ({"hierarchy_configuration": {"child_access": {"type": "ALL"}}}, 501, "hierarchy_configuration: is not supported yet"),
        (
            {"invoice_schedule": {"recurring_schedule": {"frequency": "MONTHLY"}}},
            400,
            "recurring_schedule.starting_at: is required",
        ),
        ({"specifiers": [{"product_tags": ["a"], "exclude": [{"product_tags": ["b"]}]}]}, 501, "exclude: is not supported yet"),
    ],
)
async def test_refused_commits(http: httpx.AsyncClient, change: dict[str, Any], status: int, words: str) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    fixed = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    if change.get("product_id") == "usage":
        metric = await made(http, "/v1/billable-metrics/create", {"name": "m", "aggregation_type": "COUNT"})
        product = {"name": "p", "type": "USAGE", "billable_metric_id": metric}
        change = {"product_id": await made(http, "/v1/contract-pricing/products/create", product)}
    body = {"customer_id": customer, "product_id": fixed, "type": "PREPAID", "priority": 1, "access_schedule": access()}
    refused = await post(http, f"{BASE}/customerCommits/create", {**body, **change}, status)
    assert words in refused["message"]
    assert (await post(http, f"{BASE}/customerCommits/list", {"customer_id": customer}))["data"] == []


@pytest.mark.parametrize(
    ("path", "change", "status", "words"),
    [
        ("/v1/contracts/create", {"commits": [{"type": "PREPAID"}]}, 400, "commits[0].product_id: is required"),
        ("/v1/contracts/create", {"discounts": [{}]}, 501, "discounts: is not supported yet"),
        ("/v2/contracts/edit", {}, 400, "changes nothing"),
        ("/v2/contracts/edit", {"update_contract_end_date": START}, 400, "update_contract_end_date: must be after"),
        ("/v2/contracts/edit", {"add_discounts": [{}]}, 501, "add_discounts: is not supported yet"),
        ("/v2/contracts/edit", {"add_commits": [{"payment_gate_config": {"x": 1}}]}, 400, "product_id: is required"),
        ("/v2/contracts/edit", {"update_contract_name": "n", "archive_commits": [{"id": UNKNOWN}]}, 404, "no commit or credit"),
        ("/v2/contracts/edit", {"update_contract_name": "n", "contract_id": UNKNOWN}, 404, "there is no contract"),
        ("/v2/contracts/getEditHistory", {"contract_id": UNKNOWN}, 404, "there is no contract"),
        (f"{BASE}/customerCommits/list", {"limit": 26}, 400, "limit"),
        (f"{BASE}/customerCommits/list", {"next_page": "x"}, 400, "next_page: is not a cursor"),
        (
            f"{BASE}/customerBalances/getNetBalance",
            {"access_type": "QUANTITY", "credit_type_id": UNKNOWN},
            400,
            "credit_type_id must not be given",
        ),
        (f"{BASE}/customerBalances/getNetBalance", {"customer_id": UNKNOWN}, 404, "there is no customer"),
        (f"{BASE}/customerCommits/updateEndDate", {"commit_id": UNKNOWN}, 404, "there is no commit or credit"),
        (f"{BASE}/customerCredits/updateEndDate", {"credit_id": UNKNOWN}, 400, "access_ending_before: is required"),
        (
            f"{BASE}/addManualBalanceLedgerEntry",
            {"id": UNKNOWN, "segment_id": UNKNOWN, "amount": 1, "reason": "r", "per_group_amounts": {"a": 1}},
            404,
            f"there is no commit or credit {UNKNOWN}",
        ),
    ],
)
async def test_refused_requests(http: httpx.AsyncClient, path: str, change: dict[str, Any], status: int, words: str) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    contract = await made(http, "/v1/contracts/create", {"customer_id": customer, "starting_at": START})
    body: dict[str, Any] = {"customer_id": customer}
    if path.startswith("/v2"):
        body["contract_id"] = contract
    if path == "/v1/contracts/create":
        body["starting_at"] = START
    refused = await post(http, path, {**body, **change}, status)
    assert words in refused.get("message", "")


async def test_an_end_is_only_moved_to_an_earlier_time(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    fixed = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    body = {"customer_id": customer, "product_id": fixed, "priority": 1, "access_schedule": access()}
    credit = await made(http, f"{BASE}/customerCredits/create", body)
    path, chosen = f"{BASE}/customerCredits/updateEndDate", {"customer_id": customer, "credit_id": credit}
    later = {**chosen, "access_ending_before": "2027-01-01T01:00:00Z"}
    assert "only move the end to an earlier time" in (await post(http, path, later, 400))["message"]
    assert "after the start" in (await post(http, path, {**chosen, "access_ending_before": START}, 400))["message"]
    as_commit = {"customer_id": customer, "commit_id": credit}
    assert "there is no" in (await post(http, f"{BASE}/customerCommits/updateEndDate", as_commit, 404))["message"]


async def test_routes_are_in_the_openapi_document(http: httpx.AsyncClient, api: Api) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    for path in ("customerCommits/create", "customerBalances/getNetBalance", "addManualBalanceLedgerEntry"):
        assert f"{BASE}/{path}" in paths
    assert "get" in paths["/v1/customers/{customer_id}/invoices/breakdowns"]


async def test_edited_commits_and_credits(sdk: AsyncMetronome) -> None:
    fixed, other = await make_fixed(sdk), await make_fixed(sdk, "Renewal")
    usage = await make_product(sdk, await make_metric(sdk))
    customer = await make_customer(sdk)
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START)).data.id
    common: Any = {"customer_id": customer, "product_id": fixed, "priority": 1, "access_schedule": access(segment(100))}
    commit = (
        await sdk.v1.customers.commits.create(
            **common,
            type="PREPAID",
            applicable_contract_ids=[contract],
            specifiers=[{"product_tags": ["x"]}],
            invoice_contract_id=contract,
            invoice_schedule={"schedule_items": [{"timestamp": END, "unit_price": 4, "quantity": 10}]},
        )
    ).data.id
    credit = (await sdk.v1.customers.credits.create(**common)).data.id

    async def row(kind: Any) -> Any:
        return (await all_of(kind.list(customer_id=customer, include_balance=True)))[0]

    before = await row(sdk.v1.customers.commits)
    edited = await sdk.v2.contracts.edit_commit(
        customer_id=customer,
        commit_id=commit,
        access_schedule={
            "add_schedule_items": [{"amount": 0.5, "starting_at": START, "ending_before": END}],
            "update_schedule_items": [{"id": before.access_schedule.schedule_items[0].id, "amount": 70}],
        },
        invoice_schedule={"update_schedule_items": [{"id": before.invoice_schedule.schedule_items[0].id, "unit_price": 3}]},
        specifiers=None,
        applicable_contract_ids=None,
        applicable_product_ids=[usage],
        product_id=other,
        priority=7,
        name="Edited",
    )
    assert edited.data.id == commit
    after = await row(sdk.v1.customers.commits)
    assert (after.balance, after.product.name, after.priority, after.name) == (70.5, "Renewal", 7, "Edited")
    assert (after.applicable_contract_ids, after.applicable_product_ids, after.specifiers) == (None, [usage], [])
    assert [each.amount for each in after.access_schedule.schedule_items] == [70, 0.5]
    assert [(each.amount, each.quantity) for each in after.invoice_schedule.schedule_items] == [(30, 10)]
    assert after.access_schedule.schedule_items[0].id == before.access_schedule.schedule_items[0].id

    segment_id = (await row(sdk.v1.customers.credits)).access_schedule.schedule_items[0].id
    await sdk.v2.contracts.edit_credit(
        customer_id=customer,
        credit_id=credit,
        access_schedule={
            "remove_schedule_items": [{"id": segment_id}],
            "add_schedule_items": [{"amount": 9, "starting_at": START, "ending_before": END}],
        },
    )
    assert (await row(sdk.v1.customers.credits)).balance == 9

    await sdk.v1.contracts.products.archive(product_id=other)  # what it names already, it may keep
    await sdk.v2.contracts.edit_commit(customer_id=customer, commit_id=commit, description="d")
    with pytest.raises(metronome.BadRequestError, match="is archived"):
        await sdk.v2.contracts.edit_credit(customer_id=customer, credit_id=credit, product_id=other)
    after = await row(sdk.v1.customers.commits)
    assert after.description == "d"

    edit: Any = sdk.v2.contracts.edit_commit
    where: Any = {"customer_id": customer, "commit_id": commit}
    only = after.access_schedule.schedule_items
    for refused, error, words in (
        ({"commit_id": credit}, metronome.NotFoundError, "there is no commit or credit"),
        ({"access_schedule": {"remove_schedule_items": [{"id": UNKNOWN}]}}, metronome.NotFoundError, "no schedule item"),
        ({"access_schedule": {"remove_schedule_items": [{"id": each.id} for each in only]}}, metronome.BadRequestError, "keep 1"),
        (
            {"access_schedule": {"update_schedule_items": [{"id": only[0].id, "ending_before": START}]}},
            metronome.BadRequestError,
            "must be after its starting_at",
        ),
        ({"specifiers": [{"product_tags": ["x"]}]}, metronome.BadRequestError, "cannot be used together"),
        ({"product_id": usage}, metronome.BadRequestError, "must be a FIXED product"),
        ({"applicable_contract_ids": [UNKNOWN]}, metronome.BadRequestError, "the customer has no contract"),
        ({"rate_type": "SOME_RATE"}, metronome.BadRequestError, "rate_type"),
    ):
        with pytest.raises(error, match=words):
            await edit(**{**where, **refused})
    assert (await row(sdk.v1.customers.commits)) == after


async def test_a_postpaid_commit_keeps_one_amount(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    fixed = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    charges = {"schedule_items": [{"timestamp": END, "amount": 100}]}
    commit = {"type": "POSTPAID", "product_id": fixed, "access_schedule": access(), "invoice_schedule": charges}
    body = {"customer_id": customer, "starting_at": START, "commits": [commit]}
    contract = await made(http, f"{BASE}/create", body)
    where = {"customer_id": customer, "contract_id": contract}
    (row,) = (await post(http, "/v2/contracts/get", where))["data"]["commits"]
    more = {"update_schedule_items": [{"id": row["access_schedule"]["schedule_items"][0]["id"], "amount": 150}]}
    edit = {"customer_id": customer, "commit_id": row["id"], "access_schedule": more}
    assert "both of the same amount" in (await post(http, "/v2/contracts/commits/edit", edit, 400))["message"]
    owed = {"update_schedule_items": [{"id": row["invoice_schedule"]["schedule_items"][0]["id"], "amount": 150}]}
    await post(http, "/v2/contracts/commits/edit", {**edit, "invoice_schedule": owed})
    net = await post(http, f"{BASE}/customerBalances/getNetBalance", {"customer_id": customer})
    assert net["data"]["balance"] == 150
