"""Lines of an invoice hour by hour, custom pricing units, breakdowns, and what is stored of an invoice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.catalog import (
    USD_CENTS,
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
    QuantityRounding,
    Rate,
    RateCard,
    RateType,
    RoundingMethod,
    Segment,
    Tier,
)
from engine.compiled import CompiledCatalog
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.codec import as_stored, decode_invoice, encode_invoice, invoice_field
from engine.invoices.items import Invoice, ItemType, LineItem, TierOfItem, invoice_id
from engine.invoices.statement import Statement, statement
from engine.invoices.usage import HourlyUsage, usage_of_store, usage_of_windows
from engine.metering.codec import Quantity, Reading
from engine.metering.queries import UsageWindows, decode_folded, decode_windows
from engine.metering.series import SeriesKey
from engine.metering.windows import WindowStore
from engine.numbers import exact
from engine.periods import HOUR_US, Period

START = 24 * 1000  # midnight, the start of a weekly contract
NOW_US = (START + 100) * HOUR_US
TIERS = (Tier(Decimal(10), Decimal(3)), Tier(Decimal(5), Decimal(2)), Tier(None, Decimal(1)))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def look(
    hours: Mapping[int, Quantity],
    *balances: Balance,
    aggregation: Aggregation = Aggregation.SUM,
    rates: tuple[Rate, ...] = (Rate("p", RateType.FLAT, 0, price=Decimal(2)),),
    conversions: tuple[tuple[str, Decimal], ...] = (),
    rounding: QuantityRounding | None = None,
    carry: Mapping[SeriesKey, Reading] | None = None,
) -> Statement:
    """``hours``: counted from the contract's start."""
    catalog = Catalog(
        1,
        {"m": BillableMetric("m", "m", aggregation, None if aggregation is Aggregation.COUNT else "amount")},
        {"p": Product("p", "Product", "m", rounding=rounding)},
        {"card": RateCard("card", rates, conversions=conversions)},
    )
    contract = Contract("contract", "card", START, None, BillingSchedule(Frequency.WEEKLY, START * HOUR_US))
    config = CustomerConfig("customer", 1, (contract,), balances=balances)
    usage = HourlyUsage({SeriesKey("m"): {START + hour: quantity for hour, quantity in hours.items()}}, carry or {})
    return statement(config, CompiledCatalog(catalog), usage, now_us=NOW_US, grace_hours=24)


def draft(seen: Statement) -> Invoice:
    (invoice,) = seen.drafts
    return invoice


def held(
    name: str, amount: int, start: int = 0, end: int = 168, kind: BalanceType = BalanceType.PREPAID, unit: str = USD_CENTS
) -> Balance:
    segment = Segment(f"{name}-s", START + start, START + end, Decimal(amount))
    return Balance(name, kind, "fixed", (segment,), credit_type_id=unit)


def hourly(item: LineItem) -> list[tuple[int, str, str]]:
    return [(hour - START, str(units), str(amount)) for hour, units, amount in item.increments]


def plain(invoice: Invoice) -> list[tuple[str, int, int, str]]:
    return [
        (str(item.type), item.starting_hour - START, item.ending_hour - START, str(item.total)) for item in invoice.line_items
    ]


