"""The audit log through HTTP, with the official client in strict mode."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import metronome
import pytest
from metronome import AsyncMetronome
from metronome.types.v1 import AuditLogListResponse

from connectors.http.audit import audited_subject
from connectors.http.server import ROUTES
from tests.conformance.conftest import TOKEN, Api
from tests.conformance.test_sdk import START, UNKNOWN, make_card, make_metric, make_product


async def entries(sdk: AsyncMetronome, **more: object) -> list[AuditLogListResponse]:
    """Page by page, up to an empty one: there is always a next page, so the client's own iterator would never end."""
    found: list[AuditLogListResponse] = []
    page = await sdk.v1.audit_logs.list(**more)  # type: ignore[arg-type]
    while page.data:
        found += page.data
        page = await page.get_next_page()
    return found


def brief(logs: list[AuditLogListResponse]) -> list[tuple[str | None, str | None, str | None, str | None]]:
    return [(each.resource_type, each.action, each.resource_id, each.status) for each in logs]


async def test_each_change_has_an_entry(sdk: AsyncMetronome) -> None:
    metric = await make_metric(sdk)
    product = await make_product(sdk, metric)
    card = await make_card(sdk, product)
    customer = (await sdk.v1.customers.create(name="Acme", ingest_aliases=["acme"])).data.id
    await sdk.v1.customers.set_ingest_aliases(customer_id=customer, ingest_aliases=["other"])
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=START, rate_card_id=card)).data.id
    await sdk.v2.contracts.edit(customer_id=customer, contract_id=contract, update_contract_name="renamed")
    alert = (
        await sdk.v1.alerts.create(
            alert_type="usage_threshold_reached", name="a", threshold=1, billable_metric_id=metric, customer_id=customer
        )
    ).data.id
    await sdk.v1.customers.alerts.reset(customer_id=customer, alert_id=alert)
    await sdk.v1.customers.retrieve(customer_id=customer)  # reading leaves none
    await sdk.v1.customers.archive(id=customer)
    await sdk.v1.customers.archive(id=customer)  # nothing to change: it was asked for all the same

    logs = await entries(sdk)
    assert brief(logs) == [
        ("billable_metric", "create", metric, "success"),
        ("product", "create", product, "success"),
        ("rate_card", "create", card, "success"),
        ("rate_card", "add_rate", card, "success"),
        ("customer", "create", customer, "success"),
        ("customer", "set_ingest_aliases", customer, "success"),
        ("contract", "create", contract, "success"),
        ("contract", "edit", contract, "success"),
        ("alert", "create", alert, "success"),
        ("alert", "reset", alert, "success"),
        ("customer", "archive", customer, "success"),
        ("customer", "archive", customer, "success"),
    ]
    for each in logs:
        assert each.actor is not None
        assert (each.actor.name, len(each.actor.id)) == ("TIDEMARK_API_TOKENS", 16)
        assert (each.request.ip, each.request.user_agent) == ("127.0.0.1", logs[0].request.user_agent)
    assert len({each.id for each in logs}) == len(logs)
    assert [each.timestamp for each in logs] == sorted(each.timestamp for each in logs)


