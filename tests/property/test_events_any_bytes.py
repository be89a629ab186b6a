"""Whatever arrives, decoding answers; and the API's model agrees with the decoder of records."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.effects import Rejection
from schemas.events import Decoded, EventDecoder, EventLimits, Reason, UsageEventBody, encode_event, loads_exact
from schemas.timestamps import format_timestamp, parse_timestamp

DECODER = EventDecoder(EventLimits(record_bytes_max=20_000, record_events_max=5, properties_bytes_max=300))
CONTEXT = {"properties_bytes_max": 300}


def _year(year: int) -> datetime:
    return datetime(year, 1, 1)  # noqa: DTZ001 - Hypothesis takes naive bounds


texts = st.text(max_size=130) | st.sampled_from(["", "\0", "x" * 128, "x" * 129])
numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.floats().map(repr)
scalars = st.none() | st.booleans() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
timestamps = st.datetimes(_year(1960), _year(2100)).map(lambda at: at.isoformat() + "Z") | st.sampled_from(
    ["2026-01-31T23:59:60Z", "2026-01-31T23:59:59", "2026-01-31", "", "2026-01-31T23:59:59.123456789+05:30"]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of an event in which now and then something is wrong."""
    fields: dict[str, object] = {
        "transaction_id": draw(texts | scalars),
        "customer_id": draw(texts),
        "event_type": draw(texts),
        "timestamp": draw(timestamps | scalars),
        "properties": draw(st.dictionaries(st.text(max_size=5), values, max_size=4) | scalars),
    }
    for name in draw(st.sets(st.sampled_from(sorted(fields)), max_size=1)):
        del fields[name]
    body = orjson.dumps(fields)
    number = str(draw(numbers)).encode()
    return body[:-1] + b',"properties":{"n":%s}}' % number if draw(st.booleans()) else body


@settings(max_examples=300)
@given(st.binary(max_size=200) | bodies() | bodies().map(lambda body: b"[" + body + b"," + body + b"]"))
@example(b"[" * 2_000)
@example(b'{"a":' * 2_000)
@example(b"[" * 5_000 + b"]" * 5_000)
@example(b"\xef\xbb\xbf{}")
@example(b'"\\ud800"')
@example(b"1" * 5_000)
def test_arbitrary_bytes_give_events_or_rejections(value: bytes) -> None:
    results = DECODER.decode(value)
    assert results
    for result in results:
        if isinstance(result, Rejection):
            assert result.reason in set(Reason)
            assert result.detail.isprintable()
        else:
            assert DECODER.decode(encode_event(result)) == [result]


@settings(max_examples=200)
@given(
    st.binary(max_size=50) | st.none(),
    st.lists(
        st.tuples(st.sampled_from(["ce_specversion", "ce_id", "ce_subject", "ce_type", "ce_time", "x"]), st.binary(max_size=8))
    ),
)
def test_arbitrary_headers_give_events_or_rejections(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    assert all(
        isinstance(result, Decoded | Rejection) for result in DECODER.decode(value, [("ce_specversion", b"1.0"), *headers])
    )


@settings(max_examples=300)
@given(bodies())
def test_the_api_and_the_topic_accept_the_same_events(body: bytes) -> None:
    (decoded,) = DECODER.decode(body)
    document = loads_exact(body)
    if isinstance(document, Rejection):
        assert decoded == document
        return
    if isinstance(decoded, Rejection):
        with pytest.raises(ValidationError):
            UsageEventBody.model_validate(document, context=CONTEXT)
        return
    model = UsageEventBody.model_validate(document, context=CONTEXT)
    assert DECODER.decode(model.to_record()) == [decoded]


@settings(max_examples=200)
@given(st.decimals(min_value=Decimal(-(10**19)), max_value=Decimal(10**19), places=18, allow_nan=False))
def test_numbers_keep_every_digit(number: Decimal) -> None:
    body = b'{"transaction_id":"t","customer_id":"c","event_type":"e","timestamp":"2026-01-31T23:59:59Z","properties":{"n":%s}}'
    (decoded,) = DECODER.decode(body % str(number).encode())
    assert isinstance(decoded, Decoded)
    assert decoded.properties["n"] == number


@settings(max_examples=300)
@given(st.datetimes(_year(2), _year(9999)), st.integers(0, 23), st.integers(0, 59), st.sampled_from("+-"))
def test_zones_name_the_same_instant(at: datetime, hours: int, minutes: int, sign: str) -> None:
    local = parse_timestamp(at.isoformat() + "Z")
    assert local is not None
    offset_us = (hours * 60 + minutes) * 60_000_000 * (1 if sign == "+" else -1)
    assert parse_timestamp(f"{at.isoformat()}{sign}{hours:02}:{minutes:02}") == local - offset_us
    assert parse_timestamp(format_timestamp(local)) == local
