"""Shares: what each seat has of what a recurring commit or credit grants in a period; and all of them as the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from engine.balances.ledger import BalanceStatement, LedgerEntry
from engine.balances.seats import Assigned, assigned_spans
from engine.catalog import Allocation, Balance, Contract, InvoiceItem, RecurringBalance, Segment
from engine.numbers import ZERO
from engine.periods import Period


class Seats(NamedTuple):
    """Those of one subscription."""

    group_key: str
    spans: Sequence[Assigned]


def seats_of(recurring: RecurringBalance, contract: Contract) -> Seats | None:
    """The seats that each have a share; None unless shares are INDIVIDUAL."""
    link = recurring.link
    if link is None or link.allocation is not Allocation.INDIVIDUAL:
        return None
    for subscription in contract.subscriptions:
        if subscription.id == link.subscription_id and subscription.seat_group_key is not None:
            return Seats(subscription.seat_group_key, tuple(assigned_spans(subscription, contract)))
    return Seats("", ())


def assigned_within(period: Period, spans: Iterable[Assigned]) -> Iterable[Assigned]:
    """Each seat that is assigned in some hour of the period, from its first assignment there to its last removal."""
    found: dict[str, Assigned] = {}
    for span in spans:
        if span.starting_hour < period.ending_hour and period.starting_hour < span.ending_hour:
            first = found.get(span.seat_id, span)
            found[span.seat_id] = first._replace(ending_hour=max(first.ending_hour, span.ending_hour))
    return found.values()


def one_share(whole: Balance, assigned: Assigned, group_key: str) -> Balance:
    """One seat's share of a child. ``whole``: what is granted to a seat that is assigned then."""
    ended = tuple(replace(each, ending_hour=min(each.ending_hour, assigned.ending_hour)) for each in whole.segments)
    return replace(
        whole,
        id=named(whole.id, f"seat:{assigned.seat_id}"),
        segments=ended,
        invoice_items=tuple(replace(each, id=named(each.id, f"seat:{assigned.seat_id}")) for each in whole.invoice_items),
        manual_entries=tuple(entry for entry in whole.manual_entries if entry.seat_id == assigned.seat_id),
        seat=(group_key, assigned.seat_id),
        share_of=whole.id,
    )


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


def named(owner_id: str, name: object) -> str:
    """The id of something that a recurring commit or credit makes: the same whenever it is made."""
    return str(uuid5(NAMESPACE_URL, f"tidemark:recurring:{owner_id}:{name}"))
