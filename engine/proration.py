"""Shares of amounts: what part of a period is granted or charged.

Time is counted in hours, so a month of 31 days has 744 parts. (The reference says that periods are prorated, and not by what.)
A share is exact where it ends within 18 fraction digits, else rounded half-even to 18; where a rounding is configured, the exact
share is rounded by that alone. Its methods: HALF_UP to the nearest and a tie away from zero, FLOOR down, CEILING up.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from engine.catalog import AmountRounding, ProrationRounding
from engine.rounding import product, quotient

_MODES = {
    ProrationRounding.HALF_UP: ROUND_HALF_UP,
    ProrationRounding.FLOOR: ROUND_FLOOR,
    ProrationRounding.CEILING: ROUND_CEILING,
}


def prorated(amount: Decimal, hours: int, of_hours: int, rounding: AmountRounding | None = None) -> Decimal:
    """``amount`` x ``hours`` / ``of_hours``; all of it, unrounded, if these are the same."""
    if hours == of_hours:
        return amount
    if rounding is None:
        return quotient(product(amount, Decimal(hours)), Decimal(of_hours))
    return quotient(product(amount, Decimal(hours)), Decimal(of_hours), rounding.decimal_places, _MODES[rounding.method])
