"""Invoices and their line items, as data. Amounts in units of a credit type (US dollars: cents); hours since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from engine.catalog import BalanceType
from engine.numbers import ZERO
from engine.periods import Period

Pairs = tuple[tuple[str, str], ...]
"""Group keys and their values, sorted by key."""

PresentationPairs = tuple[tuple[str, str | None], ...]
"""As Pairs; a value of None stands for usage that lacks the property."""


class ItemType(StrEnum):
    USAGE = "usage"
    SUBSCRIPTION = "subscription"
    APPLIED = "applied_commit_or_credit"
    CPU_CONVERSION = "cpu_conversion"
    SCHEDULED = "scheduled"
    COMMIT_PURCHASE = "commit_purchase"


class InvoiceType(StrEnum):
    USAGE = "USAGE"
    SCHEDULED = "SCHEDULED"


class InvoiceStatus(StrEnum):
    DRAFT = "DRAFT"
    FINALIZED = "FINALIZED"
    VOID = "VOID"


class Increment(NamedTuple):
    """What an hour (in a stored invoice: the UTC day that begins with it) added to a line item.
    ``quantity``: 0 where the item has none."""

    hour: int
    quantity: Decimal
    amount: Decimal


class TierOfItem(NamedTuple):
    """``level`` counts from 1; ``starting_at`` and ``size`` in billed units; None = the open last tier."""

    level: int
    starting_at: Decimal
    size: Decimal | None


@dataclass(frozen=True, slots=True)
class LineItem:
    """One line of an invoice.

    USAGE: ``quantity`` units of a product at ``unit_price`` in the hours [starting_hour, ending_hour); a tiered line is one item
    for each tier. The balance fields name the one segment that paid all of it; None if none or several did.
    SUBSCRIPTION: ``quantity`` units of a subscription at ``unit_price`` for the hours [starting_hour, ending_hour), which may lie
    outside the invoice's period; what it adds is placed at the nearest hour of the period.
    Of a composite (``is_composite``): ``quantity`` is spend, ``unit_price`` the fraction of it that is charged.
    CPU_CONVERSION: ``quantity`` custom units (of ``custom_credit_type_id``) at ``unit_price`` fiat each.
    APPLIED: ``total`` is below zero; ``balance_id``, ``balance_type`` and ``segment_id`` say what paid, product, group
    values and tier what it paid for. An API names it after the balance's product ("<product> applied"). ``quantity``: the units
    drawn from a balance of access type QUANTITY.
    SCHEDULED, COMMIT_PURCHASE: ``item_id`` of the schedule of a scheduled charge, or of the commit ``balance_id`` (of a postpaid
    one its true-up), charged in the hour ``starting_hour``. A name of "" stands for the product's.
    ``draw_prices``: (balance id, unit price) of balances that draw at a price of their own; only until it is drawn.
    ``increments``: what each hour added, oldest first; they add up to ``quantity`` and ``total``.
    """

    type: ItemType
    name: str
    credit_type_id: str
    total: Decimal
    starting_hour: int
    ending_hour: int
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    product_id: str | None = None
    product_tags: frozenset[str] = frozenset()
    pricing_group_values: Pairs = ()
    presentation_group_values: PresentationPairs = ()
    tier: TierOfItem | None = None
    custom_credit_type_id: str | None = None
    balance_id: str | None = None
    balance_type: BalanceType | None = None
    segment_id: str | None = None
    subscription_id: str | None = None
    increments: tuple[Increment, ...] = ()
    draw_prices: tuple[tuple[str, Decimal], ...] = ()
    scheduled_charge_id: str | None = None
    item_id: str | None = None
    is_composite: bool = False


@dataclass(frozen=True, slots=True)
class Invoice:
    """The USAGE invoice of one contract and billing period, or a SCHEDULED one of a date (engine.invoices.scheduled).

    ``total``: in ``credit_type_id``, the contract's fiat currency: usage and conversions less what prepaid commits and credits
    paid. What a postpaid commit covers is still owed: its APPLIED items are listed, and not part of the total.
    Items in custom units are not part of it either; their conversion is.
    ``issued_us``: when its grace period ends and it becomes final; of a SCHEDULED one its date, which lies in the billing cycle
    ``period``.
    ``by_days``: its items' increments are days, not hours.
    """

    id: str
    customer_id: str
    contract_id: str
    period: Period
    issued_us: int
    status: InvoiceStatus
    credit_type_id: str
    total: Decimal
    line_items: tuple[LineItem, ...]
    by_days: bool = False
    type: InvoiceType = InvoiceType.USAGE

    def finalized(self) -> Invoice:
        return replace(self, status=InvoiceStatus.FINALIZED)


def invoice_id(contract_id: str, period: Period) -> str:
    """The same for a draft and for what becomes of it, and for a draft whose contract gets another end: no two billing periods
    of a contract begin at one time."""
    return str(uuid5(NAMESPACE_URL, f"tidemark:invoice:{contract_id}:{period.starting_hour}"))


def regenerated_id(invoice_id: str) -> str:
    """The id of the invoice that takes the place of a voided one."""
    return str(uuid5(NAMESPACE_URL, f"tidemark:regenerated:{invoice_id}"))


def invoice_total(credit_type_id: str, items: tuple[LineItem, ...]) -> Decimal:
    """See Invoice.total."""
    return sum((item.total for item in items if item.credit_type_id == credit_type_id and not _is_still_owed(item)), ZERO)


def _is_still_owed(item: LineItem) -> bool:
    """Whether the item pays, but only by a commitment to pay later."""
    return item.type is ItemType.APPLIED and item.balance_type is BalanceType.POSTPAID
