"""Usage events as they cross the boundary: the value of a Kafka record, or an item of ``POST /v1/ingest``.

A record's value is one event, a JSON array of events, or a CloudEvent (see schemas.cloudevents)::

    {"transaction_id": "...", "customer_id": "...", "event_type": "...", "timestamp": "2026-01-31T23:59:59Z", "properties": {...}}

| field | rule |
|---|---|
| ``transaction_id``, ``customer_id``, ``event_type`` | text of 1 to 128 characters |
| ``timestamp`` | RFC 3339 with a zone (schemas.timestamps) |
| ``properties`` | optional object (null = none); texts without U+0000; what is nested is opaque |
| ``tidemarkreplay`` | optional text: a mended event counts for the metrics alone that it names (connectors.kafka.proofs) |
| anything else | ignored on Kafka, where producers may add their own; refused by the API |

U+0000 is refused in ids and types, and lone surrogates in all texts: neither survives all the stores and receivers behind us.
Properties may hold anything else: one that no metric reads never rejects an event, and one that a metric cannot read keeps the
event from that metric alone (engine.metering.matching).

Numbers are exact. orjson is fast but reads decimals as floats, so a record in which it meets one (or an integer beyond
64 bits, which it also makes a float, or a nested value, which may hold one) is decoded again with exact decimals.

Nothing here raises on bad input: what cannot be decoded is a Rejection, whose reason is one of Reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from engine.effects import Rejection
from schemas.cloudevents import (
    REPLAY,
    SOURCE,
    Headers,
    is_binary,
    is_structured,
    read_binary,
    read_structured,
    structured,
)
from schemas.timestamps import format_timestamp, parse_timestamp

TEXT_CHARACTERS_MAX = 128
SOURCE_CHARACTERS_MAX = 2_048
"""Of a CloudEvent's source, a URI reference."""
REPLAY_CHARACTERS_MAX = 65_536
PROPERTIES_BYTES_MAX = 65_536
NESTING_MAX = 32
"""How deep a property's value may nest. (orjson writes 254 levels, so an accepted event can always be written again.)"""

_TEXT_FIELDS = ("transaction_id", "customer_id", "event_type")
_HOUR_US = 3_600_000_000
_FIELDS = 5  # of an event without a replay
_PLAIN = frozenset((str, int, bool, NoneType))
is_plain = _PLAIN.issuperset
new = tuple.__new__  # of a NamedTuple: half the cost of calling it
loads = orjson.loads
_INTEGER_DIGITS_MAX = 18  # an integer text of so many digits fits 64 bits
_NUL_ESCAPED = b"\\u0000"


class Reason(StrEnum):
    """Why an event goes to the dead-letter topic: the values of the metric's ``reason`` label."""

    TOMBSTONE = "tombstone"
    RECORD_TOO_LARGE = "record_too_large"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NESTED_TOO_DEEP = "nested_too_deep"
    NOT_AN_OBJECT = "not_an_object"
    NO_EVENTS = "no_events"
    TOO_MANY_EVENTS = "too_many_events"
    UNSUPPORTED_CLOUDEVENT = "unsupported_cloudevent"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    INVALID_TEXT = "invalid_text"
    INVALID_TIMESTAMP = "invalid_timestamp"
    PROPERTIES_TOO_LARGE = "properties_too_large"
    # by the engine, under the customer's metrics
    PROPERTY_NOT_A_NUMBER = "property_not_a_number"
    PROPERTY_NOT_A_TEXT = "property_not_a_text"
    PROPERTY_OUT_OF_BOUNDS = "property_out_of_bounds"
    PROPERTY_NOT_A_GROUP = "property_not_a_group"
    TIMESTAMP_TOO_OLD = "timestamp_too_old"
    # by the worker
    UNDECODABLE = "undecodable"
    INVALID_REPLAY = "invalid_replay"
    TOO_OLD = "too_old"
    TOO_FAR_AHEAD = "too_far_ahead"
    ROUTING_LOOP = "routing_loop"
    UNKNOWN_CUSTOMER = "unknown_customer"
    QUARANTINED = "quarantined"
    PARKING_FULL = "parking_full"


class Mark(NamedTuple):
    """What few events have beside their fields. ``source``: of a CloudEvent, which its id is unique in; ``replay``: the field of
    that name. Empty where there is none."""

    source: str = ""
    replay: str = ""


