"""Whatever JSON a request holds, its check ends in a model or in a refusal that names what is wrong; never in another error."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from connectors.http.routing import Route
from connectors.http.server import ROUTES
from schemas.errors import ApiError, refusal
from schemas.ingest import IngestBody
from schemas.numbers import exact_json, parse_json

WORDS = ("COUNT", "spend_threshold_reached", "MONTHLY", "FLAT", "2026-01-01T00:00:00Z", "00000000-0000-4000-8000-000000000000")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
)


def names_of(model: type[BaseModel]) -> list[str]:
    """The field names of a model and of the models inside it."""
    schema = model.model_json_schema()
    inner = schema.get("$defs", {}).values()
    return sorted({name for each in (schema, *inner) for name in each.get("properties", {})}) or ["x"]


def bodies(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    names = st.one_of(st.sampled_from(names_of(model)), st.text(max_size=3).filter(str.isprintable))
    return st.recursive(
        scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=6)), max_leaves=12
    )


WITH_BODY = [route for route in ROUTES if route.method in {"POST", "PUT", "PATCH"}]


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: f"{route.method} {route.path}")
def test_bodies(route: Route) -> None:
    @settings(max_examples=40, deadline=None)
    @given(bodies(route.body))
    def check(body: Any) -> None:
        try:
            route.body.model_validate(body)
        except ValidationError as error:
            refused = IngestBody.refusal(error) if route.body is IngestBody else refusal(error)
            assert isinstance(refused, ApiError)
            assert refused.status in {400, 501}
            assert refused.message

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps(text).encode()))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        parsed = parse_json(raw)
    except ValueError:
        return
    assert parse_json(exact_json(parsed)) == parsed


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_numbers_survive_both_ways(number: Decimal) -> None:
    assert Decimal(str(parse_json(exact_json(number)))) == number
