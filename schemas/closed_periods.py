"""Billing periods of a contract that are closed already when it gets them: no invoice will bill their usage. Pure.

A contract that begins in the past, or whose end is moved on after it had passed, has billing periods that ended long ago. Those
up to which the customer's invoices are final (else: whose grace period is over) stay without an invoice: what was final must
not change, so that usage of that time stays in usage windows alone and draws nothing. Who asks for such a contract is told.
"""

from __future__ import annotations

from engine.effects import Rejection
from engine.periods import HOUR_US, period_at, periods_between
from schemas.documents import Document, contract_of, instant_text, instant_us


def closed_warnings(place: str, before: Document | None, after: Document, closed_hour: int) -> list[str]:
    """``before``: the contract as it was, None for a new one; ``closed_hour``: periods that end by then get no invoice."""
    contract = contract_of(after)
    had_until = None if before is None else contract_of(before).ending_hour
    if before is not None and had_until is None:
        return []
    from_hour = contract.starting_hour if had_until is None else had_until
    brought = periods_between(contract.schedule, contract.starting_hour, contract.ending_hour, from_hour, closed_hour)
    ends = [period.ending_hour for period in brought if from_hour < period.ending_hour <= closed_hour]
    if not ends:
        return []
    start, end = instant_text(from_hour * HOUR_US), instant_text(max(ends) * HOUR_US)
    return [
        f"{place}: usage from {start} to {end} is on no invoice and draws nothing, whether it is stored or comes in late: "
        "the billing periods of that time are closed. What is scheduled there is invoiced"
    ]


def on_no_invoice(customer: Document, timestamp_us: int, appended_us: int, grace_hours: int) -> Rejection | None:
    """Why no invoice will hold an event that was applied; None if one may (whether its usage has a price is not looked at)."""
    hour = timestamp_us // HOUR_US
    ends: list[int] = []
    for document in customer["contracts"]:
        contract = contract_of(document)
        period = period_at(contract.schedule, contract.starting_hour, contract.ending_hour, hour)
        if document["archived_at"] is not None or period is None:
            continue
        closing_us = (period.ending_hour + grace_hours) * HOUR_US
        if max(appended_us, instant_us(document["created_at"])) < closing_us:
            return None
        ends.append(period.ending_hour)
    if not ends:
        return Rejection("no_contract", "no contract of the customer covers its time: it counts as usage, and is on no invoice")
    end = instant_text(max(ends) * HOUR_US)
    return Rejection(
        "after_finalization",
        f"its billing period ended at {end}, and was closed {grace_hours} hours later, before the event came or the contract was "
        "made: it counts as usage, and is on no invoice",
    )
