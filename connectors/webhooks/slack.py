"""Slack: a message that people can read, to an incoming webhook.

Slack answers 200 with the text ``ok`` when it has taken a message, anything else is a failure
(https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). ``text`` is what notifications and screen readers
show; ``blocks`` is what the channel shows. Other products that speak this format (Mattermost among them) answer ``ok``, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from connectors.redis.types import OutboxEntry, is_notice
from connectors.webhooks.signatures import USER_AGENT
from connectors.webhooks.webhook import http_gone, http_outcome
from engine.catalog import USD_CENTS
from engine.numbers import decimal_text
from schemas.numbers import parse_json

_HEADER_MAX = 150
_SECTION_MAX = 3_000
_FIELDS_MAX = 10
_FIELD_MAX = 2_000
_AMOUNTS = (("Value", "value"), ("Threshold", "threshold"), ("Before", "previous_value"))
_GONE = frozenset({b"no_service", b"no_service_id", b"no_active_hooks", b"channel_is_archived"})
"""The webhook or its channel was removed: no repetition will help."""


@dataclass(frozen=True, slots=True)
class SlackForm:
    """``link``: a URL, in which ``{customer_id}``, ``{alert_id}`` and ``{id}`` (notification) are filled in; empty: none."""

    link: str = ""

    def request(self, entry: OutboxEntry, at_s: float) -> tuple[dict[str, str], bytes]:
        headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
        if entry.traceparent:
            headers["traceparent"] = entry.traceparent
        return headers, orjson.dumps(message(entry, self.link))

    def outcome(self, status: int, response: bytes) -> str:
        if 200 <= status < 300:
            return "success" if response.strip() == b"ok" else "refused"
        return http_outcome(status)

    def gone(self, status: int, response: bytes) -> str:
        return f"Slack answered {response.strip().decode()}" if response.strip() in _GONE else http_gone(status)


def message(entry: OutboxEntry, link: str) -> dict[str, Any]:
    """``text`` and ``blocks``."""
    body = parse_json(entry.body)
    properties = body.get("properties", {}) if isinstance(body, dict) else {}
    title, lines = _words(entry, properties)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, _HEADER_MAX), "emoji": False}}
    ]
    if lines:
        fields = [_cut(f"*{_escaped(name)}*\n{_escaped(value)}", _FIELD_MAX) for name, value in lines][:_FIELDS_MAX]
        blocks.append({"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in fields]})
    if link:
        place = _linked(link, entry)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": _cut(f"<{place}|Open>", _SECTION_MAX)}})
    blocks.append({"type": "context", "elements": [{"type": "plain_text", "text": f"{entry.type}  {entry.id}", "emoji": False}]})
    summary = ", ".join(f"{name.lower()} {value}" for name, value in lines if name in {"Value", "Threshold", "Customer"})
    return {"text": _escaped(f"{title}: {summary}" if summary else title), "blocks": blocks}


def _words(entry: OutboxEntry, properties: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """A title, and what there is to say, name by name."""
    if is_notice(entry.type):
        title = {
            "endpoint.failing": "A webhook endpoint is failing",
            "endpoint.recovered": "A webhook endpoint has recovered",
            "endpoint.disabled": "A webhook endpoint was switched off",
            "message.exhausted": "A notification was given up",
            "event.error": "Usage events could not be counted as they are",
        }.get(entry.type, entry.type)
        return title, [(name.replace("_", " ").capitalize(), _text(value)) for name, value in properties.items()]
    if "notifications" in properties:
        return _listed(properties["notifications"])
    if "alert_name" not in properties:
        return entry.type, []
    state = "resolved" if entry.type.endswith("_resolved") else "reached"
    kind = entry.type.removeprefix("alerts.").removesuffix(f"_{state}").replace("_", " ")
    lines = [
        ("Customer", _customer(properties, entry.customer_id)),
        ("Metric", _text(properties.get("billable_metric_name"))),
        *((label, _amount(properties, name)) for label, name in _AMOUNTS),
        *((part["key"], part["value"]) for part in properties.get("group_values") or ()),
    ]
    seat = properties.get("seat_filter")
    if seat:
        lines.append((seat["seat_group_key"], seat["seat_group_value"]))
    period = properties.get("period")
    if period:
        lines.append(("Period", f"{period['starting_at']} to {period['ending_before']}"))
    lines.append(("Key", _text(properties.get("uniqueness_key"))))
    lines.append(("At", _text(properties.get("timestamp"))))
    return f"{properties['alert_name']}: {kind} {state}", [(name, value) for name, value in lines if value]


def _listed(notifications: list[dict[str, Any]]) -> tuple[str, list[tuple[str, str]]]:
    """What a digest lists: in Slack the first ones, each in a line."""
    told = [(each["type"], each["properties"]) for each in notifications]
    lines = [
        (
            _customer(properties, _text(properties.get("customer_id"))),
            f"{'resolved' if kind.endswith('_resolved') else 'reached'} at {_amount(properties, 'value')}",
        )
        for kind, properties in told
    ]
    more = len(lines) - _FIELDS_MAX + 1
    if more > 1:
        lines = [*lines[: _FIELDS_MAX - 1], ("And", f"{more} more")]
    return f"{_text(told[0][1].get('alert_name'))}: {len(told)} notifications", lines


def _customer(properties: dict[str, Any], customer_id: str) -> str:
    """By the name that people know, and the first of the ids that they have given."""
    known = [properties.get("customer_name"), *(properties.get("customer_ingest_aliases") or ())[:1]]
    return f"{' / '.join(each for each in known if each)} ({customer_id})" if any(known) else customer_id


def _amount(properties: dict[str, Any], name: str) -> str:
    dollars = properties.get("credit_type_id") == USD_CENTS and name in properties
    return _dollars(properties[name]) if dollars else _text(properties.get(name))


def _linked(link: str, entry: OutboxEntry) -> str:
    for name, value in (("customer_id", entry.customer_id), ("alert_id", entry.alert_id), ("id", entry.id)):
        link = link.replace(f"{{{name}}}", quote(value, safe=""))
    return link


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return decimal_text(value)
    return "" if value is None else str(value)


def _dollars(cents: int | Decimal) -> str:
    """With two decimal places, and more where they are needed."""
    dollars = Decimal(cents).scaleb(-2)
    places = max(2, -int(dollars.normalize().as_tuple().exponent))
    return f"{'-' if dollars < 0 else ''}${abs(dollars):,.{places}f}"


def _escaped(text: str) -> str:
    """The three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"