class TestHours:
    def test_sums_fill_tiers_in_the_order_of_time(self) -> None:
        invoice = draft(look({0: Decimal(8), 5: Decimal(4), 6: Decimal(9)}, rates=(Rate("p", RateType.TIERED, 0, tiers=TIERS),)))
        first, second, third = invoice.line_items
        assert hourly(first) == [(0, "8", "24"), (5, "2", "6")]
        assert hourly(second) == [(5, "2", "4"), (6, "3", "6")]
        assert hourly(third) == [(6, "6", "6")]
        assert first.tier == TierOfItem(1, Decimal(0), Decimal(10))
        assert second.tier == TierOfItem(2, Decimal(10), Decimal(5))
        assert third.tier == TierOfItem(3, Decimal(15), None)
        assert invoice.total == 46

    def test_a_correction_takes_back_the_units_where_the_counter_stands(self) -> None:
        invoice = draft(look({0: Decimal(12), 5: Decimal(-4)}, rates=(Rate("p", RateType.TIERED, 0, tiers=TIERS),)))
        (only,) = invoice.line_items
        assert hourly(only) == [(0, "10", "30"), (5, "-2", "-6")]
        assert invoice.total == 24

    def test_a_maximum_counts_where_it_rises(self) -> None:
        invoice = draft(look({0: Decimal(3), 4: Decimal(2), 9: Decimal(7)}, aggregation=Aggregation.MAX))
        assert hourly(invoice.line_items[0]) == [(0, "3", "6"), (9, "4", "8")]

    def test_a_maximum_below_zero_is_what_it_is(self) -> None:
        invoice = draft(look({0: Decimal(-3), 4: Decimal(-2)}, aggregation=Aggregation.MAX))
        assert hourly(invoice.line_items[0]) == [(0, "-3", "-6"), (4, "1", "2")]
        assert invoice.total == -4

    def test_distinct_texts_count_when_they_are_first_seen(self) -> None:
        seen = look({0: frozenset({"a", "b"}), 2: frozenset({"b"}), 3: frozenset({"b", "c"})}, aggregation=Aggregation.UNIQUE)
        assert hourly(draft(seen).line_items[0]) == [(0, "2", "4"), (3, "1", "2")]

    def test_last_readings_count_from_the_one_before(self) -> None:
        before = {SeriesKey("m"): Reading((START - 50) * HOUR_US, 0, Decimal(100))}
        hours = {1: Reading((START + 1) * HOUR_US, 0, Decimal(110)), 3: Reading((START + 3) * HOUR_US, 0, Decimal(104))}
        seen = look(hours, aggregation=Aggregation.LATEST, carry=before)
        assert hourly(draft(seen).line_items[0]) == [(1, "10", "20"), (3, "-6", "-12")]

    def test_a_newer_reading_of_an_earlier_hour_is_the_base(self) -> None:
        before = {SeriesKey("m"): Reading((START - 50) * HOUR_US, 0, Decimal(100))}
        hours = {-2: Reading((START - 2) * HOUR_US, 0, Decimal(90)), 1: Reading((START + 1) * HOUR_US, 0, Decimal(110))}
        seen = look(hours, aggregation=Aggregation.LATEST, carry=before)
        assert hourly(draft(seen).line_items[0]) == [(1, "20", "40")]

    def test_rounding_is_of_the_whole_and_counts_where_it_moves(self) -> None:
        up = QuantityRounding(RoundingMethod.ROUND_UP, 0)
        invoice = draft(look({0: Decimal("0.4"), 1: Decimal("0.5"), 2: Decimal("0.4")}, rounding=up))
        assert hourly(invoice.line_items[0]) == [(0, "1", "2"), (2, "1", "2")]

    def test_a_change_of_price_splits_the_line_and_tiers_run_on(self) -> None:
        rates = (
            Rate("p", RateType.TIERED, 0, tiers=TIERS),
            Rate("p", RateType.FLAT, START + 5, price=Decimal(7), ending_hour=START + 6),
        )
        invoice = draft(look({0: Decimal(9), 5: Decimal(3), 6: Decimal(1)}, rates=rates))
        assert plain(invoice) == [("usage", 0, 5, "27"), ("usage", 5, 6, "21"), ("usage", 6, 168, "2")]


