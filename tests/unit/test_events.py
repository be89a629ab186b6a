"""Decoding of records: forms, exact numbers, one rule at a time."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest

from engine.effects import Rejection
from schemas.events import Decoded, EventDecoder, EventLimits, Mark, Reason, UsageEventBody, encode_event, loads_exact

EVENT = {
    "transaction_id": "t",
    "customer_id": "c",
    "event_type": "e",
    "timestamp": "2026-01-31T23:59:59.5Z",
    "properties": {"tokens": 17, "model": "m"},
}
EVENT_US = 1_769_903_999_500_000
DECODER = EventDecoder(EventLimits())


def only(value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> Decoded | Rejection:
    (result,) = DECODER.decode(value, headers)
    return result


def with_properties(text: bytes) -> bytes:
    return orjson.dumps({**EVENT, "properties": 0}).replace(b'"properties":0', b'"properties":' + text)


def test_one_event() -> None:
    assert only(orjson.dumps(EVENT)) == Decoded("t", "c", "e", EVENT_US, {"tokens": 17, "model": "m"})


def test_an_array_keeps_its_order() -> None:
    results = DECODER.decode(orjson.dumps([{**EVENT, "transaction_id": str(number)} for number in range(3)]))
    assert [result.transaction_id for result in results if isinstance(result, Decoded)] == ["0", "1", "2"]


def test_a_structured_cloudevent() -> None:
    value = {
        "specversion": "1.0",
        "id": "t",
        "subject": "c",
        "type": "e",
        "time": EVENT["timestamp"],
        "source": "s",
        "data": {"a": 1},
    }
    assert only(orjson.dumps(value)) == Decoded("t", "c", "e", EVENT_US, {"a": 1}, Mark("s"))


@pytest.mark.parametrize("value", [b'{"a": 1.50}', b"null", b"", None])
def test_a_binary_cloudevent(value: bytes | None) -> None:
    attributes = {"specversion": "1.0", "id": "t", "subject": "c", "type": "e", "time": EVENT["timestamp"]}
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items() if isinstance(text, str))
    properties = {"a": Decimal("1.50")} if value == b'{"a": 1.50}' else {}
    assert only(value, headers) == Decoded("t", "c", "e", EVENT_US, properties)


@pytest.mark.parametrize(
    ("changes", "reason", "word"),
    [
        ({"specversion": "0.3"}, Reason.UNSUPPORTED_CLOUDEVENT, "specversion"),
        ({"data_base64": "AAAA"}, Reason.UNSUPPORTED_CLOUDEVENT, "data_base64"),
        ({"time": None}, Reason.WRONG_TYPE, "timestamp"),
        ({"data": "text"}, Reason.WRONG_TYPE, "properties"),
    ],
)
def test_a_cloudevent_that_is_none_of_ours(changes: dict[str, object], reason: Reason, word: str) -> None:
    value = {"specversion": "1.0", "id": "t", "subject": "c", "type": "e", "time": EVENT["timestamp"], **changes}
    rejection = only(orjson.dumps(value))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert word in rejection.detail


def test_a_cloudevent_without_a_subject_names_both_words() -> None:
    rejection = only(orjson.dumps({"specversion": "1.0", "id": "t", "type": "e", "time": EVENT["timestamp"]}))
    assert rejection == Rejection(Reason.MISSING_FIELD, "subject (customer_id) is missing")


def test_an_event_may_have_a_field_called_specversion() -> None:
    assert isinstance(only(orjson.dumps({**EVENT, "specversion": 3, "other": [1.5]})), Decoded)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0.1", Decimal("0.1")),
        (b"0.0036899999999999997", Decimal("0.0036899999999999997")),  # what a client's float comes to
        (b"0.100000000000000001", Decimal("0.100000000000000001")),  # no float has these digits
        (b"12345678901234567890", 12345678901234567890),
        (b"99999999999999999999", Decimal("99999999999999999999")),  # beyond 64 bits
        (b"-99999999999999999999", Decimal("-99999999999999999999")),
        (b"1e5", Decimal("1e5")),
        (b"-1e400", Decimal("-1e400")),
        (b"1e-400", Decimal("1e-400")),
        (b"9" * 300, Decimal("9" * 300)),
        (b"1e99999999999999999999", "1e99999999999999999999"),  # what no Decimal can hold is kept as its text
    ],
)
def test_numbers_are_exact_whatever_they_are(text: bytes, number: Decimal | int | str) -> None:
    """Whether one is a quantity is for the metric to say that reads it."""
    result = only(with_properties(b'{"a":%s}' % text))
    assert isinstance(result, Decoded)
    assert str(result.properties["a"]) == str(number)
    assert not isinstance(result.properties["a"], float)
    assert only(encode_event(result)) == result


def test_nested_numbers_are_exact_too() -> None:
    result = only(with_properties(b'{"a":{"b":[0.1000000000000000055]}}'))
    assert isinstance(result, Decoded)
    assert result.properties["a"] == {"b": [Decimal("0.1000000000000000055")]}


def test_the_last_of_two_equal_keys_counts_on_both_ways() -> None:
    assert only(with_properties(b'{"a":1,"a":2}')) == Decoded("t", "c", "e", EVENT_US, {"a": 2})
    assert only(with_properties(b'{"a":1.0,"a":2.5}')) == Decoded("t", "c", "e", EVENT_US, {"a": Decimal("2.5")})


def test_an_escaped_backslash_is_not_a_nul() -> None:
    result = only(with_properties(b'{"a":"\\\\u0000"}'))
    assert isinstance(result, Decoded)
    assert result.properties == {"a": "\\u0000"}


@pytest.mark.parametrize("text", [b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"a":["\\u0000"]}'])
def test_nul_is_kept_in_properties(text: bytes) -> None:
    result = only(with_properties(text))
    assert isinstance(result, Decoded)
    assert only(encode_event(result)) == result


@pytest.mark.parametrize("name", ["transaction_id", "customer_id", "event_type"])
@pytest.mark.parametrize(
    ("text", "accepted"), [("", False), ("x", True), ("x" * 128, True), ("x" * 129, False), ("\U0001f600" * 128, True)]
)
def test_texts_have_1_to_128_characters(name: str, text: str, accepted: bool) -> None:
    result = only(orjson.dumps({**EVENT, name: text}))
    assert isinstance(result, Decoded) is accepted
    if isinstance(result, Rejection):
        assert result == Rejection(Reason.OUT_OF_RANGE, f"{name} must have 1 to 128 characters")


@pytest.mark.parametrize("size", [100, 101])
def test_the_size_of_properties_is_that_of_their_compact_json(size: int) -> None:
    decoder = EventDecoder(EventLimits(properties_bytes_max=100))
    text = b'{"a": "%s"}' % (b"x" * (size - 8))  # compact: 8 characters around the x
    (result,) = decoder.decode(with_properties(text))
    assert isinstance(result, Decoded) is (size == 100)


def test_limits_of_records() -> None:
    decoder = EventDecoder(EventLimits(record_bytes_max=1_000, record_events_max=2))
    (too_large,) = decoder.decode(b" " * 1_001)
    (too_many,) = decoder.decode(b"[1,2,3]")
    assert isinstance(too_large, Rejection)
    assert isinstance(too_many, Rejection)
    assert (too_large.reason, too_many.reason) == (Reason.RECORD_TOO_LARGE, Reason.TOO_MANY_EVENTS)


def test_an_event_written_again_is_the_same_event() -> None:
    event = only(with_properties(b'{"a":1.50,"b":99999999999999999999,"c":{"d":[null,true,1e3]}}'))
    assert isinstance(event, Decoded)
    written = encode_event(event)
    assert b'"a":1.50,"b":99999999999999999999' in written
    assert only(written) == event


def test_the_api_forbids_unknown_fields_and_writes_what_it_was_sent() -> None:
    body = loads_exact(with_properties(b'{"a":1.50}'))
    assert b'"properties":{"a":1.50}' in UsageEventBody.model_validate(body).to_record()
    with pytest.raises(ValueError, match="other"):
        UsageEventBody.model_validate({**body, "other": 1})


def test_the_json_schema_states_the_rules() -> None:
    schema = UsageEventBody.model_json_schema()
    assert schema["required"] == ["transaction_id", "customer_id", "event_type", "timestamp"]
    assert schema["properties"]["transaction_id"]["maxLength"] == 128
    assert schema["properties"]["timestamp"]["format"] == "date-time"
    assert schema["properties"]["properties"]["type"] == "object"
