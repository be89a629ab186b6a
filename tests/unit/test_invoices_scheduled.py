"""SCHEDULED invoices: which there are, when they are final, and what a true-up charges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.catalog import (
    Aggregation,
    Balance,
    BalanceType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    InvoiceItem,
    Product,
    Rate,
    RateCard,
    RateType,
    ScheduledCharge,
    Segment,
)
from engine.compiled import compile_catalog
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.codec import as_stored, decode_invoice, encode_invoice
from engine.invoices.items import Invoice, ItemType
from engine.invoices.scheduled import true_up_invoice_id
from engine.invoices.statement import Statement, finalize, statement
from engine.invoices.usage import HourlyUsage
from engine.metering.series import SeriesKey
from engine.numbers import exact
from engine.periods import HOUR_US

GRACE = 24


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def hour(text: str) -> int:
    return us(text) // HOUR_US


def item(name: str, date: str, price: str = "100", quantity: str = "1", added: str | None = None) -> InvoiceItem:
    return InvoiceItem(name, us(date), Decimal(price), Decimal(quantity), us(added) if added else 0)


def charge(*items: InvoiceItem, name: str = "charge") -> ScheduledCharge:
    return ScheduledCharge(name, "fixed", items, "Fee")


CONTRACT = Contract(
    "contract",
    "card",
    hour("2026-01-01"),
    hour("2027-01-01"),
    BillingSchedule(Frequency.MONTHLY, us("2026-01-01")),
)
CATALOG = Catalog(
    revision=1,
    metrics={"m": BillableMetric("m", "m", Aggregation.SUM, "units")},
    products={"p": Product("p", "Units", "m")},
    rate_cards={"card": RateCard("card", (Rate("p", RateType.FLAT, 0, price=Decimal(1)),))},
)


def commit(kind: BalanceType, *items: InvoiceItem, amount: str = "1000", end: str = "2026-03-01", **more: object) -> Balance:
    segment = Segment("s", hour("2026-01-01"), hour(end), Decimal(amount))
    return replace(Balance("commit", kind, "fixed", (segment,), contract_id="contract", invoice_items=items), **more)


def config(contract: Contract = CONTRACT, *balances: Balance, **more: object) -> CustomerConfig:
    return replace(CustomerConfig("customer", 1, (contract,), balances=balances), **more)


def look(
    customer: CustomerConfig, now: str, used: dict[str, str] | None = None, finalized: tuple[Invoice, ...] = ()
) -> Statement:
    with exact():
        hours = {hour(at): Decimal(units) for at, units in (used or {}).items()}
        usage = HourlyUsage({SeriesKey("m", -1, ()): hours} if hours else {}, {})
        return statement(customer, compile_catalog(CATALOG), usage, now_us=us(now), grace_hours=GRACE, finalized=finalized)


def seen(made: Statement) -> list[tuple[str, str, int]]:
    return [
        (datetime.fromtimestamp(each.issued_us / 1e6, UTC).strftime("%m-%d"), each.status.value, int(each.total))
        for each in made.scheduled
    ]


def test_a_charge_is_a_draft_until_its_date_and_final_from_then_on() -> None:
    customer = config(replace(CONTRACT, scheduled_charges=(charge(item("a", "2026-02-15"), item("b", "2026-01-15", "2", "3")),)))
    assert seen(look(customer, "2026-01-01")) == [("01-15", "DRAFT", 6), ("02-15", "DRAFT", 100)]
    assert seen(look(customer, "2026-01-14T23:59:59")) == [("01-15", "DRAFT", 6), ("02-15", "DRAFT", 100)]
    assert seen(look(customer, "2026-01-15")) == [("01-15", "FINALIZED", 6), ("02-15", "DRAFT", 100)]
    (first, _) = look(customer, "2026-01-15").scheduled
    (line,) = first.line_items
    assert (line.type, line.name, line.quantity, line.unit_price) == (ItemType.SCHEDULED, "Fee", Decimal(3), Decimal(2))
    assert (line.scheduled_charge_id, line.item_id, line.product_id) == ("charge", "b", "fixed")


def test_what_is_due_at_once_is_one_invoice_of_its_contract() -> None:
    at = "2026-02-01"
    other = replace(CONTRACT, id="other", scheduled_charges=(charge(item("c", at, "5"), name="third"),))
    contract = replace(CONTRACT, scheduled_charges=(charge(item("a", at, "7")), charge(item("b", at, "20"), name="second")))
    customer = replace(config(contract, commit(BalanceType.PREPAID, item("d", at, "800"))), contracts=(contract, other))
    made = look(customer, "2026-01-01").scheduled
    assert sorted((each.contract_id, int(each.total)) for each in made) == [("contract", 827), ("other", 5)]
    types = [line.type for each in made if each.contract_id == "contract" for line in each.line_items]
    assert types == [ItemType.SCHEDULED, ItemType.SCHEDULED, ItemType.COMMIT_PURCHASE]


def test_a_customers_commit_is_billed_on_the_contract_that_it_names() -> None:
    own = commit(BalanceType.PREPAID, item("a", "2026-02-01"), contract_id=None, invoice_contract_id="contract")
    (made,) = look(config(CONTRACT, own), "2026-01-01").scheduled
    assert (made.contract_id, made.line_items[0].balance_id) == ("contract", "commit")
    assert not look(config(CONTRACT, replace(own, invoice_contract_id=None)), "2026-01-01").scheduled


def test_a_past_date_that_is_added_later_does_not_change_the_final_invoice() -> None:
    first = charge(item("a", "2026-01-05"))
    before = look(config(replace(CONTRACT, scheduled_charges=(first,))), "2026-01-10").scheduled
    edited = charge(item("a", "2026-01-05"), item("b", "2026-01-05", "7", added="2026-01-08"))
    late = replace(charge(item("c", "2026-01-05", "9"), name="late"), created_us=us("2026-01-09"))
    after = look(config(replace(CONTRACT, scheduled_charges=(edited, late))), "2026-01-10").scheduled
    assert before[0] in after
    assert sorted(int(each.total) for each in after) == [7, 9, 100]
    assert len({each.id for each in after}) == 3
    assert {each.status for each in after} == {"FINALIZED"}


def test_an_archived_contract_keeps_what_was_due() -> None:
    charges = (charge(item("a", "2026-01-05"), item("b", "2026-03-05")),)
    gone = replace(CONTRACT, scheduled_charges=charges, archived_us=us("2026-02-01"))
    customer = CustomerConfig("customer", 2, archived_contracts=(gone,))
    assert seen(look(customer, "2026-04-01")) == [("01-05", "FINALIZED", 100)]
    voiding = replace(customer, archived_contracts=(replace(gone, voids_invoices=True),))
    assert seen(look(voiding, "2026-04-01")) == [("01-05", "VOID", 100)]


def test_charges_at_a_periods_end_are_on_its_usage_invoice_if_the_contract_says_so() -> None:
    dates = item("a", "2026-02-01"), item("b", "2026-02-02"), item("c", "2026-03-01")
    contract = replace(CONTRACT, scheduled_charges=(charge(*dates),), charges_on_usage_invoices=True)
    customer = config(contract, commit(BalanceType.PREPAID, item("d", "2026-02-01", "9"), amount="0"))
    made = look(customer, "2026-01-15", {"2026-01-10": "30"})
    assert [(int(each.total), len(each.line_items)) for each in made.drafts] == [(139, 3)]
    assert seen(made) == [("02-02", "DRAFT", 100)]
    with exact():
        usage = HourlyUsage({SeriesKey("m", -1, ()): {hour("2026-01-10"): Decimal(30)}}, {})
        common = {"now_us": us("2026-02-03"), "grace_hours": GRACE, "finalized": (), "from_hour": hour("2026-01-01")}
        (final,) = finalize(customer, compile_catalog(CATALOG), usage, **common)
    assert decode_invoice(encode_invoice(final)) == as_stored(final)
    later = look(customer, "2026-02-03", finalized=(as_stored(final),))
    assert (int(final.total), seen(later)) == (139, [("02-02", "FINALIZED", 100)])
    assert [int(each.total) for each in later.drafts] == [100]  # of March 1
    never_made = look(customer, "2026-02-03", finalized=())
    assert ("02-01", "FINALIZED", 109) in seen(never_made)  # no usage invoice of January was ever made


@pytest.mark.parametrize(("used", "left"), [("0", 1000), ("999.25", 0.75), ("1000", 0), ("1500", 0)])
def test_a_true_up_charges_what_is_unspent(used: str, left: float) -> None:
    customer = config(CONTRACT, commit(BalanceType.POSTPAID, item("t", "2026-03-01")))
    made = look(customer, "2026-01-20", {"2026-01-10": used})
    assert [float(each.total) for each in made.scheduled] == [left]
    assert true_up_invoice_id(customer, customer.balances[0]) == made.scheduled[0].id


def test_a_true_up_is_final_when_nothing_can_draw_on_the_commit_any_more() -> None:
    customer = config(CONTRACT, commit(BalanceType.POSTPAID, item("t", "2026-03-01")))
    used = {"2026-02-10": "400"}
    assert seen(look(customer, "2026-02-28T23:00:00", used)) == [("03-01", "DRAFT", 600)]
    assert seen(look(customer, "2026-03-01T12:00:00", {**used, "2026-02-28T23:00:00": "50"})) == [("03-01", "DRAFT", 550)]
    with exact():
        usage = HourlyUsage({SeriesKey("m", -1, ()): {hour("2026-02-10"): Decimal(400)}}, {})
        common = {"now_us": us("2026-03-02"), "grace_hours": GRACE, "finalized": (), "from_hour": hour("2026-01-01")}
        final = finalize(customer, compile_catalog(CATALOG), usage, **common)
    assert seen(look(customer, "2026-03-02", used, tuple(final))) == [("03-01", "FINALIZED", 600)]
    late = {**used, "2026-02-11": "100"}
    assert seen(look(customer, "2026-04-20", late, tuple(final))) == [("03-01", "FINALIZED", 600)]


@pytest.mark.parametrize(("voided", "left"), [("2026-02-20", 1000), ("2026-03-10", 600)])
def test_a_usage_invoice_that_is_voided_after_the_true_up_leaves_it(voided: str, left: int) -> None:
    customer = config(CONTRACT, commit(BalanceType.POSTPAID, item("t", "2026-03-01")))
    with exact():
        usage = HourlyUsage({SeriesKey("m", -1, ()): {hour("2026-01-10"): Decimal(400)}}, {})
        common = {"now_us": us("2026-03-10"), "grace_hours": GRACE, "finalized": (), "from_hour": hour("2026-01-01")}
        final = [as_stored(each) for each in finalize(customer, compile_catalog(CATALOG), usage, **common)]
    assert seen(look(customer, "2026-03-10", finalized=tuple(final))) == [("03-01", "FINALIZED", 600)]
    void = replace(customer, voided=((final[0].id, us(voided)),))
    made = look(void, "2026-03-11", finalized=tuple(final))
    assert seen(made) == [("03-01", "FINALIZED", left)]
    assert [each.status.value for each in made.finalized] == ["VOID", "FINALIZED"]
    assert [int(each.total) for each in made.drafts] == [0]  # January is not billed again by itself


def test_breakdowns_show_a_charge_on_its_day() -> None:
    customer = config(replace(CONTRACT, scheduled_charges=(charge(item("a", "2026-01-15T10:30:00", "0.1", "3")),)))
    (made,) = look(customer, "2026-01-20").scheduled
    with exact():
        ((start, end, part),) = breakdowns(made, WindowSize.DAY, 0, hour("2027-01-01"))
    assert (start, end, part.total) == (hour("2026-01-15"), hour("2026-01-16"), made.total)
    assert part.total == Decimal("0.3")
