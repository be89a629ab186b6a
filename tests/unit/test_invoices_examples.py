"""The worked examples of the reference's guide for dashboards, number by number: balances over two months, days of an invoice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.balances.ledger import LedgerEntry
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
    Product,
    Rate,
    RateCard,
    RateType,
    Segment,
)
from engine.compiled import CompiledCatalog
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.items import Invoice, InvoiceStatus, ItemType, LineItem
from engine.invoices.statement import Statement, finalize, statement
from engine.invoices.usage import HourlyUsage
from engine.metering.series import SeriesKey
from engine.numbers import exact

HOUR_US = 3_600_000_000
METRIC = "cpu-hours"


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def hour(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 3600


def us(text: str) -> int:
    return hour(text) * HOUR_US


def compiled(*, presentation: tuple[str, ...] = ()) -> CompiledCatalog:
    """One product at 100 cents a unit."""
    metric = BillableMetric(METRIC, METRIC, Aggregation.SUM, "hours", group_keys=(("region",),))
    product = Product("product", "My Product", METRIC, presentation_group_key=presentation)
    card = RateCard("card", (Rate("product", RateType.FLAT, 0, price=Decimal(100)),))
    return CompiledCatalog(Catalog(1, {METRIC: metric}, {"product": product}, {"card": card}))


def config(start: str, *balances: Balance) -> CustomerConfig:
    contract = Contract("contract", "card", hour(start), None, BillingSchedule(Frequency.MONTHLY, us(start)))
    return CustomerConfig("customer", 1, contracts=(contract,), balances=balances)


def balance(name: str, kind: BalanceType, priority: int, start: str, end: str, amount: int) -> Balance:
    segment = Segment(f"{name}-segment", hour(start), hour(end), Decimal(amount))
    free = kind is BalanceType.CREDIT
    return Balance(
        name, kind, f"{name}-product", (segment,), priority=Decimal(priority), contract_id="contract", cost_basis_free=free
    )


def usage(by_hour: Mapping[int, int]) -> HourlyUsage:
    return HourlyUsage({SeriesKey(METRIC): {at: Decimal(value) for at, value in by_hour.items()}}, {})


class TestTwoMonths:
    """A prepaid commit of $100 from September on, a reward credit of $5 in October that goes first; $65 and $20 are spent."""

    prepaid = balance("prepaid", BalanceType.PREPAID, 100, "2024-09-01", "2025-09-01", 10_000)
    reward = balance("reward", BalanceType.CREDIT, 1, "2024-10-01", "2024-11-01", 500)
    customer = config("2024-09-01", prepaid, reward)
    used = usage({hour("2024-09-10"): 60, hour("2024-09-30T23:00"): 5, hour("2024-10-01"): 4, hour("2024-10-31T23:00"): 16})

    def at(self, now: str, finalized: list[Invoice]) -> Statement:
        return statement(self.customer, compiled(), self.used, now_us=us(now), grace_hours=24, finalized=finalized)

    def final(self, now: str, finalized: list[Invoice], since: str) -> list[Invoice]:
        return finalize(
            self.customer,
            compiled(),
            self.used,
            now_us=us(now),
            grace_hours=24,
            finalized=finalized,
            from_hour=hour(since),
        )

    def test_in_october_both_drafts_draw_while_september_is_in_grace(self) -> None:
        seen = self.at("2024-10-01T12:00", [])
        assert [(draft.period.starting_hour, draft.total) for draft in seen.drafts] == [
            (hour("2024-09-01"), 0),
            (hour("2024-10-01"), 0),
        ]
        assert [each.remaining for each in seen.balances] == [2_000, 0]
        assert [each.remaining_finalized for each in seen.balances] == [10_000, 500]

    def test_final_invoices_leave_0_and_20_dollars(self) -> None:
        september = self.final("2024-10-02", [], "2024-09-01")
        october = self.final("2024-11-02", september, "2024-10-01")
        seen = self.at("2024-11-02", [*september, *october])
        assert [each.remaining for each in seen.balances] == [2_000, 0]
        prepaid, reward = (each.ledger for each in seen.balances)
        sums = [sum(entry.amount for entry in ledger) for ledger in (prepaid, reward)]
        assert sums == [2_000, 0]
        assert list(prepaid) == [
            LedgerEntry("PREPAID_COMMIT_SEGMENT_START", us("2024-09-01"), Decimal(10_000), "prepaid-segment"),
            LedgerEntry(
                "PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION",
                us("2024-10-01"),
                Decimal(-6_500),
                "prepaid-segment",
                invoice_id=september[0].id,
            ),
            LedgerEntry(
                "PREPAID_COMMIT_AUTOMATED_INVOICE_DEDUCTION",
                us("2024-11-01"),
                Decimal(-1_500),
                "prepaid-segment",
                invoice_id=october[0].id,
            ),
        ]
        assert list(reward) == [
            LedgerEntry("CREDIT_SEGMENT_START", us("2024-10-01"), Decimal(500), "reward-segment"),
            LedgerEntry(
                "CREDIT_AUTOMATED_INVOICE_DEDUCTION",
                us("2024-11-01"),
                Decimal(-500),
                "reward-segment",
                invoice_id=october[0].id,
            ),
        ]

    def test_one_more_invoice_is_final_each_month_and_no_two_are_the_same(self) -> None:
        september = self.final("2024-10-02", [], "2024-09-01")
        assert [each.status for each in september] == [InvoiceStatus.FINALIZED]
        assert self.final("2024-10-02", september, "2024-09-01") == []
        october = self.final("2024-11-02", september, "2024-09-01")
        assert [each.period.starting_hour for each in october] == [hour("2024-10-01")]
        assert self.final("2024-10-01T23:00", [], "2024-09-01") == []


class TestShortCommit:
    """A commit of $70 for the same usage: $65 in September, $20 in October."""

    customer = config("2024-09-01", balance("commit", BalanceType.PREPAID, 1, "2024-09-01", "2025-09-01", 7_000))

    def test_a_draft_takes_what_the_one_before_it_has_left(self) -> None:
        seen = statement(self.customer, compiled(), TestTwoMonths.used, now_us=us("2024-10-01T12:00"), grace_hours=24)
        assert [draft.total for draft in seen.drafts] == [0, 1_500]
        assert seen.balances[0].segments[0].draft == 7_000

    def test_a_draft_takes_what_final_invoices_have_left(self) -> None:
        now_us, used = us("2024-10-02"), TestTwoMonths.used
        final = finalize(
            self.customer, compiled(), used, now_us=now_us, grace_hours=24, finalized=[], from_hour=hour("2024-09-01")
        )
        seen = statement(self.customer, compiled(), used, now_us=now_us, grace_hours=24, finalized=final)
        assert [draft.total for draft in seen.drafts] == [1_500]
        assert (seen.balances[0].remaining, seen.balances[0].remaining_finalized) == (0, 500)


def test_a_contract_that_goes_on_after_its_last_invoice_is_billed_from_there() -> None:
    customer = config("2024-09-01")
    (contract,) = customer.contracts
    used = TestTwoMonths.used
    ended = replace(customer, contracts=(replace(contract, ending_hour=hour("2024-09-15")),))
    since = hour("2024-09-01")
    final = finalize(ended, compiled(), used, now_us=us("2024-09-16"), grace_hours=24, finalized=[], from_hour=since)
    assert [invoice.total for invoice in final] == [6_000]
    seen = statement(customer, compiled(), used, now_us=us("2024-09-20"), grace_hours=24, finalized=final)
    assert [(draft.period, draft.total) for draft in seen.drafts] == [((hour("2024-09-15"), hour("2024-10-01")), 500)]


class TestDays:
    """37, 24 and 12 units in three regions on October 1st, 91 in one of them on the 2nd, at 100 cents."""

    used = HourlyUsage(
        {
            SeriesKey(METRIC, 0, ("ap-south-1",)): {
                hour("2024-10-01T03:00"): Decimal(30),
                hour("2024-10-01T23:00"): Decimal(7),
                hour("2024-10-02"): Decimal(91),
            },
            SeriesKey(METRIC, 0, ("us-east-1",)): {hour("2024-10-01"): Decimal(24)},
            SeriesKey(METRIC, 0, ("us-east-2",)): {hour("2024-10-01T09:00"): Decimal(12)},
            SeriesKey(METRIC): {hour("2024-10-01"): Decimal(73), hour("2024-10-02"): Decimal(91)},
        },
        {},
    )
    commit = balance("commit", BalanceType.PREPAID, 100, "2024-10-01", "2025-10-01", 20_000)

    def invoice(self, *balances: Balance) -> Invoice:
        seen = statement(
            config("2024-10-01", *balances),
            compiled(presentation=("region",)),
            self.used,
            now_us=us("2024-10-20"),
            grace_hours=24,
        )
        (draft,) = seen.drafts
        return draft

    @staticmethod
    def item(item: LineItem) -> tuple[str, str | None, int, int | None]:
        region = dict(item.presentation_group_values)["region"]
        return str(item.type), region, int(item.total), None if item.quantity is None else int(item.quantity)

    def days(self, invoice: Invoice) -> list[tuple[int, int, list[tuple[str, str | None, int, int | None]]]]:
        found = breakdowns(invoice, WindowSize.DAY, hour("2024-10-01"), hour("2024-11-01"))
        return [
            (day.starting_hour, int(day.invoice.total), [self.item(item) for item in day.invoice.line_items]) for day in found
        ]

    def test_without_a_commit(self) -> None:
        invoice = self.invoice()
        assert invoice.total == 16_400
        assert self.days(invoice) == [
            (
                hour("2024-10-01"),
                7_300,
                [
                    ("usage", "ap-south-1", 3_700, 37),
                    ("usage", "us-east-1", 2_400, 24),
                    ("usage", "us-east-2", 1_200, 12),
                ],
            ),
            (hour("2024-10-02"), 9_100, [("usage", "ap-south-1", 9_100, 91)]),
        ]

    def test_with_a_commit_of_200_dollars(self) -> None:
        invoice = self.invoice(self.commit)
        assert invoice.total == 0
        applied = "applied_commit_or_credit"
        assert self.days(invoice) == [
            (
                hour("2024-10-01"),
                0,
                [
                    ("usage", "ap-south-1", 3_700, 37),
                    (applied, "ap-south-1", -3_700, None),
                    ("usage", "us-east-1", 2_400, 24),
                    (applied, "us-east-1", -2_400, None),
                    ("usage", "us-east-2", 1_200, 12),
                    (applied, "us-east-2", -1_200, None),
                ],
            ),
            (hour("2024-10-02"), 0, [("usage", "ap-south-1", 9_100, 91), (applied, "ap-south-1", -9_100, None)]),
        ]
        assert {item.balance_id for item in invoice.line_items} == {"commit"}
        assert {item.segment_id for item in invoice.line_items} == {"commit-segment"}

    def test_the_items_carry_what_the_example_shows(self) -> None:
        invoice = self.invoice(self.commit)
        assert (invoice.period.starting_hour, invoice.period.ending_hour) == (hour("2024-10-01"), hour("2024-11-01"))
        assert invoice.issued_us == hour("2024-11-02") * HOUR_US
        first = next(item for item in invoice.line_items if item.type is ItemType.USAGE)
        assert (first.name, first.unit_price, first.product_id) == ("My Product", 100, "product")
        assert (first.starting_hour, first.ending_hour) == invoice.period

    def test_by_hours(self) -> None:
        found = breakdowns(self.invoice(self.commit), WindowSize.HOUR, hour("2024-10-01"), hour("2024-10-02"))
        assert [(each.starting_hour, [int(item.total) for item in each.invoice.line_items]) for each in found] == [
            (hour("2024-10-01"), [2_400, -2_400]),
            (hour("2024-10-01T03:00"), [3_000, -3_000]),
            (hour("2024-10-01T09:00"), [1_200, -1_200]),
            (hour("2024-10-01T23:00"), [700, -700]),
        ]
