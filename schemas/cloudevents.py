"""CloudEvents 1.0 as usage events, by the Kafka protocol binding.

| attribute | field |
|---|---|
| ``id`` | ``transaction_id`` |
| ``source`` | the second half of what identifies the event: ids of two sources are ids of two events |
| ``subject`` | ``customer_id`` |
| ``type`` | ``event_type`` |
| ``time`` | ``timestamp`` (optional in CloudEvents, required here: usage belongs to an instant) |
| ``data`` | ``properties`` |

Structured mode: an object with ``specversion``. Binary mode: headers ``ce_*``, and the data as the record's value. A header
without a value is as good as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.effects import Rejection

Headers = Sequence[tuple[str, bytes | None]]
"""Of a Kafka record. A value may be null; a name may be anything that is UTF-8, the empty text included, and may come twice."""

SOURCE = "source"
REPLAY = "tidemarkreplay"
"""The field (and, as its name allows, the CloudEvents extension) by which a mended event counts for the metrics that could not
read it before, and for these alone (see connectors.kafka.proofs)."""

_FIELDS = {"id": "transaction_id", "subject": "customer_id", "type": "event_type", "time": "timestamp"}
_OPTIONAL = (SOURCE, REPLAY)


def is_binary(headers: Headers) -> bool:
    return any(name == "ce_specversion" for name, _ in headers)


def is_structured(fields: Mapping[str, object]) -> bool:
    """A plain event may carry a field ``specversion`` of its own: it is a CloudEvent only without our own fields."""
    return "transaction_id" not in fields


def read_structured(fields: Mapping[str, object]) -> dict[str, object] | Rejection:
    if "data_base64" in fields:
        return Rejection("unsupported_cloudevent", "data_base64 is not supported: data must be a JSON object")
    return _rename(fields, fields.get("data"))


def read_binary(data: object, headers: Headers) -> dict[str, object] | Rejection:
    attributes: dict[str, object] = {}
    for name, value in headers:
        if value is not None and name.startswith("ce_"):
            try:
                attributes[name[3:]] = value.decode()
            except UnicodeDecodeError:
                return Rejection("invalid_utf8", f"header {name[:64]!a} is not UTF-8")
    return _rename(attributes, data)


def structured(fields: Mapping[str, object], source: str) -> dict[str, object]:
    """A plain event's fields as a CloudEvent in structured mode: what ``read_structured`` reads back."""
    event: dict[str, object] = {"specversion": "1.0", SOURCE: source}
    event.update((attribute, fields[field]) for attribute, field in _FIELDS.items())
    event["data"] = fields["properties"]
    return event


def _rename(attributes: Mapping[str, object], data: object) -> dict[str, object] | Rejection:
    if attributes.get("specversion") != "1.0":
        return Rejection("unsupported_cloudevent", 'specversion must be "1.0"')
    fields: dict[str, object] = {"properties": data}
    for attribute, field in _FIELDS.items():
        if attribute not in attributes:
            return Rejection("missing_field", f"{attribute} ({field}) is missing")
        fields[field] = attributes[attribute]
    fields.update((name, attributes[name]) for name in _OPTIONAL if name in attributes)
    return fields
