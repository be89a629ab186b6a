"""What must arrive, recomputed from the raw calls in plain Python. Shares no code with the engine, on purpose.

Prices are in cents per token. Input tokens are tiered: the first TIER_TOKENS of a customer cost more than the rest.
Spend of one model is rated as if the model's calls were the only ones (that is the rule for grouped spend alerts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from connectors.cli.demo.workload import MODELS, Call

TIER_TOKENS = 200_000
INPUT_PRICES = (Decimal("0.0003"), Decimal("0.00024"))
OUTPUT_PRICE = Decimal("0.0015")


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert of the demo. ``customer``: an index, or None for all. ``threshold``: cents, or tokens for usage."""

    name: str
    measure: Literal["spend", "spend by model", "output tokens"]
    threshold: int
    customer: int | None = None


@dataclass(frozen=True, slots=True)
class Crossing:
    """One alert of one customer (and model) went off at one call. ``value``: the measure right after it."""

    rule: str
    customer: int
    model: str | None
    transaction_id: str
    value: Decimal


def spend_cents(input_tokens: int, output_tokens: int) -> Decimal:
    first = min(input_tokens, TIER_TOKENS)
    return first * INPUT_PRICES[0] + (input_tokens - first) * INPUT_PRICES[1] + output_tokens * OUTPUT_PRICE


def rules_for(calls: Sequence[Call], customers: int) -> list[Rule]:
    """Thresholds at shares of what the average customer uses, so that each alert goes off for some and not for others."""
    totals: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for call in calls:
        inputs, outputs = totals[call.customer]
        totals[call.customer] = (inputs + call.input_tokens, outputs + call.output_tokens)
    average = sum((spend_cents(*total) for total in totals.values()), Decimal(0)) / customers
    outputs_average = sum(outputs for _, outputs in totals.values()) // customers
    spends = sorted({max(1, int(average * percent / 100)) for percent in (25, 50, 100)})
    return [
        *(Rule(f"spend of ${cents / Decimal(100):.2f}", "spend", cents) for cents in spends),
        *(
            Rule(f"budget of customer {customer}", "spend", max(1, int(spend_cents(*totals[customer]) * 3 / 4)), customer)
            for customer in range(min(3, customers))
        ),
        Rule("spend on one model", "spend by model", max(1, int(average / len(MODELS)))),
        Rule("output tokens", "output tokens", max(1, outputs_average * 9 // 10)),
    ]


def recompute(calls: Sequence[Call], rules: Sequence[Rule]) -> set[Crossing]:
    """Every rule's first crossing for every customer (and model), call by call."""
    crossings: set[Crossing] = set()
    crossed: set[tuple[str, int, str | None]] = set()
    usage: dict[tuple[int, str | None], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for call in calls:
        for model in (None, call.model):
            inputs, outputs = usage[call.customer, model]
            usage[call.customer, model] = (inputs + call.input_tokens, outputs + call.output_tokens)
        for rule in rules:
            if rule.customer not in (None, call.customer):
                continue
            model = call.model if rule.measure == "spend by model" else None
            inputs, outputs = usage[call.customer, model]
            value = outputs if rule.measure == "output tokens" else spend_cents(inputs, outputs)
            key = (rule.name, call.customer, model)
            if value >= rule.threshold and key not in crossed:
                crossed.add(key)
                crossings.add(Crossing(rule.name, call.customer, model, call.transaction_id, Decimal(value)))
    return crossings
