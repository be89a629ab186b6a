"""Rating against a naive recomputation in fractions, hour by hour, that shares no code with the engine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import (
    Operation,
    Product,
    QuantityConversion,
    QuantityRounding,
    Rate,
    RateCard,
    RateType,
    RoundingMethod,
    Tier,
)
from engine.numbers import exact
from engine.periods import Period
from engine.rating.book import RateBook
from engine.rating.lines import line_items, line_spend
from engine.rating.quantities import billed_quantity

HOURS = 8  # of the billing period, hours 0 to 8
PERIOD = Period(0, HOURS)
CREDIT_TYPES = ("cents", "tokens")


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


# --- the naive recomputation ----------------------------------------------------------------------------------------------


def naive_winner(rates: list[Rate], hour: int) -> Rate | None:
    found = [rate for rate in rates if rate.starting_hour <= hour and (rate.ending_hour is None or hour < rate.ending_hour)]
    return found[-1] if found and found[-1].entitled else None


def naive_price(rate: Rate, unit: Fraction) -> tuple[Fraction, Fraction | None]:
    """The price just above a position, and where that price ends."""
    if rate.rate_type is RateType.FLAT:
        return Fraction(rate.price), None
    edge = Fraction(0)
    for tier in rate.tiers[:-1]:
        edge += Fraction(tier.size)
        if unit < edge:
            return Fraction(tier.price), edge
    return Fraction(rate.tiers[-1].price), None


def naive_cost(rate: Rate, low: Fraction, high: Fraction) -> Fraction:
    """Walk up from ``low``, from edge to edge."""
    total = Fraction(0)
    while low < high:
        price, edge = naive_price(rate, low)
        stop = high if edge is None else min(high, edge)
        total += (stop - low) * price
        low = stop
    return total


def naive_billed(product: Product, raw: Fraction) -> Fraction:
    quantity = raw
    if product.conversion is not None:
        factor = Fraction(product.conversion.factor)
        if product.conversion.operation is Operation.MULTIPLY:
            quantity = raw * factor
        else:
            quantity = Fraction(round(raw / factor * 10**38), 10**38)  # round() of a Fraction: ties to even
    if product.rounding is None:
        return quantity
    scaled = abs(quantity) * 10**product.rounding.decimal_places
    whole = {
        RoundingMethod.ROUND_UP: math.ceil(scaled),
        RoundingMethod.ROUND_DOWN: math.floor(scaled),
        RoundingMethod.ROUND_HALF_UP: math.floor(scaled + Fraction(1, 2)),
    }[product.rounding.method]
    return Fraction(whole if quantity >= 0 else -whole, 10**product.rounding.decimal_places)


def same_price(one: Rate | None, other: Rate | None) -> bool:
    if one is None or other is None:
        return one is other
    shape = [(rate.rate_type, rate.credit_type_id) for rate in (one, other)]
    prices = [rate.price if rate.rate_type is RateType.FLAT else rate.tiers for rate in (one, other)]
    return shape[0] == shape[1] and prices[0] == prices[1]


def naive_amounts(product: Product, rates: list[Rate], usage: list[Decimal]) -> list[tuple[int, str, Fraction, Fraction]]:
    """(first hour, credit type, billed quantity, amount) of each item; ``usage`` is the raw quantity of each hour."""
    runs: list[tuple[Rate | None, list[int]]] = []
    for hour in range(HOURS):
        winner = naive_winner(rates, hour)
        if runs and same_price(runs[-1][0], winner):
            runs[-1][1].append(hour)
        else:
            runs.append((winner, [hour]))
    position, found = Fraction(0), []
    for rate, hours in runs:
        if rate is None:
            continue
        billed = naive_billed(product, sum((Fraction(usage[hour]) for hour in hours), Fraction(0)))
        end = position + billed
        amount = naive_cost(rate, position, end) if billed >= 0 else -naive_cost(rate, end, position)
        if billed:
            found.append((hours[0], rate.credit_type_id, billed, amount))
        position = end
    return found


# --- strategies -----------------------------------------------------------------------------------------------------------

decimals = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-400, 400), st.integers(0, 3))
positive = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 400), st.integers(0, 3))
ladders = st.one_of(
    st.builds(lambda price: {"rate_type": RateType.FLAT, "price": price}, decimals),
    st.builds(
        lambda sizes, prices: {
            "rate_type": RateType.TIERED,
            "tiers": tuple(Tier(size, price) for size, price in zip([*sizes, None], prices, strict=False)),
        },
        st.lists(positive, max_size=3),
        st.lists(decimals, min_size=4, max_size=4),
    ),
)


@st.composite
def rows(draw: st.DrawFn, units: tuple[str, ...] = CREDIT_TYPES) -> list[Rate]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(-2, HOURS - 1))
        end = draw(st.one_of(st.none(), st.integers(start + 1, HOURS + 2)))
        unit = draw(st.sampled_from(units))
        entitled = draw(st.sampled_from((True, True, True, False)))
        found.append(Rate("p", starting_hour=start, ending_hour=end, credit_type_id=unit, entitled=entitled, **draw(ladders)))
    return found


conversions = st.one_of(
    st.none(),
    st.builds(
        QuantityConversion, st.sampled_from([Decimal(text) for text in ("3", "0.7", "8", "1000")]), st.sampled_from(Operation)
    ),
)
roundings = st.one_of(st.none(), st.builds(QuantityRounding, st.sampled_from(RoundingMethod), st.integers(0, 2)))
products = st.builds(
    lambda conversion, rounding: Product("p", "P", "m", conversion=conversion, rounding=rounding), conversions, roundings
)


def compiled(product: Product, rates: list[Rate]) -> RateBook:
    return RateBook.compile(RateCard("card", tuple(rates)), {"p": product})


# --- properties -----------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(products, rows(), st.lists(decimals, min_size=HOURS, max_size=HOURS))
def test_line_items_equal_the_naive_recomputation(product: Product, rates: list[Rate], usage: list[Decimal]) -> None:
    slices = compiled(product, rates).slices("p", (), PERIOD)
    raw = [sum(usage[start:end], Decimal(0)) for start, end, _ in slices]
    items = line_items(product, slices, raw)
    expected = naive_amounts(product, rates, usage)

    assert [
        (item.period.starting_hour, item.credit_type_id, Fraction(item.quantity), Fraction(item.amount)) for item in items
    ] == expected
    for unit in CREDIT_TYPES:
        total = sum((amount for _, credit_type, _, amount in expected if credit_type == unit), Fraction(0))
        assert Fraction(line_spend(product, slices, raw, unit)) == total
    for item in items:
        if item.unit_price is not None:
            assert item.unit_price * item.quantity == item.amount
        else:
            assert sum(part.amount for part in item.tiers) == item.amount
            assert sum(part.quantity for part in item.tiers) == item.quantity
            assert [part.level for part in item.tiers] == sorted({part.level for part in item.tiers})


@settings(max_examples=200, deadline=None)
@given(products, st.lists(decimals, min_size=2, max_size=2))
def test_the_billed_quantity_never_falls_when_usage_grows(product: Product, raw: list[Decimal]) -> None:
    low, high = sorted(raw)
    assert billed_quantity(product, low) <= billed_quantity(product, high)
