"""A contract's rate schedule: what its rate card lists beside what the contract is charged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from engine.catalog import Contract, Product, RateCard
from engine.numbers import exact
from engine.rating.book import card_rows
from engine.rating.overrides import PricedStretch, applies, by_state, priced_stretches


class ScheduledRate(NamedTuple):
    """A stretch of constant price of one product and combination of pricing values (in the order of its pricing group key)."""

    product: Product
    pricing_values: tuple[str, ...]
    stretch: PricedStretch


def contract_schedule(rate_card: RateCard, products: Mapping[str, Product], contract: Contract) -> Iterator[ScheduledRate]:
    """By product, pricing values and time, within the contract's own time."""
    rows = card_rows(rate_card, products)
    for product_id in sorted(rows):
        product = products[product_id]
        for values in sorted(rows[product_id]):
            overrides = by_state(contract.overrides, product)
            concerned = [each for each in overrides if not each.for_commits and applies(each, product, values)]
            with exact():
                found = priced_stretches(rows[product_id][values], concerned, explicit=contract.explicit_priorities)
            for stretch in _joined(found):
                inside = _within(stretch, contract)
                if inside is not None:
                    yield ScheduledRate(product, values, inside)


def _joined(stretches: list[PricedStretch]) -> Iterator[PricedStretch]:
    """Neighbours that differ in their bounds only become one."""
    last: PricedStretch | None = None
    for stretch in stretches:
        if last is not None and last.ending_hour == stretch.starting_hour and last[2:] == stretch[2:]:
            last = last._replace(ending_hour=stretch.ending_hour)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last


def _within(stretch: PricedStretch, contract: Contract) -> PricedStretch | None:
    start = max(stretch.starting_hour, contract.starting_hour)
    ends = [hour for hour in (stretch.ending_hour, contract.ending_hour) if hour is not None]
    end = min(ends, default=None)
    return None if end is not None and end <= start else stretch._replace(starting_hour=start, ending_hour=end)
