"""What subscriptions charge: for each of their billing periods the quantity at its start, and what is added to it within.

    subscription period  |────────────── 10 units ───────────┬─ 12 ─────|
    ADVANCE              ▲ 10 x price                        ▲ or ───── ▲ 2 x price x share of the rest
    ARREARS                                                             ▲ 10 x price, and 2 x price x share of the rest

Rules (the guides on subscriptions):
- One price for each period: the rate that holds at its start. Without a rate, or without entitlement to it, nothing is charged.
- A period that the subscription or its contract cuts short is charged by its share if the subscription is prorated, else in full.
- Quantity above all that the period has charged for is charged for the rest of the period: at once (``bill_immediately``, with
  ADVANCE only) or at its end. Fewer units count from the next period on.
- Shares are taken of the unit price, which is then rounded if the subscription says how (engine.proration).
- A charge is dated: the period's start or end, or when the quantity grew. It is on the usage invoice whose period that date is
  in or ends; at a period's end, therefore, on the invoice that is issued then. The contract's start belongs to its first invoice.
- A draft holds all charges that are scheduled for it, from its start on; time alone changes nothing.
- Balances pay charges after usage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from engine.balances.recurring import quantity_at
from engine.catalog import Collection, Contract, Product, Rate, Subscription
from engine.compiled import CompiledCatalog
from engine.invoices.items import Increment, ItemType, LineItem
from engine.periods import Period, cycle_at, periods_between
from engine.proration import prorated


class Charge(NamedTuple):
    """``billed_hour``: its date. ``for_hours``: the hours that it is for, half-open. ``unit_price``: the charge's own share."""

    billed_hour: int
    for_hours: Period
    quantity: Decimal
    unit_price: Decimal


def subscription_lines(contract: Contract, period: Period, compiled: CompiledCatalog) -> list[LineItem]:
    """The SUBSCRIPTION items of one usage invoice, without zero quantities, in the order in which they are drawn."""
    items: list[LineItem] = []
    for subscription in contract.subscriptions:
        product = compiled.catalog.products.get(subscription.product_id)
        if product is not None:
            items.extend(_lines(contract, subscription, product, period, compiled))
    return sorted(items, key=_order)


def _lines(
    contract: Contract, subscription: Subscription, product: Product, period: Period, compiled: CompiledCatalog
) -> Iterator[LineItem]:
    first = period.starting_hour == contract.starting_hour
    for charge, rate in charges(contract, subscription, product, compiled, period):
        starts_here = first and charge.billed_hour == period.starting_hour
        if charge.quantity and (starts_here or period.starting_hour < charge.billed_hour <= period.ending_hour):
            total, then = charge.quantity * charge.unit_price, product.at(charge.for_hours.starting_hour)
            item = LineItem(
                type=ItemType.SUBSCRIPTION,
                name=subscription.name or then.name,
                credit_type_id=rate.credit_type_id,
                total=total,
                starting_hour=charge.for_hours.starting_hour,
                ending_hour=charge.for_hours.ending_hour,
                quantity=charge.quantity,
                unit_price=charge.unit_price,
                product_id=product.id,
                product_tags=then.tags,
                subscription_id=subscription.id,
            )
            yield replace(item, increments=(Increment(placed(item, period), charge.quantity, total),))


def placed(item: LineItem, period: Period) -> int:
    """The hour of an invoice's period that an item begins in; for a subscription's charge the nearest one to its start."""
    return min(max(item.starting_hour, period.starting_hour), period.ending_hour - 1)


def charges(
    contract: Contract, subscription: Subscription, product: Product, compiled: CompiledCatalog, period: Period
) -> Iterator[tuple[Charge, Rate]]:
    """The charges of all of the subscription's periods that share an hour with ``period``, or begin right at its end."""
    start = max(subscription.starting_hour, contract.starting_hour)
    ends = [end for end in (subscription.ending_hour, contract.ending_hour) if end is not None]
    until_hour = period.ending_hour + 1
    for own in periods_between(subscription.billing, start, min(ends, default=None), period.starting_hour, until_hour):
        rate = compiled.fee(contract, product, subscription.billing.frequency, own.starting_hour)
        if rate is not None:
            for charge in _charges(subscription, own, rate.price):
                yield charge, rate


def _charges(subscription: Subscription, own: Period, price: Decimal) -> Iterator[Charge]:
    """Those of one billing period."""
    cycle = cycle_at(subscription.billing, own.starting_hour)
    full = cycle.ending_hour - cycle.starting_hour

    def share(from_hour: int) -> Decimal:
        hours = own.ending_hour - from_hour if subscription.is_prorated else full
        return prorated(price, hours, full, subscription.rounding)

    in_advance = subscription.collection is Collection.ADVANCE
    charged = quantity_at(subscription.quantity_steps, own.starting_hour)
    yield Charge(own.starting_hour if in_advance else own.ending_hour, own, charged, share(own.starting_hour))
    for hour, quantity in subscription.quantity_steps:
        if own.starting_hour < hour < own.ending_hour and quantity > charged:
            billed_hour = hour if in_advance and subscription.bill_immediately else own.ending_hour
            yield Charge(billed_hour, Period(hour, own.ending_hour), quantity - charged, share(hour))
            charged = quantity


def _order(item: LineItem) -> tuple[object, ...]:
    assert item.unit_price is not None  # see _lines
    return item.starting_hour, -item.unit_price, item.name, item.product_id, item.subscription_id
