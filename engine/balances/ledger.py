"""Ledgers: what was granted, drawn, corrected and lost; and what is left.

An entry, once there, is not changed by later usage: draft invoices have none (they are pending), and a segment's EXPIRATION
appears when every invoice that could draw on it is final. A postpaid commit with a true-up does not expire: what it has left is
taken off by a TRUEUP entry when the invoice that bills it is final.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from engine.balances.rollover import Taken
from engine.catalog import Balance, BalanceType, Segment
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period


class LedgerKind(StrEnum):
    """The wire type is ``<prefix>_<kind>``, see ``ledger_type``."""

    SEGMENT_START = "SEGMENT_START"
    INITIAL_BALANCE = "INITIAL_BALANCE"
    SEAT_BASED_ADJUSTMENT = "SEAT_BASED_ADJUSTMENT"
    AUTOMATED_INVOICE_DEDUCTION = "AUTOMATED_INVOICE_DEDUCTION"
    MANUAL = "MANUAL"
    ROLLOVER = "ROLLOVER"
    TRUEUP = "TRUEUP"
    EXPIRATION = "EXPIRATION"


_PREFIXES = {BalanceType.PREPAID: "PREPAID_COMMIT", BalanceType.POSTPAID: "POSTPAID_COMMIT", BalanceType.CREDIT: "CREDIT"}


def ledger_type(balance_type: BalanceType, kind: LedgerKind) -> str:
    """E.g. PREPAID_COMMIT_SEGMENT_START, CREDIT_EXPIRATION."""
    return f"{_PREFIXES[balance_type]}_{kind}"


class LedgerEntry(NamedTuple):
    """``type``: see ``ledger_type``. ``amount`` is negative where it takes away. ``invoice_id`` for deductions, ``reason`` for
    manual entries, ``new_contract_id`` for what was rolled over."""

    type: str
    timestamp_us: int
    amount: Decimal
    segment_id: str
    invoice_id: str | None = None
    reason: str | None = None
    new_contract_id: str | None = None


class Deduction(NamedTuple):
    """What one invoice drew from one segment (``amount`` > 0). ``timestamp_us``: the end of its service period."""

    balance_id: str
    segment_id: str
    invoice_id: str
    timestamp_us: int
    amount: Decimal


class TrueUp(NamedTuple):
    """The invoice that bills what a postpaid commit has left, and its date. ``is_final``: it has been billed."""

    invoice_id: str
    timestamp_us: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class SegmentStatement:
    """``manual``: sum of the manual entries; ``finalized``, ``draft``: drawn by final and by draft invoices (>= 0);
    ``rolled_over``: what another contract has got of it (>= 0). ``is_trued_up``: what was left has been billed."""

    segment: Segment
    is_open: bool
    manual: Decimal
    finalized: Decimal
    draft: Decimal
    rolled_over: Decimal = ZERO
    is_trued_up: bool = False

    @property
    def remaining(self) -> Decimal:
        """Less what drafts draw. 0 unless open, and where manual entries took more than there was."""
        return max(self.on_ledger - self.draft, ZERO) if self.is_open and not self.is_trued_up else ZERO

    @property
    def remaining_finalized(self) -> Decimal:
        """The same without drafts: what the ledger says."""
        return max(self.on_ledger, ZERO) if self.is_open and not self.is_trued_up else ZERO

    @property
    def on_ledger(self) -> Decimal:
        """Whether open or not, and before anything expires or is trued up."""
        return self.segment.amount + self.manual - self.finalized - self.rolled_over


@dataclass(frozen=True, slots=True)
class BalanceStatement:
    """One commit or credit at a moment. ``segments``: in the balance's order. ``ledger``: by time; see the module's text."""

    balance: Balance
    segments: tuple[SegmentStatement, ...]
    ledger: tuple[LedgerEntry, ...]

    @property
    def remaining(self) -> Decimal:
        """The balance: open segments' ledger less what drafts draw (FINALIZED_AND_DRAFT)."""
        return sum((segment.remaining for segment in self.segments), ZERO)

    @property
    def remaining_finalized(self) -> Decimal:
        return sum((segment.remaining_finalized for segment in self.segments), ZERO)

    @property
    def granted(self) -> Decimal:
        """What the open segments were granted; manual entries are no grant."""
        return sum((segment.segment.amount for segment in self.segments if segment.is_open), ZERO)


def manual_sum(balance: Balance, segment_id: str) -> Decimal:
    """Manual entries count whenever they are dated."""
    return sum((entry.amount for entry in balance.manual_entries if entry.segment_id == segment_id), ZERO)