class Decoded(NamedTuple):
    """One event of good form. ``customer_ref`` is a customer id or an ingest alias."""

    transaction_id: str
    customer_ref: str
    event_type: str
    timestamp_us: int
    properties: Mapping[str, object]
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class EventLimits:
    """Bounds of one record. ``properties_bytes_max``: of the properties as compact JSON."""

    record_bytes_max: int = 1_048_576
    record_events_max: int = 1_000
    properties_bytes_max: int = PROPERTIES_BYTES_MAX


class _NotExact(Exception):
    """The quick decoder has met something that it cannot read exactly."""


class EventDecoder:
    """Decodes records' values under fixed limits. Has no state beside them."""

    __slots__ = ("_limits", "_quick_bytes_max")

    def __init__(self, limits: EventLimits) -> None:
        self._limits = limits
        self._quick_bytes_max = min(limits.record_bytes_max, limits.properties_bytes_max)

    def decode(self, value: bytes | None, headers: Headers = ()) -> list[Decoded | Rejection]:
        """The events of one record, in order; never empty. A value that cannot be read at all is one rejection."""
        if headers and is_binary(headers):
            return self._decode(value or b"{}", headers)
        if value is None:
            return [Rejection(Reason.TOMBSTONE, "the record has no value")]
        return self._decode(value, None)

    def decode_plain(self, value: bytes) -> Decoded | None:
        """Nearly every record without headers: one event of good form, small enough for all limits, without anything inexact or
        escaped. None for all others: ``decode`` says what they are.

        It accepts a part of what ``decode`` accepts, at a third of the cost.
        """
        if len(value) > self._quick_bytes_max or value.find(b"\\") >= 0:  # an escape may be that of U+0000
            return None
        try:
            fields = loads(value)
            transaction_id = fields["transaction_id"]
            customer_ref = fields["customer_id"]
            event_type = fields["event_type"]
            timestamp = fields["timestamp"]
            properties = fields["properties"]
        except (orjson.JSONDecodeError, KeyError, TypeError):  # TypeError: not an object
            return None
        if not (
            transaction_id.__class__ is customer_ref.__class__ is event_type.__class__ is timestamp.__class__ is str
            and properties.__class__ is dict
            and transaction_id
            and customer_ref
            and event_type
            and len(transaction_id) + len(customer_ref) + len(event_type) <= TEXT_CHARACTERS_MAX  # all three: so each of them
            and not (len(fields) > _FIELDS and REPLAY in fields)
        ):
            return None
        for each in properties.values():
            kind = each.__class__
            if kind is not str and kind is not int and kind not in _PLAIN:
                return None
        timestamp_us = parse_timestamp(timestamp)
        if timestamp_us is None:
            return None
        return new(Decoded, (transaction_id, customer_ref, event_type, timestamp_us, properties, None))

    def _decode(self, value: bytes, binary: Headers | None) -> list[Decoded | Rejection]:
        if len(value) > self._limits.record_bytes_max:
            detail = f"the value has {len(value)} bytes, the limit is {self._limits.record_bytes_max}"
            return [Rejection(Reason.RECORD_TOO_LARGE, detail)]
        if binary is None and _NUL_ESCAPED not in value:
            try:
                return self._events(orjson.loads(value), binary, len(value), False)
            except (orjson.JSONDecodeError, _NotExact):
                pass  # the exact decoder finds out which
        document = loads_exact(value)
        if isinstance(document, Rejection):
            return [document]
        return self._events(document, binary, len(value), True)

    def _events(self, document: object, binary: Headers | None, size: int, exact: bool) -> list[Decoded | Rejection]:
        if binary is not None:
            fields = read_binary(document, binary)
            return [fields if isinstance(fields, Rejection) else self._event(fields, size, exact, cloudevent=True)]
        if type(document) is not list:
            return [self._event(document, size, exact)]
        if not document:
            return [Rejection(Reason.NO_EVENTS, "the array is empty")]
        if len(document) > self._limits.record_events_max:
            detail = f"the array has {len(document)} events, the limit is {self._limits.record_events_max}"
            return [Rejection(Reason.TOO_MANY_EVENTS, detail)]
        return [self._event(item, size, exact) for item in document]

    def _event(  # noqa: PLR0911, PLR0912 - a return for each rule
        self, fields: Any, size: int, exact: bool, cloudevent: bool = False
    ) -> Decoded | Rejection:
        if type(fields) is not dict:
            return Rejection(Reason.NOT_AN_OBJECT, "an event must be a JSON object")
        if "specversion" in fields and is_structured(fields):
            cloudevent = True
            fields = read_structured(fields)
            if isinstance(fields, Rejection):
                return fields
        get = fields.get
        transaction_id = get("transaction_id")
        customer_ref = get("customer_id")
        event_type = get("event_type")
        timestamp = get("timestamp")
        properties = get("properties")
        if properties is None:
            properties = {}
        if not (
            type(transaction_id) is str
            and type(customer_ref) is str
            and type(event_type) is str
            and type(timestamp) is str
            and type(properties) is dict
            and 0 < len(transaction_id) <= TEXT_CHARACTERS_MAX
            and 0 < len(customer_ref) <= TEXT_CHARACTERS_MAX
            and 0 < len(event_type) <= TEXT_CHARACTERS_MAX
        ):
            return _explain(fields)
        timestamp_us = parse_timestamp(timestamp)
        if timestamp_us is None:
            return _TIMESTAMP_REJECTION
        if exact:
            for name in _TEXT_FIELDS:
                if "\0" in fields[name]:
                    return Rejection(Reason.INVALID_TEXT, f"{name} must not hold U+0000")
            rejection = check_properties(properties)
            if rejection is not None:
                return rejection
        elif not is_plain(map(type, properties.values())):
            raise _NotExact
        limit = self._limits.properties_bytes_max
        if size > limit and _size(properties) > limit:
            return Rejection(Reason.PROPERTIES_TOO_LARGE, f"properties are larger than {limit} bytes of JSON")
        mark = _mark(fields, cloudevent) if cloudevent or REPLAY in fields else None
        if isinstance(mark, Rejection):
            return mark
        return Decoded(transaction_id, customer_ref, event_type, timestamp_us, properties, mark)


