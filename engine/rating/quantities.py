"""From a metric's raw quantity to the quantity that is billed: conversion, then rounding.

Conversion. MULTIPLY is exact. DIVIDE gives the exact quotient where it ends within 18 fraction digits, else the quotient rounded
half-even to 18 fraction digits.

Rounding applies to the quantity of each slice of a line. Its methods have the meaning that decimal libraries give these names:
ROUND_UP away from zero, ROUND_DOWN towards zero, ROUND_HALF_UP to the nearest and a tie away from zero. (The reference names the
methods only.) So a correction gives back exactly what the same usage would have cost.
"""

from __future__ import annotations

from decimal import (
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    ROUND_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)

from engine.catalog import Operation, Product, QuantityConversion, QuantityRounding, RoundingMethod
from engine.numbers import FRACTION_DIGITS_MAX, PRECISION_DIGITS

# Rounds on purpose, so it does not trap Inexact. A quotient is rounded twice, here to 160 digits and then to 18 places. That
# equals one rounding: within the bounds of engine.numbers a quotient that is no tie is at least 1 / (2 * 10**56) away from
# the nearest tie, and 160 digits show more than that.
_QUOTIENTS = Context(
    prec=PRECISION_DIGITS, rounding=ROUND_HALF_EVEN, Emax=999, Emin=-999, traps=[InvalidOperation, DivisionByZero, Overflow]
)
QUOTIENT_UNIT = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)

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
    quotient = _QUOTIENTS.divide(raw, conversion.factor)
    exponent = quotient.as_tuple().exponent
    assert isinstance(exponent, int)  # finite, since both operands are and the factor is not zero
    if exponent >= -FRACTION_DIGITS_MAX:
        return quotient
    return quotient.quantize(QUOTIENT_UNIT, ROUND_HALF_EVEN, _QUOTIENTS)


def rounded(rounding: QuantityRounding, quantity: Decimal) -> Decimal:
    exponent = quantity.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    if exponent >= -rounding.decimal_places:
        return quantity
    return quantity.quantize(rounding_unit(rounding), _MODES[rounding.method], _QUOTIENTS)


def rounding_unit(rounding: QuantityRounding) -> Decimal:
    """The distance between neighbouring rounded quantities."""
    return Decimal((0, (1,), -rounding.decimal_places))
