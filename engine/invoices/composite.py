"""Lines of COMPOSITE products: charges on the spend of other products in a billing period.

    usage lines of the products that it names ──► spend, hour by hour ──► brackets of percentages ──► lines
                                                                     └──► less than the minimum: one more line

Rules:
- Spend is what the contract's usage lines come to before balances pay, in the credit type of the composite's rate. Charges that
  are fixed (subscriptions, scheduled charges, commits) are no spend. What is free adds nothing, so ``exclude_free_usage``
  changes no amount.
- Brackets count the spend of the billing period, from its start on, also where the rate changes within.
- A minimum is that of the rate that holds last in the billing period, and in full however short that is. What is missing is a
  line of its own, in the last hour of that rate.
- A composite that takes in the spend of others takes in those that take in none themselves.
- Its lines are cut where balances that may pay them begin and end, as usage lines are, and are drawn after usage and
  subscriptions (section 5.3 of the reference). They are no usage of a metric: spend alerts do not count them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

from engine.balances.matching import UsageKey
from engine.catalog import Product, Rate, RateType
from engine.invoices.items import Increment, ItemType, LineItem, TierOfItem
from engine.numbers import ZERO
from engine.periods import Period
from engine.rating.percentages import Bracket, Composite, brackets

Cuts = Callable[[UsageKey, str], Iterable[int]]
"""(what is paid, credit type id) -> the hours at which a line of it is to be cut, in any order."""


def composite_lines(
    contract_id: str, period: Period, composites: Sequence[Composite], usage: Sequence[LineItem], cuts: Cuts
) -> list[LineItem]:
    """``composites``: those that take in others last. ``usage``: the invoice's USAGE lines, before anything is paid."""
    found: list[LineItem] = []
    plain: list[LineItem] = []
    for composite in composites:
        product = composite.product
        base = [*usage, *plain] if product.include_composite_spend else usage
        taken = [item for item in base if item.type is ItemType.USAGE and _takes(product, item)]
        lines = list(_lines(UsageKey(contract_id, product.id, product.tags), composite, period, taken, cuts))
        found += lines
        if not product.include_composite_spend:
            plain += lines
    return found


def _takes(product: Product, item: LineItem) -> bool:
    return item.product_id in product.composite_product_ids or not product.composite_tags.isdisjoint(item.product_tags)


def _lines(key: UsageKey, composite: Composite, period: Period, taken: Iterable[LineItem], cuts: Cuts) -> Iterator[LineItem]:
    by_unit = _spend(taken)
    spend: dict[str, Decimal] = {}  # so far, by credit type
    charged = ZERO
    last: tuple[Period, Rate] | None = None
    for stretch, rate in composite.slices(period):
        unit = rate.credit_type_id
        steps = [(stretch.starting_hour, spend.get(unit, ZERO))]
        for hour, amount in sorted(by_unit.get(unit, {}).items()):
            if stretch.starting_hour <= hour < stretch.ending_hour:
                steps.append((hour, steps[-1][1] + amount))
        spend[unit] = steps[-1][1]
        for part, product in _parts(key, composite.product, stretch, unit, cuts):
            for bracket in brackets(rate):
                line = _line(product, rate, bracket, steps, part)
                if line is not None:
                    charged += line.total
                    yield line
        last = stretch, rate
    if last is not None and last[1].minimum is not None and charged < last[1].minimum:
        ending_hour = last[0].ending_hour
        yield _missing(composite.product.at(ending_hour - 1), last[1], ending_hour, last[1].minimum - charged)


def _parts(key: UsageKey, product: Product, stretch: Period, unit: str, cuts: Cuts) -> Iterator[tuple[Period, Product]]:
    """A stretch, cut where what may pay it begins or ends, or where the product is called or tagged otherwise."""
    for first, last, then in product.within(*stretch):
        inner = {cut for cut in cuts(key._replace(product_tags=then.tags), unit) if first < cut < last}
        for start, end in pairwise(sorted({first, last, *inner})):
            yield Period(start, end), then


def _spend(items: Iterable[LineItem]) -> Mapping[str, Mapping[int, Decimal]]:
    """By credit type and hour."""
    found: dict[str, dict[int, Decimal]] = {}
    for item in items:
        by_hour = found.setdefault(item.credit_type_id, {})
        for hour, _, amount in item.increments:
            by_hour[hour] = by_hour.get(hour, ZERO) + amount
    return found


def _line(
    product: Product, rate: Rate, bracket: Bracket, steps: Sequence[tuple[int, Decimal]], stretch: Period
) -> LineItem | None:
    """What one bracket charges in a stretch; None if nothing. ``steps``: where the spend stands after each hour."""
    increments: list[Increment] = []
    for (_, before), (hour, after) in pairwise(steps):
        if stretch.starting_hour <= hour < stretch.ending_hour:
            part = bracket.part(after) - bracket.part(before)
            if part:
                increments.append(Increment(hour, part, bracket.charge(after) - bracket.charge(before)))
    quantity = sum((each.quantity for each in increments), ZERO)
    total = sum((each.amount for each in increments), ZERO)
    if not quantity and not total:
        return None
    size = None if bracket.end is None else bracket.end - bracket.start
    return LineItem(
        type=ItemType.USAGE,
        name=product.name,
        credit_type_id=rate.credit_type_id,
        total=total,
        starting_hour=stretch.starting_hour,
        ending_hour=stretch.ending_hour,
        quantity=quantity,
        unit_price=bracket.fraction,
        product_id=product.id,
        product_tags=product.tags,
        tier=TierOfItem(bracket.level, bracket.start, size) if rate.rate_type is RateType.TIERED_PERCENTAGE else None,
        increments=tuple(increments),
        is_composite=True,
    )


def _missing(product: Product, rate: Rate, ending_hour: int, amount: Decimal) -> LineItem:
    one = Decimal(1)
    return LineItem(
        type=ItemType.USAGE,
        name=product.name,
        credit_type_id=rate.credit_type_id,
        total=amount,
        starting_hour=ending_hour - 1,
        ending_hour=ending_hour,
        quantity=one,
        unit_price=amount,
        product_id=product.id,
        product_tags=product.tags,
        increments=(Increment(ending_hour - 1, one, amount),),
        is_composite=True,
    )