class TestCuts:
    def test_a_line_is_cut_where_a_segment_ends_and_tiers_run_on(self) -> None:
        rates = (Rate("p", RateType.TIERED, 0, tiers=TIERS),)
        invoice = draft(look({0: Decimal(8), 5: Decimal(4)}, held("commit", 100, 0, 5), rates=rates))
        applied = "applied_commit_or_credit"
        assert plain(invoice) == [("usage", 0, 5, "24"), (applied, 0, 5, "-24"), ("usage", 5, 168, "6"), ("usage", 5, 168, "4")]
        assert invoice.total == 10

    def test_a_balance_that_does_not_pay_it_does_not_cut_it(self) -> None:
        elsewhere = replace(held("commit", 100, 0, 5), contract_id="other")
        assert plain(draft(look({0: Decimal(8), 5: Decimal(4)}, elsewhere))) == [("usage", 0, 168, "24")]

    def test_a_maximum_is_not_counted_again_after_a_cut(self) -> None:
        seen = look({0: Decimal(8), 6: Decimal(9)}, held("commit", 100, 0, 5), aggregation=Aggregation.MAX)
        assert [item.quantity for item in draft(seen).line_items if item.type is ItemType.USAGE] == [8, 1]

    def test_late_usage_of_an_expired_segment_is_still_paid_by_it(self) -> None:
        seen = look({0: Decimal(8), 99: Decimal(4)}, held("commit", 100, 0, 5))
        (balance,) = seen.balances
        assert (balance.segments[0].draft, balance.remaining, draft(seen).total) == (16, 0, 8)


class TestCustomUnits:
    rates = (Rate("p", RateType.FLAT, 0, price=Decimal(1), credit_type_id="credits"),)
    conversions = (("credits", Decimal("2.5")),)

    def test_balances_in_the_unit_go_first_then_the_rest_is_converted_and_paid_in_fiat(self) -> None:
        own, fiat = held("own", 30, unit="credits"), held("fiat", 100)
        invoice = draft(look({0: Decimal(60), 7: Decimal(40)}, fiat, own, rates=self.rates, conversions=self.conversions))
        applied = "applied_commit_or_credit"
        assert plain(invoice) == [
            ("usage", 0, 168, "100"),
            (applied, 0, 168, "-30"),
            ("cpu_conversion", 0, 168, "175.0"),
            (applied, 0, 168, "-100"),
        ]
        conversion = invoice.line_items[2]
        assert (conversion.quantity, conversion.unit_price, conversion.custom_credit_type_id) == (70, Decimal("2.5"), "credits")
        assert hourly(conversion) == [(0, "30", "75.0"), (7, "40", "100.0")]
        assert (invoice.total, invoice.credit_type_id) == (75, USD_CENTS)

    def test_what_a_postpaid_commit_covers_is_converted_but_not_paid_by_fiat(self) -> None:
        later, fiat = held("later", 30, kind=BalanceType.POSTPAID, unit="credits"), held("fiat", 1000)
        seen = look({0: Decimal(100)}, fiat, later, rates=self.rates, conversions=self.conversions)
        invoice = draft(seen)
        assert [str(item.total) for item in invoice.line_items] == ["100", "-30", "175.0", "-175.0", "75.0"]
        assert invoice.total == 75
        assert [balance.remaining for balance in seen.balances] == [825, 0]

    def test_a_unit_without_conversion_is_no_part_of_the_total(self) -> None:
        invoice = draft(look({0: Decimal(100)}, held("fiat", 100), rates=self.rates))
        assert plain(invoice) == [("usage", 0, 168, "100")]
        assert invoice.total == 0


def test_what_a_postpaid_commit_pays_is_still_owed() -> None:
    seen = look({0: Decimal(50)}, held("later", 70, kind=BalanceType.POSTPAID))
    invoice = draft(seen)
    assert [str(item.total) for item in invoice.line_items] == ["100", "-70"]
    assert (invoice.total, seen.balances[0].remaining) == (100, 0)


def test_an_archived_balance_pays_nothing() -> None:
    seen = look({0: Decimal(50)}, replace(held("gone", 70), archived=True))
    assert (draft(seen).total, seen.balances) == (100, ())


