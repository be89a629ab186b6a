"""Sets the system up over its HTTP API: one tiered product, customers with a contract, five alerts for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from benchmarks.workload import EVENT_TYPE, LADDER_CENTS, OWN_OUTPUT_TOKENS, TOKEN_PRICE

REQUESTS_AT_ONCE = 16


class Api:
    """The few calls that the set-up needs."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, path: str, body: object) -> Any:
        async with self._session.post(path, data=orjson.dumps(body)) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"POST {path}: {answer.status} {content[:500]!r}")
            return orjson.loads(content)["data"] if content else None


async def _catalog(api: Api, month_start: datetime) -> tuple[str, str]:
    """Metrics, product, rate card and the alerts for all. Returns the ids of the rate card and of the output metric."""
    metrics = {}
    for name in ("input_tokens", "output_tokens"):
        body = {
            "name": name,
            "aggregation_type": "SUM",
            "aggregation_key": name,
            "event_type_filter": {"in_values": [EVENT_TYPE]},
            "property_filters": [{"name": name, "exists": True}],
        }
        metrics[name] = (await api.post("/v1/billable-metrics/create", body))["id"]
    product = {"name": "input tokens", "type": "USAGE", "billable_metric_id": metrics["input_tokens"]}
    product_id = (await api.post("/v1/contract-pricing/products/create", product))["id"]
    rate_card = (await api.post("/v1/contract-pricing/rate-cards/create", {"name": "benchmark"}))["id"]
    rate = {
        "rate_card_id": rate_card,
        "product_id": product_id,
        "starting_at": month_start,
        "entitled": True,
        "rate_type": "FLAT",
        "price": orjson.Fragment(TOKEN_PRICE),
    }
    await api.post("/v1/contract-pricing/rate-cards/addRate", rate)
    for cents in LADDER_CENTS:
        alert = {"alert_type": "spend_threshold_reached", "name": f"{cents} cents", "threshold": cents}
        await api.post("/v1/alerts/create", alert)
    return rate_card, metrics["output_tokens"]


async def _customer(api: Api, number: int, rate_card: str, metric: str, month_start: datetime) -> str:
    customer_id: str = (await api.post("/v1/customers", {"name": f"customer {number}"}))["id"]
    contract = {
        "customer_id": customer_id,
        "rate_card_id": rate_card,
        "starting_at": month_start,
        "usage_statement_schedule": {"frequency": "MONTHLY", "day": "FIRST_OF_MONTH"},
    }
    await api.post("/v1/contracts/create", contract)
    for tokens in OWN_OUTPUT_TOKENS:
        alert = {
            "alert_type": "usage_threshold_reached",
            "name": f"{tokens} output tokens",
            "threshold": tokens,
            "customer_id": customer_id,
            "billable_metric_id": metric,
        }
        await api.post("/v1/alerts/create", alert)
    return customer_id


async def configure(base_url: str, token: str, customers: int, webhook_url: str, progress: Callable[[], None]) -> list[str]:
    """Creates everything; ``progress`` is called once for each customer. Returns the customers' ids."""
    month_start = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE)
    async with aiohttp.ClientSession(base_url, headers=headers, connector=connector) as session:
        api = Api(session)
        await api.post("/v1/webhook-endpoints", {"url": webhook_url})
        rate_card, metric = await _catalog(api, month_start)
        limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def create(number: int) -> str:
            async with limit:
                customer_id = await _customer(api, number, rate_card, metric, month_start)
                progress()
                return customer_id

        return list(await asyncio.gather(*(create(number) for number in range(customers))))
