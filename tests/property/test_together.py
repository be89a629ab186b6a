"""Events counted together against the same events counted one by one: nothing may differ, to the digits of what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import (
    Aggregation,
    Alert,
    AlertType,
    Balance,
    BalanceType,
    BillableMetric,
    Catalog,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Operation,
    Product,
    PropertyFilter,
    QuantityConversion,
    Rate,
    RateCard,
    RateType,
    Segment,
    Tier,
)
from engine.effects import UsageEvent
from engine.numbers import exact
from tests.strategies import HOUR_US, NOW_US, Step, catalogs, customer, streams
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

whole = [1, 1, 2, 3]
calm = [*whole, "0.25", "1.50", "4", 0, None]
wild = [*calm, -1, "-0.5", "1E-36", "much", 10**38]
prices = st.sampled_from([Decimal(1), Decimal("0.1"), Decimal("2.5"), Decimal(0), Decimal(1), Decimal(3), Decimal(-1)])
conversions = st.sampled_from(
    [
        None,
        None,
        QuantityConversion(Decimal("2.5"), Operation.MULTIPLY),
        QuantityConversion(Decimal(8), Operation.DIVIDE),
        QuantityConversion(Decimal(3), Operation.DIVIDE),
    ]
)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def sums(draw: st.DrawFn) -> Catalog:
    """Metrics that are sums, one of them in two products: several lines and metrics move one gauge of spend."""
    made = [Product("p", "p", "m", conversion=draw(conversions)), Product("q", "q", "m"), Product("r", "r", "n")]
    rows = []
    for product in made:
        tiers = (Tier(draw(st.sampled_from([Decimal(8), Decimal(30)])), draw(prices)), Tier(None, draw(prices)))
        kind = draw(st.sampled_from([RateType.FLAT, RateType.FLAT, RateType.TIERED]))
        rows.append(Rate(product.id, kind, 0, price=draw(prices), tiers=tiers))
    thresholds = draw(st.lists(st.integers(-2, 150).map(Decimal), min_size=1, max_size=6))
    filters = draw(st.sampled_from([(), (PropertyFilter("n", exists=True),), (PropertyFilter("m", exists=True),)]))
    other = draw(st.sampled_from([(Aggregation.SUM, "n"), (Aggregation.COUNT, None), (Aggregation.MAX, "n")]))
    return Catalog(
        revision=1,
        metrics={
            "m": BillableMetric("m", "m", Aggregation.SUM, "m"),
            "n": BillableMetric("n", "n", other[0], other[1], event_types_in=frozenset({"call"}), property_filters=filters),
        },
        products={product.id: product for product in made},
        rate_cards={"card": RateCard("card", tuple(rows))},
        alerts=tuple(draw(alerts_of(f"a{number}", threshold)) for number, threshold in enumerate(thresholds)),
    )


@st.composite
def alerts_of(draw: st.DrawFn, alert_id: str, threshold: Decimal) -> Alert:
    """On usage, on spend, or on the spend of contracts with a custom field, which the contract here has or has not."""
    if draw(st.booleans()):
        team = draw(st.sampled_from([None, "red", "blue"]))
        filters = () if team is None else (CustomFieldFilter(Entity.CONTRACT, "team", team),)
        return Alert(alert_id, AlertType.SPEND_THRESHOLD, alert_id, threshold, 1, custom_field_filters=filters)
    return Alert(alert_id, AlertType.USAGE_THRESHOLD, alert_id, threshold, 1, metric_id="m")


@st.composite
def batches(draw: st.DrawFn) -> list[list[Step]]:
    """Events of few hours, some late for a period that is over."""
    made: list[list[Step]] = []
    now_us, number = NOW_US, 0
    for _ in range(draw(st.integers(1, 5))):
        now_us += draw(st.sampled_from([0, 0, 0, 0, 1, HOUR_US, 30 * HOUR_US]))
        amounts = st.sampled_from(draw(st.sampled_from([whole, calm, wild])))
        batch = []
        for _ in range(draw(st.integers(1, 12))):
            at_us = now_us + draw(st.sampled_from([0] * 25 + [-HOUR_US, -20 * HOUR_US, -190 * HOUR_US]))
            event_type = draw(st.sampled_from([*["call"] * 12, "other"]))
            properties = {"m": draw(amounts), "n": draw(amounts)}
            event = UsageEvent(f"t{number}", event_type, at_us, at_us // HOUR_US, properties, "topic", 0, number, now_us // 1000)
            batch.append(Step(event, now_us))
            number += 1
        made.append(batch)
    return made


@BOUNDED
@given(catalog=sums(), batches=batches())
def test_events_counted_together_are_events_counted_one_by_one(catalog: Catalog, batches: list[list[Step]]) -> None:
    _compare(catalog, batches)


@BOUNDED
@given(catalog=catalogs(), steps=streams(), size=st.integers(2, 6))
def test_so_it_is_with_metrics_and_prices_of_any_kind(catalog: Catalog, steps: list[Step], size: int) -> None:
    _compare(catalog, [steps[start : start + size] for start in range(0, len(steps), size)])


STANDING = [AlertType.COMMIT_BALANCE, AlertType.TOTAL_PERCENTAGE, AlertType.CREDIT_BALANCE, AlertType.INVOICE_TOTAL]


@BOUNDED
@given(
    catalog=sums(),
    batches=batches(),
    amounts=st.tuples(st.integers(0, 200), st.integers(0, 100)),
    lines=st.lists(st.tuples(st.sampled_from(STANDING), st.integers(0, 100)), min_size=1, max_size=5),
)
def test_so_it_is_with_balances(
    catalog: Catalog, batches: list[list[Step]], amounts: tuple[int, int], lines: list[tuple[AlertType, int]]
) -> None:
    standing = [Alert(f"s{number}", kind, "s", Decimal(line), 1) for number, (kind, line) in enumerate(lines)]
    segments = [
        Segment(f"s{number}", NOW_US // HOUR_US - 30, NOW_US // HOUR_US + 20, Decimal(amount))
        for number, amount in enumerate(amounts)
    ]
    commit = Balance("commit", BalanceType.PREPAID, "fee", (segments[0],), applicable_product_ids=frozenset({"p"}))
    credit = Balance("credit", BalanceType.CREDIT, "fee", (segments[1],))
    config = replace(customer(), balances=(commit, credit))
    _compare(replace(catalog, alerts=(*catalog.alerts, *standing)), batches, config)


def _compare(catalog: Catalog, batches: list[list[Step]], config: CustomerConfig | None = None) -> None:
    config = config or customer()
    red = (("team", "red"),)
    config = replace(config, contracts=tuple(replace(each, custom_fields=red) for each in config.contracts))
    single, together = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    for batch in batches:
        now_us = batch[-1].now_us
        rejections = [single.event(event, now_us) for event, _ in batch]
        events = [event for event, _ in batch]
        assert together.aggregate.apply_all(events, events.__getitem__, now_us) == {
            place: rejection for place, rejection in enumerate(rejections) if rejection is not None
        }
        for alert in catalog.alerts:
            assert together.aggregate.measured(alert.id) == single.aggregate.measured(alert.id)
        assert together.collect() == single.collect()
    assert together.notifications == single.notifications
    assert together.store == single.store
    assert (together.evaluations, together.after_finalization) == (single.evaluations, single.after_finalization)
