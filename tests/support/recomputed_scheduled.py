"""SCHEDULED invoices as the book has them: every dated amount by itself, put together at the end. No code is shared with the
engine's; what usage invoices drew comes from ``Accounts``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from engine.catalog import Balance, Contract, InvoiceItem, ScheduledCharge
from engine.periods import periods_between
from tests.support.recomputed_invoice import HOUR_US, Accounts, Bill, granted, is_for


class Charged(NamedTuple):
    """One dated amount. ``late_us``: when it was added, if its date was past then. ``on``: the usage invoice that bills it, by
    contract and end; None: a SCHEDULED one does."""

    contract: str
    at_us: int
    late_us: int
    item: str
    amount: Fraction
    final: bool
    on: tuple[str, int] | None


def charged(accounts: Accounts, now_us: int) -> list[Charged]:
    """What can be seen at a moment: what will be on the invoice of a period that has not begun cannot."""
    drafts, _ = accounts.look(now_us)
    found = []
    for contract in accounts.config.contracts:
        for source in contract.scheduled_charges:
            found += [_charged(accounts, contract, source, item, drafts, now_us) for item in source.items]
        for balance in accounts.config.balances:
            if (balance.invoice_contract_id or balance.contract_id) == contract.id:
                found += [_charged(accounts, contract, balance, item, drafts, now_us) for item in balance.invoice_items]
    return [each for each in found if each is not None]


def _charged(
    accounts: Accounts, contract: Contract, source: ScheduledCharge | Balance, item: InvoiceItem, drafts: list[Bill], now_us: int
) -> Charged | None:
    true_up = source if isinstance(source, Balance) and source.type == "POSTPAID" else None
    known_us = item.added_us if item.added_us else source.created_us
    late_us = known_us if known_us > item.timestamp_us else 0
    amount, final = Fraction(item.unit_price) * Fraction(item.quantity), item.timestamp_us <= now_us
    if true_up is not None:
        amount = unspent(true_up, [*accounts.final, *drafts], item.timestamp_us)
        final = final and not any(_reaches(true_up, draft, accounts) for draft in drafts)
    made = Charged(contract.id, item.timestamp_us, late_us, item.id, amount, final, None)
    if not contract.charges_on_usage_invoices or true_up is not None or late_us or item.timestamp_us % HOUR_US:
        return made
    end = item.timestamp_us // HOUR_US
    if any((bill.contract, bill.period[1]) == (contract.id, end) for bill in [*accounts.final, *drafts]):
        return made._replace(on=(contract.id, end))
    ends = [each.ending_hour for each in periods_between(contract.schedule, contract.starting_hour, contract.ending_hour, 0, end)]
    return None if item.timestamp_us > now_us and end in ends else made


def unspent(commit: Balance, bills: Sequence[Bill], at_us: int) -> Fraction:
    left = Fraction(0)
    for segment in commit.segments:
        later = sum((Fraction(each.amount) for each in commit.manual_entries if each.timestamp_us > at_us), Fraction(0))
        left += granted(commit, segment) - sum((bill.drawn(commit, segment) for bill in bills), Fraction(0))
        left -= later if segment is commit.segments[0] else 0
    return max(left, Fraction(0))


def _reaches(commit: Balance, draft: Bill, accounts: Accounts) -> bool:
    (contract,) = (each for each in accounts.config.contracts if each.id == draft.contract)
    hours = {hour for segment in commit.segments for hour in range(segment.starting_hour, segment.ending_hour)}
    return is_for(commit, contract) and not hours.isdisjoint(range(*draft.period))
