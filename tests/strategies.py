"""Hypothesis strategies for customers: catalogs, alerts and streams of usage.

Times lie round the ends of billing weeks, numbers are small and thresholds few, so that edges are hit exactly and often.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from hypothesis import strategies as st

from engine.catalog import (
    USD_CENTS,
    Aggregation,
    Alert,
    AlertType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    Operation,
    Product,
    PropertyFilter,
    QuantityConversion,
    QuantityRounding,
    Rate,
    RateCard,
    RateType,
    RoundingMethod,
    Tier,
)
from engine.effects import UsageEvent

HOUR_US = 3_600_000_000
FIRST_HOUR = 490_000  # the contract's start, and the anchor of its weeks
NOW_US = (FIRST_HOUR + 5 * 7 * 24 - 30) * HOUR_US  # 30 hours before the end of the fifth week

prices = st.sampled_from([Decimal(text) for text in ("1", "0.5", "2.25", "3", "0", "-1")])
thresholds = st.sampled_from([Decimal(text) for text in ("0", "1", "2.5", "5", "6", "10", "12", "20", "40", "-2")])
group_declarations = st.sampled_from(
    [(), (("region",),), (("region",), ("model", "region")), (("model",), ("zone", "region", "model"))]
)


class Step(NamedTuple):
    """An event, and the time at which it arrives."""

    event: UsageEvent
    now_us: int


@st.composite
def metrics(draw: st.DrawFn, metric_id: str) -> BillableMetric:
    aggregation = draw(st.sampled_from([Aggregation.SUM, Aggregation.SUM, *Aggregation]))
    keys = {Aggregation.COUNT: None, Aggregation.UNIQUE: "user"}
    filters = draw(
        st.sampled_from(
            [
                *[()] * 8,
                (PropertyFilter("kind", in_values=frozenset({"a", "7"})),),
                (PropertyFilter("kind", not_in_values=frozenset({"b"})),),
                (PropertyFilter("kind", exists=True, not_in_values=frozenset({"true"})),),
                (PropertyFilter("kind", exists=False),),
            ]
        )
    )
    return BillableMetric(
        id=metric_id,
        name=metric_id,
        aggregation=aggregation,
        aggregation_key=keys.get(aggregation, "amount"),
        event_types_in=draw(st.sampled_from([None, None, frozenset({"call"})])),
        event_types_not_in=draw(st.sampled_from([None, None, frozenset({"other"})])),
        property_filters=filters,
        group_keys=draw(group_declarations),
    )


@st.composite
def products(draw: st.DrawFn, product_id: str, metric_id: str) -> Product:
    conversions = [
        None,
        None,
        QuantityConversion(Decimal("2.5"), Operation.MULTIPLY),
        QuantityConversion(Decimal(8), Operation.DIVIDE),
        QuantityConversion(Decimal(3), Operation.DIVIDE),
    ]
    return Product(
        id=product_id,
        name=product_id,
        metric_id=metric_id,
        pricing_group_key=draw(st.sampled_from([(), (), ("region",)])),
        presentation_group_key=draw(st.sampled_from([(), (), ("model",)])),
        conversion=draw(st.sampled_from(conversions)),
        rounding=draw(
            st.sampled_from([*[None] * 8, *(QuantityRounding(method, places) for method in RoundingMethod for places in (0, 1))])
        ),
    )


@st.composite
def rates(draw: st.DrawFn, product: Product) -> list[Rate]:
    rows: list[Rate] = []
    values = ["eu", "7"] if product.pricing_group_key else [None]
    for value in values:
        for number in range(draw(st.sampled_from([0, 1, 1, 2] if value else [1, 1, 2]))):
            tiers = tuple(
                Tier(size, draw(prices))
                for size in (*draw(st.sampled_from([(Decimal(3), Decimal("4.5")), (Decimal(4),), ()])), None)
            )
            # A second row begins near the end of a week, so that it splits a period in which there is usage.
            starting = 0 if number == 0 else FIRST_HOUR + 5 * 7 * 24 + draw(st.integers(-40, 40))
            rows.append(
                Rate(
                    product_id=product.id,
                    rate_type=draw(st.sampled_from([RateType.TIERED, RateType.TIERED, RateType.FLAT])),
                    starting_hour=starting,
                    ending_hour=draw(st.sampled_from([None, None, starting + 20])) if number else None,
                    credit_type_id=draw(st.sampled_from([USD_CENTS, USD_CENTS, "credits"])),
                    price=draw(prices),
                    tiers=tiers,
                    pricing_group_values=(("region", value),) if value else (),
                    entitled=draw(st.sampled_from([True, True, True, False])) if number else True,
                )
            )
    return rows


@st.composite
def alerts(draw: st.DrawFn, alert_id: str, metric_ids: list[str]) -> Alert:
    usage = draw(st.booleans())
    groups = [(), (), (("region", None),), (("region", "eu"),), (("region", None), ("model", "x")), (("model", None),)]
    return Alert(
        id=alert_id,
        type=AlertType.USAGE_THRESHOLD if usage else AlertType.SPEND_THRESHOLD,
        name=alert_id,
        threshold=draw(thresholds),
        created_version=1,
        credit_type_id=USD_CENTS if usage else draw(st.sampled_from([USD_CENTS, USD_CENTS, "credits"])),
        metric_id=draw(st.sampled_from(metric_ids)) if usage else None,
        group_values=() if usage else draw(st.sampled_from(groups)),
    )


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    metric_ids = [f"m{number}" for number in range(draw(st.integers(1, 2)))]
    made = [draw(products(f"p{number}", draw(st.sampled_from(metric_ids)))) for number in range(draw(st.integers(1, 3)))]
    rows = [row for product in made for row in draw(rates(product))]
    return Catalog(
        revision=1,
        metrics={metric_id: draw(metrics(metric_id)) for metric_id in metric_ids},
        products={product.id: product for product in made},
        rate_cards={"card": RateCard("card", tuple(rows))},
        alerts=tuple(draw(alerts(f"a{number}", metric_ids)) for number in range(draw(st.integers(1, 6)))),
    )


@st.composite
def one_product(draw: st.DrawFn) -> Catalog:
    """One summed metric in one tiered product: where spend is linear, and where that ends."""
    conversions = [None, QuantityConversion(Decimal("2.5"), Operation.MULTIPLY), QuantityConversion(Decimal(8), Operation.DIVIDE)]
    product = Product("p", "p", "m", conversion=draw(st.sampled_from(conversions)))
    tiers = (Tier(Decimal(3), draw(prices)), Tier(Decimal("4.5"), draw(prices)), Tier(None, draw(prices)))
    alert = Alert("a", AlertType.SPEND_THRESHOLD, "a", Decimal(1000), 1)
    return Catalog(
        revision=1,
        metrics={"m": BillableMetric("m", "m", Aggregation.SUM, "amount")},
        products={"p": product},
        rate_cards={"card": RateCard("card", (Rate("p", RateType.TIERED, 0, tiers=tiers),))},
        alerts=(alert,),
    )


def customer() -> CustomerConfig:
    """One weekly contract, in its fifth week at NOW_US."""
    schedule = BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US)
    return CustomerConfig("customer", 1, (Contract("contract", "card", FIRST_HOUR, None, schedule),))


@st.composite
def customers(draw: st.DrawFn) -> CustomerConfig:
    """Up to three contracts whose periods begin and end round NOW_US, in any overlap; own alerts beside."""
    contracts = []
    for number in range(draw(st.integers(0, 3))):
        start = FIRST_HOUR + draw(st.sampled_from([0, 24 * 20, 24 * 35 - 40, 24 * 35 + 5]))
        contracts.append(
            Contract(
                id=f"c{number}",
                rate_card_id=draw(st.sampled_from(["card", "card", None])),
                starting_hour=start,
                ending_hour=draw(st.sampled_from([None, None, FIRST_HOUR + 24 * 35 + draw(st.integers(-10, 30))])),
                schedule=BillingSchedule(draw(st.sampled_from(Frequency)), draw(st.sampled_from([start, FIRST_HOUR])) * HOUR_US),
            )
        )
    contracts = [each for each in contracts if each.ending_hour is None or each.starting_hour < each.ending_hour]
    return CustomerConfig("customer", 1, tuple(contracts))


@st.composite
def successors(draw: st.DrawFn, catalog: Catalog) -> Catalog:
    """The next revision of a catalog: other rates, some alerts gone, some new."""
    rows = [row for product in catalog.products.values() for row in draw(rates(product))]
    kept = tuple(alert for alert in catalog.alerts if draw(st.booleans()))
    added = tuple(
        replace(draw(alerts(f"n{number}", list(catalog.metrics))), created_version=2, evaluate_on_create=draw(st.booleans()))
        for number in range(draw(st.integers(0, 3)))
    )
    return replace(catalog, revision=2, rate_cards={"card": RateCard("card", tuple(rows))}, alerts=(*kept, *added))


amounts = st.one_of(
    st.integers(1, 8),
    st.integers(-4, 8),
    st.sampled_from([Decimal("0.5"), Decimal("2.50"), "1.5", "3", "-2", None, 0]),
)
texts = st.sampled_from(["eu", "eu", "eu", "us", 7, True, None, "7"])


@st.composite
def streams(draw: st.DrawFn, size_max: int = 14) -> list[Step]:
    """Events in order of arrival; each up to 60 hours late or 20 hours ahead, most of them near the end of a week."""
    steps: list[Step] = []
    now_us = NOW_US
    for number in range(draw(st.sampled_from([size_max, 8, 5, 3, 1]))):
        now_us += draw(st.sampled_from([0, 0, 0, 0, 0, 1, HOUR_US // 2, HOUR_US, 9 * HOUR_US, 25 * HOUR_US, 150 * HOUR_US]))
        timestamp_us = now_us + draw(st.sampled_from([0, 0, 0, 0, 0, -HOUR_US, -20 * HOUR_US, -60 * HOUR_US, 20 * HOUR_US]))
        properties = {
            "amount": draw(amounts),
            "user": draw(texts),
            "region": draw(texts),
            "kind": draw(st.sampled_from(["a", "b", 7, True])),
        }
        if draw(st.booleans()):
            properties["model"] = draw(st.sampled_from(["x", "y"]))
        event_type = draw(st.sampled_from(["call", "call", "call", "other"]))
        event = UsageEvent(
            f"t{number}", event_type, timestamp_us, timestamp_us // HOUR_US, properties, "usage-events", 0, number, now_us // 1000
        )
        steps.append(Step(event, now_us))
    return steps
