"""Ledgers: their entries, and what is left in segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.balances.ledger import BalanceStatement, Deduction, TrueUp, balance_statement
from engine.balances.rollover import Taken
from engine.catalog import Balance, BalanceType, ManualEntry, Segment
from engine.numbers import exact
from engine.periods import HOUR_US, Period

START, END = 1000, 2000


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def balance(kind: BalanceType = BalanceType.PREPAID, *manual: ManualEntry) -> Balance:
    segments = (Segment("s1", START, END, Decimal(100)), Segment("s2", END, END + 500, Decimal(40)))
    return Balance("b", kind, "fixed", segments, manual_entries=manual)


def deduction(amount: int, at: int, segment: str = "s1", balance_id: str = "b") -> Deduction:
    return Deduction(balance_id, segment, f"invoice-{at}", at * HOUR_US, Decimal(amount))


def entries(seen: BalanceStatement) -> list[tuple[str, int, int]]:
    return [(entry.type, entry.timestamp_us // HOUR_US, int(entry.amount)) for entry in seen.ledger]


@pytest.mark.parametrize(
    ("kind", "start", "expiration"),
    [
        (BalanceType.PREPAID, "PREPAID_COMMIT_SEGMENT_START", "PREPAID_COMMIT_EXPIRATION"),
        (BalanceType.POSTPAID, "POSTPAID_COMMIT_INITIAL_BALANCE", "POSTPAID_COMMIT_EXPIRATION"),
        (BalanceType.CREDIT, "CREDIT_SEGMENT_START", "CREDIT_EXPIRATION"),
    ],
)
def test_a_segment_begins_is_drawn_and_expires(kind: BalanceType, start: str, expiration: str) -> None:
    seen = balance_statement(balance(kind), [deduction(30, 1500), deduction(9, 1500, balance_id="other")], {}, [], END * HOUR_US)
    drawn = f"{start.rsplit('_', 2)[0]}_AUTOMATED_INVOICE_DEDUCTION"
    assert entries(seen) == [(start, START, 100), (drawn, 1500, -30), (start, END, 40), (expiration, END, -70)]
    assert [segment.remaining for segment in seen.segments] == [0, 40]
    assert (seen.remaining, seen.granted) == (40, 40)


def test_a_segment_is_open_from_its_first_to_its_last_microsecond() -> None:
    for now_us, left in [(START * HOUR_US - 1, 0), (START * HOUR_US, 100), (END * HOUR_US - 1, 100), (END * HOUR_US, 40)]:
        assert balance_statement(balance(), [], {}, [], now_us).remaining == left


def test_drafts_are_pending() -> None:
    seen = balance_statement(balance(), [deduction(30, 1500)], {"s1": Decimal(25)}, [], 1600 * HOUR_US)
    assert (seen.remaining, seen.remaining_finalized) == (45, 70)
    assert sum(entry.amount for entry in seen.ledger) == 70


def test_manual_entries_count_on_open_segments_even_when_dated_later() -> None:
    manual = [ManualEntry("s1", Decimal(amount), at * HOUR_US, "by hand") for amount, at in [(10, 1900), (-50, 1100)]]
    seen = balance_statement(balance(BalanceType.CREDIT, *manual), [], {}, [], 1500 * HOUR_US)
    assert seen.remaining == 60
    assert entries(seen) == [("CREDIT_SEGMENT_START", 1000, 100), ("CREDIT_MANUAL", 1100, -50), ("CREDIT_MANUAL", 1900, 10)]
    assert {entry.reason for entry in seen.ledger} == {None, "by hand"}


def test_a_negative_sum_shows_as_zero_and_does_not_expire() -> None:
    overdrawn = balance(BalanceType.CREDIT, ManualEntry("s1", Decimal(-150), 1100 * HOUR_US, "by hand"))
    assert balance_statement(overdrawn, [], {}, [], 1500 * HOUR_US).remaining == 0
    later = balance_statement(overdrawn, [], {}, [], (END + 1) * HOUR_US)
    assert later.remaining == 40
    assert not [entry for entry in later.ledger if entry.type == "CREDIT_EXPIRATION"]


@pytest.mark.parametrize(
    ("period", "expires"), [((1990, 2100), False), ((500, 1001), False), ((2000, 2100), True), ((500, 1000), True)]
)
def test_nothing_expires_while_an_invoice_may_still_draw_on_it(period: tuple[int, int], expires: bool) -> None:
    seen = balance_statement(balance(), [], {}, [Period(*period)], 2100 * HOUR_US)
    assert bool([entry for entry in seen.ledger if entry.type == "PREPAID_COMMIT_EXPIRATION"]) is expires


def test_no_entry_is_ahead_of_its_segment() -> None:
    assert balance_statement(balance(), [], {}, [], (START - 1) * HOUR_US).ledger == ()


def test_a_postpaid_commit_is_trued_up_and_does_not_expire() -> None:
    due_us = (END + 10) * HOUR_US
    held = replace(balance(BalanceType.POSTPAID), segments=balance().segments[:1])
    waits = balance_statement(held, [deduction(30, 1500)], {}, [], due_us, true_up=TrueUp("invoice", due_us, False))
    assert entries(waits)[-1] == ("POSTPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION", 1500, -30)
    billed = balance_statement(held, [deduction(30, 1500)], {}, [], due_us, true_up=TrueUp("invoice", due_us, True))
    assert entries(billed)[-1] == ("POSTPAID_COMMIT_TRUEUP", END + 10, -70)
    assert billed.ledger[-1].invoice_id == "invoice"
    early = balance_statement(held, [], {}, [], 1500 * HOUR_US, true_up=TrueUp("invoice", 1400 * HOUR_US, True))
    assert (early.remaining, early.remaining_finalized) == (0, 0)


def test_what_rolls_over_leaves_the_rest_to_expire() -> None:
    taken = [Taken("b", "s1", "new", END, Decimal(50))]
    seen = balance_statement(balance(), [deduction(30, 1500)], {}, [], END * HOUR_US, taken)
    assert entries(seen)[-2:] == [("PREPAID_COMMIT_ROLLOVER", END, -50), ("PREPAID_COMMIT_EXPIRATION", END, -20)]
    assert [entry.new_contract_id for entry in seen.ledger if entry.new_contract_id] == ["new"]
    assert balance_statement(balance(), [], {}, [], (END - 1) * HOUR_US, taken).remaining == 50
