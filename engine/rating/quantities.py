"""From a metric's raw quantity to the quantity that is billed: conversion, then rounding.

Conversion. MULTIPLY is exact. DIVIDE gives the exact quotient where it ends within 38 fraction digits, else the quotient rounded
half-even to 38 fraction digits: bytes in units of 1024**3 are exact.

Rounding applies to the quantity of each slice of a line. Its methods have the meaning that decimal libraries give these names:
ROUND_UP away from zero, ROUND_DOWN towards zero, ROUND_HALF_UP to the nearest and a tie away from zero. (The reference names the
methods only.) So a correction gives back exactly what the same usage would have cost.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal

from engine.catalog import Operation, Product, QuantityConversion, QuantityRounding, RoundingMethod
from engine.numbers import FRACTION_DIGITS_MAX
from engine.rounding import quotient, rounded_to

_MODES = {
    RoundingMethod.ROUND_UP: ROUND_UP,
    RoundingMethod.ROUND_DOWN: ROUND_DOWN,
    RoundingMethod.ROUND_HALF_UP: ROUND_HALF_UP,
}


def billed_quantity(product: Product, raw: Decimal) -> Decimal:
    """The quantity that a slice with this raw metric quantity is billed for. It never falls when ``raw`` grows."""
    quantity = converted(product.conversion, raw)
    return quantity if product.rounding is None else rounded(product.rounding, quantity)


def converted(conversion: QuantityConversion | None, raw: Decimal) -> Decimal:
    if conversion is None:
        return raw
    if conversion.operation is Operation.MULTIPLY:
        return raw * conversion.factor
    return quotient(raw, conversion.factor, FRACTION_DIGITS_MAX)


def rounded(rounding: QuantityRounding, quantity: Decimal) -> Decimal:
    return rounded_to(quantity, rounding.decimal_places, _MODES[rounding.method])


def rounding_unit(rounding: QuantityRounding) -> Decimal:
    """The distance between neighbouring rounded quantities."""
    return Decimal((0, (1,), -rounding.decimal_places))
