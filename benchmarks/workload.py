"""What the benchmarks feed in: customers, their five alerts, and events with a skewed choice of customer.

Normal events cost a fraction of a cent. A *jump* is an event that costs just over one step of the ladder of spend alerts:
the customer crosses exactly the next line. Jumps make a known number of notifications at a steady rate.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import orjson

EVENT_TYPE = "completion"
MODELS = ("small", "medium", "large")
TOKEN_PRICE = "0.0001"  # cents; an average event costs 0.1 cents
LADDER_CENTS = (100, 200, 300)  # the spend alerts for all customers
JUMP_TOKENS = 1_000_000  # 100 cents
OWN_OUTPUT_TOKENS = (20_000, 200_000)  # the two usage alerts of each customer
ALERTS_EACH = len(LADDER_CENTS) + len(OWN_OUTPUT_TOKENS)


def zipf_weights(customers: int, exponent: float) -> list[float]:
    """Cumulative weights: customer n is chosen in proportion to 1 / (n + 1) ** exponent."""
    return list(itertools.accumulate((n + 1) ** -exponent for n in range(customers)))


class Events:
    """An endless stream of distinct events, from a seed."""

    def __init__(self, customers: Sequence[str], exponent: float, seed: int) -> None:
        self._customers = customers
        self._weights = zipf_weights(len(customers), exponent)
        self._random = random.Random(seed)
        self._run = f"{seed}-{time.time_ns():x}"
        self._next = 0

    def normal(self, count: int) -> Iterator[tuple[str, bytes]]:
        """``count`` records (key, value) of ordinary size."""
        chosen = self._random.choices(self._customers, cum_weights=self._weights, k=count)
        for customer in chosen:
            yield self._record(customer, self._random.randrange(1, 2_000), self._random.randrange(1, 100))

    def jump(self, customer: str) -> tuple[str, bytes]:
        return self._record(customer, JUMP_TOKENS, 1)

    def _record(self, customer: str, input_tokens: int, output_tokens: int) -> tuple[str, bytes]:
        self._next += 1
        fields = {
            "transaction_id": f"{self._run}-{self._next}",
            "customer_id": customer,
            "event_type": EVENT_TYPE,
            "timestamp": datetime.now(UTC),
            "properties": {
                "input_tokens": str(input_tokens),
                "output_tokens": output_tokens,
                "model": MODELS[self._next % len(MODELS)],
                "region": "eu-central",
            },
        }
        return customer, orjson.dumps(fields, option=orjson.OPT_UTC_Z)
