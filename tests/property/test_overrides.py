"""Overrides and usage filters against a naive recomputation in fractions, hour by hour, that shares no code with the engine."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from engine.customer import EngineSettings
from engine.effects import UsageEvent
from engine.numbers import exact
from engine.periods import Period
from engine.rating.book import RateBook
from engine.rating.lines import line_spend
from tests.support.stored_customer import Driver

HOURS = 8  # of the billing period, hours 0 to 8
PRODUCT = Product("p", "P", "m", pricing_group_key=("region",), tags=frozenset({"ai"}))
CREDIT_TYPES = ("cents", "tokens")
HOUR_US = 3_600_000_000
START = 490_896  # 2026-01-01T00:00Z, in hours


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


# --- the naive recomputation ----------------------------------------------------------------------------------------------


def holds(part: Rate | Override, hour: int) -> bool:
    return part.starting_hour <= hour and (part.ending_hour is None or hour < part.ending_hour)


def is_for(override: Override, region: str) -> bool:
    if not override.specifiers:
        return True
    for specifier in override.specifiers:
        right_product = specifier.product_id is None or specifier.product_id == "p"
        right_tags = all(tag == "ai" for tag in specifier.product_tags)
        right_values = all((key, value) == ("region", region) for key, value in specifier.pricing_group_values)
        if right_product and right_tags and right_values:
            return True
    return False


def step(tiers: list[tuple[Fraction | None, Fraction]], position: Fraction) -> tuple[Fraction, Fraction | None]:
    """The value just above a position, and where it ends."""
    edge = Fraction(0)
    for size, value in tiers:
        if size is None:
            return value, None
        edge += size
        if position < edge:
            return value, edge
    return Fraction(1), None  # multipliers that end: the listed price


def steps_of(rate: Rate | OverwriteRate) -> list[tuple[Fraction | None, Fraction]]:
    if rate.rate_type is RateType.FLAT:
        return [(None, Fraction(rate.price))]
    return [(None if tier.size is None else Fraction(tier.size), Fraction(tier.price)) for tier in rate.tiers]


def naive_cost(price_at: list[list[tuple[Fraction | None, Fraction]]], low: Fraction, high: Fraction) -> Fraction:
    """``price_at``: step functions whose product is the price."""
    total = Fraction(0)
    while low < high:
        found = [step(steps, low) for steps in price_at]
        price = Fraction(1)
        for value, _ in found:
            price *= value
        stop = min([high, *(edge for _, edge in found if edge is not None)])
        total += (stop - low) * price
        low = stop
    return total


def naive_price(
    rates: list[Rate], overrides: list[Override], explicit: bool, hour: int
) -> tuple[str, list[list[tuple[Fraction | None, Fraction]]]] | None:
    """Credit type and price of an hour; None = not billed. Chosen by throwing losers out, one rule after the other."""
    candidates = [rate for rate in rates if holds(rate, hour)]
    if not candidates:
        return None
    listed = candidates[-1]
    here = [override for override in overrides if holds(override, hour)]
    entitled = listed.entitled
    for override in here:
        entitled = entitled if override.entitled is None else override.entitled
    if not entitled:
        return None
    pricing = [override for override in here if override.type is not None]
    overwrites = [override for override in pricing if override.type == "OVERWRITE"]
    if overwrites:
        rate = overwrites[-1].overwrite_rate
        assert rate is not None
        return rate.credit_type_id, [steps_of(rate)]
    if not pricing:
        return listed.credit_type_id, [steps_of(listed)]
    if explicit:
        best = min(override.priority or Decimal(0) for override in pricing)
        chosen = [override for override in pricing if override.priority == best][-1]
    else:
        best = min(override.multiplier for override in pricing)
        chosen = next(override for override in pricing if override.multiplier == best)
    if chosen.type == "MULTIPLIER":
        return listed.credit_type_id, [steps_of(listed), [(None, Fraction(chosen.multiplier))]]
    factors = [(None if tier.size is None else Fraction(tier.size), Fraction(tier.multiplier)) for tier in chosen.tiers]
    return listed.credit_type_id, [steps_of(listed), factors]


# --- strategies -----------------------------------------------------------------------------------------------------------

decimals = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-300, 300), st.integers(0, 2))
positive = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 300), st.integers(0, 2))
prices = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(0, 99), st.integers(0, 2))
starts = st.integers(-2, HOURS - 1)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[int, int | None]:
    start = draw(starts)
    return start, draw(st.one_of(st.none(), st.integers(start + 1, HOURS + 2)))


@st.composite
def priced(draw: st.DrawFn) -> tuple[RateType, Decimal, tuple[Tier, ...]]:
    if draw(st.booleans()):
        return RateType.FLAT, draw(prices), ()
    sizes = [*draw(st.lists(positive, max_size=3)), None]
    return RateType.TIERED, Decimal(0), tuple(Tier(size, draw(prices)) for size in sizes)


@st.composite
def rate_rows(draw: st.DrawFn) -> list[Rate]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        start, end = draw(bounds())
        kind, price, tiers = draw(priced())
        unit = draw(st.sampled_from(CREDIT_TYPES))
        entitled = draw(st.sampled_from((True, True, False)))
        found.append(Rate("p", kind, start, unit, price, tiers, end, (("region", "eu"),), entitled))
    return found


specifiers = st.builds(
    lambda product, tags, values: Specifier(product, frozenset(tags), values),
    st.sampled_from((None, None, "p", "q")),
    st.sampled_from(((), (), ("ai",), ("ai", "text"))),
    st.sampled_from(((), (), (("region", "eu"),), (("region", "us"),), (("color", "red"),))),
)


@st.composite
def overrides_of(draw: st.DrawFn, explicit: bool) -> list[Override]:
    kinds = ["OVERWRITE", "MULTIPLIER", "MULTIPLIER", None, *(["TIERED"] * 2 if explicit else [])]
    found = []
    for index in range(draw(st.integers(0, 5))):
        start, end = draw(bounds())
        kind = draw(st.sampled_from(kinds))
        entitled = draw(st.sampled_from((None, None, True, False) if kind else (True, False)))
        more: dict[str, object] = {"specifiers": tuple(draw(st.lists(specifiers, max_size=2))), "entitled": entitled}
        if kind == "OVERWRITE":
            rate_type, price, tiers = draw(priced())
            more["overwrite_rate"] = OverwriteRate(rate_type, price, tiers, draw(st.sampled_from(CREDIT_TYPES)))
        elif kind is not None:
            more["multiplier"] = draw(prices)
            more["priority"] = Decimal(draw(st.integers(1, 3))) if explicit else None
        if kind == "TIERED":
            sizes = draw(st.lists(positive, min_size=1, max_size=3))
            last = [None] if draw(st.booleans()) else []
            more["tiers"] = tuple(MultiplierTier(size, draw(prices)) for size in (*sizes, *last))
        kind = kind and OverrideType(kind)
        found.append(Override(f"o{index}", start, end, kind, **more))  # type: ignore[arg-type]
    return found


schemes = st.booleans().flatmap(lambda explicit: st.tuples(st.just(explicit), overrides_of(explicit)))


# --- properties -----------------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(rate_rows(), schemes, st.lists(decimals, min_size=HOURS, max_size=HOURS))
def test_overridden_spend_equals_the_naive_recomputation(
    rates: list[Rate], scheme: tuple[bool, list[Override]], usage: list[Decimal]
) -> None:
    explicit, overrides = scheme
    book = RateBook.compile(RateCard("card", tuple(rates)), {"p": PRODUCT}).overridden(overrides, explicit=explicit)
    slices = book.slices("p", ("eu",), Period(0, HOURS))
    raw = [sum(usage[start:end], Decimal(0)) for start, end, _ in slices]

    expected = dict.fromkeys(CREDIT_TYPES, Fraction(0))
    position = Fraction(0)
    concerned = [override for override in overrides if is_for(override, "eu")]
    for hour in range(HOURS):
        price = naive_price(rates, concerned, explicit, hour)
        ladder = book.ladder_at("p", ("eu",), hour)
        assert (price is None) == (ladder is None)
        if price is None:
            continue
        end = position + Fraction(usage[hour])
        credit_type, price_at = price
        low, high = sorted((position, end))
        expected[credit_type] += naive_cost(price_at, low, high) * (1 if end >= position else -1)
        position = end
    assert {unit: Fraction(line_spend(PRODUCT, slices, raw, unit)) for unit in CREDIT_TYPES} == expected


@st.composite
def filters(draw: st.DrawFn) -> tuple[UsageFilter, ...]:
    hours = sorted(draw(st.sets(st.integers(0, HOURS - 1), max_size=3)))
    return tuple(
        UsageFilter(
            draw(st.sampled_from(("project", "project", "team"))),
            frozenset(draw(st.sets(st.sampled_from("abc"), min_size=1))),
            START + hour,
        )
        for hour in hours
    )


events = st.lists(
    st.tuples(
        st.integers(0, HOURS - 1),
        st.integers(0, 20),
        st.sampled_from(("a", "b", "c", None)),
        st.sampled_from(("a", "b", None)),
    ),
    max_size=12,
)


def quantity(aggregation: Aggregation, counted: list[tuple[int, int]]) -> Fraction:
    """``counted``: (hour, value) in order of arrival."""
    if not counted:
        return Fraction(0)
    match aggregation:
        case "COUNT":
            return Fraction(len(counted))
        case "SUM":
            return Fraction(sum(value for _, value in counted))
        case "MAX":
            return Fraction(max(value for _, value in counted))
        case "UNIQUE":
            return Fraction(len({value for _, value in counted}))
    newest = max(hour for hour, _ in counted)
    return Fraction([value for hour, value in counted if hour == newest][-1])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(Aggregation)), filters(), events, st.integers(0, 12))
def test_filtered_spend_equals_the_naive_recomputation(
    aggregation: Aggregation,
    selection: tuple[UsageFilter, ...],
    stream: list[tuple[int, int, str | None, str | None]],
    reload_at: int,
) -> None:
    """The live gauges, the gauges after a reload, and those after the filters were set on running usage, all agree."""
    key = None if aggregation is Aggregation.COUNT else "n"
    metric = BillableMetric("m", "m", aggregation, key, group_keys=(("project",), ("project", "team")))
    alert = Alert("alert", AlertType.SPEND_THRESHOLD, "alert", Decimal(10**9), 1)
    rate = Rate("p", RateType.FLAT, 0, price=Decimal(3))
    catalog = Catalog(1, {"m": metric}, {"p": Product("p", "P", "m")}, {"card": RateCard("card", (rate,))}, (alert,))
    schedule = BillingSchedule(Frequency.MONTHLY, START * HOUR_US)
    plain = Contract("contract", "card", START, None, schedule)
    filtered = Contract("contract", "card", START, None, schedule, usage_filters=selection)
    driver = Driver(CustomerConfig("customer", 1, (filtered,)), catalog, START * HOUR_US, EngineSettings())
    changed = Driver(CustomerConfig("customer", 1, (plain,)), catalog, START * HOUR_US, EngineSettings())
    counted: list[tuple[int, int]] = []
    for index, (hour, value, project, team) in enumerate(stream):
        names = {name: text for name, text in (("project", project), ("team", team)) if text is not None}
        at_us = (START + hour) * HOUR_US
        event = UsageEvent(f"t{index}", "call", at_us, START + hour, {"n": value, **names}, "usage-events", 0, index, at_us)
        for each in (driver, changed):
            assert each.event(event, START * HOUR_US) is None
            each.collect()
        holding = [each for each in selection if each.starting_hour <= START + hour]
        if not holding or names.get(holding[-1].group_key) in holding[-1].group_values:
            counted.append((hour, value))
        if index == reload_at:
            driver.reload()
        spend = quantity(aggregation, counted) * 3
        found = {period.starting_hour: Fraction(value) for (period, _), value in driver.aggregate.measured("alert").items()}
        assert found[START] == spend
    changed.reconfigure(CustomerConfig("customer", 2, (filtered,)))
    assert changed.aggregate.measured("alert") == driver.aggregate.measured("alert")
