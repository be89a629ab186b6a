"""What a customer owes and has at a moment: drafts of all live billing periods, drawn from the balances in order.

Live are the billing periods that have begun and whose grace period has not ended. Invoices draw on the balances in the order
of their periods' ends (then starts, then contract ids): so those in grace come first, and it is the order in which they become
final. A draft takes what final invoices have left.

No hour of a contract is billed twice: where a contract's end was moved after its last invoice became final, the next invoice
begins where that one ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from engine.balances.ledger import BalanceStatement, Deduction, TrueUp, balance_statement
from engine.balances.matching import covers_contract
from engine.balances.recurring import with_children
from engine.balances.rollover import Taken
from engine.catalog import Balance, BalanceType, Contract, CustomerConfig
from engine.compiled import CompiledCatalog
from engine.invoices.drafts import Drafting, deductions_of
from engine.invoices.items import Invoice, InvoiceStatus
from engine.invoices.scheduled import scheduled_invoices
from engine.invoices.usage import HourlyUsage
from engine.invoices.voids import to_make_again, with_voids
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period, period_at, periods_between


@dataclass(frozen=True, slots=True)
class Statement:
    """``drafts``: in the order in which they draw. ``scheduled``: all SCHEDULED invoices, by date. ``finalized``: the final USAGE
    ones, of which some may be void. ``balances``: all that are not archived, in the configuration's order; children of recurring
    ones up to the end of the drafts' periods, appeared or not."""

    drafts: tuple[Invoice, ...]
    balances: tuple[BalanceStatement, ...]
    scheduled: tuple[Invoice, ...] = ()
    finalized: tuple[Invoice, ...] = ()


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

    ``finalized``: all final invoices of the customer; what they have billed has no draft. Exact arithmetic must be current
    (engine.numbers)."""
    now_hour = now_us // HOUR_US
    config = with_children(config, reach_hour(config, now_hour))
    finalized = with_voids(config, finalized)
    deductions = [deduction for invoice in finalized for deduction in deductions_of(invoice)]
    deducted: dict[str, list[Deduction]] = {}
    for deduction in deductions:
        deducted.setdefault(deduction.balance_id, []).append(deduction)
    drafting = Drafting(config, compiled, usage, grace_hours, deductions)
    live = _unbilled(config, finalized, now_hour - grace_hours, now_hour + 1)
    drafts = [drafting.invoice(contract, period) for contract, period in live]
    drafting.roll_over()
    amounts = {(pool.balance.id, pool.segment.id): pool.segment.amount for pool in drafting.pools if pool.balance.rolled_over}
    taken: dict[str, list[Taken]] = {}
    for each in drafting.taken:
        if each.ended_hour <= now_hour:
            taken.setdefault(each.balance_id, []).append(each)
    drafted: dict[tuple[str, str], Decimal] = {}
    pending = [deduction for draft in drafts for deduction in deductions_of(draft)]
    for balance_id, segment_id, _, _, amount in pending:
        drafted[balance_id, segment_id] = drafted.get((balance_id, segment_id), ZERO) + amount
    scheduled = scheduled_invoices(config, [*finalized, *drafts], [*deductions, *pending], now_us)
    true_ups = _true_ups(scheduled)
    balances = [
        balance_statement(
            _with_amounts(balance, amounts),
            deducted.get(balance.id, ()),
            {segment.id: drafted.get((balance.id, segment.id), ZERO) for segment in balance.segments},
            [_drawing(contract, period) for contract, period in live if covers_contract(balance, contract.id)],
            now_us,
            taken.get(balance.id, ()),
            true_ups.get(balance.id),
        )
        for balance in config.balances
        if not balance.archived
    ]
    return Statement(tuple(drafts), tuple(balances), tuple(scheduled), finalized)


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
    reach), whose grace period has ended by now, and that ``finalized`` has not billed; in the order in which they draw. Those
    that take the place of voided ones come before them."""
    until_hour = now_us // HOUR_US - grace_hours
    config = with_children(config, reach_hour(config, until_hour))
    finalized = with_voids(config, finalized)
    deductions = [deduction for invoice in finalized for deduction in deductions_of(invoice)]
    drafting = Drafting(config, compiled, usage, grace_hours, deductions)
    ended = [each for each in _unbilled(config, finalized, from_hour, until_hour) if each[1].ending_hour <= until_hour]
    again = [drafting.invoice(contract, period, own_id) for own_id, contract, period in to_make_again(config, finalized)]
    made = [invoice.finalized() for invoice in (*again, *(drafting.invoice(contract, period) for contract, period in ended))]
    if not to_make_again(config, [*finalized, *made]):
        return made
    common = {"now_us": now_us, "grace_hours": grace_hours, "from_hour": until_hour}
    return [*made, *finalize(config, compiled, usage, finalized=[*finalized, *made], **common)]


def _true_ups(scheduled: Iterable[Invoice]) -> dict[str, TrueUp]:
    """By balance."""
    return {
        item.balance_id: TrueUp(invoice.id, invoice.issued_us, invoice.status is InvoiceStatus.FINALIZED)
        for invoice in scheduled
        for item in invoice.line_items
        if item.balance_id is not None and item.balance_type is BalanceType.POSTPAID and invoice.status is not InvoiceStatus.VOID
    }


def _with_amounts(balance: Balance, amounts: Mapping[tuple[str, str], Decimal]) -> Balance:
    """A rolled-over balance with what was rolled over."""
    if balance.rolled_over is None:
        return balance
    return replace(
        balance, segments=tuple(replace(segment, amount=amounts[balance.id, segment.id]) for segment in balance.segments)
    )


def _drawing(contract: Contract, period: Period) -> Period:
    """The hours whose balances an invoice may draw on: a subscription's charge in advance is for the hour after the period."""
    return Period(period.starting_hour, period.ending_hour + 1) if contract.subscriptions else period


def reach_hour(config: CustomerConfig, hour: int) -> int:
    """Balances that begin before this hour can pay something on the invoices of periods that have begun by ``hour``. It does not
    depend on ``hour`` within a billing period, so that time alone changes no draft there."""
    periods = (period_at(contract.schedule, contract.starting_hour, contract.ending_hour, hour) for contract in config.contracts)
    return max((period.ending_hour for period in periods if period is not None), default=hour) + 1


def _unbilled(
    config: CustomerConfig, finalized: Sequence[Invoice], from_hour: int, until_hour: int
) -> list[tuple[Contract, Period]]:
    """The billing periods that share an hour with [from_hour, until_hour) and have no final invoice, in the order of drawing."""
    billed_until: dict[str, int] = {}
    for invoice in finalized:
        billed_until[invoice.contract_id] = max(invoice.period.ending_hour, billed_until.get(invoice.contract_id, 0))

    def found() -> Iterator[tuple[Contract, Period]]:
        for contract in config.contracts:
            billed = billed_until.get(contract.id, 0)
            for period in periods_between(contract.schedule, contract.starting_hour, contract.ending_hour, from_hour, until_hour):
                if billed < period.ending_hour:
                    yield contract, Period(max(period.starting_hour, billed), period.ending_hour)

    return sorted(found(), key=lambda each: (each[1].ending_hour, each[1].starting_hour, each[0].id))
