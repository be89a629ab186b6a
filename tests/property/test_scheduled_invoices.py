"""SCHEDULED invoices, and charges on usage invoices, against a recomputation that shares no code with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import BalanceType, Catalog, CustomerConfig, InvoiceItem, ScheduledCharge
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.items import Invoice, InvoiceStatus
from engine.invoices.statement import Statement
from engine.numbers import exact
from tests.property.test_statement import BOUNDARY, WEEK, Books, customers, distinct, priced
from tests.strategies import HOUR_US, NOW_US, Step, streams
from tests.support.recomputed_invoice import Accounts
from tests.support.recomputed_scheduled import Charged, charged

BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def dated(draw: st.DrawFn, prefix: str) -> tuple[InvoiceItem, ...]:
    """Amounts around the end of a week, some between hours, some added after their date."""
    items = []
    for number in range(draw(st.integers(0, 3))):
        hour = BOUNDARY + draw(st.sampled_from([-WEEK, -30, 0, 0, 7, 60, WEEK]))
        at_us = hour * HOUR_US + draw(st.sampled_from([0, 0, 0, 1_000]))
        price, quantity = draw(
            st.sampled_from([(Decimal("2.5"), Decimal(4)), (Decimal(0), Decimal(1)), (Decimal("0.1"), Decimal(3))])
        )
        items.append(InvoiceItem(f"{prefix}{number}", at_us, price, quantity, draw(st.sampled_from([0, 0, 0, NOW_US]))))
    return tuple(items)


@st.composite
def charging(draw: st.DrawFn) -> CustomerConfig:
    config = draw(customers())
    contracts = tuple(
        replace(
            contract,
            scheduled_charges=(ScheduledCharge(f"{contract.id}-fee", "fixed", draw(dated(f"{contract.id}-")), "Fee"),),
            charges_on_usage_invoices=draw(st.booleans()),
        )
        for contract in config.contracts
    )
    balances = tuple(
        replace(
            balance,
            invoice_items=draw(dated(f"{balance.id}-"))[: 1 if balance.type is BalanceType.POSTPAID else 3],
            invoice_contract_id=draw(st.sampled_from([None, *(contract.id for contract in contracts)])),
        )
        for balance in config.balances
    )
    return replace(config, contracts=contracts, balances=balances)


@BOUNDED
@given(catalog=priced(), config=charging(), steps=streams(6), grace_hours=st.sampled_from([24, 0]))
def test_charges_are_billed_once_on_the_invoice_of_their_date(
    catalog: Catalog, config: CustomerConfig, steps: list[Step], grace_hours: int
) -> None:
    books, accounts = Books(catalog, config, grace_hours), Accounts(catalog, config, grace_hours)
    steps = distinct(steps)
    books.events = accounts.events = [step.event for step in steps]
    for now_us in (steps[-1].now_us, BOUNDARY * HOUR_US, (BOUNDARY + grace_hours) * HOUR_US, (BOUNDARY + WEEK) * HOUR_US):
        books.finalize(now_us)
        accounts.finalize(now_us // HOUR_US)
        assert_billed(books.look(now_us), charged(accounts, now_us))


def assert_billed(seen: Statement, expected: list[Charged]) -> None:
    together: dict[tuple[str, int, int], list[Charged]] = defaultdict(list)
    for each in expected:
        if each.on is None:
            together[each.contract, each.at_us, each.late_us].append(each)
    wanted = Counter((key[:2], all(each.final for each in group), items_of(group)) for key, group in together.items())
    assert Counter(as_expected(invoice) for invoice in seen.scheduled) == wanted
    assert len({invoice.id for invoice in seen.scheduled}) == len(seen.scheduled)
    for invoice in seen.scheduled:
        assert invoice.total == sum(item.total for item in invoice.line_items)
        assert [part.invoice.total for part in breakdowns(invoice, WindowSize.HOUR, 0, 10**9)] == [invoice.total]
    on_usage = {(each.on, each.item, each.amount) for each in expected if each.on is not None}
    assert on_usage == {
        ((invoice.contract_id, invoice.period.ending_hour), item.item_id, Fraction(item.total))
        for invoice in (*seen.finalized, *seen.drafts)
        for item in invoice.line_items
        if item.item_id is not None
    }


def as_expected(invoice: Invoice) -> object:
    items = frozenset((item.item_id, Fraction(item.total)) for item in invoice.line_items)
    return (invoice.contract_id, invoice.issued_us), invoice.status is InvoiceStatus.FINALIZED, items


def items_of(group: list[Charged]) -> frozenset[tuple[str | None, Fraction]]:
    return frozenset((each.item, each.amount) for each in group)
