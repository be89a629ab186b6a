"""Line items with amounts worked out by hand. Hours 100 to 200 are one billing period; USD amounts are cents."""

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
from engine.rating.lines import TierPart, line_items, line_spend

TOKENS = "unit-tokens"
D = Decimal
PLAIN = Product("p", "P", "m")
VOLUME = (("100", "5"), ("900", "3"), (None, "1"))  # 0-100 at 5, 100-1000 at 3, then 1


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def flat(price: str, start: int = 0, end: int | None = None, unit: str = USD_CENTS) -> Rate:
    return Rate("p", RateType.FLAT, start, unit, D(price), ending_hour=end)


def tiered(tiers: tuple[tuple[str | None, str], ...], start: int = 0, end: int | None = None, unit: str = USD_CENTS) -> Rate:
    rows = tuple(Tier(None if size is None else D(size), D(price)) for size, price in tiers)
    return Rate("p", RateType.TIERED, start, unit, tiers=rows, ending_hour=end)


def slices(product: Product, *rates: Rate) -> tuple[Slice, ...]:
    return RateBook.compile(RateCard("card", rates), {"p": product}).slices("p", (), Period(100, 200))


def amounts(product: Product, rates: list[Rate], raw: list[str], unit: str = USD_CENTS) -> list[Decimal]:
    """The amounts of the items in one unit; line_spend must be their sum."""
    pieces = slices(product, *rates)
    quantities = [D(quantity) for quantity in raw]
    found = [item.amount for item in line_items(product, pieces, quantities) if item.credit_type_id == unit]
    assert line_spend(product, pieces, quantities, unit) == sum(found)
    return found


@pytest.mark.parametrize(
    ("rate", "raw", "amount"),
    [
        (flat("0.25"), "10", "2.5"),
        (flat("0.000000000000000001"), "0.000000000000000001", "1e-36"),
        (flat("0.1"), "0.2", "0.02"),
        (flat("0"), "10", "0"),
        (flat("-2"), "10", "-20"),
        (flat("0.25"), "-10", "-2.5"),
        (tiered(VOLUME), "99", "495"),
        (tiered(VOLUME), "100", "500"),  # the upper bound belongs to the tier
        (tiered(VOLUME), "100.5", "501.5"),
        (tiered(VOLUME), "101", "503"),
        (tiered(VOLUME), "1000", "3200"),
        (tiered(VOLUME), "1001", "3201"),
        (tiered(VOLUME), "-10", "-50"),  # below zero the first tier's price goes on
        (tiered(((None, "2"),)), "7", "14"),
        (tiered((("100", "0"), (None, "3"))), "100", "0"),  # free tier
        (tiered((("100", "0"), (None, "3"))), "101", "3"),
        (tiered((("10", "4"), (None, "-1"))), "50", "0"),  # 40 - 40
    ],
)
def test_one_slice(rate: Rate, raw: str, amount: str) -> None:
    assert amounts(PLAIN, [rate], [raw]) == [D(amount)]


@pytest.mark.parametrize(
    ("rates", "raw", "expected"),
    [
        ([flat("1", 0, 150), flat("2", 150)], ["10", "10"], ["10", "20"]),
        # the tier counter runs on: 80 units, then 20 at 4 and 30 at 2
        ([tiered(VOLUME, 0, 150), tiered((("100", "4"), (None, "2")), 150)], ["80", "50"], ["400", "140"]),
        # quantity billed at a flat rate counts, too: 80 flat, then 20 at 5 and 30 at 3
        ([flat("1", 0, 150), tiered(VOLUME, 150)], ["80", "50"], ["80", "190"]),
        # hours that are not billed do not count
        ([tiered(VOLUME, 0, 120), tiered(VOLUME, 150)], ["80", "50"], ["400", "190"]),
        # a correction in the second slice takes back where the counter stands: 20 at 3, 30 at 5
        ([tiered(VOLUME, 0, 120), tiered(VOLUME, 150)], ["120", "-50"], ["560", "-210"]),
        # a negative first slice: the second begins at -50 and pays the first tier's price up to 100
        ([tiered(VOLUME, 0, 120), tiered(VOLUME, 150)], ["-50", "160"], ["-250", "780"]),
        # a slice without usage gives no item
        ([flat("1", 0, 150), flat("2", 150)], ["0", "10"], ["20"]),
    ],
)
def test_a_change_of_price_inside_the_period(rates: list[Rate], raw: list[str], expected: list[str]) -> None:
    assert amounts(PLAIN, rates, raw) == [D(amount) for amount in expected]


def test_each_slice_is_priced_in_its_own_credit_type() -> None:
    rates = [flat("2", 0, 150, unit=TOKENS), tiered(VOLUME, 150)]
    assert amounts(PLAIN, rates, ["90", "20"], TOKENS) == [D(180)]
    assert amounts(PLAIN, rates, ["90", "20"], USD_CENTS) == [D(80)]  # 10 at 5, 10 at 3
    assert amounts(PLAIN, rates, ["90", "20"], "unit-other") == []


def test_quantities_are_converted_and_rounded_for_each_slice() -> None:
    product = Product(
        "p",
        "P",
        "m",
        conversion=QuantityConversion(D(1000), Operation.DIVIDE),
        rounding=QuantityRounding(RoundingMethod.ROUND_UP, 0),
    )
    assert amounts(product, [flat("7")], ["1001"]) == [D(14)]
    assert amounts(product, [flat("7", 0, 150), flat("8", 150)], ["1", "1"]) == [D(7), D(8)]
    # tiers see the billed quantity: 99.001 thousand are 100 units, all in the first tier; the next slice starts at 100
    assert amounts(product, [tiered(VOLUME, 0, 120), tiered(VOLUME, 150)], ["99001", "1"]) == [D(500), D(3)]


def test_the_parts_of_a_line_item() -> None:
    [item] = line_items(PLAIN, slices(PLAIN, tiered(VOLUME)), [D(1500)], ("eu",), ("alice",))
    assert (item.product_id, item.period, item.credit_type_id) == ("p", Period(100, 200), USD_CENTS)
    assert (item.pricing_values, item.presentation_values) == (("eu",), ("alice",))
    assert (item.quantity, item.amount, item.unit_price) == (D(1500), D(3700), None)
    assert item.tiers == (
        TierPart(1, D(0), D(100), D(100), D(5), D(500)),
        TierPart(2, D(100), D(900), D(900), D(3), D(2700)),
        TierPart(3, D(1000), None, D(500), D(1), D(500)),
    )

    [item] = line_items(PLAIN, slices(PLAIN, flat("0.5")), [D(3)])
    assert (item.unit_price, item.tiers) == (D("0.5"), ())


def test_the_parts_of_a_correction_are_negative() -> None:
    pieces = slices(PLAIN, tiered(VOLUME, 0, 120), tiered(VOLUME, 150))
    first, second = line_items(PLAIN, pieces, [D(120), D(-150)])
    assert [(part.level, part.quantity, part.amount) for part in first.tiers] == [(1, 100, 500), (2, 20, 60)]
    assert [(part.level, part.quantity, part.amount) for part in second.tiers] == [(1, -130, -650), (2, -20, -60)]
    assert second.amount == D(-710)


def test_each_slice_needs_its_quantity() -> None:
    with pytest.raises(ValueError):
        line_spend(PLAIN, slices(PLAIN, flat("1")), [], USD_CENTS)
