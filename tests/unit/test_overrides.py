"""Contract overrides and usage filters by hand: what wins, what it charges, and what an aggregate makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import orjson
import pytest

from engine.catalog import (
    Aggregation,
    Alert,
    AlertType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Contract,
    CustomerConfig,
    Frequency,
    MultiplierTier,
    Override,
    OverrideType,
    OverwriteRate,
    Product,
    Rate,
    RateCard,
    RateType,
    Specifier,
    Tier,
    UsageFilter,
)
from engine.compiled import CompiledCatalog
from engine.customer import EngineSettings
from engine.effects import Notification, UsageEvent
from engine.numbers import exact
from engine.periods import Period
from engine.rating.book import RateBook
from engine.rating.prices import RateError
from schemas.documents import encode
from schemas.override_documents import override_of, usage_filters_of
from schemas.overrides import OverrideBody
from tests.support.stored_customer import Driver

PLAIN = Product("plain", "Plain", "m1", tags=frozenset({"ai", "text"}))
GROUPED = Product("grouped", "Grouped", "m1", pricing_group_key=("region", "model"), tags=frozenset({"ai"}))
PRODUCTS = {product.id: product for product in (PLAIN, GROUPED)}
HOUR_US = 3_600_000_000


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def flat(price: str, start: int = 0, end: int | None = None, *, product: str = "plain", **more: object) -> Rate:
    group = {key: value for key, value in more.items() if key in ("region", "model")}
    rest = {key: value for key, value in more.items() if key not in group}
    values = tuple(sorted((key, str(value)) for key, value in group.items()))
    return Rate(
        product,
        RateType.FLAT,
        start,
        price=Decimal(price),
        ending_hour=end,
        pricing_group_values=values,
        **rest,  # type: ignore[arg-type]
    )


def tiers_of(*tiers: tuple[str | None, str]) -> tuple[Tier, ...]:
    return tuple(Tier(None if size is None else Decimal(size), Decimal(price)) for size, price in tiers)


def tiered(*tiers: tuple[str | None, str]) -> Rate:
    return Rate("plain", RateType.TIERED, 0, tiers=tiers_of(*tiers))


def times(multiplier: str, start: int = 0, end: int | None = None, **parts: object) -> Override:
    return Override(
        f"times {multiplier}",
        start,
        end,
        OverrideType.MULTIPLIER,
        multiplier=Decimal(multiplier),
        **parts,  # type: ignore[arg-type]
    )


def overwrite(price: str, start: int = 0, end: int | None = None, **parts: object) -> Override:
    rate = OverwriteRate(RateType.FLAT, Decimal(price))
    return Override(f"overwrite {price}", start, end, OverrideType.OVERWRITE, rate, **parts)  # type: ignore[arg-type]


def by_tiers(*tiers: tuple[str | None, str], priority: int = 1) -> Override:
    parts = tuple(MultiplierTier(None if size is None else Decimal(size), Decimal(times)) for size, times in tiers)
    return Override("tiers", 0, None, OverrideType.TIERED, tiers=parts, priority=Decimal(priority))


def entitlement(entitled: bool, start: int = 0, end: int | None = None, **parts: object) -> Override:
    return Override("entitlement", start, end, entitled=entitled, **parts)  # type: ignore[arg-type]


def book(rates: list[Rate], overrides: list[Override], *, explicit: bool = False) -> RateBook:
    return RateBook.compile(RateCard("card", tuple(rates)), PRODUCTS).overridden(overrides, explicit=explicit)


def priced(found: RateBook, values: tuple[str, ...] = (), product: str = "plain") -> list[tuple[int, int, str]]:
    """The slices of hours 100 to 200."""
    return [(start, end, f"{ladder.prices[0]:f}") for start, end, ladder in found.slices(product, values, Period(100, 200))]


def ladder(found: RateBook) -> list[tuple[str, str]]:
    """(from, price) of each tier."""
    prices = found.ladder_at("plain", (), 100)
    assert prices is not None
    return [(f"{start:f}", f"{price:f}") for start, price in zip(prices.starts, prices.prices, strict=True)]


# --- which one wins -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "slices"),
    [
        ([], [(100, 200, "10")]),
        ([times("0.9")], [(100, 200, "9.0")]),
        ([times("1.5")], [(100, 200, "15.0")]),
        ([times("0")], [(100, 200, "0")]),
        ([times("0.9", 150)], [(100, 150, "10"), (150, 200, "9.0")]),
        ([times("0.9", 50, 150)], [(100, 150, "9.0"), (150, 200, "10")]),
        ([times("0.9", 50, 100)], [(100, 200, "10")]),
        ([times("0.8"), times("0.9")], [(100, 200, "8.0")]),
        ([times("0.9"), times("0.8")], [(100, 200, "8.0")]),
        ([times("0.8", 0, 150), times("0.9")], [(100, 150, "8.0"), (150, 200, "9.0")]),
        ([overwrite("3"), times("0.1")], [(100, 200, "3")]),
        ([times("0.1"), overwrite("30")], [(100, 200, "30")]),
        ([overwrite("3"), overwrite("4")], [(100, 200, "4")]),
        ([overwrite("3"), overwrite("4", 120, 130)], [(100, 120, "3"), (120, 130, "4"), (130, 200, "3")]),
        ([overwrite("10")], [(100, 200, "10")]),
        ([overwrite("10", 150)], [(100, 200, "10")]),
    ],
)
def test_one_override_wins_at_a_time(overrides: list[Override], slices: list[tuple[int, int, str]]) -> None:
    assert priced(book([flat("10")], overrides)) == slices


@pytest.mark.parametrize(
    ("overrides", "price"),
    [
        ([times("0.5", priority=Decimal(2)), times("0.9", priority=Decimal(1))], "9.0"),
        ([times("0.9", priority=Decimal(1)), times("0.5", priority=Decimal(2))], "9.0"),
        ([times("0.9", priority=Decimal(1)), times("0.5", priority=Decimal(1))], "5.0"),
        ([times("0.5", priority=Decimal("1.5")), overwrite("7", priority=Decimal(9))], "7"),
        ([by_tiers((None, "0.7"), priority=2), times("0.5", priority=Decimal(3))], "7.0"),
    ],
)
def test_explicit_priorities_go_lowest_first(overrides: list[Override], price: str) -> None:
    assert priced(book([flat("10")], overrides, explicit=True)) == [(100, 200, price)]


def test_explicit_priorities_need_one_of_each_multiplier() -> None:
    with pytest.raises(RateError):
        book([flat("10")], [times("0.5"), times("0.4")], explicit=True)


def test_a_multiplier_follows_the_listed_price() -> None:
    assert priced(book([flat("10"), flat("20", 150)], [times("0.5")])) == [(100, 150, "5.0"), (150, 200, "10.0")]
    assert priced(book([flat("10"), flat("20", 150)], [overwrite("3")])) == [(100, 200, "3")]


def test_an_override_prices_nothing_that_the_card_does_not() -> None:
    assert priced(book([flat("10", 150, 160)], [overwrite("3", entitled=True)])) == [(150, 160, "3")]
    assert priced(book([], [overwrite("3", entitled=True)])) == []


# --- entitlement ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "overrides", "slices"),
    [
        (False, [], []),
        (False, [entitlement(True, 150)], [(150, 200, "10")]),
        (True, [entitlement(False, 150)], [(100, 150, "10")]),
        (True, [entitlement(False), entitlement(True, 150)], [(150, 200, "10")]),
        (True, [entitlement(True), entitlement(False, 150)], [(100, 150, "10")]),
        (False, [overwrite("3")], []),
        (False, [overwrite("3", entitled=True)], [(100, 200, "3")]),
        (False, [times("0.5", entitled=True), overwrite("3")], [(100, 200, "3")]),
        (True, [times("0.5"), entitlement(False, 0, 150)], [(150, 200, "5.0")]),
    ],
)
def test_entitlement_is_decided_apart_from_the_price(
    listed: bool, overrides: list[Override], slices: list[tuple[int, int, str]]
) -> None:
    assert priced(book([flat("10", entitled=listed)], overrides)) == slices


# --- what it is for -------------------------------------------------------------------------------------------------------

EU_BIG, EU_SMALL, US_BIG = ("eu", "big"), ("eu", "small"), ("us", "big")


def group_values(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


@pytest.mark.parametrize(
    ("specifiers", "touched"),
    [
        ((), {"plain", EU_BIG, EU_SMALL, US_BIG}),
        ((Specifier(product_id="plain"),), {"plain"}),
        ((Specifier(product_id="grouped"),), {EU_BIG, EU_SMALL, US_BIG}),
        ((Specifier(product_id="elsewhere"),), set()),
        ((Specifier(product_tags=frozenset({"ai"})),), {"plain", EU_BIG, EU_SMALL, US_BIG}),
        ((Specifier(product_tags=frozenset({"ai", "text"})),), {"plain"}),
        ((Specifier(product_tags=frozenset({"ai", "other"})),), set()),
        ((Specifier(pricing_group_values=group_values(region="eu")),), {EU_BIG, EU_SMALL}),
        ((Specifier(pricing_group_values=group_values(region="eu", model="big")),), {EU_BIG}),
        ((Specifier(product_id="plain", pricing_group_values=group_values(region="eu")),), set()),
        ((Specifier(product_id="grouped", pricing_group_values=group_values(color="red")),), set()),
        ((Specifier(product_id="plain"), Specifier(pricing_group_values=group_values(region="us"))), {"plain", US_BIG}),
        ((Specifier(product_id="plain", product_tags=frozenset({"text"})), Specifier(product_id="none")), {"plain"}),
    ],
)
def test_specifiers(specifiers: tuple[Specifier, ...], touched: set[object]) -> None:
    rates = [
        flat("10"),
        *(flat("10", product="grouped", region=region, model=model) for region, model in (EU_BIG, EU_SMALL, US_BIG)),
    ]
    found = book(rates, [times("0.5", specifiers=specifiers)])
    priced_lower = {values for values in (EU_BIG, EU_SMALL, US_BIG) if priced(found, values, "grouped") == [(100, 200, "5.0")]}
    plain: set[object] = {"plain"} if priced(found) == [(100, 200, "5.0")] else set()
    assert plain | priced_lower == touched


# --- what it charges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "override", "tiers"),
    [
        (tiered(("100", "10"), (None, "4")), times("0.5"), [("0", "5.0"), ("100", "2.0")]),
        (flat("10"), by_tiers((None, "0.5")), [("0", "5.0")]),
        (flat("10"), by_tiers(("5", "0.9")), [("0", "9.0"), ("5", "10")]),
        (flat("10"), by_tiers(("5", "0.9"), ("5", "0.5"), (None, "0.1")), [("0", "9.0"), ("5", "5.0"), ("10", "1.0")]),
        (
            tiered(("100", "10"), (None, "4")),
            by_tiers(("50", "0.9"), ("100", "0.5"), (None, "0.25")),
            [("0", "9.0"), ("50", "5.0"), ("100", "2.0"), ("150", "1.00")],
        ),
        (tiered(("100", "10"), (None, "4")), by_tiers(("100", "0.5"), (None, "2")), [("0", "5.0"), ("100", "8")]),
        (tiered(("100", "10"), (None, "4")), by_tiers((None, "3")), [("0", "30"), ("100", "12")]),
    ],
)
def test_multipliers_over_tiers(listed: Rate, override: Override, tiers: list[tuple[str, str]]) -> None:
    override = replace(override, priority=Decimal(1))
    assert ladder(book([listed], [override], explicit=True)) == tiers


def test_an_overwrite_brings_its_own_tiers_and_credit_type() -> None:
    rate = OverwriteRate(RateType.TIERED, tiers=tiers_of(("10", "3"), (None, "2")), credit_type_id="credits")
    found = book([flat("10")], [Override("o", 0, None, OverrideType.OVERWRITE, rate)])
    assert ladder(found) == [("0", "3"), ("10", "2")]
    prices = found.ladder_at("plain", (), 100)
    assert prices is not None
    assert (prices.rate_type, prices.credit_type_id) == (RateType.TIERED, "credits")


@pytest.mark.parametrize("tiers", [[("0", "0.9")], [(None, "0.9"), (None, "0.5")], [("-1", "0.9"), (None, "1")]])
def test_tiers_that_cannot_be_priced(tiers: list[tuple[str | None, str]]) -> None:
    with pytest.raises(RateError):
        book([flat("10")], [by_tiers(*tiers)], explicit=True)


def test_the_largest_multiplier_stays_exact() -> None:
    many = "999999.9999999999"
    price = "9" * 20 + "." + "9" * 18
    found = book([flat(price)], [times(many)]).ladder_at("plain", (), 100)
    assert found is not None
    quantity = Decimal("9" * 52 + "." + "9" * 36)
    assert found.cost(quantity) * 10**12 == quantity * Decimal(price) * Decimal(many) * 10**12


# --- books of contracts ---------------------------------------------------------------------------------------------------

SCHEDULE = BillingSchedule(Frequency.MONTHLY, 0)


def test_contracts_share_books_where_they_can() -> None:
    compiled = CompiledCatalog(Catalog(1, products=PRODUCTS, rate_cards={"card": RateCard("card", (flat("10"),))}))
    plain = Contract("a", "card", 0, None, SCHEDULE)
    cheaper = replace(plain, id="b", overrides=(times("0.5"),))
    assert compiled.contract_book(plain) is compiled.book("card")
    assert compiled.contract_book(cheaper) is compiled.contract_book(replace(cheaper, id="c"))
    assert compiled.contract_book(replace(plain, rate_card_id=None)) is None
    assert compiled.contract_book(replace(cheaper, rate_card_id="none")) is None
    for contract, price in ((plain, "10"), (cheaper, "5.0")):
        found = compiled.contract_book(contract)
        assert found is not None
        assert priced(found) == [(100, 200, price)]


# --- as documents ---------------------------------------------------------------------------------------------------------


def test_what_a_request_says_is_what_the_engine_reads() -> None:
    at = "1970-01-05T04:00:00Z"
    requests: list[tuple[dict[str, object], Override]] = [
        (
            {"type": "multiplier", "multiplier": Decimal("0.9"), "priority": 2, "applicable_product_tags": ["a", "b"]},
            times("0.9", 100, priority=Decimal(2), specifiers=tuple(Specifier(product_tags=frozenset(tag)) for tag in "ab")),
        ),
        (
            {"type": "OVERWRITE", "product_id": "0" * 32, "overwrite_rate": {"rate_type": "flat", "price": Decimal("0.1")}},
            overwrite("0.1", 100, specifiers=(Specifier(product_id="00000000-0000-0000-0000-000000000000"),)),
        ),
        (
            {
                "entitled": False,
                "override_specifiers": [{"product_tags": ["a", "b"], "pricing_group_values": {"x": "1", "b": "2"}}],
            },
            entitlement(False, 100, specifiers=(Specifier(None, frozenset("ab"), (("b", "2"), ("x", "1"))),)),
        ),
        (
            {"type": "TIERED", "priority": 1, "tiers": [{"size": 5, "multiplier": Decimal("0.5")}]},
            replace(by_tiers(("5", "0.5")), starting_hour=100),
        ),
        (
            {
                "type": "OVERWRITE",
                "entitled": True,
                "ending_before": "1970-01-05T05:00:00Z",
                "overwrite_rate": {"rate_type": "TIERED", "tiers": [{"size": 1, "price": 2}, {"price": 1}]},
            },
            replace(
                overwrite("0", 100, 101, entitled=True),
                overwrite_rate=OverwriteRate(RateType.TIERED, tiers=tiers_of(("1", "2"), (None, "1"))),
            ),
        ),
    ]
    for fields, expected in requests:
        document = OverrideBody.model_validate({"starting_at": at, **fields}).document(expected.id, at)
        assert override_of(orjson.loads(encode(document))) == expected


def test_of_filters_with_one_start_the_last_set_holds() -> None:
    filters = [("b", "02:00"), ("a", "00:00"), ("c", "02:00")]
    contract = {
        "usage_filters": [
            {"group_key": "project", "group_values": [value], "starting_at": f"1970-01-01T{at}:00Z"} for value, at in filters
        ]
    }
    assert usage_filters_of(contract) == (
        UsageFilter("project", frozenset("a"), 0),
        UsageFilter("project", frozenset("c"), 2),
    )


# --- in the aggregate -----------------------------------------------------------------------------------------------------

START = 490_896  # 2026-01-01T00:00Z, in hours
METRIC = BillableMetric("tokens", "tokens", Aggregation.SUM, "n", group_keys=(("project",), ("project", "region")))
CONTRACT = Contract("contract", "card", START, None, BillingSchedule(Frequency.MONTHLY, START * HOUR_US))


def spend_alert(threshold: str, **parts: object) -> Alert:
    return Alert("alert", AlertType.SPEND_THRESHOLD, "alert", Decimal(threshold), 1, **parts)  # type: ignore[arg-type]


def rig(*contracts: Contract, alert: Alert, aggregation: Aggregation = Aggregation.SUM) -> Driver:
    catalog = Catalog(
        revision=1,
        metrics={"tokens": replace(METRIC, aggregation=aggregation)},
        products={"product": Product("product", "product", "tokens")},
        rate_cards={"card": RateCard("card", (flat("2", product="product"),))},
        alerts=(alert,),
    )
    return Driver(CustomerConfig("customer", 1, contracts), catalog, START * HOUR_US, EngineSettings())


def use(driver: Driver, n: int, hour: int = 0, **properties: str) -> list[Notification]:
    at_us = (START + hour) * HOUR_US + len(driver.notifications)
    number = use.number = getattr(use, "number", 0) + 1  # type: ignore[attr-defined]
    event = UsageEvent(
        f"t{number}", "call", at_us, START + hour, {"n": n, **properties}, "usage-events", 3, number, at_us // 1000
    )
    assert driver.event(event, max(at_us, driver.now_us)) is None
    return driver.collect()


def change(driver: Driver, *contracts: Contract) -> list[Notification]:
    return driver.reconfigure(replace(driver.customer, version=driver.customer.version + 1, contracts=contracts))


def measured(driver: Driver, *group: str) -> Decimal:
    """Of January; December is live, too, while its grace period runs."""
    values = {key: value for (period, key), value in driver.aggregate.measured("alert").items() if period.starting_hour == START}
    return values[group]


def test_an_override_re_rates_the_open_period_at_once() -> None:
    driver = rig(CONTRACT, alert=spend_alert("50"))
    assert use(driver, 20) == []
    [told] = change(driver, replace(CONTRACT, overrides=(times("1.5"),)))
    assert (told.type.rsplit("_", 1)[1], str(told.triggered_by)) == ("reached", "contract_change")
    assert (told.previous_value, told.value) == (40, 60)
    [told] = change(driver, replace(CONTRACT, overrides=(times("1.5"), overwrite("1"))))
    assert (told.type.rsplit("_", 1)[1], str(told.triggered_by), told.value) == ("resolved", "contract_change", 20)
    driver.reload()
    assert measured(driver) == 20


def test_an_override_of_one_contract_leaves_the_other_alone() -> None:
    other = replace(CONTRACT, id="other", overrides=(times("0.5"),))
    driver = rig(CONTRACT, other, alert=spend_alert("1000"))
    use(driver, 10)
    assert measured(driver) == 20 + 10


def test_an_override_begins_and_ends_inside_the_period() -> None:
    driver = rig(replace(CONTRACT, overrides=(times("0.5", START + 2, START + 4),)), alert=spend_alert("1000"))
    for hour in range(6):
        use(driver, 10, hour)
    assert measured(driver) == 4 * 20 + 2 * 10


def only(*values: str, key: str = "project", start: int = 0) -> UsageFilter:
    return UsageFilter(key, frozenset(values), START + start)


def test_a_usage_filter_lets_only_its_values_through() -> None:
    driver = rig(replace(CONTRACT, usage_filters=(only("a", "b"),)), alert=spend_alert("50"))
    use(driver, 10, project="a")
    use(driver, 10, project="c")
    use(driver, 10)
    assert measured(driver) == 20
    [told] = use(driver, 15, project="b")
    assert (told.value, told.evidence is not None) == (50, True)


def test_two_contracts_share_usage_by_their_filters() -> None:
    first = replace(CONTRACT, usage_filters=(only("a"),), overrides=(times("10"),))
    second = replace(CONTRACT, id="second", usage_filters=(only("b"),))
    driver = rig(first, second, alert=spend_alert("1000"))
    use(driver, 1, project="a")
    use(driver, 1, project="b")
    use(driver, 1, project="c")
    assert measured(driver) == 20 + 2


def test_a_filter_holds_until_the_next_one_begins() -> None:
    filters = (only("a", start=2), only("b", start=4))
    driver = rig(replace(CONTRACT, usage_filters=filters), alert=spend_alert("1000"))
    for hour in range(6):
        use(driver, 1, hour, project="a")
        use(driver, 10, hour, project="b")
    assert measured(driver) == 2 * (2 * 11 + 2 * 1 + 2 * 10)
    driver.reload()
    assert measured(driver) == 2 * (2 * 11 + 2 * 1 + 2 * 10)


def test_setting_a_filter_re_rates_the_open_period_at_once() -> None:
    driver = rig(CONTRACT, alert=spend_alert("50"))
    use(driver, 20, project="a")
    use(driver, 20, project="b")
    assert len(driver.notifications) == 1
    [told] = change(driver, replace(CONTRACT, usage_filters=(only("a"),)))
    assert (told.type.rsplit("_", 1)[1], str(told.triggered_by), told.value) == ("resolved", "contract_change", 40)


def test_grouped_spend_sees_the_filter() -> None:
    alert = spend_alert("1000", group_values=(("region", None),))
    driver = rig(replace(CONTRACT, usage_filters=(only("a"),)), alert=alert)
    use(driver, 1, project="a", region="eu")
    use(driver, 2, project="a", region="us")
    use(driver, 4, project="b", region="us")
    assert (measured(driver, "eu"), measured(driver, "us")) == (2, 4)


def test_a_metric_without_the_filters_key_is_not_billed() -> None:
    driver = rig(replace(CONTRACT, usage_filters=(only("x", key="color"),)), alert=spend_alert("1000"))
    use(driver, 1, color="x", project="a")
    assert measured(driver) == 0


@pytest.mark.parametrize(
    ("aggregation", "spend"),
    # readings by hour: a 5, b 9, a 7, b 20; the filter takes a from hour 0 on, and both from hour 3 on
    [(Aggregation.MAX, 2 * 20), (Aggregation.LATEST, 2 * 20), (Aggregation.UNIQUE, 2 * 3), (Aggregation.COUNT, 2 * 3)],
)
def test_filters_under_every_aggregation(aggregation: Aggregation, spend: int) -> None:
    filters = (only("a"), only("a", "b", start=3))
    driver = rig(replace(CONTRACT, usage_filters=filters), alert=spend_alert("1000"), aggregation=aggregation)
    for hour, (project, n) in enumerate((("a", 5), ("b", 9), ("a", 7), ("b", 20))):
        use(driver, n, hour, project=project)
        if hour == 2 and aggregation in (Aggregation.MAX, Aggregation.LATEST):
            assert measured(driver) == 2 * 7
    assert measured(driver) == spend
    driver.reload()
    assert measured(driver) == spend
