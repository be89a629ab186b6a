"""What one unit of a subscription costs for one billing period: the rate card's row for its product and billing frequency, under
the contract's overrides.

An override concerns a subscription rate as it does any other; a specifier with a billing frequency is for the rates of that one
only (and for no usage). Tiers count usage, so overrides that make tiers (TIERED, or OVERWRITE with a tiered rate) leave
subscription rates alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.catalog import Contract, Frequency, Override, OverrideType, Product, Rate, RateCard, RateType
from engine.numbers import exact
from engine.rating.overrides import applies, by_state, priced_stretches

FeeRows = Mapping[tuple[str, Frequency], Sequence[Rate]]
"""A card's rows for subscriptions by product id and billing frequency, in the order in which they were added."""


def fee_rows(rate_card: RateCard) -> FeeRows:
    rows: dict[tuple[str, Frequency], list[Rate]] = {}
    for rate in rate_card.rates:
        if rate.billing_frequency is not None and rate.rate_type is RateType.FLAT:
            rows.setdefault((rate.product_id, rate.billing_frequency), []).append(rate)
    return rows


def fee_at(rows: FeeRows, product: Product, frequency: Frequency, contract: Contract, hour: int) -> Rate | None:
    """The rate that the contract is charged in an hour; None: nothing is (there is no rate, or it is not entitled to it)."""
    own = rows.get((product.id, frequency))
    if own is None:
        return None
    overrides = [
        each
        for each in by_state(contract.overrides, product)
        if not each.for_commits and not _makes_tiers(each) and applies(each, product, (), frequency)
    ]
    with exact():
        stretches = priced_stretches(own, overrides, explicit=contract.explicit_priorities)
    for start, end, _, charged, entitled in stretches:
        if start <= hour and (end is None or hour < end):
            return charged if entitled else None
    return None


def _makes_tiers(override: Override) -> bool:
    rate = override.overwrite_rate
    return override.type is OverrideType.TIERED or (rate is not None and rate.rate_type is RateType.TIERED)
