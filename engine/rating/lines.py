"""Line items: what one line of usage costs in one billing period.

Tiers are counted per line and billing period. The counter runs on across the line's slices: a slice begins at the position
where the billed quantities before it, whatever their rate type or credit type, have brought it. Hours that are not billed do
not count. A slice costs ``cost(position + quantity) - cost(position)`` of its ladder, for quantities of either sign: a
correction in a later slice takes back the units where the counter stands; below zero the first tier's price holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.catalog import Product, RateType
from engine.numbers import ZERO
from engine.periods import Period
from engine.rating.book import Slice
from engine.rating.prices import Ladder
from engine.rating.quantities import billed_quantity


@dataclass(frozen=True, slots=True)
class TierPart:
    """The share of a line item that lies in one tier. ``level`` counts from 1; ``starting_at`` and ``size`` in billed units
    (None = the open last tier); ``quantity`` is negative for units taken back."""

    level: int
    starting_at: Decimal
    size: Decimal | None
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LineItem:
    """The cost of one slice of a line. ``amount`` in units of ``credit_type_id`` (USD: cents); ``quantity`` as billed.
    ``tiers``: for TIERED rates only, lowest level first; their amounts add up to ``amount``."""

    product_id: str
    period: Period
    pricing_values: tuple[str, ...]
    presentation_values: tuple[str, ...]
    credit_type_id: str
    quantity: Decimal
    amount: Decimal
    unit_price: Decimal | None
    tiers: tuple[TierPart, ...] = ()


def line_spend(product: Product, slices: Sequence[Slice], raw_quantities: Sequence[Decimal], credit_type_id: str) -> Decimal:
    """The sum of the amounts of a line's items in one credit type, without making the items.

    ``raw_quantities``: the metric's quantity in each slice, in their order.
    """
    spend = position = ZERO
    for (_, _, ladder), raw in zip(slices, raw_quantities, strict=True):
        if not raw:
            continue
        quantity = billed_quantity(product, raw)
        if ladder.credit_type_id == credit_type_id:
            spend += ladder.cost_between(position, quantity)
        position += quantity
    return spend


def line_items(
    product: Product,
    slices: Sequence[Slice],
    raw_quantities: Sequence[Decimal],
    pricing_values: tuple[str, ...] = (),
    presentation_values: tuple[str, ...] = (),
) -> list[LineItem]:
    """One item for each slice whose billed quantity is not zero. ``raw_quantities`` as in line_spend."""
    items: list[LineItem] = []
    position = ZERO
    for (start, end, ladder), raw in zip(slices, raw_quantities, strict=True):
        quantity = billed_quantity(product, raw)
        if not quantity:
            continue
        flat = ladder.rate_type is RateType.FLAT
        items.append(
            LineItem(
                product_id=product.id,
                period=Period(start, end),
                pricing_values=pricing_values,
                presentation_values=presentation_values,
                credit_type_id=ladder.credit_type_id,
                quantity=quantity,
                amount=ladder.cost_between(position, quantity),
                unit_price=ladder.prices[0] if flat else None,
                tiers=() if flat else _tier_parts(ladder, position, quantity),
            )
        )
        position += quantity
    return items


def _tier_parts(ladder: Ladder, position: Decimal, quantity: Decimal) -> tuple[TierPart, ...]:
    """How the stretch between ``position`` and ``position + quantity`` falls on the tiers; the first tier reaches below zero."""
    low, high = sorted((position, position + quantity))
    parts: list[TierPart] = []
    last = len(ladder.prices) - 1
    for tier, (start, price) in enumerate(zip(ladder.starts, ladder.prices, strict=True)):
        edge = None if tier == last else ladder.edges[tier]
        bottom = low if tier == 0 else max(low, start)
        top = high if edge is None else min(high, edge)
        if bottom >= top:
            continue
        units = top - bottom if quantity > 0 else bottom - top
        size = None if edge is None else edge - start
        parts.append(TierPart(tier + 1, start, size, units, price, units * price))
    return tuple(parts)