class TestBreakdowns:
    def test_a_correction_lowers_the_payment_of_its_hour(self) -> None:
        invoice = draft(look({0: Decimal(10), 1: Decimal(-4), 2: Decimal(8)}, held("commit", 15)))
        hours = breakdowns(invoice, WindowSize.HOUR, START, START + 168)
        assert [[int(item.total) for item in each.invoice.line_items] for each in hours] == [[20, -15], [-8, 3], [16, -3]]
        assert [int(each.invoice.total) for each in hours] == [5, -5, 13]
        assert invoice.total == 13

    def test_two_payers_the_first_pays_the_earliest(self) -> None:
        first, second = held("a", 6), held("b", 100)
        invoice = draft(look({0: Decimal(2), 1: Decimal(2), 2: Decimal(2)}, first, second))
        hours = breakdowns(invoice, WindowSize.HOUR, START, START + 168)
        paid = [[(item.balance_id, int(item.total)) for item in each.invoice.line_items[1:]] for each in hours]
        assert paid == [[("a", -4)], [("a", -2), ("b", -2)], [("b", -4)]]

    def test_only_windows_that_begin_in_the_range(self) -> None:
        invoice = draft(look({0: Decimal(1), 30: Decimal(2), 50: Decimal(4)}))
        days = breakdowns(invoice, WindowSize.DAY, START + 24, START + 48)
        assert [(each.starting_hour - START, each.ending_hour - START, int(each.invoice.total)) for each in days] == [(24, 48, 4)]

    def test_hours_of_a_stored_invoice_are_refused(self) -> None:
        stored = decode_invoice(encode_invoice(draft(look({0: Decimal(1)}))))
        assert [int(each.invoice.total) for each in breakdowns(stored, WindowSize.DAY, 0, START * 2)] == [2]
        with pytest.raises(ValueError, match="only days"):
            breakdowns(stored, WindowSize.HOUR, 0, START * 2)


class TestStored:
    def test_an_invoice_is_read_back(self) -> None:
        rates = (Rate("p", RateType.TIERED, 0, tiers=TIERS, credit_type_id="credits"),)
        own, fiat = held("own", 30, 0, 5, unit="credits"), held("fiat", 1, kind=BalanceType.CREDIT)
        hours = {0: Decimal("8.125"), 5: Decimal(4), 30: Decimal(9)}
        invoice = draft(look(hours, own, fiat, rates=rates, conversions=(("credits", Decimal("0.1")),))).finalized()
        assert {item.type for item in invoice.line_items} == {ItemType.USAGE, ItemType.APPLIED, ItemType.CPU_CONVERSION}
        assert decode_invoice(encode_invoice(invoice)) == as_stored(invoice)
        assert invoice_field(invoice) == f"i|contract|{START}-{START + 168}"

    def test_the_id_is_that_of_the_contract_and_the_periods_start(self) -> None:
        first = invoice_id("contract", Period(0, 10))
        assert first == invoice_id("contract", Period(0, 8))
        assert len({first, invoice_id("other", Period(0, 10)), invoice_id("contract", Period(10, 20))}) == 3


class TestUsage:
    def test_a_store_in_memory_and_its_stored_maps_are_the_same_usage(self) -> None:
        store = WindowStore()
        store.get("sum", Aggregation.SUM).add(1000, 3, Decimal(5))  # type: ignore[arg-type]
        store.get('sum/0/["eu"]', Aggregation.SUM).add(1001, 0, Decimal("2.5"))  # type: ignore[arg-type]
        store.get("users", Aggregation.UNIQUE).add(1000, 3, "someone")  # type: ignore[arg-type]
        store.get("level", Aggregation.LATEST).add(1000, 3, Reading(7, 0, Decimal(5)))  # type: ignore[arg-type]
        in_memory = usage_of_store(store, {"level": Reading(3, 2, Decimal(4))})
        days = {day: decode_windows(day, fields) for day, fields in store.collect().items()}
        months = [decode_folded({"900\x1flevel": "2.1@3", "901\x1flevel": "3.2@4", "901\x1fsum": "9"})]
        assert usage_of_windows(UsageWindows(days, months)) == in_memory
        assert in_memory.hours[SeriesKey("sum", 0, ("eu",))] == {24_024: Decimal("2.5")}