_TIMESTAMP_REJECTION = Rejection(Reason.INVALID_TIMESTAMP, "timestamp must be RFC 3339 with a zone, as 2026-01-31T23:59:59Z")


def _explain(fields: Mapping[str, object]) -> Rejection:
    """The first rule on the form of the fields that does not hold."""
    for name in (*_TEXT_FIELDS, "timestamp"):
        if name not in fields:
            return Rejection(Reason.MISSING_FIELD, f"{name} is missing")
        value = fields[name]
        if not isinstance(value, str):
            return Rejection(Reason.WRONG_TYPE, f"{name} must be a string")
        if name != "timestamp" and not 0 < len(value) <= TEXT_CHARACTERS_MAX:
            return Rejection(Reason.OUT_OF_RANGE, f"{name} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    return Rejection(Reason.WRONG_TYPE, "properties must be an object")


def _mark(fields: Mapping[str, object], cloudevent: bool) -> Mark | Rejection | None:
    """``source`` is a CloudEvent's alone: a plain event may carry a field of that name, which means nothing here."""
    source = fields.get(SOURCE) if cloudevent else None
    replay = fields.get(REPLAY)
    for name, text, characters_max in (
        (SOURCE, source, SOURCE_CHARACTERS_MAX),
        (REPLAY, replay, REPLAY_CHARACTERS_MAX),
    ):
        if text is None:
            continue
        if not isinstance(text, str):
            return Rejection(Reason.WRONG_TYPE, f"{name} must be a string")
        if len(text) > characters_max:
            return Rejection(Reason.OUT_OF_RANGE, f"{name} must have at most {characters_max} characters")
        if "\0" in text:
            return Rejection(Reason.INVALID_TEXT, f"{name} must not hold U+0000")
    mark = Mark(str(source or ""), str(replay or ""))
    return mark if any(mark) else None


def check_properties(properties: Mapping[str, object]) -> Rejection | None:
    """Nothing but the nesting has a bound here: whether a value is one that a metric can read, the metric says."""
    for name, value in properties.items():
        if isinstance(value, dict | list) and not _is_shallow(value, 1):
            return Rejection(Reason.NESTED_TOO_DEEP, f"property {_shown(name)} nests deeper than {NESTING_MAX} levels")
    return None


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth <= NESTING_MAX and all(_is_shallow(item, depth + 1) for item in inner)


def _shown(name: str) -> str:
    """A property's name for a message: short, and with nothing that a log or a header would not take."""
    return ascii(name if len(name) <= 64 else name[:61] + "...")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _exact_float(text: str) -> Decimal | str:
    """A number that no Decimal can hold stays the text that it is."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what the decimal module can hold
        return text


def _exact_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INTEGER_DIGITS_MAX else Decimal(text)


_exact = json.JSONDecoder(parse_float=_exact_float, parse_int=_exact_int, parse_constant=_refuse_constant)


def loads_exact(value: bytes) -> Any:
    """JSON with exact numbers (int or Decimal, never float), or why it cannot be read. Strict: UTF-8 without a byte
    order mark, no NaN, no lone surrogates. A number that no Decimal can hold is given as its text."""
    try:
        text = value.decode()
        document = _exact.decode(text)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False, default=str).encode()  # refuses lone surrogates
    except UnicodeError:
        return Rejection(Reason.INVALID_UTF8, "the value is not UTF-8, or it holds half of a surrogate pair")
    except RecursionError:
        return Rejection(Reason.NESTED_TOO_DEEP, "the value nests too deep")
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return Rejection(Reason.INVALID_JSON, f"the value is not JSON{where}")
    return document


def _json_default(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))  # Python writes a finite Decimal as JSON writes numbers
    raise TypeError(type(value).__name__)


def _size(properties: Mapping[str, object]) -> int:
    return len(orjson.dumps(properties, default=_json_default))


def encode_event(event: Decoded) -> bytes:
    """The event as a record's value of its own, with its numbers exactly as they were: a CloudEvent with a source stays one."""
    fields: dict[str, object] = {
        "transaction_id": event.transaction_id,
        "customer_id": event.customer_ref,
        "event_type": event.event_type,
        "timestamp": format_timestamp(event.timestamp_us),
        "properties": event.properties,
    }
    if event.mark is not None:
        if event.mark.source:
            fields = structured(fields, event.mark.source)
        if event.mark.replay:
            fields[REPLAY] = event.mark.replay
    return orjson.dumps(fields, default=_json_default)


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold U+0000")
    return value


def checked_timestamp(value: str) -> str:
    if parse_timestamp(value) is None:
        raise ValueError("must be RFC 3339 with a zone, as 2026-01-31T23:59:59Z")
    return value


def credible_timestamp(value: str, info: ValidationInfo) -> str:
    """As ``checked_timestamp``; and not of an age for which the worker would reject it: a success would hide that it never
    counts. The validation context may hold ``now_us``, ``age_max_days``, ``ahead_max_hours``."""
    timestamp_us = parse_timestamp(checked_timestamp(value))
    limits = info.context or {}
    if timestamp_us is not None and "now_us" in limits:
        age_us = limits["now_us"] - timestamp_us
        if age_us > limits["age_max_days"] * 24 * _HOUR_US:
            raise ValueError(f"must not be more than {limits['age_max_days']} days ago")
        if -age_us > limits["ahead_max_hours"] * _HOUR_US:
            raise ValueError(f"must not be more than {limits['ahead_max_hours']} hours ahead")
    return value


def none_is_empty(value: object) -> object:
    return {} if value is None else value


def checked_properties(properties: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    rejection = check_properties(properties)
    if rejection is not None:
        raise ValueError(rejection.detail)
    limit = (info.context or {}).get("properties_bytes_max", PROPERTIES_BYTES_MAX)
    if _size(properties) > limit:
        raise ValueError(f"must not be larger than {limit} bytes of JSON")
    return properties


EventText = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX), AfterValidator(_text)]


