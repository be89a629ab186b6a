"""What subscriptions charge, on which invoice, and what pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.catalog import (
    USD_CENTS,
    AmountRounding,
    Balance,
    BalanceType,
    BillingSchedule,
    Catalog,
    Collection,
    Contract,
    CustomerConfig,
    Frequency,
    MultiplierTier,
    Override,
    OverrideType,
    Product,
    ProductType,
    ProrationRounding,
    QuantityStep,
    Rate,
    RateCard,
    RateType,
    Segment,
    Specifier,
    Subscription,
)
from engine.compiled import CompiledCatalog
from engine.invoices.codec import as_stored, decode_invoice, encode_invoice
from engine.invoices.items import Invoice, ItemType
from engine.invoices.statement import finalize, statement
from engine.invoices.usage import HourlyUsage
from engine.numbers import exact
from engine.periods import HOUR_US

NOTHING = HourlyUsage({}, {})


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def hour(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 3600


def day(at: int) -> str:
    return datetime.fromtimestamp(at * 3600, UTC).isoformat()[:10]


def monthly(text: str = "2025-01-01", frequency: Frequency = Frequency.MONTHLY) -> BillingSchedule:
    return BillingSchedule(frequency, hour(text) * HOUR_US)


def rate(price: int, start: str = "2025-01-01", frequency: Frequency = Frequency.MONTHLY, **more: object) -> Rate:
    fields: dict[str, object] = {"price": Decimal(price), "billing_frequency": frequency, **more}
    return Rate("pro", RateType.FLAT, hour(start), **fields)  # type: ignore[arg-type]


def catalog(*rates: Rate, conversions: tuple[tuple[str, Decimal], ...] = ()) -> CompiledCatalog:
    products = {"pro": Product("pro", "Pro plan", type=ProductType.SUBSCRIPTION, tags=frozenset({"seats"}))}
    card = RateCard("card", rates or (rate(3100),), conversions=conversions)
    return CompiledCatalog(Catalog(1, products=products, rate_cards={"card": card}))


def subscription(*steps: tuple[str, int], **more: object) -> Subscription:
    found = tuple(QuantityStep(hour(at), Decimal(quantity)) for at, quantity in steps)
    fields: dict[str, object] = {"billing": monthly(), "collection": Collection.ARREARS, **more}
    return Subscription("s", "pro", starting_hour=found[0].hour, quantity_steps=found, **fields)  # type: ignore[arg-type]


def contract(subscribed: Subscription, end: str | None = None, **more: object) -> Contract:
    ending = None if end is None else hour(end)
    fields: dict[str, object] = {"schedule": monthly(), "subscriptions": (subscribed,), **more}
    return Contract("c", "card", hour("2025-01-01"), ending, **fields)  # type: ignore[arg-type]


def invoice(month: str, made: Contract, compiled: CompiledCatalog | None = None, balances: tuple[Balance, ...] = ()) -> Invoice:
    """The draft of the period that begins with that month."""
    config = CustomerConfig("x", 1, (made,), balances=balances)
    now_us = hour(f"2025-{month}-02") * HOUR_US
    drafts = statement(config, compiled or catalog(), NOTHING, now_us=now_us, grace_hours=24).drafts
    return next(draft for draft in drafts if draft.period.starting_hour == hour(f"2025-{month}-01"))


def lines(made: Invoice) -> list[tuple[str, str, str, str]]:
    """(start, end, quantity, unit price) of the charges."""
    return [
        (day(item.starting_hour), day(item.ending_hour), str(item.quantity), str(item.unit_price))
        for item in made.line_items
        if item.type is ItemType.SUBSCRIPTION
    ]


def test_arrears_are_charged_on_the_invoice_of_the_period() -> None:
    made = contract(subscription(("2025-01-01", 10)))
    january = invoice("01", made)
    assert lines(january) == [("2025-01-01", "2025-02-01", "10", "3100")]
    assert january.total == 31000
    (item,) = january.line_items
    assert (item.name, item.product_id, item.subscription_id, item.product_tags) == ("Pro plan", "pro", "s", {"seats"})


def test_in_advance_the_first_invoice_charges_two_periods_and_each_later_one_the_next() -> None:
    made = contract(subscription(("2025-01-01", 10), collection=Collection.ADVANCE), "2025-03-01")
    assert lines(invoice("01", made)) == [("2025-01-01", "2025-02-01", "10", "3100"), ("2025-02-01", "2025-03-01", "10", "3100")]
    assert lines(invoice("02", made)) == []


@pytest.mark.parametrize(("is_prorated", "prices"), [(True, ["3100", "1100", "200"]), (False, ["3100", "3100", "3100"])])
def test_quantity_that_is_added_within_a_period(is_prorated: bool, prices: list[str]) -> None:
    """Ten units, twelve from the 21st (11 of 31 days), eleven from the 25th, fifteen from the 30th (2 of 31 days)."""
    steps = (("2025-01-01", 10), ("2025-01-21", 12), ("2025-01-25", 11), ("2025-01-30", 15), ("2025-02-01", 4))
    made = contract(subscription(*steps, is_prorated=is_prorated))
    assert lines(invoice("01", made)) == [
        ("2025-01-01", "2025-02-01", "10", prices[0]),
        ("2025-01-21", "2025-02-01", "2", prices[1]),
        ("2025-01-30", "2025-02-01", "3", prices[2]),
    ]
    assert lines(invoice("02", made)) == [("2025-02-01", "2025-03-01", "4", "3100")]


def test_added_quantity_is_charged_at_once_or_at_the_periods_end() -> None:
    """A quarter in advance, on monthly invoices."""
    steps = (("2025-01-01", 1), ("2025-02-10", 3))
    for bill_immediately, month in [(True, "02"), (False, "03")]:
        quarter = subscription(
            *steps,
            collection=Collection.ADVANCE,
            billing=monthly(frequency=Frequency.QUARTERLY),
            bill_immediately=bill_immediately,
        )
        made = contract(quarter, "2025-04-01")
        compiled = catalog(rate(900, frequency=Frequency.QUARTERLY))
        found = {each: lines(invoice(each, made, compiled)) for each in ("01", "02", "03")}
        assert found.pop("01") == [("2025-01-01", "2025-04-01", "1", "900")]
        assert found.pop(month) == [("2025-02-10", "2025-04-01", "2", "900")]
        assert list(found.values()) == [[]]


def test_periods_that_are_cut_short() -> None:
    cut = subscription(("2025-01-11", 1), is_prorated=True, ending_hour=hour("2025-02-15"))
    assert lines(invoice("01", contract(cut))) == [("2025-01-11", "2025-02-01", "1", "2100")]
    assert lines(invoice("02", contract(cut), catalog(rate(2800)))) == [("2025-02-01", "2025-02-15", "1", "1400")]
    whole = replace(cut, is_prorated=False)
    assert lines(invoice("02", contract(whole))) == [("2025-02-01", "2025-02-15", "1", "3100")]


def test_a_prorated_unit_price_is_rounded_to_whole_dollars() -> None:
    """The guide's example of rounding: HALF_UP to -2 places, in cents."""
    cut = subscription(("2025-01-20", 2), is_prorated=True, rounding=AmountRounding(ProrationRounding.HALF_UP, -2))
    january = invoice("01", contract(cut), catalog(rate(5000)))  # 12 of 31 days: 1935.48
    assert lines(january) == [("2025-01-20", "2025-02-01", "2", "1900")]
    assert january.total == 3800