async def test_failures_have_entries_and_the_id_of_their_answer(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    refused = await http.post("/v1/customers", json={"name": 7})
    missing = await http.post(
        "/v1/contracts/archive", json={"customer_id": UNKNOWN, "contract_id": UNKNOWN, "void_invoices": True}
    )
    broken = await http.post("/v1/alerts/archive", content=b"{")
    anonymous = await http.post("/v1/customers", json={"name": "x"}, headers={"Authorization": "Bearer no"})
    assert (refused.status_code, missing.status_code, broken.status_code, anonymous.status_code) == (400, 404, 400, 401)
    logs = await entries(sdk)
    assert brief(logs) == [
        ("customer", "create", None, "failure"),
        ("contract", "archive", UNKNOWN, "failure"),
        ("alert", "archive", None, "failure"),
    ]
    assert [each.description for each in logs] == [answer.json()["message"] for answer in (refused, missing, broken)]
    assert [each.request.id for each in logs] == [answer.headers["x-request-id"] for answer in (refused, missing, broken)]
    assert len(anonymous.headers["x-request-id"]) == 36


async def test_a_refused_creation_names_nothing_that_was_never_made(sdk: AsyncMetronome) -> None:
    await sdk.v1.customers.create(name="Owner", ingest_aliases=["taken"])
    with pytest.raises(metronome.ConflictError):
        await sdk.v1.customers.create(name="Other", ingest_aliases=["taken"])
    assert [(each.status, each.resource_id is None) for each in await entries(sdk)] == [("success", False), ("failure", True)]


async def test_an_answer_that_is_given_again_has_no_second_entry(http: httpx.AsyncClient, sdk: AsyncMetronome) -> None:
    ids = set()
    for _ in range(2):
        answer = await http.post("/v1/customers", json={"name": "Acme"}, headers={"Idempotency-Key": "k"})
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 2
    assert len(await entries(sdk)) == 1


async def test_pages_in_both_directions(sdk: AsyncMetronome) -> None:
    made = [(await sdk.v1.customers.create(name=f"{number}")).data.id for number in range(9)]  # on all partitions
    assert [each.resource_id for each in await entries(sdk, limit=2)] == made
    assert [each.resource_id for each in await entries(sdk, limit=2, sort="date_desc")] == made[::-1]
    logs = await entries(sdk)
    first, last = logs[0].timestamp, logs[-1].timestamp
    assert [each.resource_id for each in await entries(sdk, starting_on=last, limit=1)][-1:] == made[-1:]
    assert await entries(sdk, ending_before=first) == []
    assert [each.resource_id for each in await entries(sdk, ending_before=first + timedelta(milliseconds=1))][:1] == made[:1]
    assert await entries(sdk, starting_on=last + timedelta(hours=1), sort="date_desc") == []
    assert [each.resource_id for each in await entries(sdk, resource_type="customer", resource_id=made[4])] == [made[4]]
    assert await entries(sdk, resource_type="contract", resource_id=made[4]) == []


async def test_a_reader_goes_on_where_it_was(sdk: AsyncMetronome) -> None:
    page = await sdk.v1.audit_logs.list()
    assert page.data == []
    seen: list[str | None] = []
    made = []
    for number in range(6):
        made.append((await sdk.v1.customers.create(name=f"{number}")).data.id)
        assert page.next_page is not None
        page = await sdk.v1.audit_logs.list(next_page=page.next_page)
        seen += [each.resource_id for each in page.data]
    assert seen == made


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("limit=101", "limit"),
        ("resource_id=x", "resource_type and resource_id are given together"),
        ("next_page=x", "not a cursor"),
        ("sort=up", "sort"),
        ("starting_on=2026-01-02T00:00:00Z&ending_before=2026-01-01T00:00:00Z", "after starting_on"),
        ("unknown=1", "unknown"),
    ],
)
async def test_refusals(http: httpx.AsyncClient, query: str, rule: str) -> None:
    answer = await http.get(f"/v1/auditLogs?{query}")
    assert answer.status_code == 400
    assert rule in answer.json()["message"]


async def test_bounds_and_sort_belong_to_the_first_page(http: httpx.AsyncClient) -> None:
    cursor = (await http.get("/v1/auditLogs?sort=date_desc")).json()["next_page"]
    again = await http.get(f"/v1/auditLogs?next_page={cursor}&starting_on=2026-01-01T00:00:00Z")
    assert (again.status_code, "cannot change" in again.json()["message"]) == (400, True)
    turned = await http.get(f"/v1/auditLogs?next_page={cursor}&sort=date_asc")
    assert (turned.status_code, "sort" in turned.json()["message"]) == (400, True)


async def test_webhook_endpoints_have_entries_too(api: Api, sdk: AsyncMetronome) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        created = (await http.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"})).json()["data"]["id"]
        await http.patch(f"/v1/webhook-endpoints/{created}", json={"enabled": False})
        await http.delete(f"/v1/webhook-endpoints/{created}")
    logs = await entries(sdk, resource_type="webhook_endpoint", resource_id=created)
    assert [(each.action, each.status) for each in logs] == [("create", "success"), ("update", "success"), ("delete", "success")]


async def test_no_route_that_changes_something_is_without_entry(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    """Each is asked for something that does not exist: it leaves one entry, named after it, of what came out."""
    expected = []
    for route in ROUTES:
        subject = audited_subject(route)
        if subject is None:
            continue
        answer = await http.request(route.method, re.sub(r"\{\w+\}", UNKNOWN, route.path), json={"id": UNKNOWN})
        outcome = "success" if answer.status_code == 200 else "failure"
        expected.append((answer.headers["x-request-id"], subject.resource_type, subject.action, outcome))
    assert len(expected) > 50
    logs = await entries(sdk)
    assert [(each.request.id, each.action, each.status) for each in logs] == [(id_, *rest) for id_, _, *rest in expected]
    named = {(each.resource_type, each.action) for each in logs}
    assert {("rate_card", "add_rates"), ("contract", "archive"), ("package", "create"), ("webhook_endpoint", "update")} <= named


async def test_routes_that_only_read_leave_none(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    for route in ROUTES:
        if audited_subject(route) is None:
            path = route.path.replace("{", "").replace("}", "")
            await http.request(route.method, path, content=b"{}" if route.method == "POST" else None)
    assert await entries(sdk) == []
