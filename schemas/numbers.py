"""Exact numbers at the JSON boundary: no number of a body passes through a binary float, in or out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NoReturn

import orjson

from engine.numbers import decimal_text

_INTEGER_DIGITS_MAX = 18
"""An integer's text of so many characters fits 64 bits, so that orjson can write it again."""


def json_number(value: Decimal | int) -> orjson.Fragment:
    """A JSON number with every digit of ``value``, to be put into what ``orjson.dumps`` writes."""
    return orjson.Fragment(decimal_text(value) if isinstance(value, Decimal) else str(value))


def json_default(value: object) -> object:
    """``default`` of ``orjson.dumps`` for answers: a Decimal becomes an exact JSON number."""
    if isinstance(value, Decimal):
        return json_number(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def document_default(value: object) -> object:
    """``default`` of ``orjson.dumps`` for stored documents: a Decimal becomes its text, which any reader parses exactly."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    raise TypeError(f"{type(value).__name__} has no stored form")


def exact_json(value: object) -> bytes:
    """``value`` as JSON, Decimals in it with every digit."""
    return orjson.dumps(value, default=json_default)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _exact_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INTEGER_DIGITS_MAX else Decimal(text)


def parse_json(body: bytes) -> object:
    """Parses a request body; numbers with a fraction or an exponent become Decimals, and so do integers of many digits.

    orjson goes first: it is strict about UTF-8, lone surrogates and depth, which the standard library lets pass.
    The standard library's result is the one used, because orjson makes floats of fractions and of integers over 64 bits.
    Raises ValueError with a message for the caller.
    """
    try:
        orjson.loads(body)
        parsed: object = json.loads(body, parse_float=Decimal, parse_int=_exact_int, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ArithmeticError:  # an exponent beyond what a Decimal can hold
        raise ValueError("a number is out of range") from None
    return parsed
