"""Conversion and rounding of quantities, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from engine.catalog import Operation, Product, QuantityConversion, QuantityRounding, RoundingMethod
from engine.numbers import exact
from engine.rating.quantities import billed_quantity, converted, rounded

MULTIPLY, DIVIDE = Operation.MULTIPLY, Operation.DIVIDE
UP, DOWN, HALF_UP = RoundingMethod.ROUND_UP, RoundingMethod.ROUND_DOWN, RoundingMethod.ROUND_HALF_UP


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


@pytest.mark.parametrize(
    ("operation", "factor", "raw", "expected"),
    [
        (MULTIPLY, "0.001", "1234567", "1234.567"),
        (MULTIPLY, "1.5", "-3", "-4.5"),
        (
            MULTIPLY,
            "99999999999999999999.999999999999999999",
            "0.000000000000000001",
            "99.999999999999999999999999999999999999",
        ),
        (DIVIDE, "1000", "1", "0.001"),
        (DIVIDE, "8", "1", "0.125"),
        (DIVIDE, "1048576", "1048577", "1.00000095367431640625"),
        (DIVIDE, "1073741824", "1", "0.000000000931322574615478515625"),  # a byte in units of 1024**3
        (DIVIDE, "274877906944", "1", "0.00000000000363797880709171295166015625"),  # ends at the 38th place: exact
        (DIVIDE, "549755813888", "1", "0.00000000000181898940354585647583007812"),  # ends at the 39th, in a tie
        (DIVIDE, "3", "1", "0.33333333333333333333333333333333333333"),
        (DIVIDE, "3", "2", "0.66666666666666666666666666666666666667"),
        (DIVIDE, "3", "-2", "-0.66666666666666666666666666666666666667"),
        (DIVIDE, "0.5", "3", "6"),
        # ties at the 39th place go to the even neighbour
        (DIVIDE, "2", "1E-38", "0"),
        (DIVIDE, "2", "3E-38", "2E-38"),
        (DIVIDE, "2", "-3E-38", "-2E-38"),
        (DIVIDE, "10", "25E-38", "2E-38"),
        # just beside a tie
        (DIVIDE, "1.99999999999999999999999999999999999999", "1E-38", "1E-38"),
        (DIVIDE, "2.00000000000000000000000000000000000001", "1E-38", "0"),
        (DIVIDE, "0.000000000000000001", "99999999999999999999", "99999999999999999999000000000000000000"),
        (DIVIDE, "7", "0", "0"),
    ],
)
def test_conversion(operation: Operation, factor: str, raw: str, expected: str) -> None:
    assert converted(QuantityConversion(Decimal(factor), operation), Decimal(raw)) == Decimal(expected)


@pytest.mark.parametrize(
    ("quantity", "places", "up", "down", "half_up"),
    [
        ("1", 0, "1", "1", "1"),
        ("1.0", 0, "1", "1", "1"),
        ("1.1", 0, "2", "1", "1"),
        ("1.5", 0, "2", "1", "2"),
        ("2.5", 0, "3", "2", "3"),
        ("1.9", 0, "2", "1", "2"),
        ("0.000000000000000001", 0, "1", "0", "0"),
        ("1.0049", 2, "1.01", "1", "1"),
        ("1.005", 2, "1.01", "1", "1.01"),
        ("1.25", 4, "1.25", "1.25", "1.25"),
        ("120", 0, "120", "120", "120"),
        # corrections mirror usage
        ("-1.1", 0, "-2", "-1", "-1"),
        ("-1.5", 0, "-2", "-1", "-2"),
        ("-0.4", 0, "-1", "0", "0"),
    ],
)
def test_rounding(quantity: str, places: int, up: str, down: str, half_up: str) -> None:
    results = [rounded(QuantityRounding(method, places), Decimal(quantity)) for method in (UP, DOWN, HALF_UP)]
    assert results == [Decimal(up), Decimal(down), Decimal(half_up)]


def test_rounding_follows_conversion() -> None:
    product = Product(
        id="storage",
        name="Storage",
        metric_id="bytes",
        conversion=QuantityConversion(Decimal(1000), DIVIDE),
        rounding=QuantityRounding(UP, 1),
    )
    assert billed_quantity(product, Decimal(1_234)) == Decimal("1.3")
    assert billed_quantity(product, Decimal(1_300)) == Decimal("1.3")
    assert billed_quantity(product, Decimal(1_301)) == Decimal("1.4")
    assert billed_quantity(product, Decimal(0)) == 0