class UsageEventBody(BaseModel):
    """One usage event, as an item of ``POST /v1/ingest``: the rules of EventDecoder, told field by field.

    Validate what ``loads_exact`` gave (no floats). The validation context may hold ``properties_bytes_max``, and what
    ``credible_timestamp`` says.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    transaction_id: EventText = Field(description="Unique for each event of a customer; a repeat within 34 days is ignored.")
    customer_id: EventText = Field(description="The customer's id, or one of its ingest aliases.")
    event_type: EventText
    timestamp: Annotated[str, AfterValidator(credible_timestamp), WithJsonSchema({"type": "string", "format": "date-time"})]
    properties: Annotated[dict[str, Any], AfterValidator(checked_properties), BeforeValidator(none_is_empty)] = Field(
        default_factory=dict, description="Send numbers as JSON numbers or as text: both are taken exactly."
    )
    tidemarkreplay: Annotated[str, Field(max_length=REPLAY_CHARACTERS_MAX), AfterValidator(_text)] | None = Field(
        default=None,
        description="As the dead letter of an event that counted for some metrics only has it: the mended event counts for the "
        "others, once.",
    )

    def to_record(self) -> bytes:
        """The value of the record that carries this event."""
        return orjson.dumps(self.model_dump(exclude=None if self.tidemarkreplay else {REPLAY}), default=_json_default)
