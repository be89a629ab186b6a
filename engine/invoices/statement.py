"""What a customer owes and has at a moment: drafts of all live billing periods, drawn from the balances in order.

Live are the billing periods that have begun and whose grace period has not ended. Invoices draw on the balances in the order
of their periods' ends (then starts, then contract ids): so those in grace come first, and it is the order in which they become
final. A draft takes what final invoices have left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.balances.ledger import BalanceStatement
from engine.catalog import CustomerConfig
from engine.compiled import CompiledCatalog
from engine.invoices.items import Invoice
from engine.invoices.usage import HourlyUsage


@dataclass(frozen=True, slots=True)
class Statement:
    """``drafts``: in the order in which they draw. ``balances``: all that are not archived, in the configuration's order."""

    drafts: tuple[Invoice, ...]
    balances: tuple[BalanceStatement, ...]


def statement(
    config: CustomerConfig,
    compiled: CompiledCatalog,
    usage: HourlyUsage,
    *,
    now_us: int,
    grace_hours: int,
    finalized: Sequence[Invoice] = (),
) -> Statement:
    """Raises RateError if a rate card cannot be priced.

    ``finalized``: all final invoices of the customer; a period whose invoice is among them has no draft. Exact arithmetic must be
    current (engine.numbers)."""
    raise NotImplementedError


def finalize(
    config: CustomerConfig,
    compiled: CompiledCatalog,
    usage: HourlyUsage,
    *,
    now_us: int,
    grace_hours: int,
    finalized: Sequence[Invoice],
    from_hour: int,
) -> list[Invoice]:
    """The invoices that have become final: of all billing periods that end after ``from_hour`` (the end of the last run's
    reach), whose grace period has ended by now, and that are not in ``finalized``; in the order in which they draw."""
    raise NotImplementedError