def balance_statement(
    balance: Balance,
    deductions: Sequence[Deduction],
    drafted: Mapping[str, Decimal],
    open_periods: Sequence[Period],
    now_us: int,
    taken: Sequence[Taken] = (),
    true_up: TrueUp | None = None,
) -> BalanceStatement:
    """``deductions``: by final invoices; those of other balances are left out. ``drafted``: drawn by drafts, by segment id.
    ``open_periods``: the periods of invoices that may still draw on this balance. ``taken``: what was rolled over from it."""
    own = [deduction for deduction in deductions if deduction.balance_id == balance.id]
    segments: list[SegmentStatement] = []
    ledger: list[tuple[int, LedgerEntry]] = []
    for segment in balance.segments:
        drawn = [deduction for deduction in own if deduction.segment_id == segment.id]
        statement = SegmentStatement(
            segment=segment,
            is_open=segment.starting_hour * HOUR_US <= now_us < segment.ending_hour * HOUR_US,
            manual=manual_sum(balance, segment.id),
            finalized=sum((deduction.amount for deduction in drawn), ZERO),
            draft=drafted.get(segment.id, ZERO),
            is_trued_up=true_up is not None and true_up.is_final,
            rolled_over=sum((each.amount for each in taken if each.segment_id == segment.id), ZERO),
        )
        segments.append(statement)
        ledger.extend(_entries(balance, statement, drawn, now_us))
        ledger.extend(_last_entries(balance, statement, open_periods, now_us, true_up))
        ledger.extend(_rolled(balance, [each for each in taken if each.segment_id == segment.id]))
    ledger.sort(key=lambda ranked: (ranked[1].timestamp_us, ranked[0]))
    return BalanceStatement(balance, tuple(segments), tuple(entry for _, entry in ledger))


def _last_entries(
    balance: Balance, statement: SegmentStatement, open_periods: Sequence[Period], now_us: int, true_up: TrueUp | None
) -> Iterator[tuple[int, LedgerEntry]]:
    """How what is left of a segment ends."""
    segment, left = statement.segment, statement.on_ledger
    if left <= 0:
        return
    if true_up is not None:
        if true_up.is_final:
            kind = ledger_type(balance.type, LedgerKind.TRUEUP)
            yield 4, LedgerEntry(kind, true_up.timestamp_us, ZERO - left, segment.id, invoice_id=true_up.invoice_id)
        return
    settled = not any(start < segment.ending_hour and segment.starting_hour < end for start, end in open_periods)
    end_us = segment.ending_hour * HOUR_US
    if end_us <= now_us and settled:
        yield 4, LedgerEntry(ledger_type(balance.type, LedgerKind.EXPIRATION), end_us, ZERO - left, segment.id)


def _entries(
    balance: Balance, statement: SegmentStatement, drawn: Sequence[Deduction], now_us: int
) -> list[tuple[int, LedgerEntry]]:
    """A segment's entries; each with a rank among those of the same instant: grants first, expirations last."""
    segment = statement.segment
    entries: list[tuple[int, LedgerEntry]] = []
    start_us = segment.starting_hour * HOUR_US

    def add(rank: int, kind: LedgerKind, timestamp_us: int, amount: Decimal, **more: str) -> None:
        entries.append((rank, LedgerEntry(ledger_type(balance.type, kind), timestamp_us, amount, segment.id, **more)))

    if start_us <= now_us:
        kind = LedgerKind.INITIAL_BALANCE if balance.type is BalanceType.POSTPAID else LedgerKind.SEGMENT_START
        if segment.seat_increase:
            kind = LedgerKind.SEAT_BASED_ADJUSTMENT
        add(0, kind, start_us, segment.amount)
    for entry in balance.manual_entries:
        if entry.segment_id == segment.id:
            add(1, LedgerKind.MANUAL, entry.timestamp_us, entry.amount, reason=entry.reason)
    for deduction in drawn:
        kind = LedgerKind.AUTOMATED_INVOICE_DEDUCTION
        add(2, kind, deduction.timestamp_us, ZERO - deduction.amount, invoice_id=deduction.invoice_id)
    return entries


def _rolled(balance: Balance, taken: Sequence[Taken]) -> Iterator[tuple[int, LedgerEntry]]:
    for each in taken:
        kind, at_us = ledger_type(balance.type, LedgerKind.ROLLOVER), each.ended_hour * HOUR_US
        yield 3, LedgerEntry(kind, at_us, ZERO - each.amount, each.segment_id, new_contract_id=each.new_contract_id)