def test_one_price_for_each_period() -> None:
    """A new price counts from the next period on."""
    compiled = catalog(rate(3100), rate(6200, "2025-01-15"))
    made = contract(subscription(("2025-01-01", 1), ("2025-01-20", 2)))
    assert [price for *_, price in lines(invoice("01", made, compiled))] == ["3100", "3100"]
    assert [price for *_, price in lines(invoice("02", made, compiled))] == ["6200"]


def test_nothing_is_charged_without_a_rate_or_entitlement() -> None:
    made = contract(subscription(("2025-01-01", 1)))
    assert invoice("01", made, catalog(rate(3100, frequency=Frequency.ANNUAL))).line_items == ()
    listed = catalog(rate(3100, entitled=False))
    assert invoice("01", made, listed).line_items == ()
    entitling = Override(
        "o", hour("2025-01-01"), entitled=True, specifiers=(Specifier("pro", billing_frequency=Frequency.MONTHLY),)
    )
    assert invoice("01", replace(made, overrides=(entitling,)), listed).total == 3100
    other = replace(entitling, specifiers=(Specifier("pro", billing_frequency=Frequency.ANNUAL),))
    assert invoice("01", replace(made, overrides=(other,)), listed).line_items == ()


def test_overrides_of_the_price() -> None:
    made = contract(subscription(("2025-01-01", 1)))
    half = Override("o", hour("2025-01-01"), type=OverrideType.MULTIPLIER, multiplier=Decimal("0.5"))
    assert invoice("01", replace(made, overrides=(half,))).total == 1550
    tiers = Override(
        "t", hour("2025-01-01"), type=OverrideType.TIERED, tiers=(MultiplierTier(None, Decimal(0)),), priority=Decimal(1)
    )
    assert invoice("01", replace(made, overrides=(tiers,), explicit_priorities=True)).total == 3100


