"""Contract overrides: which of them wins for a rate, and the rate that it makes of the listed one.

    listed rates ──latest added──► listed rate ──┐
    overrides ──apply here, now──► the winner ───┴─► the rate that is charged

Rules:
- Overrides change rates that the rate card has; where it has none, nothing is billed.
- An override applies to a rate if any of its specifiers does (none = to every rate). A specifier fits if all that it names
  does: the product, all of the tags, each of its pricing and presentation group values (so that lines of one product can have
  different prices), and the billing frequency (of subscription rates).
- An override for commits changes only what a balance draws at (``drawn_by``): the list rate, where it wins or loses against the
  other overrides as they do among each other; or, with the target COMMIT_RATE, the commit rate, which no other override changes.
  A COMMIT_RATE balance draws at the list rate where there is no commit rate.
- Of the overrides with a type, exactly one wins at a time. OVERWRITE beats MULTIPLIER and TIERED; of several OVERWRITEs the
  latest added.
- Of the others the lowest multiplier wins, or, where priorities are explicit, the lowest priority; of equals the latest added.
  TIERED needs explicit priorities.
- Entitlement is decided apart from the price: by the latest added override that says anything about it, else by the listed rate.
- MULTIPLIER multiplies every price of the listed rate. TIERED multiplies them tier by tier: its tiers and the listed ones are
  laid over each other, both counted from the first unit of the billing period. Beyond its last tier, if that has a size, the
  listed prices hold.

A multiplier has the bounds of any number, and only one holds at a time, so spend stays exact (engine.numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from engine.catalog import Balance, Frequency, Override, OverrideType, Product, Rate, RateTarget, RateType, Specifier, Tier
from engine.numbers import ZERO
from engine.rating.prices import RateError

_ONE = Decimal(1)


class PricedStretch(NamedTuple):
    """``listed`` is the rate card's row in the hours [starting_hour, ending_hour) (None = open); ``charged`` is what holds there:
    the same object unless an override changed its price."""

    starting_hour: int
    ending_hour: int | None
    listed: Rate
    charged: Rate
    entitled: bool


def concerns(override: Override, product: Product) -> bool:
    """Whether it applies to any rate of the product, as far as pricing group values let it."""
    return not override.specifiers or any(_names(each, product, None) for each in override.specifiers)


def applies(
    override: Override,
    product: Product,
    pricing_values: tuple[str, ...],
    frequency: Frequency | None = None,
    presentation_values: tuple[str | None, ...] = (),
) -> bool:
    """Values in the order of the product's keys; () for presentation: of a line that no such value tells from others.
    ``frequency``: of the rate of a subscription."""
    if not override.specifiers:
        return True
    values = dict(zip(product.pricing_group_key, pricing_values, strict=True))
    shown = dict(zip(product.presentation_group_key, presentation_values, strict=False))
    return any(
        _names(each, product, frequency)
        and all(values.get(key) == value for key, value in each.pricing_group_values)
        and all(shown.get(key) == value for key, value in each.presentation_group_values)
        for each in override.specifiers
    )


def by_state(overrides: Sequence[Override], product: Product) -> Sequence[Override]:
    """The overrides as they are for a product whose tags change: cut to the hours in which it has the tags that they ask for, and
    without asking for them any more."""
    if not product.later or not any(each.product_tags for override in overrides for each in override.specifiers):
        return overrides
    edges = [0, *(state.hour for state in product.later)]
    found: list[Override] = []
    for override in overrides:
        if not any(each.product_tags for each in override.specifiers):
            found.append(override)
            continue
        for start, end in zip(edges, [*edges[1:], None], strict=True):
            tags = product.at(start).tags
            fitting = tuple(replace(each, product_tags=frozenset()) for each in override.specifiers if each.product_tags <= tags)
            first, ends = max(start, override.starting_hour), [hour for hour in (end, override.ending_hour) if hour is not None]
            if fitting and (not ends or first < min(ends)):
                found.append(replace(override, starting_hour=first, ending_hour=min(ends, default=None), specifiers=fitting))
    return found


def is_by_presentation(override: Override) -> bool:
    """Whether it tells lines of one rate apart."""
    return any(each.presentation_group_values for each in override.specifiers)


def drawn_by(overrides: Sequence[Override], balance: Balance) -> tuple[Override, ...]:
    """What is left of a contract's overrides for what a balance draws: the ordinary ones, and those for commits that are about
    this balance, with the specifiers that are."""
    found: list[Override] = []
    for override in overrides:
        if not override.for_commits or not override.specifiers:
            found.append(override)
            continue
        about = tuple(each for each in override.specifiers if _is_about(each, balance))
        if about:
            found.append(override if about == override.specifiers else replace(override, specifiers=about))
    return tuple(found)


def _is_about(specifier: Specifier, balance: Balance) -> bool:
    if not specifier.balance_ids and not specifier.recurring_ids:
        return True
    return balance.id in specifier.balance_ids or balance.recurring_id in specifier.recurring_ids


def _names(specifier: Specifier, product: Product, frequency: Frequency | None) -> bool:
    return (
        specifier.product_id in (None, product.id)
        and specifier.product_tags <= product.tags
        and specifier.billing_frequency in (None, frequency)
    )


def priced_stretches(
    rates: Sequence[Rate],
    overrides: Sequence[Override],
    *,
    explicit: bool,
    target: RateTarget = RateTarget.LIST_RATE,
) -> list[PricedStretch]:
    """Time, cut where anything may change, oldest first; hours without a listed rate are left out.

    ``rates``: of one product and one combination of pricing values; ``overrides``: those that apply to it; both in the order in
    which they were added. ``target``: COMMIT_RATE takes the commit rate for the listed one where there is one.
    """
    commit_rates = {id(rate): _commit_rate(rate) for rate in rates} if target is RateTarget.COMMIT_RATE else {}
    parts: list[Rate | Override] = [*rates, *overrides]
    cuts = sorted({hour for part in parts for hour in (part.starting_hour, part.ending_hour) if hour is not None})
    made: dict[tuple[int, int], Rate] = {}
    stretches = []
    for start, end in zip(cuts, [*cuts[1:], None], strict=True):
        listed = next((rate for rate in reversed(rates) if _holds(rate, start)), None)
        if listed is None:
            continue
        holding = [override for override in overrides if _holds(override, start)]
        commit_rate = commit_rates.get(id(listed))
        found = RateTarget.LIST_RATE if commit_rate is None else RateTarget.COMMIT_RATE
        listed = listed if commit_rate is None else commit_rate
        override = winner([each for each in holding if each.target is found], explicit=explicit)
        charged = listed
        if override is not None:
            key = (id(listed), id(override))
            charged = made[key] if key in made else made.setdefault(key, overridden_rate(listed, override))
        said = [override.entitled for override in holding if override.entitled is not None]
        stretches.append(PricedStretch(start, end, listed, charged, said[-1] if said else listed.entitled))
    return stretches


def _commit_rate(rate: Rate) -> Rate | None:
    """The rate at which commits draw, as a rate by itself."""
    own = rate.commit_rate
    return None if own is None else replace(rate, rate_type=own.rate_type, price=own.price, tiers=own.tiers, commit_rate=None)


def _holds(part: Rate | Override, hour: int) -> bool:
    return part.starting_hour <= hour and (part.ending_hour is None or hour < part.ending_hour)


def winner(overrides: Sequence[Override], *, explicit: bool) -> Override | None:
    """The one that makes the price, of those that apply at a time; None if none of them is about prices."""
    latest_first = [override for override in reversed(overrides) if override.type is not None]
    for override in latest_first:
        if override.type is OverrideType.OVERWRITE:
            return override
    if explicit:
        return min(latest_first, key=_priority, default=None)
    return min(latest_first, key=lambda override: override.multiplier, default=None)


def _priority(override: Override) -> Decimal:
    if override.priority is None:
        raise RateError("with explicit priorities every multiplier has one")
    return override.priority


def overridden_rate(listed: Rate, override: Override) -> Rate:
    """The listed rate as the override changes its price."""
    match override.type:
        case OverrideType.OVERWRITE:
            rate = override.overwrite_rate
            if rate is None:
                raise RateError("an OVERWRITE has an overwrite_rate")
            return replace(
                listed, rate_type=rate.rate_type, price=rate.price, tiers=rate.tiers, credit_type_id=rate.credit_type_id
            )
        case OverrideType.MULTIPLIER:
            tiers = tuple(Tier(tier.size, tier.price * override.multiplier) for tier in listed.tiers)
            return replace(listed, price=listed.price * override.multiplier, tiers=tiers)
        case OverrideType.TIERED:
            return replace(listed, rate_type=RateType.TIERED, price=ZERO, tiers=_tier_by_tier(listed, override))
        case None:
            return listed


def _tier_by_tier(listed: Rate, override: Override) -> tuple[Tier, ...]:
    prices = [(tier.size, tier.price) for tier in listed.tiers] if listed.rate_type is RateType.TIERED else [(None, listed.price)]
    factors = [(tier.size, tier.multiplier) for tier in override.tiers]
    if not factors or factors[-1][0] is not None:
        factors.append((None, _ONE))
    price_edges, factor_edges = _edges([size for size, _ in prices]), _edges([size for size, _ in factors])
    tiers: list[Tier] = []
    position = ZERO
    for edge in sorted({*price_edges, *factor_edges}):
        tiers.append(Tier(edge - position, _at(prices, price_edges, edge) * _at(factors, factor_edges, edge)))
        position = edge
    tiers.append(Tier(None, prices[-1][1] * factors[-1][1]))
    return tuple(tiers)


def _edges(sizes: Sequence[Decimal | None]) -> list[Decimal]:
    """The upper ends of all tiers but the open last one."""
    edges: list[Decimal] = []
    for size in sizes[:-1]:
        if size is None or size <= 0:
            raise RateError("every tier but the last has a size above 0")
        edges.append((edges[-1] if edges else ZERO) + size)
    return edges


def _at(tiers: Sequence[tuple[Decimal | None, Decimal]], edges: Sequence[Decimal], position: Decimal) -> Decimal:
    """The value of the tier that holds the unit that ends at ``position``: an edge belongs to the tier below it."""
    index = next((index for index, edge in enumerate(edges) if position <= edge), len(edges))
    return tiers[index][1]
