"""What the alerts on invoices measure: totals of single invoices, and of all invoices of a month.

*A single invoice* is measured while its billing period is live: from the period's start until its grace is over. A SCHEDULED one
belongs to the billing period (of its contract, or that would be, beyond the contract's ends) in which its date lies; so one that
is final as soon as it is there is noticed, too, and one that is due in years is not yet. Then it is told as resolved.

*A month* is a calendar month (UTC). It has the USAGE invoices whose billing period ends within it (an end at its last midnight is
within), drafts and final ones, and the SCHEDULED ones with a date in it, the coming ones included. It is measured while it
runs and until its grace is over. Void invoices count nowhere, nor do those in other credit types than the alert's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from engine.alerts.kinds import bills
from engine.catalog import Alert, AlertType, BalanceType, Contract, CustomerConfig
from engine.invoices.items import Invoice, InvoiceStatus, InvoiceType
from engine.invoices.scheduled import dues
from engine.invoices.statement import Statement
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period, calendar_month, cycle_at


class Owed(NamedTuple):
    """``group``: the sub-key of an alert's state. ``may_fall``: spend can lower it, as what a postpaid commit pays lowers its
    true-up."""

    period: Period
    group: tuple[str, ...]
    value: Decimal
    measure: Mapping[str, object]
    may_fall: bool


def owed(alert: Alert, config: CustomerConfig, statement: Statement, now_us: int, grace_hours: int) -> Iterator[Owed]:
    now_hour = now_us // HOUR_US
    if alert.type is AlertType.MONTH_TOTAL:
        yield from _months(alert, config, statement, now_hour, grace_hours)
        return
    contracts = {contract.id: contract for contract in config.contracts}
    invoices = [*statement.drafts, *(each for each in statement.scheduled if _is_live(each.period, now_hour, grace_hours))]
    for invoice in _wanted(alert, invoices, contracts):
        if alert.invoice_types is not None and invoice.type not in alert.invoice_types:
            continue
        group = (invoice.id,) if invoice.type is InvoiceType.USAGE else (invoice.id, invoice.type.value)
        measure = {
            "invoice_id": invoice.id,
            "invoice_total": invoice.total,
            "invoice_type": invoice.type.value,
            "contract_id": invoice.contract_id,
            "credit_type_id": alert.credit_type_id,
        }
        yield Owed(invoice.period, group, invoice.total, measure, _trues_up(invoice))


def nothing_owed(alert: Alert, group: tuple[str, ...]) -> dict[str, object]:
    """What is told of an invoice, or of a month, that is over. Its value is 0."""
    if alert.type is AlertType.MONTH_TOTAL:
        return _month_measure(alert, ZERO)
    kind = InvoiceType.USAGE.value if len(group) == 1 else group[1]
    return {"invoice_id": group[0], "invoice_total": ZERO, "invoice_type": kind, "credit_type_id": alert.credit_type_id}


def owed_instants(alerts: Iterable[Alert], config: CustomerConfig, after_us: int, grace_hours: int) -> set[int]:
    """Instants at which time alone changes what these alerts measure; after ``after_us`` at least the next one. ``config``: with
    the children of its recurring commits."""
    types = {alert.type for alert in alerts}
    hours: set[int] = set()
    if AlertType.INVOICE_TOTAL in types:
        for due in dues(config):
            cycle = cycle_at(due.contract.schedule, due.at_us // HOUR_US)
            hours.update((cycle.starting_hour, cycle.ending_hour + grace_hours))
    if AlertType.MONTH_TOTAL in types:
        now_hour = after_us // HOUR_US
        hours.add(calendar_month(now_hour).ending_hour)
        hours.update(month.ending_hour + grace_hours for month in _live_months(now_hour, grace_hours))
    return {hour * HOUR_US for hour in hours}


def _months(alert: Alert, config: CustomerConfig, statement: Statement, now_hour: int, grace_hours: int) -> Iterator[Owed]:
    contracts = {contract.id: contract for contract in (*config.contracts, *config.archived_contracts)}
    invoices = list(_wanted(alert, (*statement.finalized, *statement.drafts, *statement.scheduled), contracts))
    for month in _live_months(now_hour, grace_hours):
        inside = [each for each in invoices if month.starting_hour <= _counting_hour(each) < month.ending_hour]
        if inside:
            total = sum((each.total for each in inside), ZERO)
            yield Owed(month, (), total, _month_measure(alert, total), any(_trues_up(each) for each in inside))


def _month_measure(alert: Alert, total: Decimal) -> dict[str, object]:
    return {"monthly_invoice_total": total, "credit_type_id": alert.credit_type_id}


def _live_months(now_hour: int, grace_hours: int) -> Iterator[Period]:
    """The current month, and those whose grace is not over."""
    month = calendar_month(now_hour)
    while _is_live(month, now_hour, grace_hours):
        yield month
        month = calendar_month(month.starting_hour - 1)


def _is_live(period: Period, now_hour: int, grace_hours: int) -> bool:
    return period.starting_hour <= now_hour < max(period.ending_hour + grace_hours, period.starting_hour + 1)


def _counting_hour(invoice: Invoice) -> int:
    """An hour of the month in which an invoice counts."""
    return invoice.issued_us // HOUR_US if invoice.type is InvoiceType.SCHEDULED else invoice.period.ending_hour - 1


def _wanted(alert: Alert, invoices: Iterable[Invoice], contracts: Mapping[str, Contract]) -> Iterator[Invoice]:
    for invoice in invoices:
        contract = contracts.get(invoice.contract_id)
        if contract is None or invoice.status is InvoiceStatus.VOID or invoice.credit_type_id != alert.credit_type_id:
            continue
        if bills(alert, contract):
            yield invoice


def _trues_up(invoice: Invoice) -> bool:
    return invoice.type is InvoiceType.SCHEDULED and any(item.balance_type is BalanceType.POSTPAID for item in invoice.line_items)