def credit(amount: int, start: str, end: str, **more: object) -> Balance:
    segments = (Segment(f"{start}", hour(start), hour(end), Decimal(amount)),)
    return Balance(f"b-{start}", BalanceType.CREDIT, "fixed", segments, contract_id="c", **more)  # type: ignore[arg-type]


def test_balances_pay_subscriptions() -> None:
    made = contract(subscription(("2025-01-01", 1)))
    january = invoice("01", made, balances=(credit(1000, "2025-01-01", "2025-02-01"),))
    assert january.total == 2100
    assert [item.total for item in january.line_items] == [3100, -1000]
    other = credit(1000, "2025-01-01", "2025-02-01", applicable_product_ids=frozenset({"usage"}))
    assert invoice("01", made, balances=(other,)).total == 3100


def test_a_charge_in_advance_is_paid_by_what_opens_with_its_period() -> None:
    made = contract(subscription(("2025-01-01", 1), collection=Collection.ADVANCE))
    months = (credit(3100, "2025-01-01", "2025-02-01"), credit(700, "2025-02-01", "2025-03-01"))
    january = invoice("01", made, balances=months)
    assert [(item.balance_id, item.total) for item in january.line_items if item.total < 0] == [
        ("b-2025-01-01", -3100),
        ("b-2025-02-01", -700),
    ]
    # The second one is drawn already, before it is open, and its ledger ends at zero.
    config = CustomerConfig("x", 1, (made,), balances=months)
    final = finalize(
        config,
        catalog(),
        NOTHING,
        now_us=hour("2025-02-02") * HOUR_US,
        grace_hours=24,
        finalized=(),
        from_hour=hour("2025-01-01"),
    )
    later_us = hour("2025-03-05") * HOUR_US
    _, after = statement(config, catalog(), NOTHING, now_us=later_us, grace_hours=24, finalized=final).balances
    assert [(entry.type, entry.amount) for entry in after.ledger] == [
        ("CREDIT_SEGMENT_START", 700),
        ("CREDIT_AUTOMATED_INVOICE_DEDUCTION", -700),
    ]


def test_a_year_in_arrears_is_not_paid_by_what_expired_during_it() -> None:
    year = subscription(("2025-01-01", 1), billing=monthly(frequency=Frequency.ANNUAL))
    made = contract(year, "2025-12-01")
    compiled = catalog(rate(900, frequency=Frequency.ANNUAL))
    months = (credit(500, "2025-01-01", "2025-02-01"), credit(400, "2025-11-01", "2025-12-01"))
    november = invoice("11", made, compiled, months)
    assert [(item.balance_id, item.total) for item in november.line_items if item.total < 0] == [("b-2025-11-01", -400)]


def test_a_price_in_a_custom_unit_is_converted() -> None:
    compiled = catalog(rate(5, credit_type_id="unit"), conversions=(("unit", Decimal(100)),))
    made = contract(subscription(("2025-01-01", 4), collection=Collection.ADVANCE), "2025-02-01")
    january = invoice("01", made, compiled, (credit(12, "2025-01-01", "2025-02-01", credit_type_id="unit"),))
    assert [(item.type.value, item.credit_type_id, item.total) for item in january.line_items] == [
        ("subscription", "unit", 20),
        ("applied_commit_or_credit", "unit", -12),
        ("cpu_conversion", USD_CENTS, 800),
    ]
    assert january.total == 800


def test_what_is_stored_is_read_back() -> None:
    january = invoice("01", contract(subscription(("2025-01-01", 10))))
    assert decode_invoice(encode_invoice(january)) == as_stored(january)


def test_every_charge_is_on_one_invoice() -> None:
    """A week in advance, billed on months from the 10th, with growth at once: twelve months' invoices together."""
    steps = [(f"2025-{month:02}-{day_:02}", month * 3 + day_) for month in range(1, 13) for day_ in (1, 10, 17)]
    week = subscription(
        *steps,
        billing=monthly("2025-01-03", Frequency.WEEKLY),
        collection=Collection.ADVANCE,
        bill_immediately=True,
        is_prorated=True,
    )
    made = contract(week, "2026-01-01", schedule=monthly("2025-01-10"))
    compiled = catalog(rate(700, frequency=Frequency.WEEKLY))
    config = CustomerConfig("x", 1, (made,))
    final = finalize(
        config, compiled, NOTHING, now_us=hour("2026-03-01") * HOUR_US, grace_hours=24, finalized=(), from_hour=hour("2025-01-01")
    )
    found = [(item.starting_hour, item.quantity) for each in final for item in each.line_items]
    assert len(found) == len(set(found))
    expected = {hour("2025-01-01"), *range(hour("2025-01-03"), hour("2026-01-01"), 7 * 24)}
    assert {
        start for start, _ in found if (start - hour("2025-01-03")) % (7 * 24) == 0 or start == hour("2025-01-01")
    } == expected
