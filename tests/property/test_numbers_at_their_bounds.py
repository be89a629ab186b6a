"""Numbers at their bounds, in every place that takes one and in all of them at once: the aggregate counts, rates, draws down,
makes invoices and holds alerts against them without ever running out of digits."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.catalog import (
    USD_CENTS,
    AccessType,
    Aggregation,
    Alert,
    AlertType,
    Balance,
    BalanceType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Collection,
    CommitRate,
    Contract,
    CustomerConfig,
    Frequency,
    Operation,
    Override,
    OverrideType,
    Product,
    ProductType,
    QuantityConversion,
    QuantityStep,
    Rate,
    RateCard,
    RateTarget,
    RateType,
    Segment,
    Subscription,
    Tier,
)
from engine.effects import UsageEvent
from engine.numbers import activate, parse_decimal
from tests.strategies import FIRST_HOUR, HOUR_US
from tests.support.stored_customer import Driver

WIDEST = Decimal("9" * 38 + "." + "9" * 38)
LEAST = Decimal("1e-38")
numbers = st.sampled_from([WIDEST, LEAST, Decimal("9e37"), Decimal("7e-38"), Decimal(3), Decimal("0.1"), Decimal("33.3333333")])
units = st.sampled_from(["money", "units"])
NOW_US = (FIRST_HOUR + 30) * HOUR_US


@pytest.fixture(autouse=True)
def _exact() -> None:
    activate()


def _alerts(threshold: Decimal) -> tuple[Alert, ...]:
    kinds = [
        AlertType.SPEND_THRESHOLD,
        AlertType.INVOICE_TOTAL,
        AlertType.MONTH_TOTAL,
        AlertType.CREDIT_BALANCE,
        AlertType.COMMIT_BALANCE,
        AlertType.TOTAL_BALANCE,
        AlertType.CREDIT_PERCENTAGE,
        AlertType.TOTAL_PERCENTAGE,
    ]
    alerts = [Alert(kind.value, kind, kind.value, threshold, 1) for kind in kinds]
    custom = Alert("spend in units", AlertType.SPEND_THRESHOLD, "u", threshold, 1, credit_type_id="unit")
    usage = Alert("usage", AlertType.USAGE_THRESHOLD, "usage", threshold, 1, metric_id="m")
    return (*alerts, custom, usage)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    operation = draw(st.sampled_from([None, *Operation]))
    conversion = None if operation is None else QuantityConversion(draw(numbers), operation)
    credit_type = "unit" if draw(units) == "units" else USD_CENTS
    price = draw(numbers)
    usage = Rate("p", RateType.FLAT, 0, credit_type, price, commit_rate=CommitRate(RateType.FLAT, draw(numbers)))
    if draw(st.booleans()):
        tiers = (Tier(draw(numbers), price), Tier(None, draw(numbers)))
        usage = Rate("p", RateType.TIERED, 0, credit_type, tiers=tiers)
    rates = (
        usage,
        Rate("s", RateType.FLAT, 0, USD_CENTS, draw(numbers), billing_frequency=Frequency.WEEKLY),
        Rate("c", RateType.PERCENTAGE, 0, USD_CENTS, draw(numbers), minimum=draw(st.none() | numbers)),
    )
    products = {
        "p": Product("p", "p", "m", conversion=conversion),
        "s": Product("s", "s", type=ProductType.SUBSCRIPTION),
        "c": Product("c", "c", type=ProductType.COMPOSITE, composite_product_ids=frozenset({"p", "s"})),
        "b": Product("b", "b", type=ProductType.SUBSCRIPTION),
    }
    return Catalog(
        revision=1,
        metrics={"m": BillableMetric("m", "m", Aggregation.SUM, "n")},
        products=products,
        rate_cards={"card": RateCard("card", rates, conversions=(("unit", draw(numbers)),))},
        alerts=_alerts(draw(numbers)),
    )


@st.composite
def customers(draw: st.DrawFn) -> CustomerConfig:
    schedule = BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US)
    multiplier = Override("o", FIRST_HOUR, type=OverrideType.MULTIPLIER, multiplier=draw(numbers))
    subscription = Subscription(
        "sub",
        "s",
        schedule,
        draw(st.sampled_from(Collection)),
        FIRST_HOUR + 5,
        quantity_steps=(QuantityStep(FIRST_HOUR, draw(numbers)), QuantityStep(FIRST_HOUR + 20, draw(numbers))),
        is_prorated=True,
    )
    contract = Contract(
        "contract",
        "card",
        FIRST_HOUR,
        None,
        schedule,
        overrides=draw(st.sampled_from([(), (multiplier,)])),
        subscriptions=draw(st.sampled_from([(), (subscription,)])),
    )
    balances = tuple(
        Balance(
            f"balance {number}",
            draw(st.sampled_from([BalanceType.CREDIT, BalanceType.PREPAID])),
            "b",
            (Segment(f"segment {number}", FIRST_HOUR, FIRST_HOUR + 100, draw(numbers)),),
            credit_type_id=draw(st.sampled_from([USD_CENTS, "unit"])),
            access_type=draw(st.sampled_from(AccessType)),
            rate_type=draw(st.sampled_from(RateTarget)),
        )
        for number in range(draw(st.integers(0, 2)))
    )
    return CustomerConfig("customer", 1, contracts=(contract,), balances=balances)


@settings(max_examples=60, deadline=None)
@given(catalogs(), customers(), st.lists(numbers, min_size=1, max_size=4), st.booleans())
def test_nothing_accepted_runs_out_of_digits(
    catalog: Catalog, customer: CustomerConfig, amounts: list[Decimal], corrects: bool
) -> None:
    rig = Driver(customer, catalog, NOW_US)
    values = [*amounts, -amounts[0]] if corrects else amounts
    for number, value in enumerate(values):
        at_us = NOW_US + number * HOUR_US
        assert parse_decimal(str(value)) == value
        event = UsageEvent(f"t{number}", "e", at_us, at_us // HOUR_US, {"n": str(value)}, "t", 0, number, at_us // 1000)
        assert rig.event(event, at_us) is None
    before = {alert.id: rig.aggregate.measured(alert.id) for alert in catalog.alerts}
    rig.reload()
    assert {alert.id: rig.aggregate.measured(alert.id) for alert in catalog.alerts} == before
    assert set(before["usage"].values()) == {sum(values, Decimal(0))}
    rig.advance(NOW_US + 10 * 24 * HOUR_US)  # the week's invoice is made, and its grace is over
    rig.reload()


@settings(max_examples=30, deadline=None)
@given(numbers, numbers, numbers, numbers, st.lists(numbers, min_size=1, max_size=3))
@example(WIDEST, WIDEST, WIDEST, WIDEST, [WIDEST] * 3)
@example(LEAST, LEAST, LEAST, LEAST, [LEAST, WIDEST])
def test_the_longest_chain_is_exact_to_the_last_digit(
    factor: Decimal, price: Decimal, multiplier: Decimal, unit: Decimal, amounts: list[Decimal]
) -> None:
    """Usage, times a factor, a price, a multiplier and what a pricing unit costs: the total of the invoice."""
    contract = Contract(
        "contract",
        "card",
        FIRST_HOUR,
        None,
        BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US),
        overrides=(Override("o", FIRST_HOUR, type=OverrideType.MULTIPLIER, multiplier=multiplier),),
    )
    catalog = Catalog(
        revision=1,
        metrics={"m": BillableMetric("m", "m", Aggregation.SUM, "n")},
        products={"p": Product("p", "p", "m", conversion=QuantityConversion(factor, Operation.MULTIPLY))},
        rate_cards={"card": RateCard("card", (Rate("p", RateType.FLAT, 0, "unit", price),), conversions=(("unit", unit),))},
        alerts=(Alert("a", AlertType.INVOICE_TOTAL, "a", LEAST, 1),),
    )
    rig = Driver(CustomerConfig("customer", 1, contracts=(contract,)), catalog, NOW_US)
    for number, value in enumerate(amounts):
        hour = NOW_US // HOUR_US
        assert rig.event(UsageEvent(f"t{number}", "e", NOW_US, hour, {"n": value}, "t", 0, number, 0), NOW_US) is None
    wanted = sum(map(Fraction, amounts)) * Fraction(factor) * Fraction(price) * Fraction(multiplier) * Fraction(unit)
    assert [Fraction(value) for value in rig.aggregate.measured("a").values()] == [wanted]
