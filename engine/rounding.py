"""Quotients and products that are rounded on purpose: each by a named rule, to a stated number of places.

Plain operators never round (engine.numbers). What has to be rounded goes through here, so that no operation can run out of
digits: a division is made with as many as its result needs, and ``rounded_to`` has room for whatever can be computed.

A quotient is rounded twice, first to two digits more than are wanted. That equals one rounding, by any rule, because the first
one is ROUND_05UP: it never makes a last digit 0 or 5 of something that is not.
"""

from __future__ import annotations

from decimal import ROUND_05UP, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import cache

from engine.numbers import EXPONENT_MAX, PRECISION_DIGITS, ZERO

PLACES = 18
"""Of shares, of percentages, and of the units that money is for."""

_TRAPS = [InvalidOperation, DivisionByZero, Overflow]
_STEP_DIGITS = 32


def _context(digits: int) -> Context:
    return Context(prec=digits, rounding=ROUND_05UP, Emax=EXPONENT_MAX, Emin=-EXPONENT_MAX, traps=_TRAPS)


_dividing = cache(_context)
_ROUNDING = _context(2 * PRECISION_DIGITS)


def product(one: Decimal, other: Decimal) -> Decimal:
    """Exact, whatever context is current."""
    return _ROUNDING.multiply(one, other)


def quotient(dividend: Decimal, divisor: Decimal, places: int = PLACES, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """The exact quotient where it ends within so many places, else rounded to these."""
    digits = max(max(dividend.adjusted() - divisor.adjusted() + 1, 0) + places + 2, 1)  # places may be below 0
    found = _dividing(-(-digits // _STEP_DIGITS) * _STEP_DIGITS).divide(dividend, divisor)
    return rounded_to(found, places, rounding)


def rounded_to(value: Decimal, places: int = PLACES, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """The value itself where it has no more places, else rounded to these (below 0: to tens, hundreds)."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    if exponent >= -places:
        return value
    rounded = value.quantize(Decimal((0, (1,), -places)), rounding, _ROUNDING)
    return _ROUNDING.add(rounded, ZERO) if places < 0 else rounded  # 1100, not 11E+2


def shortest(value: Decimal) -> Decimal:
    """Without trailing zeros."""
    return value.normalize(_ROUNDING)
