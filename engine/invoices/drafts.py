"""One invoice: usage lines, what balances in custom units pay of them, the conversion of the rest, what balances in fiat pay.

    charges in a custom unit ──► balances in that unit ──► the rest: a cpu_conversion line ──┐
    charges in fiat ─────────────────────────────────────────────────────────────────────────┴─► balances in fiat ──► total

Charges are usage and subscriptions.

A unit that its rate card does not convert stays as it is; it is no part of the total. What a postpaid commit in a custom unit
covers is still owed in money: it is converted on a line of its own, which no balance pays, so that no usage is paid twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from engine.balances.draw import Applied, DrawLine, LineKind, Pool, PoolsInOrder, draw_down
from engine.balances.ledger import Deduction, manual_sum
from engine.balances.matching import UsageKey, may_draw, precedence
from engine.balances.rollover import Taken, roll_over
from engine.catalog import USD_CENTS, AccessType, Balance, BalanceType, Contract, CustomerConfig, Segment
from engine.compiled import CompiledCatalog
from engine.invoices.composite import composite_lines
from engine.invoices.items import Increment, Invoice, InvoiceStatus, ItemType, LineItem, invoice_id, invoice_total
from engine.invoices.lines import OwnPrices, Payers, contract_lines
from engine.invoices.paid import Paid, paid_parts
from engine.invoices.scheduled import on_usage_invoice
from engine.invoices.subscriptions import placed, subscription_lines
from engine.invoices.usage import HourlyUsage
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period

_CONVERSION_NAME = "Conversion of pricing units"
_COMMITTED_NAME = "Conversion of pricing units under a postpaid commit"


class _Terms(NamedTuple):
    """In what a contract is billed: its fiat currency, and fiat for each unit of those custom ones that are converted."""

    fiat: str
    conversions: Mapping[str, Decimal]


class Drafting:
    """Makes a customer's invoices one after the other; each takes what those before it have left in ``pools``. ``taken``: what
    has been rolled over so far."""

    __slots__ = (
        "_compiled",
        "_config",
        "_contracts",
        "_grace_hours",
        "_in_order",
        "_to_roll_over",
        "_usage",
        "pools",
        "taken",
    )

    def __init__(
        self,
        config: CustomerConfig,
        compiled: CompiledCatalog,
        usage: HourlyUsage,
        grace_hours: int,
        deductions: Sequence[Deduction],
    ) -> None:
        """``deductions``: what final invoices drew."""
        self._config = config
        self._compiled = compiled
        self._usage = usage
        self._grace_hours = grace_hours
        self.pools = _pools(config.balances, compiled, deductions)
        self._in_order = PoolsInOrder(self.pools)
        self._contracts = {contract.id: contract for contract in config.contracts}
        self._to_roll_over = [pool for pool in self.pools if pool.balance.rolled_over is not None]
        self.taken: list[Taken] = []

    def invoice(self, contract: Contract, period: Period, own_id: str | None = None) -> Invoice:
        """The draft of one billing period. ``own_id``: of one that takes another's place. The invoices of a contract that this
        one renews come before it."""
        self.roll_over(contract.id)
        terms = self._terms(contract)
        payers = Payers(
            lambda usage, unit: self._cuts(terms, usage, unit), lambda usage, unit: self._own_prices(contract, usage, unit)
        )
        lines = contract_lines(contract, period, self._compiled, self._usage, payers)
        lines += subscription_lines(contract, period, self._compiled)
        composites = self._compiled.composites(contract)
        lines += composite_lines(contract.id, period, composites, lines, lambda usage, unit: self._cuts(terms, usage, unit))
        custom = self._pay(contract.id, period, [item for item in lines if item.credit_type_id != terms.fiat])
        conversion_cuts = self._boundaries(UsageKey(contract.id, None), terms.fiat)
        conversions, committed = _conversions(custom, terms, period, conversion_cuts)
        fiat = self._pay(contract.id, period, [*(item for item in lines if item.credit_type_id == terms.fiat), *conversions])
        items = [each for paid in (*custom, *fiat) for each in (paid.item, *paid.applied)]
        items.extend(committed)
        items.extend(on_usage_invoice(self._config, contract, period, terms.fiat))
        return Invoice(
            id=own_id or invoice_id(contract.id, period),
            customer_id=self._config.id,
            contract_id=contract.id,
            period=period,
            issued_us=(period.ending_hour + self._grace_hours) * HOUR_US,
            status=InvoiceStatus.DRAFT,
            credit_type_id=terms.fiat,
            total=invoice_total(terms.fiat, tuple(items)),
            line_items=tuple(items),
        )

    def roll_over(self, contract_id: str | None = None) -> None:
        """Settles the amounts of the balances that were rolled over to a contract; None: to any that have no invoice yet."""
        for pool in [each for each in self._to_roll_over if contract_id in (None, each.balance.contract_id)]:
            self._to_roll_over.remove(pool)
            taken = roll_over(pool, self.pools, self._contracts)
            self.taken += taken
            pool.segment = replace(pool.segment, amount=sum((each.amount for each in taken), ZERO))
            pool.left = max(pool.segment.amount + pool.left, ZERO)

    def _terms(self, contract: Contract) -> _Terms:
        card = self._compiled.catalog.rate_cards.get(contract.rate_card_id or "")
        return _Terms(USD_CENTS, {}) if card is None else _Terms(card.fiat_credit_type_id, dict(card.conversions))

    def _cuts(self, terms: _Terms, usage: UsageKey, unit: str) -> list[int]:
        """Where segments that may pay this usage begin and end, those that may pay its conversion included."""
        cuts = self._boundaries(usage, unit)
        if unit in terms.conversions:
            cuts.extend(self._boundaries(UsageKey(usage.contract_id, None), terms.fiat))
        return cuts

    def _boundaries(self, usage: UsageKey, unit: str) -> list[int]:
        paying = [pool.segment for pool in self._in_order.of(usage) if may_draw(pool.balance, usage, unit)]
        return [hour for segment in paying for hour in (segment.starting_hour, segment.ending_hour)]

    def _own_prices(self, contract: Contract, usage: UsageKey, unit: str) -> list[OwnPrices]:
        return [
            OwnPrices(pool.balance.id, pool.segment.starting_hour, pool.segment.ending_hour, book)
            for pool in self._in_order.of(usage)
            if pool.balance.access_type is AccessType.SPEND
            and may_draw(pool.balance, usage, unit)
            and (book := self._compiled.draw_book(contract, pool.balance)) is not None
        ]

    def _pay(self, contract_id: str, period: Period, items: Sequence[LineItem]) -> list[Paid]:
        applied: list[list[Applied]] = [[] for _ in items]
        drawn = draw_down([_draw_line(contract_id, period, item) for item in items], self.pools)
        for each in drawn.applied:
            applied[each.line].append(each)
        return [part for paid in zip(items, applied, drawn.unpaid, strict=True) for part in paid_parts(*paid)]


def _pools(balances: Iterable[Balance], compiled: CompiledCatalog, deductions: Sequence[Deduction]) -> list[Pool]:
    drawn: dict[tuple[str, str], Decimal] = {}
    for balance_id, segment_id, _, _, amount in deductions:
        drawn[balance_id, segment_id] = drawn.get((balance_id, segment_id), ZERO) + amount
    return [
        Pool(
            balance=balance,
            segment=segment,
            order=precedence(balance, segment, compiled.catalog.products),
            left=_left(balance, segment, drawn.get((balance.id, segment.id), ZERO)),
        )
        for balance in balances
        if not balance.archived
        for segment in balance.segments
    ]


def _left(balance: Balance, segment: Segment, drawn: Decimal) -> Decimal:
    """Of a rolled-over balance without its amount, which is not known yet."""
    left = segment.amount + manual_sum(balance, segment.id) - drawn
    return left if balance.rolled_over is not None else max(left, ZERO)


def deductions_of(invoice: Invoice) -> list[Deduction]:
    """What an invoice drew, by segment: money, or units where these are drawn. A void one has given it back."""
    if invoice.status is InvoiceStatus.VOID:
        return []
    drawn: dict[tuple[str, str], Decimal] = {}
    for item in invoice.line_items:
        if item.type is ItemType.APPLIED and item.balance_id is not None and item.segment_id is not None:
            key = item.balance_id, item.segment_id
            amount = ZERO - item.total if item.quantity is None else item.quantity
            drawn[key] = drawn.get(key, ZERO) + amount
    ended_us = invoice.period.ending_hour * HOUR_US
    return [Deduction(balance_id, segment_id, invoice.id, ended_us, amount) for (balance_id, segment_id), amount in drawn.items()]


_KINDS = {
    ItemType.USAGE: LineKind.USAGE,
    ItemType.SUBSCRIPTION: LineKind.SUBSCRIPTION,
    ItemType.CPU_CONVERSION: LineKind.CONVERSION,
}


def _draw_line(contract_id: str, period: Period, item: LineItem) -> DrawLine:
    """A subscription is paid by what is open in its first hour, or in the invoice's if that is later."""
    assert item.unit_price is not None  # usage, subscriptions and conversions have one
    start, end = item.starting_hour, item.ending_hour
    if item.type is ItemType.SUBSCRIPTION:
        start = max(start, period.starting_hour)
        end = start + 1
    key = UsageKey(contract_id, item.product_id, item.product_tags, item.pricing_group_values, item.presentation_group_values)
    return DrawLine(
        usage=key,
        credit_type_id=item.credit_type_id,
        starting_hour=start,
        ending_hour=end,
        unit_price=item.unit_price,
        name=item.name,
        amount=item.total,
        units=item.quantity or ZERO,
        kind=LineKind.COMPOSITE if item.is_composite else _KINDS[item.type],
        prices=dict(item.draw_prices),
    )


