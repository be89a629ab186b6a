"""SCHEDULED invoices: what contracts charge on given dates, for scheduled charges and for commits.

    contract.scheduled_charges ──┐
    balance.invoice_items ───────┴──► dues ──► one invoice for each contract and date
                                          └──► or an item of the usage invoice that ends at that date

An invoice is there as a DRAFT from the moment its charges are known, and final from its date on: no usage changes it, so that it
has no grace period. It is not stored: what is due by its date is not changed any more (the API refuses that), so it can always
be told from the configuration. What is added with a date that is past makes an invoice of its own, at that date, final at once.

A *true-up* is what a postpaid commit was granted less what usage has drawn from it. Its invoice is final when its date has come
and no draft can draw on the commit any more: so late usage in a grace period is not charged twice. A usage
invoice that is voided after that date leaves it as it was.

Fixed charges are not paid by balances (the API: only usage, subscriptions, composites and conversions are).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from engine.balances.ledger import Deduction
from engine.balances.matching import covers_contract
from engine.catalog import Balance, BalanceType, Contract, CustomerConfig, InvoiceItem, ScheduledCharge
from engine.invoices.items import (
    Increment,
    Invoice,
    InvoiceStatus,
    InvoiceType,
    ItemType,
    LineItem,
    invoice_total,
    regenerated_id,
)
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period, cycle_at, period_at


class Due(NamedTuple):
    """One dated charge. ``added_us``: when it became known, if that was after its date; else 0."""

    contract: Contract
    source: ScheduledCharge | Balance
    item: InvoiceItem
    credit_type_id: str
    added_us: int

    @property
    def at_us(self) -> int:
        return self.item.timestamp_us

    @property
    def true_up_of(self) -> Balance | None:
        """The postpaid commit that it trues up, if it does."""
        source = self.source
        return source if isinstance(source, Balance) and source.type is BalanceType.POSTPAID else None


def dues(config: CustomerConfig) -> Iterator[Due]:
    """All of a customer; of archived contracts what was due by then. ``config``: with the children of its recurring commits."""
    return (due for due in _all_dues(config) if due.contract.archived_us is None or due.at_us <= due.contract.archived_us)


def _all_dues(config: CustomerConfig) -> Iterator[Due]:
    contracts = {contract.id: contract for contract in (*config.contracts, *config.archived_contracts)}
    for contract in contracts.values():
        for charge in contract.scheduled_charges:
            for item in charge.items:
                yield Due(contract, charge, item, charge.credit_type_id, _added_us(item, charge.created_us))
    for balance in config.balances:
        contract_id = balance.invoice_contract_id or balance.contract_id
        billed_on = None if contract_id is None else contracts.get(contract_id)
        if billed_on is not None:
            for item in balance.invoice_items:
                yield Due(billed_on, balance, item, balance.invoice_credit_type_id, _added_us(item, balance.created_us))


def _added_us(item: InvoiceItem, created_us: int) -> int:
    added_us = item.added_us or created_us
    return added_us if added_us > item.timestamp_us else 0


def scheduled_invoice_id(contract_id: str, timestamp_us: int, added_us: int = 0, credit_type_id: str = "") -> str:
    """The same for a draft and for what becomes of it. ``added_us``: as in ``Due``."""
    return str(uuid5(NAMESPACE_URL, f"tidemark:scheduled:{contract_id}:{timestamp_us}:{added_us}:{credit_type_id}"))


def invoice_id_of(due: Due) -> str:
    """The SCHEDULED invoice that bills it (unless a usage invoice does)."""
    return scheduled_invoice_id(due.contract.id, due.at_us, due.added_us, due.credit_type_id)


def true_up_invoice_id(config: CustomerConfig, balance: Balance) -> str | None:
    """The invoice that bills what is unspent of a postpaid commit; None for one without a true-up."""
    return next((invoice_id_of(due) for due in dues(config) if due.true_up_of is not None and due.source.id == balance.id), None)


def on_usage_invoice(config: CustomerConfig, contract: Contract, period: Period, credit_type_id: str) -> list[LineItem]:
    """What is a part of the invoice of a billing period: charges at its end, where the contract wants them there. A true-up is
    not: what it charges is known only when that invoice is final."""
    if not contract.charges_on_usage_invoices:
        return []
    return [
        _line(due, due.item.unit_price * due.item.quantity)
        for due in dues(config)
        if due.contract.id == contract.id
        and due.true_up_of is None
        and not due.added_us
        and due.credit_type_id == credit_type_id
        and due.at_us == period.ending_hour * HOUR_US
    ]


def scheduled_invoices(
    config: CustomerConfig, usage_invoices: Sequence[Invoice], drawn: Sequence[Deduction], now_us: int
) -> list[Invoice]:
    """All SCHEDULED invoices, by date. ``usage_invoices``: final ones and drafts; ``drawn``: what they drew."""
    billed = {item.item_id for invoice in usage_invoices for item in invoice.line_items if item.item_id is not None}
    together: dict[str, list[Due]] = {}
    for due in dues(config):
        if due.item.id not in billed and not _will_be_on_usage_invoice(due, now_us):
            together.setdefault(invoice_id_of(due), []).append(due)
    for invoice_id in config.regenerated:
        if invoice_id in together:
            together[regenerated_id(invoice_id)] = together[invoice_id]
    voided = {invoice_id for invoice_id, _ in config.voided}
    drafts = [invoice for invoice in usage_invoices if invoice.status is InvoiceStatus.DRAFT]
    drawn_then = [*((each, None) for each in drawn), *_given_back(config, usage_invoices)]
    found = [_invoice(config.id, invoice_id, group, drafts, drawn_then, now_us, voided) for invoice_id, group in together.items()]
    return sorted(found, key=lambda invoice: (invoice.issued_us, invoice.id))


def _will_be_on_usage_invoice(due: Due, now_us: int) -> bool:
    contract, hour = due.contract, due.at_us // HOUR_US
    if not contract.charges_on_usage_invoices or due.true_up_of is not None or due.at_us <= now_us or due.at_us % HOUR_US:
        return False
    period = period_at(contract.schedule, contract.starting_hour, contract.ending_hour, hour - 1)
    return period is not None and period.ending_hour == hour


def _invoice(
    customer_id: str,
    invoice_id: str,
    group: Sequence[Due],
    drafts: Sequence[Invoice],
    drawn: Sequence[tuple[Deduction, int | None]],
    now_us: int,
    voided: set[str],
) -> Invoice:
    first = group[0]
    items = tuple(_line(due, _amount(due, drawn)) for due in group)
    if invoice_id in voided or first.contract.voids_invoices:
        status = InvoiceStatus.VOID
    elif first.at_us <= now_us and not any(_may_still_draw(due, draft) for due in group for draft in drafts):
        status = InvoiceStatus.FINALIZED
    else:
        status = InvoiceStatus.DRAFT
    return Invoice(
        id=invoice_id,
        customer_id=customer_id,
        contract_id=first.contract.id,
        period=cycle_at(first.contract.schedule, first.at_us // HOUR_US),
        issued_us=first.at_us,
        status=status,
        credit_type_id=first.credit_type_id,
        total=invoice_total(first.credit_type_id, items),
        line_items=items,
        type=InvoiceType.SCHEDULED,
    )


def _given_back(config: CustomerConfig, usage_invoices: Iterable[Invoice]) -> Iterator[tuple[Deduction, int]]:
    """What postpaid commits had paid of invoices that are void, and when these were voided."""
    voided_us = dict(config.voided)
    archived_us = {contract.id: contract.archived_us for contract in config.archived_contracts}
    for invoice in usage_invoices:
        if invoice.status is InvoiceStatus.VOID:
            since_us = voided_us.get(invoice.id) or archived_us.get(invoice.contract_id) or 0
            for item in invoice.line_items:
                if item.type is ItemType.APPLIED and item.balance_type is BalanceType.POSTPAID:
                    balance_id, segment_id = item.balance_id or "", item.segment_id or ""
                    yield Deduction(balance_id, segment_id, invoice.id, since_us, ZERO - item.total), since_us


def _amount(due: Due, drawn: Iterable[tuple[Deduction, int | None]]) -> Decimal:
    """``drawn``: with the instant at which it was given back, if it was."""
    commit = due.true_up_of
    if commit is None:
        return due.item.unit_price * due.item.quantity
    granted = sum((segment.amount for segment in commit.segments), ZERO)
    manual = sum((entry.amount for entry in commit.manual_entries if entry.timestamp_us <= due.at_us), ZERO)
    spent = sum(
        (
            each.amount
            for each, given_back_us in drawn
            if each.balance_id == commit.id and (given_back_us is None or given_back_us > due.at_us)
        ),
        ZERO,
    )
    return max(granted + manual - spent, ZERO)


def _may_still_draw(due: Due, draft: Invoice) -> bool:
    commit = due.true_up_of
    return (
        commit is not None
        and covers_contract(commit, draft.contract_id)
        and any(
            segment.starting_hour < draft.period.ending_hour and draft.period.starting_hour < segment.ending_hour
            for segment in commit.segments
        )
    )


def _line(due: Due, amount: Decimal) -> LineItem:
    commit = due.source if isinstance(due.source, Balance) else None
    true_up, hour = due.true_up_of is not None, due.at_us // HOUR_US
    quantity = Decimal(1) if true_up else due.item.quantity
    return LineItem(
        type=ItemType.SCHEDULED if commit is None else ItemType.COMMIT_PURCHASE,
        name="" if isinstance(due.source, Balance) else due.source.name or "",
        credit_type_id=due.credit_type_id,
        total=amount,
        starting_hour=hour,
        ending_hour=hour + 1,
        quantity=quantity,
        unit_price=amount if true_up else due.item.unit_price,
        product_id=due.source.product_id,
        balance_id=None if commit is None else commit.id,
        balance_type=None if commit is None else commit.type,
        scheduled_charge_id=due.source.id if commit is None else None,
        item_id=due.item.id,
        increments=(Increment(hour, quantity, amount),),
    )
