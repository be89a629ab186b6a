"""Exact numbers at the JSON boundary: no number of a body passes through a binary float, in or out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NoReturn

import orjson


def plain_text(value: Decimal) -> str:
    """The shortest plain decimal text: no exponent, no trailing zeros, never "-0". ``value`` must be finite."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def json_number(value: Decimal | int) -> orjson.Fragment:
    """A JSON number with every digit of ``value``, to be put into what ``orjson.dumps`` writes."""
    return orjson.Fragment(plain_text(value) if isinstance(value, Decimal) else str(value))


def json_default(value: object) -> object:
    """``default`` of ``orjson.dumps`` for answers: a Decimal becomes an exact JSON number."""
    if isinstance(value, Decimal):
        return json_number(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def document_default(value: object) -> object:
    """``default`` of ``orjson.dumps`` for stored documents: a Decimal becomes its text, which any reader parses exactly."""
    if isinstance(value, Decimal):
        return plain_text(value)
    raise TypeError(f"{type(value).__name__} has no stored form")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def parse_json(body: bytes) -> object:
    """Parses a request body; numbers with a fraction or an exponent become Decimals.

    orjson goes first: it is strict about UTF-8, lone surrogates and depth, which the standard library lets pass.
    The standard library's result is the one used, because orjson makes floats of fractions and of integers over 64 bits.
    Raises ValueError with a message for the caller.
    """
    try:
        orjson.loads(body)
        parsed: object = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return parsed
