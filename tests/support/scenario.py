"""What the end-to-end tests configure over HTTP: token metrics, a tiered and a flat product, one contract a customer, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import orjson

from tests.support.oracle import Event, Product, Threshold, running_values
from tests.support.system import System
from tests.support.trace import Row

CUSTOMERS = 40
EVENT_TYPE = "completion"
INPUT_TIERS: tuple[tuple[Decimal | None, Decimal], ...] = (
    (Decimal(100_000), Decimal("0.0003")),
    (Decimal(200_000), Decimal("0.00025")),
    (None, Decimal("0.000125")),
)  # cents a token
OUTPUT_PRICE = Decimal("0.0015")
FOR_ALL: tuple[tuple[str | None, str], ...] = (
    (None, "50"),
    (None, "99.9"),
    (None, "100"),
    (None, "100"),  # two alerts on one line: each has its own state
    (None, "105.000001"),
    (None, "100000"),  # nobody gets there
    ("input_tokens", "100000"),
    ("input_tokens", "250000"),
    ("input_tokens", "450000"),
    ("output_tokens", "6000"),
    ("requests", "200"),
)


def products() -> list[Product]:
    """The price list as the oracle reads it."""
    tiers = [(None if size is None else Fraction(size), Fraction(price)) for size, price in INPUT_TIERS]
    return [Product("input_tokens", tiers), Product("output_tokens", [(None, Fraction(OUTPUT_PRICE))])]


def oracle_events(rows: Sequence[Row], customers: Sequence[str]) -> list[Event]:
    """Row n belongs to customer n modulo their number."""
    return [
        Event(
            f"row-{n}",
            customers[n % len(customers)],
            {
                "input_tokens": Fraction(row.input_tokens),
                "output_tokens": Fraction(row.output_tokens),
                "requests": Fraction(1),
            },
        )
        for n, row in enumerate(rows)
    ]


def record_values(rows: Sequence[Row], customers: Sequence[str], shift: timedelta) -> list[tuple[str, bytes]]:
    """The same rows as Kafka records: key, value."""
    return [
        (
            customers[n % len(customers)],
            orjson.dumps(
                {
                    "transaction_id": f"row-{n}",
                    "customer_id": customers[n % len(customers)],
                    "event_type": EVENT_TYPE,
                    "timestamp": row.at + shift,
                    "properties": {"input_tokens": str(row.input_tokens), "output_tokens": row.output_tokens},
                }
            ),
        )
        for n, row in enumerate(rows)
    ]


def thresholds(events: Sequence[Event], seed: int) -> list[Threshold]:
    """Those for all customers, and four for each customer: two exactly on a value that it has after some event, two just
    above one, so that a comparison or a sum that is off by the least unit names another event."""
    random = Random(seed)
    own: list[Threshold] = []
    history: dict[str, list[Mapping[str | None, Fraction]]] = {}
    for event, values in running_values(events, products()):
        history.setdefault(event.customer, []).append(values)
    least: dict[str | None, Fraction] = {
        None: Fraction(1, 10**7),
        "input_tokens": Fraction(1, 10**6),
        "output_tokens": Fraction(1),
    }
    for customer, known in history.items():
        for metric, above in ((None, False), (None, True), ("input_tokens", True), ("output_tokens", False)):
            value = random.choice(known)[metric] + (least[metric] if above else 0)
            own.append(Threshold(f"own {metric or 'spend'} {len(own)}", value, metric, customer))
    for_all = [Threshold(f"all {n}", Fraction(value), metric, None) for n, (metric, value) in enumerate(FOR_ALL)]
    return for_all + own


def exact(value: Fraction | Decimal) -> orjson.Fragment:
    """A JSON number with all its digits; the fraction must have a finite decimal form."""
    if isinstance(value, Fraction):
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
        assert Fraction(decimal) == value, f"{value} has no finite decimal form"
        value = decimal
    return orjson.Fragment(f"{value:f}")


@dataclass
class Configured:
    """Ids that the API gave."""

    customers: list[str]
    metrics: dict[str, str]
    rate_card: str
    alerts: dict[str, str] = field(default_factory=dict)  # id -> our name of it


def configure(system: System, month_start: datetime, customers: int = CUSTOMERS) -> Configured:
    """Metrics, products, rates and customers with a monthly contract from ``month_start`` on."""
    metrics = {name: _create_metric(system, name) for name in ("input_tokens", "output_tokens", "requests")}
    rate_card = system.post("/v1/contract-pricing/rate-cards/create", {"name": "tokens"})["id"]
    rates = [
        {"rate_type": "TIERED", "tiers": [_tier(size, price) for size, price in INPUT_TIERS]},
        {"rate_type": "FLAT", "price": exact(OUTPUT_PRICE)},
    ]
    for metric, rate in zip(("input_tokens", "output_tokens"), rates, strict=True):
        product = {"name": metric, "type": "USAGE", "billable_metric_id": metrics[metric]}
        product_id = system.post("/v1/contract-pricing/products/create", product)["id"]
        common = {"rate_card_id": rate_card, "product_id": product_id, "starting_at": month_start, "entitled": True}
        system.post("/v1/contract-pricing/rate-cards/addRate", {**common, **rate})
    configured = Configured([], metrics, rate_card)
    for number in range(customers):
        customer_id = system.post("/v1/customers", {"name": f"customer {number}"})["id"]
        system.post("/v1/contracts/create", contract(customer_id, rate_card, month_start))
        configured.customers.append(customer_id)
    return configured


def contract(customer_id: str, rate_card: str, month_start: datetime) -> dict[str, object]:
    return {
        "customer_id": customer_id,
        "rate_card_id": rate_card,
        "starting_at": month_start,
        "usage_statement_schedule": {"frequency": "MONTHLY", "day": "FIRST_OF_MONTH"},
    }


def _create_metric(system: System, name: str) -> str:
    body: dict[str, object] = {"name": name, "event_type_filter": {"in_values": [EVENT_TYPE]}}
    if name == "requests":
        body["aggregation_type"] = "COUNT"
    else:
        body |= {"aggregation_type": "SUM", "aggregation_key": name, "property_filters": [{"name": name, "exists": True}]}
    return str(system.post("/v1/billable-metrics/create", body)["id"])


def _tier(size: Decimal | None, price: Decimal) -> dict[str, object]:
    return {"price": exact(price)} if size is None else {"size": exact(size), "price": exact(price)}


def create_alert(system: System, configured: Configured, threshold: Threshold) -> str:
    body: dict[str, object] = {"name": threshold.name, "threshold": exact(threshold.value)}
    if threshold.metric is None:
        body["alert_type"] = "spend_threshold_reached"
    else:
        body |= {"alert_type": "usage_threshold_reached", "billable_metric_id": configured.metrics[threshold.metric]}
    if threshold.customer is not None:
        body["customer_id"] = threshold.customer
    alert_id = str(system.post("/v1/alerts/create", body)["id"])
    configured.alerts[alert_id] = threshold.name
    return alert_id
