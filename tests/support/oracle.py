"""An independent recomputation of every crossing from raw events: plain Python, exact fractions, nothing from ``engine``.

It knows no batches, no headroom, no stores: it adds up, prices, compares, event by event in log order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple


class Event(NamedTuple):
    transaction_id: str
    customer: str
    quantities: dict[str, Fraction]  # metric -> what this event adds


class Product(NamedTuple):
    """``tiers``: (size, price) pairs, the last size is None. A flat price is a single tier."""

    metric: str
    tiers: Sequence[tuple[Fraction | None, Fraction]]


class Threshold(NamedTuple):
    """``metric`` None measures spend in cents. ``customer`` None is for all customers."""

    name: str
    value: Fraction
    metric: str | None
    customer: str | None


class Crossing(NamedTuple):
    alert: str
    customer: str
    transaction_id: str


def price(product: Product, quantity: Fraction) -> Fraction:
    total = Fraction(0)
    for size, unit_price in product.tiers:
        part = quantity if size is None else min(quantity, size)
        total += part * unit_price
        quantity -= part
    return total


def running_values(events: Iterable[Event], products: Sequence[Product]) -> Iterable[tuple[Event, dict[str | None, Fraction]]]:
    """Each event that counts (the first with its transaction id), with its customer's values right after it; None = spend."""
    usage: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    seen: set[tuple[str, str]] = set()
    for event in events:
        if (event.customer, event.transaction_id) in seen:
            continue
        seen.add((event.customer, event.transaction_id))
        mine = usage[event.customer]
        for metric, quantity in event.quantities.items():
            mine[metric] += quantity
        values: dict[str | None, Fraction] = dict(mine.items())
        values[None] = sum((price(p, mine[p.metric]) for p in products), Fraction(0))
        yield event, values


def crossings(events: Iterable[Event], products: Sequence[Product], thresholds: Sequence[Threshold]) -> set[Crossing]:
    """Which threshold was reached for whom, at which event (at or above: reached; it can be reached again after a fall)."""
    found: set[Crossing] = set()
    in_alarm: dict[tuple[str, str], bool] = {}
    for event, values in running_values(events, products):
        for threshold in thresholds:
            if threshold.customer not in (None, event.customer):
                continue
            reached = values.get(threshold.metric, Fraction(0)) >= threshold.value
            if reached and not in_alarm.get((threshold.name, event.customer), False):
                found.add(Crossing(threshold.name, event.customer, event.transaction_id))
            in_alarm[threshold.name, event.customer] = reached
    return found