def _conversions(
    custom: Sequence[Paid], terms: _Terms, period: Period, cuts: Iterable[int]
) -> tuple[list[LineItem], list[LineItem]]:
    """(conversions of what nothing has covered, conversions of what postpaid commits have covered), by stretch between cuts."""
    still_open: list[LineItem] = []
    committed: list[LineItem] = []
    inner = {cut for cut in cuts if period.starting_hour < cut < period.ending_hour}
    for unit, rate in sorted(terms.conversions.items()):
        for start, end in pairwise(sorted({*period, *inner})):
            here = [paid for paid in custom if paid.item.credit_type_id == unit and start <= placed(paid.item, period) < end]
            applied = [item for paid in here for item in paid.applied]
            rest = _units([paid.item for paid in here] + applied)
            covered = _units([item for item in applied if item.balance_type is BalanceType.POSTPAID])
            empty = LineItem(
                type=ItemType.CPU_CONVERSION,
                name=_CONVERSION_NAME,
                credit_type_id=terms.fiat,
                total=ZERO,
                starting_hour=start,
                ending_hour=end,
                unit_price=rate,
                custom_credit_type_id=unit,
            )
            still_open.extend(_converted(empty, rest, rate))
            committed.extend(
                _converted(replace(empty, name=_COMMITTED_NAME), {hour: ZERO - paid for hour, paid in covered.items()}, rate)
            )
    return still_open, committed


def _units(items: Iterable[LineItem]) -> dict[int, Decimal]:
    """The sum of these items' amounts, hour by hour."""
    units: dict[int, Decimal] = {}
    for item in items:
        for hour, _, amount in item.increments:
            units[hour] = units.get(hour, ZERO) + amount
    return units


def _converted(empty: LineItem, units: Mapping[int, Decimal], rate: Decimal) -> list[LineItem]:
    """The conversion of these units; none if they come to zero."""
    quantity = sum(units.values(), ZERO)
    if not quantity:
        return []
    increments = tuple(Increment(hour, units[hour], units[hour] * rate) for hour in sorted(units) if units[hour])
    return [replace(empty, quantity=quantity, total=quantity * rate, increments=increments)]
