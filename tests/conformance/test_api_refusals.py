"""What the API refuses, with which status and words; and that a refused request leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from connectors.http.tokens import token_hash
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from tests.conformance.conftest import Api
from tests.support.redis_server import RedisServer

UNKNOWN = "00000000-0000-4000-8000-000000000000"
RATE: dict[str, Any] = {"entitled": True, "rate_type": "FLAT", "price": 1, "starting_at": "2026-01-01T00:00:00Z"}
METRIC: dict[str, Any] = {
    "name": "m",
    "aggregation_type": "SUM",
    "aggregation_key": "n",
    "property_filters": [{"name": "n", "exists": True}],
    "group_keys": [["region"]],
}
SPEND: dict[str, Any] = {"alert_type": "spend_threshold_reached", "name": "a", "threshold": 1}
USAGE: dict[str, Any] = {"alert_type": "usage_threshold_reached", "name": "a", "threshold": 1}
COMMIT: dict[str, Any] = {"alert_type": "low_remaining_commit_balance_reached", "name": "a", "threshold": 1}
DAYS: dict[str, Any] = {"alert_type": "low_remaining_days_for_commit_segment_reached", "name": "a", "threshold": 1}
INVOICE: dict[str, Any] = {"alert_type": "invoice_total_reached", "name": "a", "threshold": 1}
TOTAL: dict[str, Any] = {
    "alert_type": "low_remaining_contract_credit_and_commit_balance_reached",
    "name": "a",
    "threshold": 1,
}


def field(entity: str, value: str | None = "v", key: str = "k") -> dict[str, str]:
    return {"entity": entity, "key": key} if value is None else {"entity": entity, "key": key, "value": value}


def specified(*filters: dict[str, str], exclude: tuple[list[dict[str, str]], ...] = ()) -> dict[str, Any]:
    """A specifier."""
    return {"custom_field_filters": [*filters], "exclude": [{"custom_field_filters": each} for each in exclude]}


async def post(http: httpx.AsyncClient, path: str, body: Any, status: int = 200) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def made(http: httpx.AsyncClient, path: str, body: Any) -> str:
    return str((await post(http, path, body))["data"]["id"])


SEAT = {"alert_type": "low_remaining_seat_balance_reached", "name": "a", "threshold": 1}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/customers", {}, "name: is required"),
        ("/v1/customers", {"name": "a", "colour": 1}, "colour: is not a known field"),
        ("/v1/customers", {"name": 1}, "name: must be a string"),
        ("/v1/customers", [], "body: must be an object"),
        ("/v1/customers", {"name": "a", "ingest_aliases": ["x", "x"]}, "ingest_aliases: must not hold a value twice"),
        ("/v1/customers", {"name": "a", "ingest_aliases": ["x" * 129]}, "ingest_aliases[0]"),
        ("/v1/customers/archive", {"id": "nonsense"}, "id: must be a UUID"),
        ("/v1/billable-metrics/create", {"name": "m", "sql": "select 1"}, "sql metrics are not supported"),
        ("/v1/billable-metrics/create", {"name": "m"}, "aggregation_type is required"),
        ("/v1/billable-metrics/create", {**METRIC, "aggregation_type": "AVG"}, "aggregation_type: must be one of"),
        ("/v1/billable-metrics/create", {**METRIC, "aggregation_key": "other"}, "aggregation_key must be one of the names"),
        ("/v1/billable-metrics/create", {**METRIC, "aggregation_type": "count"}, "aggregation_key does not apply to COUNT"),
        ("/v1/billable-metrics/create", {**METRIC, "group_keys": [[]]}, "group_keys[0]"),
        ("/v1/contract-pricing/products/create", {"name": "p", "type": "USAGE"}, "billable_metric_id is required"),
        (
            "/v1/contract-pricing/products/create",
            {"name": "p", "type": "USAGE", "billable_metric_id": UNKNOWN},
            "there is no billable metric",
        ),
        (
            "/v1/contract-pricing/products/create",
            {"name": "p", "type": "FIXED", "pricing_group_key": ["region"]},
            "pricing_group_key does not apply to a FIXED product",
        ),
        (
            "/v1/contract-pricing/rate-cards/create",
            {"name": "c", "fiat_credit_type_id": UNKNOWN},
            "only US dollars in cents",
        ),
        ("/v1/alerts/create", {**SPEND, "threshold": -1}, "threshold: must not be negative"),
        ("/v1/alerts/create", {**SPEND, "threshold": "1"}, "threshold: must be a JSON number"),
        ("/v1/alerts/create", {**SPEND, "threshold": 10**38}, "threshold: must have at most 38 digits"),
        ("/v1/alerts/create", {**SPEND, "billable_metric_id": UNKNOWN}, "billable_metric_id: does not apply"),
        ("/v1/alerts/create", {**SPEND, "seat_filter": {"seat_group_key": "s"}}, "seat_filter: does not apply"),
        ("/v1/alerts/create", SEAT, "seat_filter: is required"),
        ("/v1/alerts/create", {**SEAT, "seat_filter": {"seat_group_value": "ann"}}, "seat_group_key"),
        (
            "/v1/alerts/create",
            {**SEAT, "seat_filter": {"seat_group_key": "user"}, "group_values": [{"key": "a"}]},
            "group_values: does not apply",
        ),
        ("/v1/alerts/create", {**SPEND, "credit_type_id": UNKNOWN}, "credit_type_id: there is no credit type"),
        ("/v1/alerts/create", {**SPEND, "group_values": [{"key": "a"}, {"key": "a"}]}, "must not name a key twice"),
        ("/v1/alerts/create", {**SPEND, "uniqueness_key": ""}, "uniqueness_key"),
        ("/v1/alerts/create", USAGE, "billable_metric_id: is required"),
        ("/v1/alerts/create", {**USAGE, "billable_metric_id": UNKNOWN}, "there is no billable metric"),
        ("/v1/alerts/create", {**USAGE, "group_values": [{"key": "a"}]}, "group_values: does not apply"),
        ("/v1/alerts/create", {**SPEND, "alert_type": "unheard_of"}, "alert_type: must be one of"),
        ("/v1/alerts/create", {**DAYS, "threshold": -1}, "threshold: must not be negative"),
        ("/v1/alerts/create", {**DAYS, "credit_type_id": UNKNOWN}, "credit_type_id: does not apply"),
        ("/v1/alerts/create", {**COMMIT, "group_values": [{"key": "a"}]}, "group_values: does not apply"),
        ("/v1/alerts/create", {**COMMIT, "invoice_types_filter": ["USAGE"]}, "invoice_types_filter: does not apply"),
        ("/v1/alerts/create", {**COMMIT, "alert_specifiers": [{}]}, "alert_specifiers: does not apply"),
        ("/v1/alerts/create", {**COMMIT, "credit_type_id": UNKNOWN}, "credit_type_id: there is no credit type"),
        (
            "/v1/alerts/create",
            {**COMMIT, "custom_field_filters": [{"entity": "ContractCredit", "key": "k", "value": "v"}]},
            "the entity ContractCredit does not apply",
        ),
        (
            "/v1/alerts/create",
            {**COMMIT, "custom_field_filters": [{"entity": "Customer", "key": "k", "value": "v"}]},
            "custom_field_filters[0].entity",
        ),
        (
            "/v1/alerts/create",
            {**INVOICE, "custom_field_filters": [{"entity": "Commit", "key": "k", "value": "v"}]},
            "the entity Commit does not apply",
        ),
        ("/v1/alerts/create", {**INVOICE, "access_type": "SPEND"}, "access_type: does not apply"),
        (
            "/v1/alerts/create",
            {**SPEND, "custom_field_filters": [field("Commit")]},
            "the entity Commit does not apply",
        ),
        (
            "/v1/alerts/create",
            {**SPEND, "custom_field_filters": [field("Contract", None)]},
            "custom_field_filters[0].value: is required",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "custom_field_filters": [field("Commit"), field("Commit", "other")]},
            "custom_field_filters: 'k' cannot have two values at once",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(field("Commit"), exclude=([field("ContractCredit")],))]},
            "alert_specifiers[0].exclude[0].custom_field_filters: the specifier does not include credits",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [{}, specified(field("ContractCredit"), exclude=([field("ContractCreditOrCommit")],))]},
            "alert_specifiers[1].exclude[0].custom_field_filters: the specifier does not include commits",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(field("Commit"), field("ContractCreditOrCommit", "other"))]},
            "alert_specifiers[0].custom_field_filters: 'k' cannot have two values at once",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(exclude=([],))]},
            "alert_specifiers[0].exclude[0].custom_field_filters: must name at least one",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(exclude=([field("Commit", None)],))]},
            "alert_specifiers[0].exclude[0].custom_field_filters[0].value: is required",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(field("Commit", None)), specified(field("Commit"))]},
            "must be the only filter of the only specifier",
        ),
        (
            "/v1/alerts/create",
            {**TOTAL, "alert_specifiers": [specified(field("Commit", None), field("Commit", None, "other"))]},
            "must be the only filter of the only specifier",
        ),
        ("/v1/alerts/create", {**TOTAL, "alert_specifiers": [{}] * 101}, "alert_specifiers"),
        (
            "/v1/alerts/create",
            {**SPEND, "alert_type": "low_credit_balance_reached"},
            "use low_remaining_contract_credit_balance_reached",
        ),
        (
            "/v1/alerts/create",
            {**SPEND, "alert_type": "low_remaining_commit_percentage_reached", "threshold": 100.5},
            "percentage from 0 to 100",
        ),
        (
            "/v1/usage",
            {"starting_on": "2026-01-01T01:00:00Z", "ending_before": "2026-01-03T00:00:00Z", "window_size": "DAY"},
            "starting_on: must be midnight UTC",
        ),
        ("/v1/webhook-endpoints", {"url": "ftp://example.com"}, "http or https"),
        ("/v1/webhook-endpoints", {"url": "https://user:pw@example.com/"}, "user name or password"),
        ("/v1/webhook-endpoints", {"url": "http://127.0.0.1:9000/"}, "not a public address"),
        ("/v1/webhook-endpoints", {"url": "http://[::1]/"}, "not a public address"),
        ("/v1/webhook-endpoints", {"url": "http://localhost/"}, "not a public address"),
    ],
)
async def test_bad_bodies_are_400(http: httpx.AsyncClient, path: str, body: Any, words: str) -> None:
    refused = await post(http, path, body, 400)
    assert words in refused["message"]
    assert list(refused) == ["message"]


async def test_a_rule_about_several_fields_names_them_itself(http: httpx.AsyncClient) -> None:
    answer = await post(http, "/v1/billable-metrics/create", {"name": "m"}, 400)
    assert answer["message"] == "aggregation_type is required"


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"name": NaN}', b'{"name": "\\ud800"}', b"[" * 2000])
async def test_bodies_that_are_not_json_are_400(http: httpx.AsyncClient, raw: bytes) -> None:
    answer = await http.post("/v1/customers", content=raw)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("the body is not JSON")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/customers", {"name": "a", "billing_config": {"billing_provider_type": "stripe"}}, "billing_config"),
        (
            "/v1/contracts/create",
            {"customer_id": UNKNOWN, "starting_at": "2026-01-01T00:00:00Z", "professional_services": [{}]},
            "professional_services",
        ),
        (
            "/v1/contracts/create",
            {"customer_id": UNKNOWN, "starting_at": "2026-01-01T00:00:00Z", "reseller_royalties": [{}]},
            "reseller_royalties",
        ),
    ],
)
async def test_what_is_not_there_yet_is_501(http: httpx.AsyncClient, path: str, body: Any, field: str) -> None:
    answer = await http.post(path, json=body)
    assert answer.status_code == 501
    assert answer.headers["x-should-retry"] == "false"
    assert field in answer.json()["message"]
    assert "not supported yet" in answer.json()["message"]


async def test_what_a_product_is_rated_by_is_not_updated(http: httpx.AsyncClient) -> None:
    fee = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    body = {"product_id": fee, "starting_at": "2026-01-01T00:00:00Z"}
    path = "/v1/contract-pricing/products/update"
    for name in ("composite_tags", "pricing_group_key"):
        assert "not supported yet" in (await post(http, path, {**body, name: ["x"]}, 501))["message"]


async def test_money_keeps_every_digit(http: httpx.AsyncClient) -> None:
    digits = "12345678901234567890.123456789012345678"
    customer = await made(http, "/v1/customers", {"name": "a"})
    raw = '{"alert_type": "spend_threshold_reached", "name": "a", "threshold": %s}'
    alert = (await http.post("/v1/alerts/create", content=raw % digits)).json()["data"]["id"]
    answer = await http.post("/v1/customer-alerts/get", json={"customer_id": customer, "alert_id": alert})
    assert f'"threshold":{digits},' in answer.text


async def test_empty_unsupported_blocks_are_fine(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    body = {"customer_id": customer, "starting_at": "2026-01-01T00:00:00Z", "commits": [], "overrides": [], "discounts": None}
    await made(http, "/v1/contracts/create", body)


async def test_rates(http: httpx.AsyncClient) -> None:
    metric = await made(http, "/v1/billable-metrics/create", METRIC)
    base = {"name": "p", "type": "USAGE", "billable_metric_id": metric}
    product = await made(http, "/v1/contract-pricing/products/create", base)
    split = await made(http, "/v1/contract-pricing/products/create", {**base, "pricing_group_key": ["region"]})
    fee = await made(http, "/v1/contract-pricing/products/create", {"name": "fee", "type": "FIXED"})
    unit = await made(http, "/v1/credit-types/create", {"name": "credits"})
    card = await made(http, "/v1/contract-pricing/rate-cards/create", {"name": "c"})
    wrong = [
        ({"product_id": product, "starting_at": "2026-01-01T00:30:00Z"}, "starting_at: must be on the hour"),
        ({"product_id": product, "ending_before": "2025-01-01T00:00:00Z"}, "ending_before must be after"),
        ({"product_id": product, "rate_type": "PERCENTAGE"}, "a COMPOSITE product, and only one, has PERCENTAGE"),
        ({"product_id": product, "rate_type": "CUSTOM"}, "CUSTOM is not supported"),
        ({"product_id": product, "price": -1}, "price: must not be negative"),
        ({"product_id": product, "price": None}, "price is required"),
        ({"product_id": product, "rate_type": "TIERED"}, "price does not apply"),
        ({"product_id": product, "rate_type": "TIERED", "price": None, "tiers": [{"size": 1, "price": 1}]}, "the last must not"),
        ({"product_id": product, "pricing_group_values": {"region": "eu"}}, "pricing_group_key (nothing)"),
        ({"product_id": split}, "pricing_group_key (region)"),
        ({"product_id": fee}, "a FIXED product has no rates"),
        ({"product_id": product, "credit_type_id": UNKNOWN}, "there is no credit type"),
        ({"product_id": product, "credit_type_id": unit}, "no credit_type_conversions entry"),
    ]
    for change, words in wrong:
        refused = await post(http, "/v1/contract-pricing/rate-cards/addRate", {"rate_card_id": card, **RATE, **change}, 400)
        assert words in refused["message"], refused
    rates = [{**RATE, "product_id": product}, {**RATE, "product_id": split}]
    refused = await post(http, "/v1/contract-pricing/rate-cards/addRates", {"rate_card_id": card, "rates": rates}, 400)
    assert refused["message"].startswith("rates[1].")
    read = {"rate_card_id": card, "at": "2026-06-01T00:00:00Z"}
    assert (await post(http, "/v1/contract-pricing/rate-cards/getRates", read))["data"] == []  # nothing of the request was done


async def test_contracts(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    body = {"customer_id": customer, "starting_at": "2026-01-01T00:00:00Z"}
    wrong = [
        ({"ending_before": "2026-01-01T00:00:00Z"}, "ending_before must be after"),
        ({"rate_card_alias": "none"}, "no rate card has the alias"),
        ({"starting_at": "2026-01-01T00:00:01Z"}, "on the hour"),
        ({"starting_at": "2026-01-01"}, "RFC 3339"),
        ({"usage_statement_schedule": {"frequency": "DAILY"}}, "usage_statement_schedule.frequency"),
        ({"usage_statement_schedule": {"frequency": "MONTHLY", "day": "CUSTOM_DATE"}}, "billing_anchor_date is required"),
    ]
    for change, words in wrong:
        assert words in (await post(http, "/v1/contracts/create", {**body, **change}, 400))["message"]


async def test_one_alias_is_one_rate_card_at_a_time(http: httpx.AsyncClient) -> None:
    path = "/v1/contract-pricing/rate-cards/create"
    year = {"starting_at": "2026-01-01T00:00:00Z", "ending_before": "2027-01-01T00:00:00Z"}
    first = await made(http, path, {"name": "a", "aliases": [{"name": "list", **year}]})
    refused = await post(http, path, {"name": "b", "aliases": [{"name": "list"}]}, 409)
    assert refused["conflicting_id"] == first
    second = await made(http, path, {"name": "b", "aliases": [{"name": "list", "starting_at": "2027-01-01T00:00:00Z"}]})
    customer = await made(http, "/v1/customers", {"name": "a"})
    for start, card in (("2026-12-31T23:00:00Z", first), ("2027-01-01T00:00:00Z", second)):
        body = {"customer_id": customer, "starting_at": start, "rate_card_alias": "list"}
        contract = await made(http, "/v1/contracts/create", body)
        read = await post(http, "/v2/contracts/get", {"customer_id": customer, "contract_id": contract})
        assert read["data"]["rate_card_id"] == card


async def test_limits_of_alerts(http: httpx.AsyncClient, api: Api) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    keys = [{**SPEND, "customer_id": customer, "group_values": [{"key": key}]} for key in ("a", "b", "c", "d")]
    for body in keys[:3]:
        last = await made(http, "/v1/alerts/create", body)
    assert "at most 3 different keys" in (await post(http, "/v1/alerts/create", keys[3], 400))["message"]
    for _ in range(3):
        await made(http, "/v1/alerts/create", {**SPEND, "customer_id": customer})
    assert "at most 6" in (await post(http, "/v1/alerts/create", {**SPEND, "customer_id": customer}, 400))["message"]
    await post(http, "/v1/alerts/archive", {"id": last})
    await made(http, "/v1/alerts/create", {**SPEND, "customer_id": customer})
    for _ in range(api.settings.alerts_for_all_max):
        await made(http, "/v1/alerts/create", SPEND)
    assert "at most 5" in (await post(http, "/v1/alerts/create", SPEND, 400))["message"]


async def test_at_most_three_alerts_are_split_by_a_custom_field(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    split = {**TOTAL, "alert_specifiers": [specified(field("ContractCreditOrCommit", None))]}
    own = {**split, "customer_id": customer}
    await made(http, "/v1/alerts/create", split)
    last = [await made(http, "/v1/alerts/create", own) for _ in range(2)][-1]
    assert "at most 3 alerts" in (await post(http, "/v1/alerts/create", own, 400))["message"]
    await made(http, "/v1/alerts/create", {**TOTAL, "alert_specifiers": [specified(field("Commit"))], "customer_id": customer})
    await post(http, "/v1/alerts/archive", {"id": last})
    await made(http, "/v1/alerts/create", own)
    for _ in range(2):
        await made(http, "/v1/alerts/create", split)
    assert "at most 3 alerts" in (await post(http, "/v1/alerts/create", split, 400))["message"]


async def test_values_of_a_field_by_which_an_alert_is_split_are_bounded(http: httpx.AsyncClient) -> None:
    """In these tests 4; the alert for all customers finds 4 values of credits there already, and the fifth is refused."""
    customer = await made(http, "/v1/customers", {"name": "a"})
    product = await made(http, "/v1/contract-pricing/products/create", {"name": "f", "type": "FIXED"})
    segment = {"amount": 1, "starting_at": "2026-01-01T00:00:00Z", "ending_before": "2027-01-01T00:00:00Z"}
    credit = {"customer_id": customer, "product_id": product, "priority": 1, "access_schedule": {"schedule_items": [segment]}}
    path = "/v1/contracts/customerCredits/create"
    for number in range(4):
        await made(http, path, {**credit, "custom_fields": {"k": f"v{number}"}})
    await made(http, path, credit)
    archived = await made(http, "/v1/alerts/create", {**TOTAL, "alert_specifiers": [specified(field("Contract", None))]})
    await post(http, "/v1/alerts/archive", {"id": archived})
    alert = await made(http, "/v1/alerts/create", {**TOTAL, "alert_specifiers": [specified(field("ContractCredit", None))]})
    await made(http, path, {**credit, "custom_fields": {"k": "v0"}})
    message = (await post(http, path, {**credit, "custom_fields": {"k": "v4"}}, 400))["message"]
    assert message.startswith("custom_fields: at most 4 values of 'k'")
    assert alert in message
    await made(http, path, {**credit, "custom_fields": {"other": "v4"}})
    await post(http, "/v1/alerts/archive", {"id": alert})
    await made(http, path, {**credit, "custom_fields": {"k": "v4"}})
    own = {**TOTAL, "alert_specifiers": [specified(field("ContractCredit", None))], "customer_id": customer}
    assert "at most 4 values" in (await post(http, "/v1/alerts/create", own, 400))["message"]
    await made(http, "/v1/alerts/create", {**own, "alert_specifiers": [specified(field("Commit", None))]})


async def test_values_that_an_alert_does_not_have(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    split = await made(
        http, "/v1/alerts/create", {**TOTAL, "alert_specifiers": [specified(field("ContractCreditOrCommit", None))]}
    )
    whole = await made(http, "/v1/alerts/create", {**TOTAL, "alert_specifiers": [specified(field("Commit"))]})
    where = {"customer_id": customer, "alert_id": split}
    for wrong in (
        {"alert_specifiers": [{}]},
        {"alert_specifiers": [specified(field("Commit"))]},
        {"alert_specifiers": [specified(field("ContractCreditOrCommit", None))]},
        {"alert_specifiers": [specified(field("ContractCreditOrCommit")), specified(field("ContractCreditOrCommit", "w"))]},
        {"custom_field_filters": [field("ContractCreditOrCommit", "v", "other")]},
    ):
        assert "must name one" in (await post(http, "/v1/customer-alerts/get", {**where, **wrong}, 400))["message"]
    body = {**where, "alert_id": whole, "alert_specifiers": [specified(field("Commit"))]}
    assert "the alert has one state" in (await post(http, "/v1/customer-alerts/get", body, 400))["message"]
    for right in (
        {"custom_field_filters": [field("ContractCreditorCommit")]},
        {"alert_specifiers": [specified(field("contractcreditorcommit"))]},
    ):
        shown = (await post(http, "/v1/customer-alerts/get", {**where, **right}))["data"]["alert"]["alert_specifiers"]
        assert shown == [{"custom_field_filters": [field("ContractCreditOrCommit")], "exclude": []}]


async def test_a_refused_alert_gives_its_key_back(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    body = {**SPEND, "customer_id": customer, "uniqueness_key": "k"}
    crowd = [{"key": key} for key in ("a", "b", "c", "d")]
    await post(http, "/v1/alerts/create", {**body, "group_values": crowd}, 400)
    await made(http, "/v1/alerts/create", body)


async def test_archived_things_take_nothing_new(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    metric = await made(http, "/v1/billable-metrics/create", METRIC)
    await post(http, "/v1/customers/archive", {"id": customer})
    await post(http, "/v1/billable-metrics/archive", {"id": metric})
    for path, body in (
        ("/v1/contracts/create", {"customer_id": customer, "starting_at": "2026-01-01T00:00:00Z"}),
        ("/v1/alerts/create", {**SPEND, "customer_id": customer}),
        ("/v1/alerts/create", {**USAGE, "billable_metric_id": metric}),
        ("/v1/contract-pricing/products/create", {"name": "p", "type": "USAGE", "billable_metric_id": metric}),
    ):
        assert "is archived" in (await post(http, path, body, 400))["message"]


async def test_groups_that_an_alert_does_not_have(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    alert = await made(http, "/v1/alerts/create", {**SPEND, "group_values": [{"key": "region", "value": "eu"}]})
    for group, words in (({"key": "model", "value": "m"}, "not split by"), ({"key": "region", "value": "us"}, "watches only")):
        body = {"customer_id": customer, "alert_id": alert, "group_values": [group]}
        assert words in (await post(http, "/v1/customer-alerts/get", body, 400))["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nowhere", 404), ("POST", "/healthz", 405), ("DELETE", "/v1/customers", 405), ("GET", "/v1/customers?x=1", 400)],
)
async def test_paths_methods_and_parameters(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["message"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "next_page=nonsense", "only_archived=maybe", "limit=1&limit=2"]
)
async def test_wrong_query_parameters(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"/v1/customers?{query}")
    assert answer.status_code == 400
    assert query.split("=", maxsplit=1)[0] in answer.json()["message"]


async def test_tokens(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url) as nobody:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}):
            answer = await nobody.get("/v1/customers", headers=headers)
            assert answer.status_code == 401
            assert list(answer.json()) == ["message"]
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await nobody.get(path)).status_code == 200
        assert (await nobody.get("/v1/customers", headers={"Authorization": "Bearer another"})).status_code == 200


async def test_made_tokens_hold_until_they_are_revoked(api: Api) -> None:
    redis = connect(api.settings)
    store = CatalogStore(redis)
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": "bearer made"}) as client:
        await store.put_token(token_hash("made"), b'{"name": "n", "created_at": "2026-01-01"}')
        assert (await client.get("/v1/customers")).status_code == 200
        await store.delete_token(token_hash("made"))
        assert (await client.get("/v1/customers")).status_code == 401
    await redis.aclose()


async def test_without_redis_requests_are_503(http: httpx.AsyncClient, valkey: RedisServer) -> None:
    valkey.kill()
    try:
        refused = await http.post("/v1/customers", json={"name": "a"}, headers={"Idempotency-Key": "k"})
        ready = await http.get("/readyz")
        alive = await http.get("/healthz")
    finally:
        valkey.start()
    assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "true")
    assert list(refused.json()) == ["message"]
    assert (ready.status_code, ready.json()["checks"]["kafka"]) == (503, "ok")
    assert alive.status_code == 200
    assert (await http.post("/v1/customers", json={"name": "a"}, headers={"Idempotency-Key": "k"})).status_code == 200


async def test_aliases_set_at_once_are_the_ones_shown(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    path = f"/v1/customers/{customer}"
    await asyncio.gather(*(post(http, f"{path}/setIngestAliases", {"ingest_aliases": [f"alias-{n}"]}) for n in range(10)))
    shown = (await http.get(path)).json()["data"]["ingest_aliases"]
    found = [n for n in range(10) if (await http.get(f"/v1/customers?ingest_alias=alias-{n}")).json()["data"]]
    assert shown == [f"alias-{n}" for n in found]
    assert len(found) == 1


async def test_many_changes_of_one_customer_at_once(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    body = {"customer_id": customer, "starting_at": "2026-01-01T00:00:00Z"}
    contracts = await asyncio.gather(*(made(http, "/v1/contracts/create", body) for _ in range(80)))
    keyed = await asyncio.gather(*(http.post("/v1/contracts/create", json={**body, "uniqueness_key": "k"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in keyed) == [200] + [409] * 7
    listed: list[str] = []
    cursor = None
    while True:
        shown = await post(http, "/v1/contracts/list", {"customer_id": customer, "cursor": cursor})
        listed += [contract["id"] for contract in shown["data"]]
        cursor = shown["cursor"]
        if cursor is None:
            break
    assert len(listed) == len(set(listed)) == 81
    assert set(contracts) < set(listed)


async def test_a_body_too_large_is_413(http: httpx.AsyncClient, api: Api) -> None:
    answer = await http.post("/v1/ingest", content=b" " * (api.settings.ingest_body_bytes_max + 1))
    assert answer.status_code == 413
    assert "larger than" in answer.json()["message"]


async def test_the_end_of_a_contract_cuts_a_final_invoice_only_if_allowed(http: httpx.AsyncClient) -> None:
    customer = await made(http, "/v1/customers", {"name": "a"})
    contract = await made(http, "/v1/contracts/create", {"customer_id": customer, "starting_at": "2020-01-01T00:00:00Z"})
    body = {"customer_id": customer, "contract_id": contract, "ending_before": "2020-03-15T00:00:00Z"}
    careful = {**body, "allow_ending_before_finalized_invoice": False}
    refused = await post(http, "/v1/contracts/updateEndDate", careful, 400)
    assert "invoice that is final" in refused["message"]
    await post(http, "/v1/contracts/updateEndDate", body)
    read = await post(http, "/v2/contracts/get", {"customer_id": customer, "contract_id": contract})
    assert read["data"]["ending_before"] == "2020-03-15T00:00:00Z"
    refused = await post(http, "/v1/contracts/updateEndDate", {**body, "ending_before": "2020-01-01T00:00:00Z"}, 400)
    assert "must be after" in refused["message"]
