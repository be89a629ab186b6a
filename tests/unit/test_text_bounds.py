"""Every text that a client can give has a bound, and none may hold control characters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.http.server import ROUTES
from schemas.texts import clean, is_one_line, odd_place, one_line

BOUNDED = {"maxLength", "enum", "const", "format", "pattern"}
CHECKED_OTHERWISE = {
    "AnyBody.<keys>": "501, whatever it holds",
    "AnyQuery.<keys>": "501, whatever it holds",
    "properties.<keys>": "the producer's own: all of them together are bounded by properties_bytes_max",
    "configuration.<keys>": "bounded by its size in all",
    ".entity": "one of a list",
    "ListKeys.entities[]": "one of a list",
    "url": "bounded by its validator",
    "event_types[]": "bounded by its validator",
    "MetricCreate.sql": "refused",
    "CustomerCreate.name": "cut",
    "SetName.name": "cut",
    "PackageCreate.": "checked as a contract's terms",
}


def unbounded(schema: dict[str, Any], definitions: dict[str, Any], path: str, seen: frozenset[str]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from unbounded(definitions[name], definitions, path, seen | {name})
        return
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from unbounded(option, definitions, path, seen)
    if schema.get("type") == "string" and not BOUNDED & set(schema):
        yield path
    if isinstance(schema.get("items"), dict):
        yield from unbounded(schema["items"], definitions, f"{path}[]", seen)
    for name, field in schema.get("properties", {}).items():
        yield from unbounded(field, definitions, f"{path}.{name}", seen)
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        yield from unbounded(more, definitions, f"{path}.*", seen)
    if more not in (None, False) and "propertyNames" not in schema:
        yield f"{path}.<keys>"


def test_every_text_of_every_request_is_bounded() -> None:
    found = set()
    for model in {model for route in ROUTES for model in (route.body, route.query)}:
        schema = model.model_json_schema()
        found |= set(unbounded(schema, schema.get("$defs", {}), model.__name__, frozenset()))
    assert {path for path in found if not any(each in path for each in CHECKED_OTHERWISE)} == set()
    assert [each for each in CHECKED_OTHERWISE if not any(each in path for path in found)] == [], "none is listed for nothing"


CONTROL = ["\0", "\x1b", "\x7f", "\x85", "\x08", "\x0c"]


@pytest.mark.parametrize("character", [*CONTROL, "\n", "\t", "\ud800"])
def test_a_text_of_one_line_holds_no_control_character(character: str) -> None:
    with pytest.raises(ValueError, match="must not hold control characters"):
        one_line(f"a{character}b")
    assert clean(f"a{character}b") == "a\ufffdb"


@settings(max_examples=60)
@given(
    st.recursive(
        st.text(st.sampled_from("a\u00e9\u2028\n\t\r" + "".join(CONTROL))) | st.integers(-9, 9) | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "b", "a\0", "properties", "\n"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.booleans(),
)
def test_an_odd_text_is_found_wherever_it_is_in_a_body(body: object, escaped: bool) -> None:
    """However its bytes are written. Properties of events may hold any text."""
    raw = orjson.dumps(body)
    if escaped:
        raw = raw.replace(b"\x7f", b"\\u007f").replace("\x85".encode(), b"\\u0085")

    def odd(value: object) -> bool:
        if isinstance(value, str):
            return any(character in value for character in CONTROL)
        if isinstance(value, list):
            return any(map(odd, value))
        if isinstance(value, dict):
            return any(not is_one_line(name) or (name != "properties" and odd(item)) for name, item in value.items())
        return False

    assert (odd_place(raw, orjson.loads(raw)) is not None) == odd(body)


def test_a_place_is_named() -> None:
    body = {"data": [{"name": "fine"}, {"name": "not\0"}]}
    assert odd_place(orjson.dumps(body), body) == "data[1].name"
    assert odd_place(orjson.dumps("\0"), "\0") == "body"
