"""Exact decimals: the arithmetic context, parsing with bounds, canonical text.

The context traps Inexact: an operation that would have to round raises instead, so nothing is rounded by accident.
The few places that round on purpose do it by a named rule (see engine.rounding).

Why 600 digits are enough. A parsed number, be it an event's property, a price, a factor, a multiplier or an amount, has at most
38 digits before and 38 after the point. The longest chain that anything accepted can go through:

    raw quantity       a sum over at most 10**12 events:                          50 before,  38 after the point
    billed quantity    times a factor, or divided by one (to 38 places):          88 before,  76 after
    at the list price                                                            126 before, 114 after
    at the contract's  times a multiplier (only one of several holds):           164 before, 152 after
    spend              a sum over at most 10**12 lines:                          176 before, 152 after
    converted          pricing units times their price in money:                 214 before, 190 after
    against an alert   times a threshold in percent, divided by 100:             252 before, 230 after = 482 digits

A percentage of spend (composites), a share of a period and a quotient are rounded to 18 places, and begin a shorter chain anew.

Libmpdec computes with the digits that a number has, so the unused room costs nothing.

How the context becomes active. The decimal context is a context variable: every thread starts with Python's inexact default,
an asyncio task inherits what was current where it was created, and what a task sets is seen by that task and by tasks that it
creates later, not by its creator. So a process calls ``activate`` once before ``asyncio.run`` (or at the top of its main
coroutine) and all of its tasks are covered; a thread, executor threads included, calls it for itself. ``exact`` is the scoped
form, for callers that must leave their surroundings as they were. After that, plain operators are exact.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    getcontext,
    localcontext,
    setcontext,
)

INTEGER_DIGITS_MAX = 38
FRACTION_DIGITS_MAX = 38
TEXT_LENGTH_MAX = 100
PRECISION_DIGITS = 600
EXPONENT_MAX = 9_999

ZERO = Decimal(0)

_CONTEXT = Context(
    prec=PRECISION_DIGITS,
    Emax=EXPONENT_MAX,
    Emin=-EXPONENT_MAX,
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow],
)
_INTEGER_LIMIT = 10**INTEGER_DIGITS_MAX
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?([0-9]+))?").fullmatch
_EXPONENT_LENGTH_MAX = 4  # far beyond the bounds already; longer ones would reach the limits of Decimal itself


class NumberError(ValueError):
    """A value is no number within the bounds. ``reason`` is a short fixed word, ``detail`` names the rule.

    Reasons: number_type, number_form, number_not_finite, number_too_long, number_too_large, number_too_precise.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def activate() -> None:
    """Make exact arithmetic current for this thread or task, and for tasks created from it later (see the module's text)."""
    setcontext(_CONTEXT.copy())


def exact() -> AbstractContextManager[Context]:
    """``with exact():`` exact arithmetic inside, the previous context again afterwards."""
    return localcontext(_CONTEXT)


def is_exact() -> bool:
    """Whether exact arithmetic is current here."""
    context = getcontext()
    return bool(context.traps[Inexact]) and context.prec >= PRECISION_DIGITS


def parse_decimal(value: object) -> Decimal:
    """The exact number that a str, int or Decimal stands for; raises NumberError for anything else or out of bounds.

    Bounds: finite, at most 38 digits before and 38 after the point (trailing zeros do not count), a text or coefficient of at
    most 100 characters. Texts are plain or exponent notation in ASCII with an optional sign; white space, underscores, "NaN",
    "Infinity" and the digits of other scripts, all of which Decimal itself takes, are refused. So are bool, None and float:
    a float's digits are already not what its sender wrote.
    """
    if type(value) is str:
        # The two common forms, without the regular expression: at most 38 characters cannot leave the bounds.
        # isdigit alone would take other scripts, and it refuses "".
        if len(value) <= FRACTION_DIGITS_MAX and value.isascii():
            if value.isdigit():
                return Decimal(value)
            whole, _, fraction = value.partition(".")
            if whole.isdigit() and fraction.isdigit():
                return Decimal(value)
        return _bounded(_from_text(value))
    if type(value) is int:
        if -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            return Decimal(value)
        raise NumberError("number_too_large", f"at most {INTEGER_DIGITS_MAX} digits before the decimal point")
    if type(value) is Decimal:
        return _bounded(value)
    raise NumberError("number_type", f"must be a number or a string of digits, not {_kind_name(value)}")


def decimal_text(value: Decimal) -> str:
    """The one canonical text of a finite number: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _from_text(text: str) -> Decimal:
    if len(text) > TEXT_LENGTH_MAX:
        raise NumberError("number_too_long", f"at most {TEXT_LENGTH_MAX} characters")
    match = _NUMBER(text)
    if match is None:
        raise NumberError("number_form", "must be decimal digits with an optional sign, point and exponent")
    exponent = match.group(1)
    if exponent is not None and len(exponent) > _EXPONENT_LENGTH_MAX:
        raise NumberError("number_too_large", f"an exponent has at most {_EXPONENT_LENGTH_MAX} digits")
    return Decimal(text)


def _bounded(value: Decimal) -> Decimal:
    """The value without trailing zeros beyond the bounds, without a positive exponent and without negative zero."""
    if not value.is_finite():
        raise NumberError("number_not_finite", "must be finite")
    if not value:
        return ZERO
    if value.adjusted() >= INTEGER_DIGITS_MAX:
        raise NumberError("number_too_large", f"at most {INTEGER_DIGITS_MAX} digits before the decimal point")
    if value.adjusted() < -FRACTION_DIGITS_MAX:
        raise _too_precise()
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # finite
    if len(digits) > TEXT_LENGTH_MAX:
        raise NumberError("number_too_long", f"at most {TEXT_LENGTH_MAX} digits")
    if exponent < -FRACTION_DIGITS_MAX:
        value = value.normalize(_CONTEXT)
        if value.as_tuple().exponent < -FRACTION_DIGITS_MAX:  # type: ignore[operator]
            raise _too_precise()
    return _CONTEXT.add(value, ZERO) if exponent > 0 else value


def _too_precise() -> NumberError:
    return NumberError("number_too_precise", f"at most {FRACTION_DIGITS_MAX} digits after the decimal point")


def _kind_name(value: object) -> str:
    return "null" if value is None else type(value).__name__
