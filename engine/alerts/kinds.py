"""Families of alert types: what each measures, and on which side of its threshold the alarm is.

    gauges       spend, usage: rise, and are followed event by event (engine.live)
    balances     what is left of commits, credits or both, as an amount or in percent of what was granted: fall
    seats        what is left of the commits and credits of one seat: falls
    days         how long a segment of a commit or credit still lasts: falls with time alone
    invoices     the total of each invoice, or of all invoices of a month (engine.owed): rises

The last four are read from a statement (engine.standing). Comparisons include the threshold itself on either side.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.alerts.fields import selected_by_fields
from engine.catalog import AccessType, Alert, AlertType, Balance, BalanceType, Contract, CustomFieldFilter
from engine.frames import NEVER_HOUR
from engine.periods import Period

ENDLESS = Period(0, NEVER_HOUR)
"""The one period of a balance, or of a segment, which no billing period resets."""

_COMMITS = frozenset({BalanceType.PREPAID, BalanceType.POSTPAID})
_CREDITS = frozenset({BalanceType.CREDIT})

BALANCE_TYPES = {
    AlertType.CREDIT_BALANCE: _CREDITS,
    AlertType.COMMIT_BALANCE: _COMMITS,
    AlertType.TOTAL_BALANCE: _CREDITS | _COMMITS,
    AlertType.CREDIT_PERCENTAGE: _CREDITS,
    AlertType.COMMIT_PERCENTAGE: _COMMITS,
    AlertType.TOTAL_PERCENTAGE: _CREDITS | _COMMITS,
    AlertType.CREDIT_SEGMENT_DAYS: _CREDITS,
    AlertType.COMMIT_SEGMENT_DAYS: _COMMITS,
    AlertType.SEAT_BALANCE: _CREDITS | _COMMITS,
}
"""Which balances an alert type looks at."""

AMOUNTS = frozenset({AlertType.CREDIT_BALANCE, AlertType.COMMIT_BALANCE, AlertType.TOTAL_BALANCE})
PERCENTAGES = frozenset({AlertType.CREDIT_PERCENTAGE, AlertType.COMMIT_PERCENTAGE, AlertType.TOTAL_PERCENTAGE})
DAYS = frozenset({AlertType.CREDIT_SEGMENT_DAYS, AlertType.COMMIT_SEGMENT_DAYS})
INVOICES = frozenset({AlertType.INVOICE_TOTAL, AlertType.MONTH_TOTAL})
GAUGED = frozenset({AlertType.SPEND_THRESHOLD, AlertType.USAGE_THRESHOLD})


def selects(alert: Alert, balance: Balance, contracts: dict[str, Contract]) -> bool:
    """Whether a balance is among those that an alert of the balances or days family measures. Amounts and percentages are those
    of money in one credit type, or of units of usage; days are of either. Balances of seats are for alerts on seats alone, by
    their group key; which seat an alert names is not looked at here."""
    if balance.type not in BALANCE_TYPES[alert.type]:
        return False
    if (None if balance.seat is None else balance.seat[0]) != (None if alert.seat_filter is None else alert.seat_filter[0]):
        return False
    if alert.type not in DAYS:
        if balance.access_type is not alert.access_type:
            return False
        if alert.access_type is AccessType.SPEND and balance.credit_type_id != alert.credit_type_id:
            return False
    return selected_by_fields(alert, balance, contracts)


def bills(alert: Alert, contract: Contract) -> bool:
    """Whether an invoice alert is about a contract's invoices."""
    return contract_has(contract, alert.custom_field_filters)


def contract_has(contract: Contract, filters: Iterable[CustomFieldFilter]) -> bool:
    """Whether a contract has all the custom fields that filters of its entity ask for."""
    return all((wanted.key, wanted.value) in contract.custom_fields for wanted in filters)
