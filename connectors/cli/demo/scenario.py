"""What the demo sets up through the HTTP API, as any client would: prices, customers, contracts, alerts, a webhook endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import orjson

from connectors.cli.demo.expected import INPUT_PRICES, OUTPUT_PRICE, TIER_TOKENS, Rule
from connectors.cli.errors import Fault

EVENT_TYPE = "llm_call"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Ids as the API gave them. ``rules``: alert id -> rule."""

    customers: list[str]
    rules: dict[str, Rule]
    secret: str


class Api:
    """The few calls that the demo makes."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer's ``data``. Raises Fault with the API's own message."""
        payload = orjson.dumps(body, default=_exact_number)
        async with self._session.post(f"{self._url}{path}", data=payload, headers=self._headers) as response:
            text = await response.text()
            if response.status != 200:
                raise Fault(f"POST {path} was answered with {response.status}: {text[:300]}")
            data: dict[str, Any] = orjson.loads(text)["data"]
            return data


def _exact_number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} is not JSON")


async def set_up(api: Api, rules: Sequence[Rule], customers: int, starting_at: datetime, webhook_url: str) -> Scenario:
    """``starting_at``: of rates and contracts, on the hour; billing months are counted from there."""
    secret = (await api.post("/v1/webhook-endpoints", {"url": webhook_url}))["secret"]
    since = starting_at.isoformat().replace("+00:00", "Z")
    metrics = {kind: await _metric(api, f"{kind}_tokens") for kind in ("input", "output")}
    rate_card = await _rate_card(api, metrics, since)
    ids = []
    for number in range(customers):
        customer = (await api.post("/v1/customers", {"name": f"customer {number}", "ingest_aliases": [f"demo-{number}"]}))["id"]
        contract = {
            "customer_id": customer,
            "rate_card_id": rate_card,
            "starting_at": since,
            "usage_statement_schedule": {"frequency": "MONTHLY", "day": "CONTRACT_START"},
        }
        await api.post("/v1/contracts/create", contract)
        ids.append(customer)
    alerts = {await _alert(api, rule, ids, metrics["output"]): rule for rule in rules}
    return Scenario(ids, alerts, secret)


async def _metric(api: Api, key: str) -> str:
    body = {
        "name": key.replace("_", " "),
        "aggregation_type": "SUM",
        "aggregation_key": key,
        "event_type_filter": {"in_values": [EVENT_TYPE]},
        "property_filters": [{"name": key, "exists": True}, {"name": "model", "exists": True}],
        "group_keys": [["model"]],
    }
    return str((await api.post("/v1/billable-metrics/create", body))["id"])


async def _rate_card(api: Api, metrics: dict[str, str], since: str) -> str:
    rate_card = (await api.post("/v1/contract-pricing/rate-cards/create", {"name": "LLM prices"}))["id"]
    pricing: dict[str, dict[str, Any]] = {
        "input": {
            "rate_type": "TIERED",
            "tiers": [{"size": TIER_TOKENS, "price": INPUT_PRICES[0]}, {"price": INPUT_PRICES[1]}],
        },
        "output": {"rate_type": "FLAT", "price": OUTPUT_PRICE},
    }
    rates = []
    for kind, rate in pricing.items():
        product = {"name": f"{kind} tokens", "type": "USAGE", "billable_metric_id": metrics[kind]}
        product_id = (await api.post("/v1/contract-pricing/products/create", product))["id"]
        rates.append({"product_id": product_id, "entitled": True, "starting_at": since, **rate})
    await api.post("/v1/contract-pricing/rate-cards/addRates", {"rate_card_id": rate_card, "rates": rates})
    return str(rate_card)


async def _alert(api: Api, rule: Rule, customers: Sequence[str], output_metric: str) -> str:
    body: dict[str, Any] = {"name": rule.name, "alert_type": "spend_threshold_reached", "threshold": rule.threshold}
    if rule.customer is not None:
        body["customer_id"] = customers[rule.customer]
    if rule.measure == "spend by model":
        body["group_values"] = [{"key": "model"}]
    if rule.measure == "output tokens":
        body |= {"alert_type": "usage_threshold_reached", "billable_metric_id": output_metric}
    return str((await api.post("/v1/alerts/create", body))["id"])
