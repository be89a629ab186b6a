"""What recurring commits and credits make, and what subscriptions charge, worked out by the calendar, with fractions.

It shares no code with the engine: periods are counted with dateutil, from the anchor.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from engine.catalog import (
    AmountRounding,
    BillingSchedule,
    Catalog,
    Contract,
    Rate,
    RecurringBalance,
    RecurringTerms,
    Subscription,
)
from tests.support.recomputed_prices import changed, is_in, suits

HOUR_US = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = {
    "DAILY": relativedelta(days=1),
    "WEEKLY": relativedelta(weeks=1),
    "MONTHLY": relativedelta(months=1),
    "QUARTERLY": relativedelta(months=3),
    "ANNUAL": relativedelta(years=1),
}


class Granted(NamedTuple):
    """A segment, and what is charged for it: (microseconds, amount)."""

    start: int
    end: int
    amount: Fraction
    charge: tuple[int, Fraction] | None


class Charged(NamedTuple):
    """One charge of a subscription. ``date``: the hour that it is billed at."""

    date: int
    start: int
    end: int
    quantity: Fraction
    price: Fraction
    unit: str


def boundaries(schedule: BillingSchedule, first: int, last: int) -> list[int]:
    """The hours at which the schedule's periods begin, from one at or before ``first`` to one after ``last``."""
    anchor = EPOCH + timedelta(hours=schedule.anchor_us // HOUR_US)
    step = STEPS[schedule.frequency]
    days = (anchor + step - anchor).days
    around = (EPOCH + timedelta(hours=first) - anchor).days // max(days, 1)
    count = around - 3 - abs(around) // 20
    found: list[int] = []
    while not found or found[-1] <= last:
        found.append(int((anchor + step * count - EPOCH) / timedelta(hours=1)))
        count += 1
    return found[max(index for index, hour in enumerate(found) if hour <= first) :]


def half_even(value: Fraction) -> Fraction:
    """To 18 fraction digits."""
    return Fraction(round(value * 10**18), 10**18)


def share(amount: Fraction, hours: int, of_hours: int, rounding: AmountRounding | None) -> Fraction:
    if hours == of_hours:
        return amount
    part = amount * hours / of_hours
    if rounding is None:
        return half_even(part)
    unit = Fraction(10) ** -rounding.decimal_places
    ways: dict[str, Callable[[Fraction], int]] = {
        "FLOOR": floor,
        "CEILING": ceil,
        "HALF_UP": lambda value: floor(value + Fraction(1, 2)),
    }
    return ways[rounding.method](part / unit) * unit


def quantity(subscription: Subscription, hour: int) -> Fraction:
    before = [step for step in subscription.quantity_steps if step.hour <= hour]
    return Fraction(before[-1].quantity) if before else Fraction(0)


def growth(subscription: Subscription, start: int, end: int) -> Iterator[tuple[int, Fraction]]:
    """(hour, units) at the start and whenever there are more than ever before in these hours."""
    most = quantity(subscription, start)
    yield start, most
    for hour in sorted(step.hour for step in subscription.quantity_steps if start < step.hour < end):
        if quantity(subscription, hour) > most:
            yield hour, quantity(subscription, hour) - most
            most = quantity(subscription, hour)


def terms_of(recurring: RecurringBalance, hour: int) -> RecurringTerms:
    since = [terms for terms in recurring.terms[1:] if terms.after_us < hour * HOUR_US]
    return since[-1] if since else recurring.terms[0]


def made(recurring: RecurringBalance, contract: Contract, until: int) -> list[list[Granted]]:
    """The segments of each child that begins before an hour."""
    first = max(recurring.starting_hour, contract.starting_hour)
    edges = boundaries(recurring.schedule, first, until + 24 * 400 * recurring.duration_periods)
    found: list[list[Granted]] = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        start = max(low, first)
        terms = terms_of(recurring, start)
        stops = [hour for hour in (terms.ending_hour, contract.ending_hour) if hour is not None]
        end = min([high, *stops])
        if start >= until or end <= start:
            break
        access = end
        if recurring.duration_periods > 1:
            ends = [hour for hour in (contract.ending_hour,) if hour is not None]
            access = min([edges[number + recurring.duration_periods], *ends])
        found.append([*_segments(recurring, contract, terms, (low, high), (start, end), access)])
    return found


def _segments(
    recurring: RecurringBalance,
    contract: Contract,
    terms: RecurringTerms,
    cycle: tuple[int, int],
    own: tuple[int, int],
    access: int,
) -> Iterator[Granted]:
    full = cycle[1] - cycle[0]
    last = own[1] if recurring.prorates_last else cycle[1]
    first = own[0] if recurring.prorates_first else cycle[0]
    link = recurring.link
    steps: list[tuple[int, Fraction]] = [(own[0], Fraction(1))]
    if link is not None:
        (subscription,) = [each for each in contract.subscriptions if each.id == link.subscription_id]
        steps = [*growth(subscription, *own)]
    for index, (hour, units) in enumerate(steps):
        hours = last - first if index == 0 else last - hour if link and link.is_prorated else full
        amount = share(Fraction(terms.unit_price) * Fraction(terms.quantity) * units, hours, full, recurring.access_rounding)
        charge = None
        if terms.invoice_unit_price is not None:
            price = share(Fraction(terms.invoice_unit_price), hours, full, recurring.invoice_rounding)
            charge = hour * HOUR_US, price * Fraction(terms.invoice_quantity) * units
        yield Granted(hour, access, amount, charge)


def charged(catalog: Catalog, contract: Contract, subscription: Subscription, period: tuple[int, int]) -> list[Charged]:
    """What the invoice of a billing period charges for a subscription."""
    stops = [hour for hour in (subscription.ending_hour, contract.ending_hour) if hour is not None]
    first = max(subscription.starting_hour, contract.starting_hour)
    edges = boundaries(subscription.billing, first, max(period[1], first) + 1)
    found: list[Charged] = []
    for low, high in itertools.pairwise(edges):
        start, end = max(low, first), min([high, *stops])
        rate = fee(catalog, contract, subscription, start)
        if end <= start or rate is None:
            continue
        for index, (hour, units) in enumerate(growth(subscription, start, end)):
            hours = end - hour if subscription.is_prorated else high - low
            date = end
            if subscription.collection == "ADVANCE" and (index == 0 or subscription.bill_immediately):
                date = hour
            price = share(Fraction(rate.price), hours, high - low, subscription.rounding)
            found.append(Charged(date, hour, end, units, price, rate.credit_type_id))
    first_of_all = period[0] == contract.starting_hour
    return [
        each
        for each in found
        if each.quantity and (period[0] < each.date <= period[1] or (first_of_all and each.date == period[0]))
    ]


def fee(catalog: Catalog, contract: Contract, subscription: Subscription, hour: int) -> Rate | None:
    listed: Rate | None = None
    wanted = subscription.product_id, subscription.billing.frequency
    for rate in catalog.rate_cards["card"].rates:
        if (rate.product_id, rate.billing_frequency) == wanted and is_in(rate, hour):
            listed = rate
    if listed is None:
        return None
    product = catalog.products[subscription.product_id]
    about = [each for each in contract.overrides if not each.for_commits and is_in(each, hour) and suits(each, product, {}, {})]
    about = [each for each in about if not each.tiers and (each.overwrite_rate is None or not each.overwrite_rate.tiers)]
    words = [each.entitled for each in about if each.entitled is not None]
    return changed(listed, about) if (words[-1] if words else listed.entitled) else None
