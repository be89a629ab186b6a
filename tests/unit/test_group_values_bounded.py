"""Too many values of a group key: which are kept apart, and how the others are named."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from engine.catalog import Aggregation, Alert, AlertType, BillableMetric, Catalog, Product, Rate, RateCard, RateType, Tier
from engine.customer import EngineSettings
from engine.effects import UsageEvent
from engine.metering.queries import UsageWindows, decode_windows, usage_by_group
from engine.numbers import exact
from tests.strategies import HOUR_US, NOW_US, customer
from tests.support.stored_customer import Driver

METRIC = BillableMetric("m", "m", Aggregation.SUM, "amount", group_keys=(("region", "request"),))
HOUR = NOW_US // HOUR_US


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def driver(catalog: Catalog, limit: int = 2) -> Driver:
    return Driver(customer(), catalog, NOW_US, EngineSettings(group_values_max=limit))


def catalog_of(*rates: Rate, alerts: tuple[Alert, ...] = (), **product: object) -> Catalog:
    products = {"p": Product("p", "p", "m", **product)}  # type: ignore[arg-type]
    return Catalog(1, {"m": METRIC}, products, {"card": RateCard("card", rates)}, alerts)


def used(fed: Driver, *pairs: tuple[str, object], amount: int = 1) -> None:
    for number, (region, request) in enumerate(pairs):
        properties = {"amount": amount, "region": region, "request": request}
        fed.event(UsageEvent(f"t{number}", "call", NOW_US, HOUR, properties, "t", 0, number, NOW_US // 1000))
    fed.collect()


def by_group(fed: Driver, *names: str) -> dict[tuple[str | None, ...], Decimal]:
    usage = UsageWindows({day: decode_windows(day, fields) for day, fields in fed.store.windows.items()})
    return usage_by_group(METRIC, names, usage, HOUR, HOUR + 1)


def test_what_came_first_is_kept_apart_and_the_rest_is_one() -> None:
    fed = driver(catalog_of())
    used(fed, ("eu", "1"), ("eu", "2"), ("us", "3"), ("eu", "4"), ("eu", "1"))
    assert by_group(fed, "request") == {("1",): 2, ("2",): 1, ("tidemark:other",): 2}
    assert by_group(fed, "region") == {("eu",): 3, ("tidemark:other",): 2}


def test_a_value_that_has_a_price_is_never_one_of_the_others() -> None:
    rates = [
        Rate("p", RateType.FLAT, 0, price=Decimal(price), pricing_group_values=(("region", region),))
        for region, price in (("eu", 2), ("us", 3))
    ]
    alert = Alert("a", AlertType.SPEND_THRESHOLD, "a", Decimal(1000), 1)
    fed = driver(catalog_of(*rates, alerts=(alert,), pricing_group_key=("region",)))
    used(fed, *((region, str(number)) for number in range(5) for region in ("eu", "us", "somewhere")))
    (spend,) = fed.aggregate.measured("a").values()
    assert spend == 5 * 2 + 5 * 3
    assert by_group(fed, "region") == {("eu",): 5, ("us",): 5, ("tidemark:other",): 5}


def test_shown_values_whose_price_does_not_add_up_stay_apart() -> None:
    """Each walks the tiers by itself: together they would reach the cheaper one."""
    tiered = Rate("p", RateType.TIERED, 0, tiers=(Tier(Decimal(3), Decimal(10)), Tier(None, Decimal(1))))
    alert = Alert("a", AlertType.SPEND_THRESHOLD, "a", Decimal(1000), 1)
    fed = driver(catalog_of(tiered, alerts=(alert,), presentation_group_key=("request",)))
    used(fed, *(("eu", str(number)) for number in range(6)), amount=3)
    (spend,) = fed.aggregate.measured("a").values()
    assert spend == 6 * 3 * 10
    assert len(by_group(fed, "request")) == 6


def test_a_named_alert_keeps_its_value_and_one_on_each_value_tells_of_the_others() -> None:
    flat = Rate("p", RateType.FLAT, 0, price=Decimal(1))
    named = Alert("n", AlertType.SPEND_THRESHOLD, "n", Decimal(3), 1, group_values=(("request", "late"),))
    each = Alert("e", AlertType.SPEND_THRESHOLD, "e", Decimal(3), 1, group_values=(("request", None),))
    fed = driver(catalog_of(flat, alerts=(named, each)))
    used(fed, ("eu", "1"), ("eu", "2"), *[("eu", "late")] * 3, ("eu", "5"), ("eu", "6"), ("eu", "7"))
    told = [(notification.alert_id, notification.group_values) for notification in fed.notifications]
    assert told == [
        ("e", (("request", "late"),)),
        ("n", (("request", "late"),)),
        ("e", (("request", "tidemark:other"),)),
    ]


def test_an_event_cannot_pass_for_the_others() -> None:
    fed = driver(catalog_of(), limit=4)
    used(fed, ("eu", "tidemark:other"), ("eu", "tidemark:other'"), ("eu", "tidemark:others"), ("eu", "x"), ("eu", "y"))
    assert by_group(fed, "request") == {
        ("tidemark:other'",): 1,
        ("tidemark:other''",): 1,
        ("tidemark:others",): 1,
        ("x",): 1,
        ("tidemark:other",): 1,
    }
    used(fed, ("eu", "tidemark:other"), ("eu", "z"))
    assert by_group(fed, "request")["tidemark:other'",] == 2
    assert by_group(fed, "request")["tidemark:other",] == 2


def test_an_absent_value_stays_absent() -> None:
    fed = driver(catalog_of())
    used(fed, ("eu", "1"), ("eu", "2"), ("eu", None))
    assert by_group(fed, "request") == {("1",): 1, ("2",): 1, (None,): 1}


def test_memory_does_not_grow_with_what_is_not_kept_apart() -> None:
    fed = driver(catalog_of(Rate("p", RateType.FLAT, 0, price=Decimal(1)), presentation_group_key=("request",)), limit=10)
    used(fed, *(("eu", f"request-{number}") for number in range(3_000)))
    windows = fed.aggregate._usage.windows
    assert len(windows.series) == 1 + 10 + 1
    assert sum(len(kept) for _, kept in fed.aggregate._counting._groups.values() for kept in kept) == 11
    assert sum(by_group(fed, "request").values()) == 3_000
