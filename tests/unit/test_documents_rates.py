"""The rate schedule as rows without overlap, held against the rule that it stands for; aliases of rate cards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.alias_times import holder_at
from schemas.documents import Document, instant_text
from schemas.errors import BadRequest, Conflict
from schemas.rate_rules import check_aliases
from schemas.rate_schedule import effective, within

HOUR_US = 3_600_000_000


def rate(name: int, start_hour: int, end_hour: int | None, region: str) -> Document:
    return {
        "price": str(name),
        "product_id": "p",
        "pricing_group_values": {"region": region},
        "starting_at": instant_text(start_hour * HOUR_US),
        "ending_before": None if end_hour is None else instant_text(end_hour * HOUR_US),
    }


spans = st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(1, 6)), st.sampled_from(["eu", "us"]))


@settings(max_examples=200)
@given(st.lists(spans, max_size=7))
def test_the_latest_added_of_the_rates_that_cover_an_hour_counts(given_spans: list[tuple[int, int | None, str]]) -> None:
    bounds = [(start, None if length is None else start + length, region) for start, length, region in given_spans]
    rows = effective([rate(name, start, end, region) for name, (start, end, region) in enumerate(bounds)])
    for region in ("eu", "us"):
        for hour in range(20):
            covering = [
                str(name)
                for name, (start, end, where) in enumerate(bounds)
                if where == region and start <= hour and (end is None or hour < end)
            ]
            found = [
                row["price"]
                for row in within(rows, hour * HOUR_US, (hour + 1) * HOUR_US)
                if row["pricing_group_values"]["region"] == region
            ]
            assert found == covering[-1:]


def test_neighbouring_stretches_of_one_rate_are_one_row() -> None:
    rows = effective([rate(0, 0, None, "eu"), rate(1, 5, 6, "us")])
    assert [(row["price"], row["ending_before"]) for row in rows] == [("0", None), ("1", instant_text(6 * HOUR_US))]


def card(card_id: str, *aliases: tuple[str, int | None, int | None]) -> Document:
    def bounds(start: int | None, end: int | None) -> dict[str, Any]:
        given_bounds = (("starting_at", start), ("ending_before", end))
        return {name: instant_text(hour * HOUR_US) for name, hour in given_bounds if hour is not None}

    return {"id": card_id, "aliases": [{"name": name, **bounds(start, end)} for name, start, end in aliases]}


def test_an_alias_stands_for_one_card_at_a_time() -> None:
    old, new = card("old", ("list", None, 10)), card("new", ("list", 10, None), ("other", None, None))
    check_aliases(new, [old])
    for hour, expected in ((0, "old"), (9, "old"), (10, "new"), (99, "new")):
        found = holder_at("list", hour * HOUR_US, [old, new])
        assert found is not None
        assert found["id"] == expected
    assert holder_at("nobody's", 0, [old, new]) is None
    with pytest.raises(Conflict) as refused:
        check_aliases(card("third", ("list", 9, 11)), [old])
    assert refused.value.extra == {"conflicting_id": "old"}
    with pytest.raises(BadRequest, match="twice"):
        check_aliases(card("c", ("list", 0, 5), ("list", 4, 6)), [])
