"""The order of draw-down step by step, and what may be paid by what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.balances.draw import DrawLine, LineKind, Pool, draw_down
from engine.balances.matching import UsageKey, covers, precedence
from engine.catalog import USD_CENTS, AccessType, Balance, BalanceType, Product, RolledOver, Segment, Specifier
from engine.numbers import exact

PRODUCTS = {
    "p1": Product("p1", "p1", "metric", tags=frozenset({"compute"})),
    "p2": Product("p2", "p2", "metric", tags=frozenset({"compute", "gpu"})),
    "p3": Product("p3", "p3", "metric"),
}
USAGE = UsageKey("contract", "p1", frozenset({"compute"}), (("region", "eu"),), (("model", "x"),))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def balance(name: str, kind: BalanceType = BalanceType.CREDIT, **changes: object) -> Balance:
    return replace(Balance(name, kind, "fixed", ()), **changes)  # type: ignore[arg-type]


def pool(of: Balance, amount: int = 100, start: int = 0, end: int = 1000, segment: str = "s") -> Pool:
    held = Segment(segment, start, end, Decimal(amount))
    return Pool(of, held, precedence(of, held, PRODUCTS), held.amount)


def line(amount: int, start: int = 0, end: int = 1000, price: int = 1, name: str = "p1", **changes: object) -> DrawLine:
    made = DrawLine(USAGE, USD_CENTS, start, end, Decimal(price), name, Decimal(amount))
    return made._replace(**changes)  # type: ignore[arg-type]


def drawn(lines: list[DrawLine], pools: list[Pool]) -> list[tuple[int, str, int]]:
    return [(each.line, each.balance.id, int(each.amount)) for each in draw_down(lines, pools).applied]


ROLLED = RolledOver("source", "old contract", Decimal(1))
by_values = Specifier(pricing_group_values=(("region", "eu"),))
also_by_values = Specifier(presentation_group_values=(("model", "x"),))

# (step, what goes first, what goes after it): each differs in its step and is worse in all that come after.
STEPS = [
    (
        "rolled over before all others",
        pool(balance("z", BalanceType.PREPAID, priority=Decimal(9), rolled_over=ROLLED)),
        pool(balance("a", priority=Decimal(1))),
    ),
    (
        "postpaid rolled over before prepaid",
        pool(balance("z", BalanceType.POSTPAID, priority=Decimal(9), rolled_over=ROLLED)),
        pool(balance("a", BalanceType.PREPAID, priority=Decimal(1), rolled_over=ROLLED)),
    ),
    (
        "rolled over: what it cost does not count",
        pool(balance("z", cost_basis_free=False, rolled_over=ROLLED), end=900),
        pool(balance("a", rolled_over=ROLLED)),
    ),
    (
        "rolled over: the start does not count",
        pool(balance("a", rolled_over=ROLLED), start=9),
        pool(balance("z", rolled_over=ROLLED), start=1),
    ),
    ("kind", pool(balance("z", priority=Decimal(9))), pool(balance("a", BalanceType.POSTPAID, priority=Decimal(1)))),
    (
        "prepaid commits and credits together",
        pool(balance("z", BalanceType.PREPAID, priority=Decimal(1))),
        pool(balance("a", priority=Decimal(2))),
    ),
    ("priority", pool(balance("z", priority=Decimal("1.5"), cost_basis_free=False)), pool(balance("a", priority=Decimal(2)))),
    (
        "what cost nothing",
        pool(balance("z")),
        pool(balance("a", BalanceType.PREPAID, cost_basis_free=False, applicable_product_ids=frozenset({"p1"}))),
    ),
    (
        "fewest applicable products, by id",
        pool(balance("z", applicable_product_ids=frozenset({"p1"})), end=2000),
        pool(balance("a", applicable_product_ids=frozenset({"p1", "p2"}))),
    ),
    (
        "fewest applicable products, by tag",
        pool(balance("z", applicable_product_tags=frozenset({"gpu"}), applicable_product_ids=frozenset({"p2"})), end=2000),
        pool(balance("a", specifiers=(Specifier(product_tags=frozenset({"compute"})),))),
    ),
    (
        "a list of products before everything",
        pool(balance("z", applicable_product_ids=frozenset({"p1", "p2", "p3"})), end=2000),
        pool(balance("a")),
    ),
    (
        "fewest group-value specifiers",
        pool(balance("z", specifiers=(by_values,)), end=2000),
        pool(balance("a", specifiers=(by_values, also_by_values))),
    ),
    ("group values before everything", pool(balance("z", specifiers=(by_values, also_by_values)), end=2000), pool(balance("a"))),
    ("earliest end", pool(balance("z"), start=500, end=900), pool(balance("a"), start=0, end=901)),
    ("earliest start", pool(balance("z"), start=1), pool(balance("a", contract_id="contract"), start=2)),
    (
        "fewest applicable contracts: one of its own",
        pool(balance("z", contract_id="contract", created_us=9)),
        pool(balance("a", applicable_contract_ids=frozenset({"contract", "other"}))),
    ),
    (
        "fewest applicable contracts: a list before all",
        pool(balance("z", applicable_contract_ids=frozenset({"contract", "other"}), created_us=9)),
        pool(balance("a")),
    ),
    ("creation", pool(balance("z", created_us=1)), pool(balance("a", created_us=2))),
    ("id", pool(balance("a")), pool(balance("b"))),
    ("segment id", pool(balance("a"), segment="s1"), pool(balance("a"), segment="s2")),
]


@pytest.mark.parametrize(("first", "second"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_each_step_decides_where_those_before_it_do_not(first: Pool, second: Pool) -> None:
    assert sorted([second, first], key=lambda pool: pool.order) == [first, second]


def test_the_order_of_balances_is_kept_in_paying() -> None:
    pools = [pool(balance("after", priority=Decimal(2)), 10), pool(balance("before", priority=Decimal(1)), 30)]
    assert drawn([line(25), line(25, start=1)], pools) == [(0, "before", 25), (1, "before", 5), (1, "after", 10)]
    assert [int(each.left) for each in pools] == [0, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (line(10, start=4, price=1, name="z"), line(10, start=5, price=9, name="a")),
        (line(10, price=2, name="z"), line(10, price=1, name="a")),
        (line(10, name="a"), line(10, name="z")),
        (line(10, start=5, name="z"), line(10, start=4, name="a", kind=LineKind.SUBSCRIPTION)),
        (line(10, start=5, name="z", kind=LineKind.SUBSCRIPTION), line(10, start=4, name="a", kind=LineKind.CONVERSION)),
    ],
    ids=["earlier start", "higher price", "name", "usage before subscriptions", "subscriptions before conversions"],
)
def test_lines_are_taken_in_order(first: DrawLine, second: DrawLine) -> None:
    open_to_all = balance("b")
    assert drawn([second, first], [pool(open_to_all, 15)]) == [(1, "b", 10), (0, "b", 5)]


def test_of_equal_lines_the_first_goes_first() -> None:
    assert drawn([line(10), line(10)], [pool(balance("b"), 15)]) == [(0, "b", 10), (1, "b", 5)]


def test_no_part_is_paid_twice() -> None:
    assert drawn([line(10)], [pool(balance("a"), 7), pool(balance("b"), 7)]) == [(0, "a", 7), (0, "b", 3)]


def test_a_correction_is_not_paid_and_fills_nothing_up() -> None:
    held = pool(balance("a"), 7)
    assert drawn([line(-10), line(0), line(10, start=1)], [held]) == [(2, "a", 7)]


def test_an_empty_or_overdrawn_pool_pays_nothing() -> None:
    overdrawn = pool(balance("b"))
    overdrawn.left = Decimal(-5)
    assert drawn([line(10)], [pool(balance("a"), 0), overdrawn]) == []


@pytest.mark.parametrize(("start", "end", "pays"), [(10, 20, True), (9, 20, False), (10, 21, False), (20, 30, False)])
def test_a_segment_pays_lines_that_it_holds_whole(start: int, end: int, pays: bool) -> None:
    assert bool(drawn([line(1, start=start, end=end)], [pool(balance("a"), start=10, end=20)])) is pays


def quantity(name: str, **changes: object) -> Balance:
    return balance(name, access_type=AccessType.QUANTITY, **changes)


def payments(of: DrawLine, *pools: Pool) -> tuple[list[tuple[str, str, str | None]], str]:
    """(who, money, units) of each payment, and the money that is left to pay."""
    made = draw_down([of], pools)
    shown = [(each.balance.id, f"{each.amount:f}", None if each.units is None else f"{each.units:f}") for each in made.applied]
    return shown, f"{made.unpaid[0]:f}"


def test_units_are_drawn_whatever_they_cost_and_in_whatever_credit_type() -> None:
    ten = line(50, price=5, units=Decimal(10), credit_type_id="credits")
    held = pool(quantity("a"), 4)
    assert payments(ten, held) == ([("a", "20", "4")], "30")
    assert held.left == 0
    assert payments(line(0, price=0, units=Decimal(10)), pool(quantity("a"), 4)) == ([("a", "0", "4")], "0")
    assert payments(ten._replace(kind=LineKind.CONVERSION, usage=UsageKey("contract", None)), pool(quantity("a"), 4)) == (
        [],
        "50",
    )


def test_whoever_takes_the_last_units_takes_what_rounding_has_left_over() -> None:
    thirds = line(9, price=3, units=Decimal(3))
    first = pool(balance("a", priority=Decimal(0)), 1)
    units = pool(quantity("b", priority=Decimal(1)), 5)
    assert payments(thirds, first, units) == ([("a", "1", None), ("b", "8", "2.666666666666666666")], "0")
    assert units.left == Decimal("2.333333333333333334")


def test_a_price_of_its_own_takes_units_off_the_line() -> None:
    ten = line(50, price=5, units=Decimal(10), prices={"a": Decimal(2)})
    assert payments(ten, pool(balance("a"), 12), pool(balance("b"), 7)) == ([("a", "12", "6"), ("b", "7", None)], "13")
    assert payments(ten, pool(balance("a"), 100)) == ([("a", "20", "10")], "0")
    assert payments(ten._replace(prices={"a": Decimal(0)}), pool(balance("a"), 1)) == ([("a", "0", "10")], "0")
    assert payments(ten._replace(prices={"a": Decimal(3)}), pool(balance("a"), 10)) == (
        [("a", "10", "3.333333333333333333")],
        "33.333333333333333335",
    )


def test_another_credit_type_is_not_drawn() -> None:
    assert drawn([line(10)], [pool(balance("a", credit_type_id="credits"))]) == []


COVERS = [
    ({}, True),
    ({"contract_id": "contract"}, True),
    ({"contract_id": "other"}, False),
    ({"applicable_contract_ids": frozenset({"other", "contract"})}, True),
    ({"applicable_contract_ids": frozenset({"other"})}, False),
    ({"applicable_product_ids": frozenset({"p1"})}, True),
    ({"applicable_product_ids": frozenset({"p2"})}, False),
    ({"applicable_product_tags": frozenset({"gpu", "compute"})}, True),
    ({"applicable_product_tags": frozenset({"gpu"})}, False),
    ({"applicable_product_ids": frozenset({"p2"}), "applicable_product_tags": frozenset({"compute"})}, True),
    ({"specifiers": (Specifier(product_id="p2"), by_values)}, True),
    ({"specifiers": (Specifier(product_id="p2", pricing_group_values=(("region", "eu"),)),)}, False),
    ({"specifiers": (Specifier(product_tags=frozenset({"compute", "gpu"})),)}, False),
    ({"specifiers": (Specifier(product_tags=frozenset({"compute"}), presentation_group_values=(("model", "x"),)),)}, True),
    ({"specifiers": (Specifier(pricing_group_values=(("region", "us"),)),)}, False),
    ({"specifiers": (Specifier(pricing_group_values=(("model", "x"),)),)}, False),
]


@pytest.mark.parametrize(("restriction", "expected"), COVERS)
def test_what_a_balance_is_open_to(restriction: dict[str, object], expected: bool) -> None:
    assert covers(balance("a", **restriction), USAGE) is expected


def test_a_conversion_is_of_no_product() -> None:
    conversion = UsageKey("contract", None)
    assert covers(balance("a"), conversion)
    assert not covers(balance("a", applicable_product_ids=frozenset({"p1"})), conversion)
    assert not covers(balance("a", specifiers=(by_values,)), conversion)
