"""Shares of amounts: what part of a period is granted or charged.

Time is counted in hours, so a month of 31 days has 744 parts. (The reference says that periods are prorated, and not by what.)
A share is exact where it ends within 18 fraction digits, else rounded half-even to 18; where a rounding is configured, the exact
share is rounded by that alone. Its methods: HALF_UP to the nearest and a tie away from zero, FLOOR down, CEILING up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

from engine.catalog import AmountRounding, ProrationRounding
from engine.numbers import FRACTION_DIGITS_MAX, PRECISION_DIGITS, ZERO

# Rounds on purpose. A quotient by hours that is no tie is far further from the nearest tie than 160 digits can hide.
_QUOTIENTS = Context(prec=PRECISION_DIGITS, rounding=ROUND_HALF_EVEN, Emax=999, Emin=-999)
_UNIT = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_MODES = {
    ProrationRounding.HALF_UP: ROUND_HALF_UP,
    ProrationRounding.FLOOR: ROUND_FLOOR,
    ProrationRounding.CEILING: ROUND_CEILING,
}


def prorated(amount: Decimal, hours: int, of_hours: int, rounding: AmountRounding | None = None) -> Decimal:
    """``amount`` x ``hours`` / ``of_hours``; all of it, unrounded, if these are the same."""
    if hours == of_hours:
        return amount
    share = _QUOTIENTS.divide(_QUOTIENTS.multiply(amount, Decimal(hours)), Decimal(of_hours))
    if rounding is not None:
        unit = Decimal((0, (1,), -rounding.decimal_places))
        return _QUOTIENTS.add(share.quantize(unit, _MODES[rounding.method], _QUOTIENTS), ZERO)
    if share.as_tuple().exponent >= -FRACTION_DIGITS_MAX:  # type: ignore[operator]
        return share
    return share.quantize(_UNIT, ROUND_HALF_EVEN, _QUOTIENTS)
