"""Exact decimals: what parses, what is refused and why, canonical text, and where the exact context holds."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from decimal import Decimal, DivisionByZero, Inexact, InvalidOperation

import pytest

from engine import numbers
from engine.numbers import NumberError, decimal_text, exact, is_exact, parse_decimal
from engine.rounding import quotient


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("7", "7"),
        ("007", "7"),
        ("+7", "7"),
        ("-7", "-7"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0.1", "0.1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("12.5e-2", "0.125"),
        ("0e400", "0"),
        ("99999999999999999999", "99999999999999999999"),
        ("-99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999"),
        ("9.9e19", "99000000000000000000"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("0.0036899999999999997", "0.0036899999999999997"),  # as a float's shortest text
        ("9.5367431640625e-07", "0.00000095367431640625"),
        ("1e-38", "0." + "0" * 37 + "1"),
        ("-" + "9" * 38 + "." + "9" * 38, "-" + "9" * 38 + "." + "9" * 38),
        ("1.0000000000000000000000000000000", "1"),
        ("1000e-21", "0.000000000000000001"),
        (0, "0"),
        (-12, "-12"),
        (10**20 - 1, "99999999999999999999"),
        (Decimal("3.14"), "3.14"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0"), "0"),
    ],
)
def test_parses_to_the_exact_number(value: object, expected: str) -> None:
    parsed = parse_decimal(value)
    assert parsed == Decimal(expected)
    assert decimal_text(parsed) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "number_type"),
        (None, "number_type"),
        (1.0, "number_type"),
        ([], "number_type"),
        (b"1", "number_type"),
        ("", "number_form"),
        (" 1", "number_form"),
        ("1 ", "number_form"),
        ("1\n", "number_form"),
        ("1_000", "number_form"),
        ("1,5", "number_form"),
        ("+-1", "number_form"),
        (".", "number_form"),
        ("e5", "number_form"),
        ("1e", "number_form"),
        ("0x10", "number_form"),
        ("NaN", "number_form"),
        ("sNaN", "number_form"),
        ("Infinity", "number_form"),
        ("٣", "number_form"),
        ("²", "number_form"),
        ("1" * 101, "number_too_long"),
        ("0" * 101, "number_too_long"),
        ("1" + "0" * 38, "number_too_large"),
        ("1e38", "number_too_large"),
        ("1e400", "number_too_large"),
        ("1e99999999999999999999", "number_too_large"),
        (10**38, "number_too_large"),
        (-(10**38), "number_too_large"),
        (10**300, "number_too_large"),
        (Decimal(10**300), "number_too_large"),
        ("0." + "0" * 38 + "1", "number_too_precise"),
        ("1e-39", "number_too_precise"),
        ("1e-400", "number_too_precise"),
        (Decimal("1e-999999"), "number_too_precise"),
        (Decimal("0." + "3" * 300), "number_too_long"),
        (Decimal("NaN"), "number_not_finite"),
        (Decimal("-Infinity"), "number_not_finite"),
    ],
)
def test_refuses_with_a_reason(value: object, reason: str) -> None:
    with pytest.raises(NumberError) as refused:
        parse_decimal(value)
    assert refused.value.reason == reason
    assert refused.value.detail


def test_parsing_does_not_need_the_exact_context() -> None:
    outcome = contextvars.Context().run(lambda: (is_exact(), parse_decimal("99999999999999999999.999999999999999999")))
    assert outcome == (False, Decimal("99999999999999999999.999999999999999999"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0E+5", "0"),
        ("100", "100"),
        ("1E+2", "100"),
        ("1.10", "1.1"),
        ("10.00", "10"),
        ("-0.50", "-0.5"),
        ("1E-18", "0.000000000000000001"),
        ("1.200E-7", "0.00000012"),
    ],
)
def test_canonical_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def test_the_widest_computation_of_a_bill_is_exact() -> None:
    """Quantity, factor, price, multiplier, price of a pricing unit, threshold in percent: see the module's text."""
    widest = parse_decimal("9" * 38 + "." + "9" * 38)
    quantity = widest * 10**12
    amount = quantity * widest * widest * widest
    spend = amount * 10**12 * widest * widest / 100
    assert (spend / 10**22).as_tuple().digits == tuple(map(int, str((10**76 - 1) ** 6)))


@pytest.mark.parametrize(
    ("trap", "operation"),
    [
        (Inexact, lambda: Decimal(1) / 3),
        (Inexact, lambda: Decimal("1e599") + Decimal("1e-18")),
        (DivisionByZero, lambda: Decimal(1) / 0),
        (InvalidOperation, lambda: Decimal("Infinity") - Decimal("Infinity")),
    ],
)
def test_inexact_work_raises(trap: type[Exception], operation) -> None:
    with pytest.raises(trap):
        operation()


def test_exact_leaves_its_surroundings_as_they_were() -> None:
    def scoped() -> tuple[bool, bool, bool]:
        before = is_exact()
        with exact():
            inside = is_exact()
        return before, inside, is_exact()

    assert contextvars.Context().run(scoped) == (False, True, False)


def test_tasks_inherit_what_was_active_where_they_were_created() -> None:
    async def child() -> bool:
        return is_exact()

    async def main() -> tuple[bool, bool]:
        early = asyncio.create_task(child())
        numbers.activate()
        return await early, await asyncio.create_task(child())

    assert contextvars.Context().run(asyncio.run, main()) == (False, True)


def test_every_thread_activates_for_itself() -> None:
    seen: list[bool] = []

    def work() -> None:
        seen.append(is_exact())
        numbers.activate()
        seen.append(is_exact())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("dividend", "divisor", "places", "quotient_"),
    [("0", "1", -2, "0"), ("0", "7", -40, "0"), ("149", "1", -2, "100"), ("2", "3", 0, "1"), ("0.001", "1000", -5, "0")],
)
def test_a_quotient_may_be_rounded_to_tens_and_hundreds(dividend: str, divisor: str, places: int, quotient_: str) -> None:
    assert quotient(Decimal(dividend), Decimal(divisor), places) == Decimal(quotient_)
