"""What a unit of usage costs in an hour, and what it costs a balance that draws it: by the rules of the reference, one by one."""

from __future__ import annotations

from dataclasses import replace

from engine.catalog import Balance, Catalog, Contract, Override, Product, Rate, Specifier, Tier

Values = dict[str, str | None]


def price_for(
    catalog: Catalog,
    contract: Contract,
    product: Product,
    pricing: Values,
    shown: Values,
    hour: int,
    balance: Balance | None = None,
) -> Rate | None:
    """The rate as the contract is charged it, or, for a balance, as that draws it; None where nothing is charged."""
    product = tagged_then(product, hour)
    listed: Rate | None = None
    for rate in catalog.rate_cards["card"].rates:
        if rate.product_id == product.id and dict(rate.pricing_group_values) == pricing and is_in(rate, hour):
            listed = rate
    if listed is None:
        return None
    everybodys = [
        each for each in contract.overrides if not each.for_commits and is_in(each, hour) and suits(each, product, pricing, shown)
    ]
    words = [each.entitled for each in everybodys if each.entitled is not None]
    if not (words[-1] if words else listed.entitled):
        return None
    of_commits = [
        each
        for each in contract.overrides
        if balance is not None and each.for_commits and is_in(each, hour) and suits(each, product, pricing, shown, balance)
    ]
    if balance is not None and balance.rate_type == "COMMIT_RATE" and listed.commit_rate is not None:
        own = listed.commit_rate
        start = replace(listed, rate_type=own.rate_type, price=own.price, tiers=own.tiers)
        return changed(start, [each for each in of_commits if each.target == "COMMIT_RATE"])
    about = [*everybodys, *(each for each in of_commits if each.target == "LIST_RATE")]
    return changed(listed, [each for each in contract.overrides if each in about])


def tagged_then(product: Product, hour: int) -> Product:
    """With the tags that it has in an hour."""
    found = product.tags
    for since, _, tags in product.later:
        if since <= hour:
            found = tags
    return replace(product, tags=found)


def is_in(part: Rate | Override, hour: int) -> bool:
    return hour >= part.starting_hour and (part.ending_hour is None or part.ending_hour > hour)


def suits(override: Override, product: Product, pricing: Values, shown: Values, balance: Balance | None = None) -> bool:
    def suited(specifier: Specifier) -> bool:
        if specifier.product_id and specifier.product_id != product.id:
            return False
        if any(tag not in product.tags for tag in specifier.product_tags):
            return False
        if any(pricing.get(key) != value for key, value in specifier.pricing_group_values):
            return False
        if any(shown.get(key) != value for key, value in specifier.presentation_group_values):
            return False
        if balance is None or not (specifier.balance_ids or specifier.recurring_ids):
            return True
        return balance.id in specifier.balance_ids or balance.recurring_id in specifier.recurring_ids

    return not override.specifiers or any(suited(each) for each in override.specifiers)


def changed(rate: Rate, overrides: list[Override]) -> Rate:
    """One override makes the price: the last overwrite, or else the greatest discount."""
    for override in reversed(overrides):
        if override.overwrite_rate is not None:
            new = override.overwrite_rate
            return replace(rate, rate_type=new.rate_type, price=new.price, tiers=new.tiers, credit_type_id=new.credit_type_id)
    factors = [override.multiplier for override in overrides if override.type == "MULTIPLIER"]
    if not factors:
        return rate
    tiers = tuple(Tier(tier.size, tier.price * min(factors)) for tier in rate.tiers)
    return replace(rate, price=rate.price * min(factors), tiers=tiers)
