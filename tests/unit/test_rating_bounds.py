"""The bounds of headroom where they can be worked out by hand. That they hold is shown in tests/property/test_rating.py."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from engine.catalog import (
    USD_CENTS,
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
from engine.rating.book import RateBook, Slice
from engine.rating.bounds import Bounds, Reach, bounds_anywhere, line_bounds, widest

D = Decimal
PLAIN = Product("p", "P", "m")
DECLINING = (("100", "5"), ("900", "3"), (None, "1"))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def rate(*tiers: tuple[str | None, str], start: int = 0, unit: str = USD_CENTS) -> Rate:
    rows = tuple(Tier(None if size is None else D(size), D(price)) for size, price in tiers)
    return Rate("p", RateType.TIERED, start, unit, tiers=rows)


def slices(product: Product, *rates: Rate) -> tuple[Slice, ...]:
    return RateBook.compile(RateCard("card", rates), {"p": product}).slices("p", (), Period(100, 200))


def bounds(product: Product, rates: list[Rate], raw: list[str], unit: str = USD_CENTS) -> tuple[Bounds, ...]:
    return line_bounds(product, slices(product, *rates), [D(quantity) for quantity in raw], unit)


def reach(rise: str, rise_slack: str, fall: str, fall_slack: str) -> Reach:
    return Reach(D(rise), D(rise_slack), D(fall), D(fall_slack))


@pytest.mark.parametrize(
    ("tiers", "raw", "up_rise", "up_fall", "down_rise", "down_fall"),
    [
        ([(None, "2")], "0", "2", "0", "0", "2"),
        ([(None, "-2")], "0", "0", "2", "2", "0"),
        ([(None, "0")], "0", "0", "0", "0", "0"),
        # declining tiers: only those from the next unit on count upwards, all downwards
        (DECLINING, "0", "5", "0", "0", "5"),
        (DECLINING, "99.9", "5", "0", "0", "5"),
        (DECLINING, "100", "3", "0", "0", "5"),
        (DECLINING, "1000", "1", "0", "0", "5"),
        (DECLINING, "-7", "5", "0", "0", "5"),
        # rising tiers: the last may yet be reached
        ([("10", "1"), (None, "9")], "0", "9", "0", "0", "9"),
        # of both signs
        ([("10", "4"), (None, "-1")], "0", "4", "1", "1", "4"),
        ([("10", "4"), (None, "-1")], "10", "0", "1", "1", "4"),
    ],
)
def test_slopes_without_rounding_need_no_slack(
    tiers: list[tuple[str | None, str]], raw: str, up_rise: str, up_fall: str, down_rise: str, down_fall: str
) -> None:
    assert bounds(PLAIN, [rate(*tiers)], [raw]) == (
        Bounds(reach(up_rise, "0", up_fall, "0"), reach(down_rise, "0", down_fall, "0")),
    )


@pytest.mark.parametrize(
    ("method", "raw", "up_slack", "down_slack"),
    [
        # thousands, billed whole, at 2 each; slack = 2 * (how far the rounded quantity can get ahead of the exact one)
        (RoundingMethod.ROUND_UP, "0", "2", "2"),
        (RoundingMethod.ROUND_UP, "1", "0.002", "3.998"),
        (RoundingMethod.ROUND_UP, "1000", "2", "2"),
        (RoundingMethod.ROUND_DOWN, "0", "0", "2"),
        (RoundingMethod.ROUND_DOWN, "999", "1.998", "0.002"),
        (RoundingMethod.ROUND_DOWN, "-999", "0.002", "3.998"),
        (RoundingMethod.ROUND_HALF_UP, "0", "1", "1"),
        (RoundingMethod.ROUND_HALF_UP, "499", "1.998", "0.002"),
        (RoundingMethod.ROUND_HALF_UP, "500", "0", "2"),
    ],
)
def test_rounding_needs_slack_that_depends_on_the_position(
    method: RoundingMethod, raw: str, up_slack: str, down_slack: str
) -> None:
    product = Product(
        "p", "P", "m", conversion=QuantityConversion(D("0.001"), Operation.MULTIPLY), rounding=QuantityRounding(method, 0)
    )
    [found] = bounds(product, [rate((None, "2"))], [raw])
    assert found.up == reach("0.002", up_slack, "0", "0")
    assert found.down == reach("0", "0", "0.002", down_slack)


def test_division_rounds_the_bound_up() -> None:
    product = Product("p", "P", "m", conversion=QuantityConversion(D(3), Operation.DIVIDE))
    [found] = bounds(product, [rate((None, "2"))], ["0"])
    assert found.up == reach("0.666666666668", "2e-18", "0", "0")
    assert D(2) / 1 <= found.up.rise * 3


def test_a_slice_shifts_those_after_it_along_their_ladders() -> None:
    flat_then_tiered = [rate((None, "2")), rate(*DECLINING, start=150)]
    first, second = bounds(PLAIN, flat_then_tiered, ["50", "0"])
    # one unit more in the first slice costs 2, and may take a unit of the second from price 5 to 1 (or the other way)
    assert (first.up.rise, first.up.fall) == (D(2 + 4), D(4 - 2))
    assert (second.up.rise, second.up.fall) == (D(5), D(0))
    first, second = bounds(PLAIN, flat_then_tiered, ["1000", "0"])
    assert (first.up.rise, first.up.fall) == (D(2), D(0))
    assert (second.up.rise, second.down.fall) == (D(1), D(5))


def test_other_credit_types_cost_nothing_but_move_the_counter() -> None:
    rates = [rate((None, "7"), unit="unit-tokens"), rate(*DECLINING, start=150)]
    first, second = bounds(PLAIN, rates, ["100", "900"])
    assert (first.up.rise, first.up.fall) == (D(1 - 1), D(3 - 1))
    assert second.up.rise == D(1)
    first, second = bounds(PLAIN, rates, ["100", "900"], "unit-tokens")
    assert (first.up.rise, second.up.rise) == (D(7), D(0))


@pytest.mark.parametrize(
    ("method", "slack"),
    [(RoundingMethod.ROUND_UP, "10"), (RoundingMethod.ROUND_DOWN, "5"), (RoundingMethod.ROUND_HALF_UP, "5")],
)
def test_bounds_anywhere_know_no_position(method: RoundingMethod, slack: str) -> None:
    product = Product("p", "P", "m", rounding=QuantityRounding(method, 0))
    expected = Bounds(reach("5", slack, "0", "0"), reach("0", "0", "5", slack))
    assert bounds_anywhere(product, slices(product, rate(*DECLINING)), USD_CENTS) == (expected,)
    assert bounds_anywhere(product, slices(product, rate(*DECLINING)), "unit-tokens") == (widest([]),)


def test_widest_takes_the_greatest_of_each_number() -> None:
    one = Bounds(reach("1", "0", "3", "0"), reach("0", "5", "0", "2"))
    other = Bounds(reach("2", "1", "0", "0"), reach("1", "0", "0", "9"))
    assert widest([one, other]) == Bounds(reach("2", "1", "3", "0"), reach("1", "5", "0", "9"))
    assert widest([]) == Bounds(reach("0", "0", "0", "0"), reach("0", "0", "0", "0"))
