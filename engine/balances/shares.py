"""The shares of all seats in one period of a recurring commit or credit, as the one commit or credit that they are parts of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.balances.ledger import BalanceStatement, LedgerEntry
from engine.catalog import Balance, InvoiceItem, Segment
from engine.numbers import ZERO


def whole_balance(shares: Sequence[Balance]) -> Balance:
    """Segments and charges of the same id's shares are added up; a segment lasts as long as any seat's. At least one share."""
    first = shares[0]
    assert first.share_of is not None
    segments: dict[str, Segment] = {}
    for segment in (segment for share in shares for segment in share.segments):
        held = segments.get(segment.id, replace(segment, amount=ZERO))
        end = max(held.ending_hour, segment.ending_hour)
        segments[segment.id] = replace(held, amount=held.amount + segment.amount, ending_hour=end)
    items: dict[int, InvoiceItem] = {}
    for item in (item for share in shares for item in share.invoice_items):
        charged = items.get(item.timestamp_us, replace(item, quantity=ZERO))
        items[item.timestamp_us] = replace(charged, quantity=charged.quantity + item.quantity)
    return replace(
        first,
        id=first.share_of,
        segments=tuple(segments.values()),
        invoice_items=tuple(items.values()),
        manual_entries=tuple(entry for share in shares for entry in share.manual_entries),
        seat=None,
        share_of=None,
    )


def whole_statements(statements: Iterable[BalanceStatement]) -> list[BalanceStatement]:
    """Those of shares as one for each whole; the others are left out. The whole's segments are all seats'; its ledger has one
    entry for those of all seats that differ in nothing but their amount."""
    by_whole: dict[str, list[BalanceStatement]] = {}
    for each in statements:
        if each.balance.share_of is not None:
            by_whole.setdefault(each.balance.share_of, []).append(each)
    return [
        BalanceStatement(
            balance=whole_balance([share.balance for share in shares]),
            segments=tuple(segment for share in shares for segment in share.segments),
            ledger=_added_up(entry for share in shares for entry in share.ledger),
        )
        for shares in by_whole.values()
    ]


def _added_up(entries: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    found: dict[LedgerEntry, LedgerEntry] = {}
    for entry in entries:
        key = entry._replace(amount=ZERO)
        held = found.get(key, key)
        found[key] = held._replace(amount=held.amount + entry.amount)
    return tuple(sorted(found.values(), key=lambda entry: entry.timestamp_us))
