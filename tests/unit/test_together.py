"""Counting events together: the cases in which that must not hide anything, each next to the rule that keeps it from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.catalog import (
    Aggregation,
    Alert,
    AlertType,
    BillableMetric,
    Catalog,
    Operation,
    Product,
    QuantityConversion,
    Rate,
    RateCard,
    RateType,
    Tier,
)
from engine.effects import Rejection, UsageEvent
from engine.numbers import exact
from engine.together import sum_up
from tests.strategies import HOUR_US, NOW_US, customer
from tests.support.stored_customer import Driver


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


def catalog(
    *prices: str, spend: str | None = None, usage: str | None = None, tier: str | None = None, per: str | None = None
) -> Catalog:
    """One summed metric in a product for each price; ``tier``: where the second price of a single, tiered product begins."""
    conversion = None if per is None else QuantityConversion(Decimal(per), Operation.DIVIDE)
    if tier is None:
        rates = [Rate(f"p{number}", RateType.FLAT, 0, price=Decimal(price)) for number, price in enumerate(prices)]
    else:
        rates = [Rate("p0", RateType.TIERED, 0, tiers=(Tier(Decimal(tier), Decimal(prices[0])), Tier(None, Decimal(prices[1]))))]
    alerts = []
    if spend is not None:
        alerts.append(Alert("spend", AlertType.SPEND_THRESHOLD, "spend", Decimal(spend), 1))
    if usage is not None:
        alerts.append(Alert("usage", AlertType.USAGE_THRESHOLD, "usage", Decimal(usage), 1, metric_id="m"))
    return Catalog(
        revision=1,
        metrics={"m": BillableMetric("m", "m", Aggregation.SUM, "n")},
        products={rate.product_id: Product(rate.product_id, rate.product_id, "m", conversion=conversion) for rate in rates},
        rate_cards={"card": RateCard("card", tuple(rates))},
        alerts=tuple(alerts),
    )


def events(*amounts: object, at_us: int = NOW_US) -> list[UsageEvent]:
    return [
        UsageEvent(f"t{number}", "use", at_us, at_us // HOUR_US, {"n": amount}, "topic", 0, number, 0)
        for number, amount in enumerate(amounts)
    ]


def apply_all(driver: Driver, given: list[UsageEvent]) -> dict[int, Rejection]:
    return driver.aggregate.apply_all(given, given.__getitem__, NOW_US)


def after_one(configured: Catalog, at_us: int = NOW_US) -> Driver:
    """A customer who had an event of that hour, of quantity 1."""
    driver = Driver(customer(), configured, NOW_US)
    driver.event(events(1, at_us=at_us)[0])
    driver.collect()
    return driver


@pytest.mark.parametrize(
    ("configured", "amounts"),
    [
        pytest.param(catalog(usage="6"), [2, 3], id="exactly at a threshold of usage"),
        pytest.param(catalog("2", spend="12"), [2, 3], id="exactly at a threshold of spend"),
        pytest.param(catalog("2", "1", spend="12"), [1, 2], id="two lines reach it, neither alone"),
        pytest.param(catalog(usage="6"), [5, 3, -4], id="past the line and back"),
        pytest.param(catalog("1", "-1", usage="1000", spend="-3"), [2, 3], id="a price below zero"),
        pytest.param(catalog("0", "-1", usage="1000", spend="-3"), [2, 3], id="spend falls below the line"),
        pytest.param(catalog("1", "9", tier="3", spend="20"), [1, 1, 2], id="a tier's edge on the way"),
        pytest.param(catalog("8", per="8", spend="1000"), ["1E-36", "2E-36", 4], id="what does not convert evenly"),
    ],
)
def test_what_may_happen_on_the_way_is_found(configured: Catalog, amounts: list[object]) -> None:
    together, single = after_one(configured), after_one(configured)
    assert apply_all(together, events(*amounts)) == {}
    for event in events(*amounts):
        assert single.event(event) is None
    assert together.collect() == single.collect()
    assert together.store == single.store
    for alert in configured.alerts:
        assert together.aggregate.measured(alert.id) == single.aggregate.measured(alert.id)


@pytest.mark.parametrize(
    ("configured", "amounts", "is_together"),
    [
        (catalog("1", "2", usage="100", spend="100"), [2, "3.5", 4], True),
        (catalog("1", "9", tier="30", spend="100"), [2, "3.5", 4], True),
        (catalog("8", per="8", spend="100"), [2, "3.5", 4], True),
        (catalog("1", usage="100"), [2, "not a number", None, 4], True),
        (catalog("1", usage="100"), [2, -1, 4], False),
        (catalog("1", usage="6"), [2, 3], False),
        (catalog("-1", usage="100", spend="100"), [2, 3], False),
        (catalog("1", "9", tier="3", spend="100"), [2, 3], False),
        (catalog("8", per="8", spend="100"), ["1E-36", 4], False),
        (catalog("8", per="3", spend="100"), [2, 3], False),
    ],
)
def test_what_is_counted_together(configured: Catalog, amounts: list[object], is_together: bool) -> None:
    routes = after_one(configured).aggregate._counting.routes
    assert (sum_up(routes, events(*amounts)) is not None) is is_together


def test_an_event_that_is_rejected_leaves_the_others() -> None:
    driver = after_one(catalog(usage="100"))
    rejections = apply_all(driver, events(2, "not a number", 3, 10**38))
    assert {place: rejection.reason for place, rejection in rejections.items()} == {
        1: "property_not_a_number",
        3: "property_out_of_bounds",
    }
    assert list(driver.aggregate.measured("usage").values()) == [Decimal(6)]


def test_together_or_one_by_one_an_event_counts_for_the_metrics_that_can_read_it() -> None:
    base = catalog(usage="100")
    (metric,) = base.metrics.values()
    both = replace(base, metrics={**base.metrics, "other": replace(metric, id="other", aggregation_key="other")})
    wanted = [({}, None), ({"other": "?"}, ("other",)), ({"other": 5}, None)]
    given = [
        each._replace(properties={**each.properties, **more}) for each, (more, _) in zip(events(2, 3, 4), wanted, strict=True)
    ]
    results = []
    for whole in (True, False):
        driver = after_one(both)
        if whole:
            assert sum_up(driver.aggregate._counting.routes, given) is not None
            told = apply_all(driver, given)
        else:
            outcomes = enumerate([driver.event(each) for each in given])
            told = {place: rejection for place, rejection in outcomes if rejection is not None}
        assert [told[place].missed if place in told else None for place in range(3)] == [missed for _, missed in wanted]
        driver.collect()
        results.append(driver.store.windows)
    assert results[0] == results[1]


def test_events_whose_invoice_is_final_are_counted_as_such() -> None:
    late_us = NOW_US - 14 * 24 * HOUR_US
    driver = after_one(catalog("1", spend="100"), late_us)
    apply_all(driver, events(2, 3, at_us=late_us))
    assert driver.aggregate.collect().after_finalization == 2
