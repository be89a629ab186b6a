"""What rolls over from one contract to the one that renews it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from engine.balances.draw import Pool
from engine.balances.matching import precedence
from engine.balances.rollover import Taken, roll_over, rolls_over_at
from engine.catalog import Balance, BalanceType, BillingSchedule, Contract, CustomerConfig, Frequency, RolledOver, Segment
from engine.numbers import exact

ENDED = 1000
MONTHLY = BillingSchedule(Frequency.MONTHLY, 0)
OLD = Contract("old", None, 0, ENDED, MONTHLY)
NEW = Contract("new", None, ENDED, None, MONTHLY)
CONTRACTS = {"old": OLD, "new": NEW}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact():
        yield


def pools(*left: int, fraction: str = "1") -> tuple[Pool, list[Pool]]:
    """A rolled-over balance's pool, and its source's, of segments of 100: past, open at the end (two), never granted."""
    bounds = [(0, 500), (500, ENDED), (600, ENDED + 100), (ENDED, ENDED + 200)]
    segments = tuple(Segment(f"s{number}", *hours, Decimal(100)) for number, hours in enumerate(bounds))
    source = Balance("source", BalanceType.PREPAID, "fee", segments, contract_id="old")
    over = Balance(
        "over",
        BalanceType.PREPAID,
        "fee",
        (Segment("over", ENDED, ENDED + 900, Decimal(0)),),
        contract_id="new",
        rolled_over=RolledOver("source", "old", Decimal(fraction)),
    )
    own = Pool(over, over.segments[0], precedence(over, over.segments[0], {}), Decimal(0))
    others = [
        Pool(source, segment, precedence(source, segment, {}), Decimal(amount))
        for segment, amount in zip(segments, left, strict=True)
    ]
    return own, [own, *others]


def taken(segment_id: str, amount: int) -> Taken:
    return Taken("source", segment_id, "new", ENDED, Decimal(amount))


def test_only_what_is_open_at_the_end_rolls_over() -> None:
    over, all_pools = pools(90, 30, 40, 100)
    assert roll_over(over, all_pools, CONTRACTS) == [taken("s1", 30), taken("s2", 40)]
    assert [int(each.left) for each in all_pools[1:]] == [90, 0, 0, 100]


def test_no_more_than_the_fraction_of_all_that_was_granted() -> None:
    over, all_pools = pools(0, 30, 40, 0, fraction="0.1")
    assert roll_over(over, all_pools, CONTRACTS) == [taken("s1", 30), taken("s2", 10)]
    assert roll_over(*pools(0, 30, 40, 0, fraction="0"), CONTRACTS) == []


def test_a_contract_that_is_gone_leaves_nothing() -> None:
    assert roll_over(*pools(0, 30, 40, 0), {"new": NEW}) == []


def test_it_is_unsettled_while_the_last_grace_period_of_the_old_contract_runs() -> None:
    over, _ = pools(0, 0, 0, 0)
    config = CustomerConfig("customer", 1, (OLD, NEW), balances=(over.balance,))
    assert [rolls_over_at(config, hour, 24) for hour in (ENDED - 1, ENDED, ENDED + 23, ENDED + 24)] == [False, True, True, False]
    assert not rolls_over_at(CustomerConfig("customer", 1, (OLD, NEW)), ENDED, 24)
