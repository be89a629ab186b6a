"""CloudEvents 1.0 as usage events, by the Kafka protocol binding.

| attribute | field |
|---|---|
| ``id`` | ``transaction_id`` |
| ``subject`` | ``customer_id`` |
| ``type`` | ``event_type`` |
| ``time`` | ``timestamp`` (optional in CloudEvents, required here: usage belongs to an instant) |
| ``data`` | ``properties`` |

Structured mode: an object with ``specversion``. Binary mode: headers ``ce_*``, and the data as the record's value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.effects import Rejection

_FIELDS = {"id": "transaction_id", "subject": "customer_id", "type": "event_type", "time": "timestamp"}


def is_binary(headers: Sequence[tuple[str, bytes]]) -> bool:
    return any(name == "ce_specversion" for name, _ in headers)


def is_structured(fields: Mapping[str, object]) -> bool:
    """A plain event may carry a field ``specversion`` of its own: it is a CloudEvent only without our own fields."""
    return "transaction_id" not in fields


def read_structured(fields: Mapping[str, object]) -> dict[str, object] | Rejection:
    if "data_base64" in fields:
        return Rejection("unsupported_cloudevent", "data_base64 is not supported: data must be a JSON object")
    return _rename(fields, fields.get("data"))


def read_binary(data: object, headers: Sequence[tuple[str, bytes]]) -> dict[str, object] | Rejection:
    attributes: dict[str, object] = {}
    for name, value in headers:
        if name.startswith("ce_"):
            try:
                attributes[name[3:]] = value.decode()
            except UnicodeDecodeError:
                return Rejection("invalid_utf8", f"header {name[:64]!a} is not UTF-8")
    return _rename(attributes, data)


def _rename(attributes: Mapping[str, object], data: object) -> dict[str, object] | Rejection:
    if attributes["specversion"] != "1.0":
        return Rejection("unsupported_cloudevent", 'specversion must be "1.0"')
    fields: dict[str, object] = {"properties": data}
    for attribute, field in _FIELDS.items():
        if attribute not in attributes:
            return Rejection("missing_field", f"{attribute} ({field}) is missing")
        fields[field] = attributes[attribute]
    return fields
