"""Lines of COMPOSITE products: percentages of other products' spend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.catalog import (
    USD_CENTS,
    AccessType,
    Aggregation,
    Alert,
    AlertType,
    Balance,
    BalanceType,
    BillableMetric,
    Catalog,
    CustomerConfig,
    Product,
    ProductType,
    Rate,
    RateCard,
    RateType,
    Segment,
    Tier,
)
from engine.compiled import compile_catalog
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.codec import as_stored, decode_invoice, encode_invoice
from engine.invoices.items import Invoice, LineItem
from engine.invoices.statement import statement
from engine.invoices.usage import HourlyUsage
from engine.metering.series import SeriesKey
from engine.numbers import exact
from tests.support.stored_customer import Driver
from tests.unit.test_invoice_alerts import event, told
from tests.unit.test_invoices_scheduled import CONTRACT, hour, us

TIERS = (Tier(Decimal(1000), Decimal("0.1")), Tier(Decimal(1000), Decimal("0.05")), Tier(None, Decimal("0.01")))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def support(**more: object) -> Product:
    fields: dict[str, object] = {"composite_product_ids": frozenset({"a", "b"}), **more}
    return replace(Product("support", "Support", type=ProductType.COMPOSITE), **fields)


def percent(price: str, start: str = "2025-01-01", product: str = "support", **more: object) -> Rate:
    return replace(Rate(product, RateType.PERCENTAGE, hour(start), price=Decimal(price)), **more)


TIERED = Rate("support", RateType.TIERED_PERCENTAGE, 0, tiers=TIERS)


def catalog(*rates: Rate, composites: tuple[Product, ...] = (), unit: str = USD_CENTS) -> Catalog:
    """Products a (1 cent), b (10 cents), c (1 cent, tagged); and the composites."""
    usage = tuple(Product(name, name, name, tags=frozenset({"tag"} if name == "c" else ())) for name in "abc")
    prices = {"a": 1, "b": 10, "c": 1}
    listed = tuple(Rate(name, RateType.FLAT, 0, price=Decimal(price), credit_type_id=unit) for name, price in prices.items())
    products = (*usage, *(composites or (support(),)))
    return Catalog(
        revision=1,
        metrics={name: BillableMetric(name, name, Aggregation.SUM, "units") for name in "abc"},
        products={each.id: each for each in products},
        rate_cards={"card": RateCard("card", (*listed, *rates), conversions=(("credits", Decimal(2)),))},
    )


def draft(made: Catalog, used: dict[str, dict[str, str]], *balances: Balance) -> Invoice:
    customer = CustomerConfig("customer", 1, (CONTRACT,), balances=balances)
    hours = {
        SeriesKey(name, -1, ()): {hour(at): Decimal(units) for at, units in by_hour.items()} for name, by_hour in used.items()
    }
    usage = HourlyUsage(hours, {})
    found = statement(customer, compile_catalog(made), usage, now_us=us("2026-01-31T23:00:00"), grace_hours=24)
    return found.drafts[0]


def composites(invoice: Invoice, product: str = "support") -> list[LineItem]:
    return [item for item in invoice.line_items if item.product_id == product and item.unit_price is not None]


def prepaid(amount: str, start: str = "2026-01-01", end: str = "2027-01-01", **more: object) -> Balance:
    segment = Segment("s", hour(start), hour(end), Decimal(amount))
    return replace(Balance("commit", BalanceType.PREPAID, "fixed", (segment,)), **more)


USED = {"a": {"2026-01-05": "500"}, "b": {"2026-01-10": "100"}, "c": {"2026-01-10": "7777"}}


def test_a_percentage_of_the_products_that_it_names() -> None:
    (line,) = composites(draft(catalog(percent("0.1")), USED))
    assert (line.name, line.quantity, line.unit_price, line.total) == ("Support", Decimal(1500), Decimal("0.1"), Decimal(150))
    assert draft(catalog(percent("1.5")), USED).total == Decimal("1500") * Decimal("2.5") + 7777
    (line,) = composites(draft(catalog(percent("0.1"), composites=(support(composite_tags=frozenset({"tag"})),)), USED))
    assert line.quantity == 9277
    assert composites(draft(catalog(percent("0.1")), {"c": USED["c"]})) == []


@pytest.mark.parametrize(
    ("units", "totals"),
    [
        ("999.5", ["99.95"]),
        ("1000", ["100"]),
        ("1000.2", ["100", "0.01"]),
        ("2000", ["100", "50"]),
        ("5000", ["100", "50", "30"]),
    ],
)
def test_tiers_count_spend(units: str, totals: list[str]) -> None:
    lines = composites(draft(catalog(TIERED), {"a": {"2026-01-05": units}}))
    assert [each.total for each in lines] == [Decimal(total) for total in totals]
    assert [each.tier and each.tier.level for each in lines] == [1, 2, 3][: len(totals)]


@pytest.mark.parametrize(("units", "total"), [("0", "60"), ("599", "60"), ("600", "60"), ("601", "60.1")])
def test_a_minimum(units: str, total: str) -> None:
    invoice = draft(catalog(percent("0.1", minimum=Decimal(60))), {"a": {"2026-01-05": units}})
    assert sum(each.total for each in composites(invoice)) == Decimal(total)
    parts = breakdowns(invoice, WindowSize.HOUR, 0, hour("2027-01-01"))
    assert sum(part.invoice.total for part in parts) == invoice.total
    assert decode_invoice(encode_invoice(invoice)) == as_stored(invoice)


def test_a_change_of_the_rate_goes_on_counting() -> None:
    later = replace(TIERED, starting_hour=hour("2026-01-10"))
    lines = composites(draft(catalog(percent("0.5", minimum=Decimal(10**6)), later), USED))
    assert [(each.quantity, each.total) for each in lines] == [(500, 250), (500, 50), (500, 25)]


def test_what_is_not_entitled_is_not_charged() -> None:
    assert composites(draft(catalog(percent("0.1", entitled=False, minimum=Decimal(5))), USED)) == []


def test_balances_pay_a_composite_after_usage() -> None:
    invoice = draft(catalog(percent("0.1")), {"a": USED["a"]}, prepaid("520"))
    assert invoice.total == 30
    only = prepaid("520", applicable_product_ids=frozenset({"support"}))
    assert draft(catalog(percent("0.1")), {"a": USED["a"]}, only).total == 500
    units = prepaid("520", access_type=AccessType.QUANTITY, applicable_product_ids=frozenset({"support"}))
    assert draft(catalog(percent("0.1")), {"a": USED["a"]}, units).total == 550


def test_lines_are_cut_where_balances_end() -> None:
    half = prepaid("1000", end="2026-01-07", applicable_product_ids=frozenset({"support"}))
    invoice = draft(catalog(percent("0.1")), {"a": {"2026-01-05": "500", "2026-01-08": "300"}}, half)
    assert invoice.total == 800 + 30


def test_a_composite_of_composites() -> None:
    inner = support()
    outer = replace(
        inner, id="outer", name="Fee", composite_product_ids=frozenset({"a", "support"}), include_composite_spend=True
    )
    rates = (percent("0.1"), percent("0.5", product="outer"))
    invoice = draft(catalog(*rates, composites=(outer, inner)), {"a": {"2026-01-05": "500"}})
    assert [each.total for each in composites(invoice, "outer")] == [Decimal(275)]
    blind = replace(outer, include_composite_spend=False)
    invoice = draft(catalog(*rates, composites=(blind, inner)), {"a": {"2026-01-05": "500"}})
    assert [each.total for each in composites(invoice, "outer")] == [Decimal(250)]


def test_spend_in_custom_units_is_charged_in_them_and_converted() -> None:
    in_units = catalog(percent("0.1", credit_type_id="credits"), unit="credits")
    assert draft(in_units, {"a": USED["a"]}).total == Decimal(1100)
    assert draft(catalog(percent("0.1"), unit="credits"), {"a": USED["a"]}).total == Decimal(1000)  # it counts dollars only


def test_long_fractions_are_rounded_and_add_up() -> None:
    used = {"a": {f"2026-01-0{day}": "0.000000000000000003" for day in range(1, 8)}}
    invoice = draft(catalog(percent("0.3333333333")), used)
    (line,) = composites(invoice)
    assert line.total == Decimal("0.000000000000000007")
    assert sum(each.amount for each in line.increments) == line.total


def test_alerts() -> None:
    """An invoice's total counts a composite; spend does not."""
    total = Alert("total", AlertType.INVOICE_TOTAL, "total", Decimal(110), 1)
    spend = Alert("spend", AlertType.SPEND_THRESHOLD, "spend", Decimal(110), 1)
    made = replace(catalog(percent("0.1")), alerts=(total, spend))
    made = replace(made, metrics={"a": made.metrics["a"]})
    driver = Driver(CustomerConfig("customer", 1, (CONTRACT,)), made, us("2026-01-02"))
    driver.event(event(1, "2026-01-02", "99"))
    assert driver.collect() == []
    driver.event(event(2, "2026-01-02", "1"))
    assert told(driver.collect()) == [("reached", 108, 110, "usage")]
    driver.event(event(3, "2026-01-02", "10"))
    assert [each.alert_id for each in driver.collect()] == ["spend"]
