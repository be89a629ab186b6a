"""Composites, recomputed by hand: brackets of the spend of a billing period, a minimum, and what a commit leaves of the bill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import ProductType, Rate, RateType, Tier
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.numbers import exact
from tests.unit.test_invoices_composite import catalog, draft, prepaid, support
from tests.unit.test_invoices_scheduled import hour

PRICES = {"a": 1, "b": 10, "c": 1}
START, END = "2026-01-01", "2026-02-01"

amounts = st.sampled_from([Decimal(text) for text in ("0", "0.5", "3", "40", "777.25", "-2")])
fractions = st.sampled_from([Decimal(text) for text in ("0", "0.1", "0.025", "1.5")])
days = st.integers(1, 31).map(lambda day: f"2026-01-{day:02d}T{day % 24:02d}:00:00")
usage = st.dictionaries(st.sampled_from("abc"), st.dictionaries(days, amounts, max_size=4))
sizes = st.lists(st.sampled_from([Decimal(1), Decimal(30), Decimal("400.5")]), max_size=3)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    tiers = tuple(Tier(size, draw(fractions)) for size in [*draw(sizes), None])
    rate = Rate("support", RateType.TIERED_PERCENTAGE, 0, tiers=tiers, minimum=draw(st.sampled_from([None, Decimal(25)])))
    if len(tiers) > 1 or draw(st.booleans()):
        return rate
    return replace(rate, rate_type=RateType.PERCENTAGE, price=tiers[0].price, tiers=())


def share(rate: Rate, spend: Fraction) -> Fraction:
    """What the brackets charge of a spend, filled one after the other; below zero the first one's fraction."""
    tiers = [(tier.size, tier.price) for tier in rate.tiers] or [(None, rate.price)]
    if spend < 0:
        return spend * Fraction(tiers[0][1])
    owed = Fraction(0)
    for size, fraction in tiers:
        part = spend if size is None else min(spend, Fraction(size))
        owed += part * Fraction(fraction)
        spend -= part
    return owed


@settings(max_examples=150, deadline=None)
@given(used=usage, rate=rates(), tagged=st.booleans(), granted=st.sampled_from(["0", "5", "100", "2000"]))
def test_a_composite_is_what_its_brackets_make_of_the_spend(
    used: dict[str, dict[str, Decimal]], rate: Rate, tagged: bool, granted: str
) -> None:
    composite = support(composite_tags=frozenset({"tag"} if tagged else ()))
    assert composite.type is ProductType.COMPOSITE
    texts = {name: {at: str(units) for at, units in by_hour.items()} for name, by_hour in used.items()}
    invoice = draft(catalog(rate, composites=(composite,)), texts, prepaid(granted))

    spent = {
        name: PRICES[name] * sum((Fraction(each) for each in by_hour.values()), Fraction(0)) for name, by_hour in used.items()
    }
    counted = sum((spend for name, spend in spent.items() if tagged or name != "c"), Fraction(0))
    owed = share(rate, counted)
    if rate.minimum is not None:
        owed = max(owed, Fraction(rate.minimum))
    lines = [item for item in invoice.line_items if item.product_id == "support" and item.unit_price is not None]
    assert sum((Fraction(each.total) for each in lines), Fraction(0)) == owed

    bill = sum(spent.values(), Fraction(0)) + owed
    charged = [Fraction(each.total) for each in invoice.line_items if each.unit_price is not None]
    payable = sum((each for each in charged if each > 0), Fraction(0))
    assert Fraction(invoice.total) == bill - min(payable, Fraction(granted))
    parts = breakdowns(invoice, WindowSize.DAY, hour(START), hour(END))
    assert sum((Fraction(part.invoice.total) for part in parts), Fraction(0)) == Fraction(invoice.total)
