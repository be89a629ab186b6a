"""Alerts that name what is not there: refused where it cannot be meant, else taken with warnings, and counted in a metric."""

from __future__ import annotations

import re
from typing import Any

import httpx
import metronome
import pytest
from metronome import AsyncMetronome

from tests.conformance.test_sdk import make_card, make_metric, make_product

SPEND: dict[str, Any] = {"alert_type": "spend_threshold_reached", "name": "spend", "threshold": 1}
SEAT: dict[str, Any] = {"alert_type": "low_remaining_seat_balance_reached", "name": "seat", "threshold": 1}
TOTAL: dict[str, Any] = {
    "alert_type": "low_remaining_contract_credit_and_commit_balance_reached",
    "name": "total",
    "threshold": 1,
}
INVOICE: dict[str, Any] = {"alert_type": "invoice_total_reached", "name": "invoice", "threshold": 1}


def field(entity: str, key: str = "k") -> dict[str, str]:
    return {"entity": entity, "key": key, "value": "v"}


async def unreachable(http: httpx.AsyncClient) -> int:
    found = re.search(r"^tidemark_alerts_unreachable ([0-9.]+)$", (await http.get("/metrics")).text, re.MULTILINE)
    return -1 if found is None else int(float(found[1]))


async def made(http: httpx.AsyncClient, body: dict[str, Any]) -> tuple[str, list[str]]:
    answer = await http.post("/v1/alerts/create", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["id"], answer.json().get("warnings", [])


@pytest.mark.parametrize(
    ("body", "doubt"),
    [
        ({**SPEND, "group_values": [{"key": "regoin"}]}, "no billable metric has a group key with 'regoin'"),
        ({**SPEND, "group_values": [{"key": "region"}, {"key": "nope", "value": "x"}]}, "with 'nope' and 'region'"),
        ({**SPEND, "custom_field_filters": [field("Contract")]}, "no key 'k' for contract"),
        ({**TOTAL, "custom_field_filters": [field("ContractCreditOrCommit")]}, "no key 'k' for commit or contract_credit"),
        ({**TOTAL, "alert_specifiers": [{"custom_field_filters": [{"entity": "Commit", "key": "k"}]}]}, "no key 'k' for commit"),
        ({**SEAT, "seat_filter": {"seat_group_key": "user"}}, "no seat-based subscription has 'user'"),
    ],
)
async def test_what_is_named_and_not_there_is_told(
    sdk: AsyncMetronome, http: httpx.AsyncClient, body: dict[str, Any], doubt: str
) -> None:
    await make_product(sdk, await make_metric(sdk))
    before = await unreachable(http)
    alert_id, warnings = await made(http, body)
    assert [doubt in each for each in warnings][:1] == [True], warnings
    assert await unreachable(http) == before + 1
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    own_id, warnings = await made(http, {**body, "customer_id": customer})
    assert [doubt in each for each in warnings][:1] == [True], warnings
    assert await unreachable(http) == before + 2
    for each in (alert_id, own_id):
        await sdk.v1.alerts.archive(id=each)
    assert await unreachable(http) == before


async def test_no_warning_once_it_is_there(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    """Also for a field that a contract has without anybody having added its key; what comes later is noticed."""
    grouped = {**SPEND, "group_values": [{"key": "region"}]}
    assert len((await made(http, grouped))[1]) == 1
    assert await unreachable(http) == 1
    metric = await make_metric(sdk)
    product = await make_product(sdk, metric)
    assert await unreachable(http) == 0
    assert (await made(http, grouped))[1] == []
    fields = {**SPEND, "custom_field_filters": [field("Contract")]}
    assert len((await made(http, fields))[1]) == 1
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    contract: Any = {
        "customer_id": customer,
        "starting_at": "2024-01-01T00:00:00Z",
        "rate_card_id": await make_card(sdk, product),
    }
    await sdk.v1.contracts.create(**contract, custom_fields={"k": "v"})
    assert await unreachable(http) == 0
    assert (await made(http, {**fields, "customer_id": customer}))[1] == []
    assert (await made(http, fields))[1] == []


async def test_the_official_client_takes_the_warnings(sdk: AsyncMetronome) -> None:
    answer = await sdk.v1.alerts.create(**SPEND, group_values=[{"key": "regoin"}])
    assert answer.data.id
    assert len((answer.model_extra or {})["warnings"]) == 1
    assert (await sdk.v1.alerts.create(**SPEND)).model_extra == {}


async def test_a_credit_type_that_nothing_is_priced_in(sdk: AsyncMetronome, http: httpx.AsyncClient) -> None:
    unit = (await sdk.v1.pricing_units.create(name="tokens")).data.id
    assert ["no rate card converts" in each for each in (await made(http, {**SPEND, "credit_type_id": unit}))[1]] == [True]
    with pytest.raises(metronome.BadRequestError, match="invoices are in US dollars"):
        await sdk.v1.alerts.create(**INVOICE, credit_type_id=unit)


async def test_invoice_types_in_any_case(sdk: AsyncMetronome) -> None:
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    alert_id = (await sdk.v1.alerts.create(**INVOICE, invoice_types_filter=["usage", "Scheduled"], customer_id=customer)).data.id
    shown = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert_id)).data.alert
    assert shown.invoice_types_filter == ["USAGE", "SCHEDULED"]
    for wrong, message in (("BOGUS", "must be one of"), ("usage_consolidated", "there are no hierarchies")):
        with pytest.raises(metronome.APIStatusError, match=message):
            await sdk.v1.alerts.create(**INVOICE, invoice_types_filter=[wrong])
