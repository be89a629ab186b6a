"""Which price holds when, for whom: the compiled rate card."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from decimal import Decimal

import pytest

from engine.catalog import Operation, Product, QuantityConversion, Rate, RateCard, RateType, Tier
from engine.numbers import exact
from engine.periods import Period
from engine.rating.book import RateBook
from engine.rating.prices import RateError

PLAIN = Product("plain", "Plain", "m1")
GROUPED = Product("grouped", "Grouped", "m1", pricing_group_key=("region", "model"))
OTHER = Product("other", "Other", "m2")
PRODUCTS = {product.id: product for product in (PLAIN, GROUPED, OTHER)}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def flat(price: str, start: int, end: int | None = None, *, product: str = "plain", entitled: bool = True, **group: str) -> Rate:
    return Rate(
        product_id=product,
        rate_type=RateType.FLAT,
        starting_hour=start,
        ending_hour=end,
        price=Decimal(price),
        pricing_group_values=tuple(sorted(group.items())),
        entitled=entitled,
    )


def tiered(*tiers: tuple[str | None, str], start: int = 0) -> Rate:
    return Rate(
        product_id="plain",
        rate_type=RateType.TIERED,
        starting_hour=start,
        tiers=tuple(Tier(None if size is None else Decimal(size), Decimal(price)) for size, price in tiers),
    )


def book(*rates: Rate) -> RateBook:
    return RateBook.compile(RateCard("card", rates), PRODUCTS)


def priced(found: RateBook, values: tuple[str, ...] = (), product: str = "plain") -> list[tuple[int, int, str]]:
    """The slices of hours 100 to 200."""
    return [(start, end, str(ladder.prices[0])) for start, end, ladder in found.slices(product, values, Period(100, 200))]


@pytest.mark.parametrize(
    ("rates", "slices"),
    [
        ([], []),
        ([flat("1", 0)], [(100, 200, "1")]),
        ([flat("1", 100, 200)], [(100, 200, "1")]),
        ([flat("1", 0, 100)], []),
        ([flat("1", 200)], []),
        ([flat("1", 199)], [(199, 200, "1")]),
        ([flat("1", 0, 101)], [(100, 101, "1")]),
        # a change inside the period
        ([flat("1", 0, 150), flat("2", 150)], [(100, 150, "1"), (150, 200, "2")]),
        ([flat("1", 0), flat("2", 150)], [(100, 150, "1"), (150, 200, "2")]),
        # a gap is not billed
        ([flat("1", 0, 120), flat("2", 150)], [(100, 120, "1"), (150, 200, "2")]),
        # the latest added wins, and gives way again when it ends
        ([flat("1", 0), flat("2", 120, 140)], [(100, 120, "1"), (120, 140, "2"), (140, 200, "1")]),
        ([flat("2", 120, 140), flat("1", 0)], [(100, 200, "1")]),
        # entitled=false removes the product from billing, and only while it wins
        ([flat("1", 0), flat("9", 150, entitled=False)], [(100, 150, "1")]),
        ([flat("9", 0, entitled=False), flat("1", 150)], [(150, 200, "1")]),
        # only a change of price splits
        ([flat("1", 0, 150), flat("1.0", 150)], [(100, 200, "1")]),
        ([flat("1", 0, 120), flat("1", 150)], [(100, 120, "1"), (150, 200, "1")]),
    ],
)
def test_slices(rates: list[Rate], slices: list[tuple[int, int, str]]) -> None:
    compiled = book(*rates)
    assert priced(compiled) == slices
    for hour in range(100, 200):
        here = [price for start, end, price in slices if start <= hour < end]
        ladder = compiled.ladder_at("plain", (), hour)
        assert ([] if ladder is None else [str(ladder.prices[0])]) == here


def test_pricing_values_match_in_all_keys_or_not_at_all() -> None:
    compiled = book(
        flat("1", 0, product="grouped", region="eu", model="small"),
        flat("2", 0, product="grouped", region="eu", model="large"),
        flat("3", 150, product="grouped", model="large", region="eu"),
        flat("4", 0, product="grouped", region="us"),  # lacks a key of the product: matches nothing
        flat("5", 0, product="grouped", region="us", model="x", extra="y"),  # one too many: likewise
        flat("6", 0, product="grouped"),
        flat("7", 0, region="eu"),  # a product without a pricing group key has no such rows
    )
    assert priced(compiled, ("eu", "small"), "grouped") == [(100, 200, "1")]
    assert priced(compiled, ("eu", "large"), "grouped") == [(100, 150, "2"), (150, 200, "3")]
    for values in (("us", "x"), ("small", "eu"), ("eu",), ()):
        assert priced(compiled, values, "grouped") == []
    assert priced(compiled) == []
    assert compiled.ladder_at("grouped", ("us", "x"), 100) is None
    assert set(compiled.priced_values("grouped")) == {("eu", "small"), ("eu", "large")}


def test_products_of_a_metric_are_those_with_rates() -> None:
    compiled = book(flat("1", 0), flat("1", 0, product="unknown"))
    assert compiled.products_of("m1") == (PLAIN,)
    assert compiled.products_of("m2") == ()
    assert compiled.metric_ids() == ("m1",)
    both = book(flat("1", 0), flat("1", 0, product="grouped", region="eu", model="x"), flat("1", 0, product="other"))
    assert both.products_of("m1") == (PLAIN, GROUPED)
    assert set(both.metric_ids()) == {"m1", "m2"}


@pytest.mark.parametrize(
    ("tiers", "rule"),
    [
        ([], "last tier"),
        ([("10", "1")], "last tier"),
        ([(None, "1"), (None, "2")], "size above 0"),
        ([("0", "1"), (None, "2")], "size above 0"),
        ([("-1", "1"), (None, "2")], "size above 0"),
    ],
)
def test_tiers_that_are_no_ladder_are_refused(tiers: list[tuple[str | None, str]], rule: str) -> None:
    with pytest.raises(RateError, match=rule):
        book(tiered(*tiers))


def test_compiling_is_exact_wherever_it_happens() -> None:
    wide = tiered(("99999999999999999999.999999999999999999", "1.000000000000000001"), (None, "1"))
    compiled = contextvars.Context().run(book, wide)
    ladder = compiled.ladder_at("plain", (), 0)
    assert ladder is not None
    assert ladder.costs[1] == Decimal("100000000000000000099.999999999999999998999999999999999999")


@pytest.mark.parametrize("factor", ["0", "-1"])
def test_a_conversion_that_is_not_increasing_is_refused(factor: str) -> None:
    product = Product("plain", "Plain", "m1", conversion=QuantityConversion(Decimal(factor), Operation.MULTIPLY))
    with pytest.raises(RateError, match="factor"):
        RateBook.compile(RateCard("card", (flat("1", 0),)), {"plain": product})
