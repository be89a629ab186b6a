"""An alert's status for one customer, read from the raw stored state alone. For the API; it never needs the aggregate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.alerts.kinds import GAUGED
from engine.alerts.stored import META, STATE_PREFIX, decode_meta, decode_state, scope_text, state_key, sub_key_values
from engine.alerts.watch import scope_of
from engine.catalog import Alert
from engine.metering.series import OTHER
from engine.periods import HOUR_US, Period

IN_ALARM = frozenset({"in_alarm", "held"})
"""Stored states that read as in alarm; a lapsed one belongs to a period that is over."""


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """``evaluated_version``: the catalog revision (alert for all customers) or the customer version (own alert) that the
    customer was last evaluated under, 0 = never. While it is below ``alert.created_version``, the alert is `evaluating`.
    ``triggered_by``, ``changed_at_us``: of the latest change among the states in alarm; None when ok. ``merged``: one of the
    alert's states, whichever was asked for, is of values that were too many to be kept apart (engine.metering.bounded)."""

    status: Literal["ok", "in_alarm"]
    triggered_by: str | None
    changed_at_us: int | None
    evaluated_version: int
    merged: bool = False


def split_by_alert(state: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The parts of a stored state that hold what alerts have, by alert id; "" has what all statuses need. To read many statuses
    of a customer with thousands of groups, ``read_status`` is given ``{**parts[""], **parts.get(alert_id, {})}``."""
    parts: dict[str, dict[str, str]] = {"": {META: state[META]} if META in state else {}}
    for name, text in state.items():
        if name.startswith(STATE_PREFIX):
            parts.setdefault(name.split("|", 2)[1], {})[name] = text
    return parts


def read_status(
    state: Mapping[str, str],
    alert: Alert,
    now_us: int,
    group_values: tuple[tuple[str, str], ...] | None = None,
    value: str | None = None,
) -> AlertStatus:
    """The status in the period that holds ``now_us``, and in the one that the customer was last evaluated in: after the last
    contract's end that one stays. (An archived customer keeps the status that it had then.) Balances and segments have no such
    period, and of invoices every one that is still a draft counts.

    ``group_values`` picks one group of a fanned-out alert, ``value`` one value of a keyed one; without them the alert is in alarm
    if any group, or value, is.
    """
    meta = decode_meta(state)
    if meta.frozen_at_us is not None:
        now_us = min(now_us, meta.frozen_at_us)
    wanted = dict(group_values or ())
    prefix = f"{STATE_PREFIX}{alert.id}|"
    span = meta.spans.get(scope_text(scope_of(alert)), meta.span)
    latest, merged = None, False
    for field_name, text in state.items():
        if not field_name.startswith(prefix):
            continue
        key = state_key(field_name)
        if alert.type in GAUGED and not _is_current(key.period, span, now_us):
            continue
        merged = merged or (OTHER in key.sub_key and OTHER in sub_key_values(key.sub_key))
        names = [name for name, _ in alert.group_values]
        values = dict(zip(names, sub_key_values(key.sub_key), strict=True)) if names else {}
        if any(values.get(name) != text for name, text in wanted.items()):
            continue
        if value is not None and sub_key_values(key.sub_key) != (value,):
            continue
        stored = decode_state(text)
        if stored.state in IN_ALARM and (latest is None or stored.changed_at_us > latest.changed_at_us):
            latest = stored
    version = meta.catalog_revision if alert.customer_id is None else meta.customer_version
    if latest is None:
        return AlertStatus("ok", None, None, version, merged)
    return AlertStatus("in_alarm", latest.triggered_by, latest.changed_at_us, version, merged)


def _is_current(period: Period, span: Period | None, now_us: int) -> bool:
    return period == span or period.starting_hour * HOUR_US <= now_us < period.ending_hour * HOUR_US
