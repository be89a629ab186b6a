"""Ledgers: what was granted, drawn, corrected and lost; and what is left.

An entry, once written, does not change by later usage: draft invoices have none (they are pending), and a segment's EXPIRATION
appears when every invoice that could draw on it is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from engine.catalog import Balance, Segment


class LedgerKind(StrEnum):
    """The wire type is ``<prefix>_<kind>``, see LedgerEntry.type."""

    SEGMENT_START = "SEGMENT_START"
    INITIAL_BALANCE = "INITIAL_BALANCE"
    AUTOMATED_INVOICE_DEDUCTION = "AUTOMATED_INVOICE_DEDUCTION"
    MANUAL = "MANUAL"
    EXPIRATION = "EXPIRATION"


class LedgerEntry(NamedTuple):
    """``type``: e.g. PREPAID_COMMIT_SEGMENT_START, POSTPAID_COMMIT_INITIAL_BALANCE, CREDIT_EXPIRATION.
    ``amount`` is negative where it takes away. ``invoice_id`` for deductions, ``reason`` for manual entries."""

    type: str
    timestamp_us: int
    amount: Decimal
    segment_id: str
    invoice_id: str | None = None
    reason: str | None = None


class Deduction(NamedTuple):
    """What one invoice drew from one segment (``amount`` > 0). ``timestamp_us``: the end of its service period."""

    balance_id: str
    segment_id: str
    invoice_id: str
    timestamp_us: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class SegmentStatement:
    """``manual``: sum of the manual entries; ``finalized``, ``draft``: drawn by final and by draft invoices (>= 0)."""

    segment: Segment
    is_open: bool
    manual: Decimal
    finalized: Decimal
    draft: Decimal

    @property
    def remaining(self) -> Decimal:
        """Less what drafts draw. 0 unless open, and where manual entries took more than there was."""
        return max(self.segment.amount + self.manual - self.finalized - self.draft, Decimal(0)) if self.is_open else Decimal(0)

    @property
    def remaining_finalized(self) -> Decimal:
        """The same without drafts: what the ledger says."""
        return max(self.segment.amount + self.manual - self.finalized, Decimal(0)) if self.is_open else Decimal(0)


@dataclass(frozen=True, slots=True)
class BalanceStatement:
    """One commit or credit at a moment. ``ledger``: by time; see the module's text."""

    balance: Balance
    segments: tuple[SegmentStatement, ...]
    ledger: tuple[LedgerEntry, ...]

    @property
    def remaining(self) -> Decimal:
        """The balance: open segments' ledger less what drafts draw (FINALIZED_AND_DRAFT)."""
        return sum((segment.remaining for segment in self.segments), Decimal(0))

    @property
    def remaining_finalized(self) -> Decimal:
        return sum((segment.remaining_finalized for segment in self.segments), Decimal(0))

    @property
    def granted(self) -> Decimal:
        """What the open segments were granted; manual entries are no grant."""
        return sum((segment.segment.amount for segment in self.segments if segment.is_open), Decimal(0))


def balance_statement(
    balance: Balance,
    finalized: Sequence[Deduction],
    drafts: Mapping[str, Decimal],
    now_us: int,
    settled_before_hour: int,
) -> BalanceStatement:
    """``finalized``: deductions of this balance; ``drafts``: drawn by drafts, by segment id.
    ``settled_before_hour``: no invoice that is still open has hours before it, so segments that ended by then have expired."""
    raise NotImplementedError
