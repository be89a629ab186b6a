"""Which balance pays which usage, and which balance goes first.

The order of draw-down is section 5.3 of the reference, in full. Rolled-over balances are compared up to the earliest end
only, and not by what they cost. Where the reference leaves something open:
- *Applicable products* are counted in the catalog, by all tags that they ever have (so that no date changes the order); a balance
  that names neither products nor tags is open to any number of them.
- A *group-value specifier* names group values and neither product nor tags. A balance without any restriction comes last in that
  step, too, as in the reference's own example. The seat of a balance counts as one such specifier.
- What is still equal goes by time of creation, then by id.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum
from math import inf
from typing import NamedTuple

from engine.catalog import AccessType, Balance, BalanceType, CustomerConfig, Product, RateTarget, Seat, Segment, Specifier


class UsageKey(NamedTuple):
    """Whose usage, and of what. ``product_id`` is None for a conversion of custom units, which is of no product: only balances
    without restriction pay it. Pairs are (group key, value); a presentation value is None where usage lacks the property."""

    contract_id: str
    product_id: str | None
    product_tags: frozenset[str] = frozenset()
    pricing_group_values: tuple[tuple[str, str], ...] = ()
    presentation_group_values: tuple[tuple[str, str | None], ...] = ()


def is_unrestricted(balance: Balance) -> bool:
    """Open to all usage of its contracts; but for its seat, if it has one."""
    return not (balance.applicable_product_ids or balance.applicable_product_tags or balance.specifiers)


def has_seat(usage: UsageKey, seat: Seat) -> bool:
    """Whether it is usage of a seat."""
    return seat in usage.pricing_group_values or seat in usage.presentation_group_values


def covers_contract(balance: Balance, contract_id: str) -> bool:
    if balance.contract_id is not None:
        return balance.contract_id == contract_id
    return balance.applicable_contract_ids is None or contract_id in balance.applicable_contract_ids


def covers(balance: Balance, usage: UsageKey) -> bool:
    """Whether the balance may pay this usage; time and credit type are not looked at."""
    if not covers_contract(balance, usage.contract_id):
        return False
    if balance.seat is not None and not has_seat(usage, balance.seat):
        return False
    if is_unrestricted(balance):
        return True
    if usage.product_id is None:
        return False
    return (
        usage.product_id in balance.applicable_product_ids
        or not balance.applicable_product_tags.isdisjoint(usage.product_tags)
        or any(specifies(specifier, usage) for specifier in balance.specifiers)
    )


def may_draw(balance: Balance, usage: UsageKey, credit_type_id: str) -> bool:
    """Whether the balance may pay this usage if it is priced in this credit type; time is not looked at. A QUANTITY balance draws
    units of usage, whatever they are priced in; a conversion is none."""
    if balance.access_type is AccessType.QUANTITY:
        return usage.product_id is not None and covers(balance, usage)
    return balance.credit_type_id == credit_type_id and covers(balance, usage)


def draws_by_units(config: CustomerConfig) -> bool:
    """Whether any balance may take units of usage off a line, and not only money: it draws units, or at a price of its own."""
    kinds = [*config.balances, *(recurring.child for contract in config.contracts for recurring in contract.recurring)]
    own_prices = any(override.for_commits for contract in config.contracts for override in contract.overrides)
    return bool(kinds) and (
        own_prices or any(each.access_type is AccessType.QUANTITY or each.rate_type is RateTarget.COMMIT_RATE for each in kinds)
    )


def specifies(specifier: Specifier, usage: UsageKey) -> bool:
    return (
        (specifier.product_id is None or specifier.product_id == usage.product_id)
        and specifier.product_tags <= usage.product_tags
        and set(specifier.pricing_group_values) <= set(usage.pricing_group_values)
        and set(specifier.presentation_group_values) <= set(usage.presentation_group_values)
    )


class Kind(IntEnum):
    """Always stronger than priority."""

    ROLLED_OVER_POSTPAID = 0
    ROLLED_OVER = 1
    PREPAID = 2
    POSTPAID = 3


class Precedence(NamedTuple):
    """The smallest goes first; fields in the order of the steps."""

    kind: Kind
    priority: Decimal
    paid_for: bool
    applicable_products: float
    group_value_specifiers: float
    ending_hour: int
    starting_hour: int
    applicable_contracts: float
    created_us: int
    balance_id: str
    segment_id: str


def precedence(balance: Balance, segment: Segment, products: Mapping[str, Product]) -> Precedence:
    """``products``: the catalog's. Counts are whole numbers, or infinite."""
    kind = _kind(balance)
    rolled_over = kind <= Kind.ROLLED_OVER
    by_group_values = sum(_is_by_group_values(specifier) for specifier in balance.specifiers) + (balance.seat is not None)
    if balance.contract_id is not None:  # rolled-over balances always are
        contracts: float = 1
    else:
        contracts = inf if balance.applicable_contract_ids is None else len(balance.applicable_contract_ids)
    return Precedence(
        kind=kind,
        priority=balance.priority,
        paid_for=not rolled_over and not balance.cost_basis_free,
        applicable_products=_applicable_products(balance, products),
        group_value_specifiers=inf if is_unrestricted(balance) and balance.seat is None else by_group_values,
        ending_hour=segment.ending_hour,
        starting_hour=0 if rolled_over else segment.starting_hour,
        applicable_contracts=contracts,
        created_us=balance.created_us,
        balance_id=balance.id,
        segment_id=segment.id,
    )


def _kind(balance: Balance) -> Kind:
    if balance.rolled_over is not None:
        return Kind.ROLLED_OVER_POSTPAID if balance.type is BalanceType.POSTPAID else Kind.ROLLED_OVER
    return Kind.POSTPAID if balance.type is BalanceType.POSTPAID else Kind.PREPAID


def _is_by_group_values(specifier: Specifier) -> bool:
    by_product = specifier.product_id is not None or specifier.product_tags
    return not by_product and bool(specifier.pricing_group_values or specifier.presentation_group_values)


def _applicable_products(balance: Balance, products: Mapping[str, Product]) -> float:
    found = set(balance.applicable_product_ids)
    wanted = [frozenset({tag}) for tag in balance.applicable_product_tags]
    for specifier in balance.specifiers:
        if specifier.product_id is not None:
            found.add(specifier.product_id)
        elif specifier.product_tags:
            wanted.append(specifier.product_tags)
        else:
            return inf
    if is_unrestricted(balance):
        return inf
    found.update(
        product.id for product in products.values() if any(tags <= each for tags in wanted for each in product.every_tags())
    )
    return len(found)
