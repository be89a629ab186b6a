"""The fields of a customer's stored state: names and texts.

    meta                                     JSON: what was evaluated under, and which windows exist (see StateMeta)
    s|<alert>|<start>-<end>|<sub-key>        JSON: one state other than ok; start, end: the period's hours since the epoch
    q|<alert>|<sub-key>                      how many notifications there were
    c|<series>                               last reading of the days folded away (LATEST)

    i|...                                    an invoice that is final (engine.invoices.codec)

The sub-key is empty, or a JSON array: the group values, in the order of the alert's ``group_values``; for days-remaining alerts
the id of the segment; for invoice alerts that of the invoice.
`ok` takes no memory. Alert ids hold no "|" (they are UUIDs).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.alerts.watch import Scope
from engine.periods import Period
from engine.versions import current

META = "meta"
STATE_PREFIX = "s|"
SEQUENCE_PREFIX = "q|"
CARRY_PREFIX = "c|"


class StateKey(NamedTuple):
    alert_id: str
    period: Period
    sub_key: str


class StoredState(NamedTuple):
    """``state``: a value of engine.alerts.states.State other than ok or evaluating."""

    state: str
    triggered_by: str
    changed_at_us: int


@dataclass(slots=True)
class StateMeta:
    """``now_us``: up to when time was looked at. ``frozen_at_us``: when the customer was archived (None: it is not).
    ``span``: the period that was current at ``now_us``; ``spans``: that of scopes (as ``scope_text``) where it is another one.
    ``days``: UTC days that have a window map. ``months``: months
    ("YYYY-MM") that have a folded map. ``folded_before``: days before this one are folded or never existed.
    ``final_hour``: invoices of periods that ended by then are final and stored, or never existed; None = never looked at.
    ``arrivals``: the highest arrival number that a reading has (LATEST)."""

    customer_version: int = 0
    catalog_revision: int = 0
    now_us: int = 0
    frozen_at_us: int | None = None
    span: Period | None = None
    days: set[int] = field(default_factory=set)
    months: set[str] = field(default_factory=set)
    folded_before: int = 0
    final_hour: int | None = None
    arrivals: int = 0
    spans: dict[str, Period] = field(default_factory=dict)


def scope_text(scope: Scope) -> str:
    """Names a scope in the meta field; "" is that of all contracts."""
    return json.dumps([(each.entity.value, each.key, each.value) for each in scope]) if scope else ""


def sub_key_text(values: tuple[str, ...]) -> str:
    return json.dumps(values, separators=(",", ":")) if values else ""


def sub_key_values(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()


def state_field(key: StateKey) -> str:
    return f"{STATE_PREFIX}{key.alert_id}|{key.period.starting_hour}-{key.period.ending_hour}|{key.sub_key}"


def state_key(field_name: str) -> StateKey:
    alert_id, span, sub_key = field_name[len(STATE_PREFIX) :].split("|", 2)
    start, _, end = span.partition("-")
    return StateKey(alert_id, Period(int(start), int(end)), sub_key)


def encode_state(state: StoredState) -> str:
    return json.dumps([state.state, state.triggered_by, state.changed_at_us], separators=(",", ":"))


def decode_state(text: str) -> StoredState:
    name, triggered_by, changed_at_us = json.loads(text)
    return StoredState(name, triggered_by, changed_at_us)


def sequence_field(alert_id: str, sub_key: str) -> str:
    return f"{SEQUENCE_PREFIX}{alert_id}|{sub_key}"


def sequence_alert(field_name: str) -> str:
    return field_name.split("|", 2)[1]


def encode_meta(meta: StateMeta) -> str:
    document: dict[str, object] = {"cv": meta.customer_version, "cr": meta.catalog_revision, "now": meta.now_us}
    if meta.frozen_at_us is not None:
        document["frozen"] = meta.frozen_at_us
    if meta.span is not None:
        document["span"] = meta.span
    if meta.spans:
        document["spans"] = meta.spans
    if meta.days:
        document["days"] = sorted(meta.days)
    if meta.months:
        document["months"] = sorted(meta.months)
    if meta.folded_before:
        document["folded"] = meta.folded_before
    if meta.final_hour is not None:
        document["final"] = meta.final_hour
    if meta.arrivals:
        document["arrivals"] = meta.arrivals
    return json.dumps(document, separators=(",", ":"))


def decode_meta(state: Mapping[str, str]) -> StateMeta:
    """An empty state gives the meta of a customer that was never evaluated."""
    text = state.get(META)
    if text is None:
        return StateMeta()
    document = current("state", META, json.loads(text))
    return StateMeta(
        customer_version=document["cv"],
        catalog_revision=document["cr"],
        now_us=document["now"],
        frozen_at_us=document.get("frozen"),
        span=Period(*document["span"]) if "span" in document else None,
        days=set(document.get("days", ())),
        months=set(document.get("months", ())),
        folded_before=document.get("folded", 0),
        final_hour=document.get("final"),
        arrivals=document.get("arrivals", 0),
        spans={scope: Period(*span) for scope, span in document.get("spans", {}).items()},
    )
