"""Usage lines of one contract's billing period, with what each hour added to them.

A line of usage is rated as engine.rating says. Here its quantity is followed hour by hour: the running value of the metric (sum,
maximum, number of distinct texts, last reading less the one before the slice) is converted and rounded, and brings the counter of
tiers to a position. What an hour adds to a tier is the difference between two positions, so all hours together give exactly
the line's quantity and amount, with rounding and maxima, too; where a line is cut in time changes neither.
A tier that loses units again within a stretch (a correction) gives back what they cost.

Balances may draw at prices of their own (engine.rating.overrides). A line that such a balance may pay is cut where these prices
change, too: in time, and at the edges of their tiers, which are counted as the line's own are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from engine.balances.matching import UsageKey
from engine.catalog import Aggregation, BillableMetric, Contract, Product, RateType
from engine.compiled import CompiledCatalog
from engine.invoices.items import Increment, ItemType, LineItem, TierOfItem
from engine.invoices.usage import HourlyUsage
from engine.metering.codec import Quantity, Reading
from engine.metering.queries import dimension_for
from engine.metering.series import TOTAL, GroupValues
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period
from engine.rating.book import RateBook, Slice
from engine.rating.filters import UsageSelection
from engine.rating.prices import Ladder
from engine.rating.quantities import billed_quantity

Cuts = Callable[[UsageKey, str], Sequence[int]]
"""(usage, credit type id) -> the hours at which a line of it is to be cut, in any order."""

Hours = dict[int, list[Quantity]]


class OwnPrices(NamedTuple):
    """The prices at which a balance may draw in the hours [starting_hour, ending_hour)."""

    balance_id: str
    starting_hour: int
    ending_hour: int
    book: RateBook


Owns = Callable[[UsageKey, str], Sequence[OwnPrices]]
"""(usage, credit type id) -> the balances that may pay a line of it and draw at prices of their own."""


class Payers(NamedTuple):
    """How those who may pay a line divide it."""

    cuts: Cuts
    owns: Owns = lambda usage, credit_type_id: ()


def contract_lines(
    contract: Contract, period: Period, compiled: CompiledCatalog, usage: HourlyUsage, payers: Payers
) -> list[LineItem]:
    """The USAGE items of a billing period, without zero quantities, in the order in which they are drawn (by start, price, name).

    One item for each product, combination of pricing and presentation values, stretch of constant price, name and tags, stretch
    between cuts, and tier. Raises RateError for a rate card that cannot be priced."""
    book = compiled.contract_book(contract)
    if book is None:
        return []
    items: list[LineItem] = []
    selection = UsageSelection(contract.usage_filters)
    for metric_id in book.metric_ids():
        metric = compiled.catalog.metrics.get(metric_id)
        if metric is None:
            continue
        for product in book.products_of(metric_id):
            for group in _groups(product, metric, selection, usage):
                items.extend(_group_items(contract.id, book, product, metric, group, period, payers))
    return sorted(items, key=_item_order)


class _Group(NamedTuple):
    """The usage of one line: quantities by hour, and the readings that are older than all of them."""

    pricing: tuple[str, ...]
    presentation: GroupValues
    hours: Hours
    before: list[Reading]


def _groups(product: Product, metric: BillableMetric, selection: UsageSelection, usage: HourlyUsage) -> Iterator[_Group]:
    """What the contract bills of a metric, by the product's keys; without usage that lacks a pricing value."""
    needed = frozenset((*product.pricing_group_key, *product.presentation_group_key, *selection.keys))
    dimension = dimension_for(metric, needed)
    if dimension is None:
        return
    declared = () if dimension == TOTAL else metric.group_keys[dimension]
    groups: dict[tuple[tuple[str, ...], GroupValues], _Group] = {}

    def group_of(values: Mapping[str, str | None]) -> _Group | None:
        pricing = tuple(value for value in map(values.__getitem__, product.pricing_group_key) if value is not None)
        if len(pricing) < len(product.pricing_group_key):
            return None
        presentation = tuple(values[name] for name in product.presentation_group_key)
        return groups.setdefault((pricing, presentation), _Group(pricing, presentation, {}, []))

    for key, by_hour in usage.hours.items():
        if key.metric_id == metric.id and key.dimension == dimension:
            values = dict(zip(declared, key.values, strict=True))
            group = group_of(values)
            if group is not None:
                for hour, quantity in by_hour.items():
                    if selection.admits(hour, values.get):
                        group.hours.setdefault(hour, []).append(quantity)
    for key, reading in usage.carry.items():
        if key.metric_id == metric.id and key.dimension == dimension:
            values = dict(zip(declared, key.values, strict=True))
            group = group_of(values)
            if group is not None and selection.admits(reading.timestamp_us // HOUR_US, values.get):
                group.before.append(reading)
    yield from groups.values()


def _group_items(
    contract_id: str,
    book: RateBook,
    product: Product,
    metric: BillableMetric,
    group: _Group,
    period: Period,
    payers: Payers,
) -> Iterator[LineItem]:
    usage = UsageKey(
        contract_id,
        product.id,
        product.tags,
        tuple(sorted(zip(product.pricing_group_key, group.pricing, strict=True))),
        tuple(sorted(zip(product.presentation_group_key, group.presentation, strict=True))),
    )
    hours = sorted(group.hours)
    position = ZERO
    for part in book.slices(product.id, group.pricing, period, group.presentation):
        steps = [Step(part.starting_hour, position)]
        for hour, raw in running_quantity(metric.aggregation, group, hours, part):
            steps.append(Step(hour, position + billed_quantity(product, raw)))
        position = steps[-1].position
        for start, end, then in product.within(part.starting_hour, part.ending_hour):
            tagged = usage._replace(product_tags=then.tags)
            for stretch in _stretches(then, group, tagged, Slice(start, end, part.ladder), payers):
                yield from _stretch_items(then, tagged, part.ladder, steps, stretch)


class _Stretch(NamedTuple):
    """``own``: by balance id, the prices at which it draws here, where they are not those of the line."""

    starting_hour: int
    ending_hour: int
    own: dict[str, Ladder]


def _stretches(product: Product, group: _Group, usage: UsageKey, part: Slice, payers: Payers) -> list[_Stretch]:
    """A slice, cut where its payers change, or what they draw at."""
    start, end, ladder = part
    edges = {start, end, *(cut for cut in payers.cuts(usage, ladder.credit_type_id) if start < cut < end)}
    owns = [each for each in payers.owns(usage, ladder.credit_type_id) if each.starting_hour < end and start < each.ending_hour]
    changes: set[int] = set()
    for each in owns:
        within = Period(max(each.starting_hour, start), min(each.ending_hour, end))
        for drawn in each.book.slices(product.id, group.pricing, within, group.presentation):
            changes.update((drawn.starting_hour, drawn.ending_hour))
    found: list[_Stretch] = []
    for first, last in pairwise(sorted(edges | changes)):
        prices = {
            each.balance_id: own
            for each in owns
            if each.starting_hour <= first < each.ending_hour
            and (own := each.book.ladder_at(product.id, group.pricing, first, group.presentation)) is not None
            and own.credit_type_id == ladder.credit_type_id
            and own != ladder
        }
        if first not in edges and found[-1].own == prices:
            found[-1] = found[-1]._replace(ending_hour=last)
        else:
            found.append(_Stretch(first, last, prices))
    return found


class Step(NamedTuple):
    """Where the counter of tiers stands after an hour."""

    hour: int
    position: Decimal


def running_quantity(aggregation: Aggregation, group: _Group, hours: Sequence[int], part: Slice) -> Iterator[tuple[int, Decimal]]:
    """The metric's value from the slice's start to the end of each hour that has usage. ``hours``: the group's, in order."""
    inside = [hour for hour in hours if part.starting_hour <= hour < part.ending_hour]
    numbers: list[Decimal] = []
    elements: set[str] = set()
    base = _last_before(group, hours, part.starting_hour) if aggregation is Aggregation.LATEST else ZERO
    total = ZERO
    for hour in inside:
        quantities = group.hours[hour]
        match aggregation:
            case Aggregation.UNIQUE:
                elements.update(*(quantity for quantity in quantities if isinstance(quantity, frozenset)))
                total = Decimal(len(elements))
            case Aggregation.LATEST:
                total = _last([quantity for quantity in quantities if isinstance(quantity, Reading)]).value - base
            case Aggregation.MAX:
                numbers.extend(quantity for quantity in quantities if isinstance(quantity, Decimal))
                numbers = [max(numbers)]
                total = numbers[0]
            case _:
                total = sum((quantity for quantity in quantities if isinstance(quantity, Decimal)), total)
        yield hour, total


def _last_before(group: _Group, hours: Sequence[int], starting_hour: int) -> Decimal:
    """The last reading before a slice; 0 if there is none."""
    readings = list(group.before)
    earlier = [hour for hour in hours if hour < starting_hour]
    if earlier:
        readings.extend(quantity for quantity in group.hours[earlier[-1]] if isinstance(quantity, Reading))
    return _last(readings).value if readings else ZERO


def _last(readings: Sequence[Reading]) -> Reading:
    return max(readings)


def _stretch_items(
    product: Product, usage: UsageKey, ladder: Ladder, steps: Sequence[Step], stretch: _Stretch
) -> Iterator[LineItem]:
    """The items of one stretch: one for each tier in which its quantity is not zero."""
    tiered = ladder.rate_type is RateType.TIERED
    for band in _bands(ladder, stretch.own.values()):
        tier = tier_below(ladder, band.edge)
        price = ladder.prices[tier]
        increments: list[Increment] = []
        for before, after in pairwise(steps):
            if stretch.starting_hour <= after.hour < stretch.ending_hour:
                quantity = band.units(after.position) - band.units(before.position)
                if quantity:
                    increments.append(Increment(after.hour, quantity, quantity * price))
        quantity = sum((increment.quantity for increment in increments), ZERO)
        if quantity:
            yield LineItem(
                type=ItemType.USAGE,
                name=product.name,
                credit_type_id=ladder.credit_type_id,
                total=quantity * price,
                starting_hour=stretch.starting_hour,
                ending_hour=stretch.ending_hour,
                quantity=quantity,
                unit_price=price,
                product_id=product.id,
                product_tags=product.tags,
                pricing_group_values=usage.pricing_group_values,
                presentation_group_values=usage.presentation_group_values,
                tier=_tier_of(ladder, tier) if tiered else None,
                increments=tuple(increments),
                draw_prices=tuple(
                    (balance_id, own_price)
                    for balance_id, own in stretch.own.items()
                    if (own_price := own.prices[tier_below(own, band.edge)]) != price
                ),
            )


class _Band(NamedTuple):
    """The units of a line from one edge of any tier to the next one (None = open)."""

    start: Decimal
    edge: Decimal | None

    def units(self, position: Decimal) -> Decimal:
        """How many of the first ``position`` units lie in it; the first band reaches below zero."""
        top = position if self.edge is None else min(position, self.edge)
        return top if self.start == ZERO else max(top - self.start, ZERO)


def _bands(ladder: Ladder, others: Iterable[Ladder]) -> list[_Band]:
    edges = sorted({*ladder.edges, *(edge for other in others for edge in other.edges)})
    return [_Band(start, edge) for start, edge in zip([ZERO, *edges], [*edges, None], strict=True)]


def tier_below(ladder: Ladder, edge: Decimal | None) -> int:
    """The tier of the units right below an edge (None: of the last ones)."""
    return len(ladder.edges) if edge is None else bisect_left(ladder.edges, edge)


def _tier_of(ladder: Ladder, tier: int) -> TierOfItem:
    start = ladder.starts[tier]
    return TierOfItem(tier + 1, start, None if tier == len(ladder.edges) else ladder.edges[tier] - start)


def _item_order(item: LineItem) -> tuple[object, ...]:
    assert item.unit_price is not None  # usage items have one
    presentation = tuple((name, value is not None, value or "") for name, value in item.presentation_group_values)
    level = 0 if item.tier is None else item.tier.level
    return item.starting_hour, ZERO - item.unit_price, item.name, item.product_id, item.pricing_group_values, presentation, level
