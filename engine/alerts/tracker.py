"""The states of a customer's alerts: takes inputs to the table, keeps what is not ok, writes notifications.

Finding (alert, period, group, input, values) ──► TABLE ──► state record, sequence number, Notification
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID, uuid5

from engine.alerts.states import TABLE, Input, Message, State
from engine.alerts.stored import (
    SEQUENCE_PREFIX,
    STATE_PREFIX,
    StateKey,
    StoredState,
    decode_state,
    encode_state,
    sequence_alert,
    sequence_field,
    state_field,
    state_key,
    sub_key_text,
    sub_key_values,
)
from engine.catalog import Alert, AlertType
from engine.effects import Delta, Evidence, Notification, TriggeredBy
from engine.periods import HOUR_US, Period

NAMESPACE = UUID("6a1f8d0e-4c0b-5d6a-9a52-0f3c1e7b2d94")
"""The name space of notification ids. Fixed for ever: a replay must give the ids that were given before."""

ALARMED = frozenset({State.IN_ALARM, State.HELD})


class Finding(NamedTuple):
    """What was found out about one alert. ``group``: values in the order of the alert's ``group_values``, or what else tells
    several states of one period apart. ``measure``: type-specific fields of a notification, where they are not just the value.
    ``told_period``: the period to be told, where it is not that of the state."""

    alert: Alert
    period: Period
    group: tuple[str, ...]
    cause: Input
    previous_value: Decimal
    value: Decimal
    measure: Mapping[str, object] | None = None
    told_period: Period | None = None


class Occasion(NamedTuple):
    """Why and when something was found out."""

    triggered_by: TriggeredBy
    timestamp_us: int
    evidence: Evidence | None = None


class Tracker:
    """All states of one customer. About 300 bytes for each state that is not ok."""

    __slots__ = ("_changed", "_customer_id", "_resolves", "_sequences", "_states", "notifications")

    def __init__(self, customer_id: str, resolved_notifications: bool, stored: Mapping[str, str]) -> None:
        self._customer_id = customer_id
        self._resolves = resolved_notifications
        self._states: dict[StateKey, StoredState] = {}
        self._sequences: dict[str, int] = {}
        self._changed: dict[str, str | None] = {}
        self.notifications: list[Notification] = []
        for name, text in stored.items():
            if name.startswith(STATE_PREFIX):
                self._states[state_key(name)] = decode_state(text)
            elif name.startswith(SEQUENCE_PREFIX):
                self._sequences[name] = int(text)

    def __bool__(self) -> bool:
        return bool(self._states)

    def __iter__(self) -> Iterator[tuple[StateKey, State]]:
        """All states but ok, in the order of their keys."""
        return iter([(key, State(self._states[key].state)) for key in sorted(self._states)])

    def stored_keys(self) -> Iterable[StateKey]:
        """Of all states but ok, in no particular order."""
        return self._states.keys()

    def state(self, alert_id: str, period: Period, group: tuple[str, ...]) -> State:
        return self.at(StateKey(alert_id, period, sub_key_text(group)))

    def at(self, key: StateKey) -> State:
        stored = self._states.get(key)
        return State.OK if stored is None else State(stored.state)

    def find(self, finding: Finding, occasion: Occasion, *, first: bool = False) -> None:
        """Takes one finding through the table. ``first``: the alert is new to the customer."""
        key = StateKey(finding.alert.id, finding.period, sub_key_text(finding.group))
        state = self.state(finding.alert.id, finding.period, finding.group)
        if first and state is State.OK:
            state = State.EVALUATING
        outcome = TABLE[state, finding.cause]
        if outcome.state != state:
            self._put(key, outcome.state, occasion)
        if outcome.message is not None and (self._resolves or outcome.message is Message.REACHED):
            self._notify(key, outcome.message, finding, occasion)

    def forget(self, key: StateKey) -> None:
        """Drops a state without a word."""
        del self._states[key]
        self._changed[state_field(key)] = None

    def forget_sequences(self, alert_ids: Container[str]) -> None:
        """Drops how often all other alerts were told. Their ids never come back, so no notification's id can be made again."""
        for name in [name for name in self._sequences if sequence_alert(name) not in alert_ids]:
            del self._sequences[name]
            self._changed[name] = None

    def move(self, old: Period, new: Period, alerts: Container[str], closed: Period | None = None) -> list[StateKey]:
        """The current period has got another span (a part of it ended or began, a contract was changed): the states of gauges go
        with it. Returns their new keys.

        ``closed``: the period in which the old one goes on to be measured, in its grace; what was told for it must not be told
        again."""
        moved: list[StateKey] = []
        for key in [key for key in self._states if key.period == old and key.alert_id in alerts]:
            state = self._states[key]
            if new != old:
                self.forget(key)
            moved.append(key._replace(period=new))
            self._write(moved[-1], state)
            if closed is not None:
                self._write(key._replace(period=closed), state._replace(state=State.LAPSED.value))
        return moved

    def move_one(self, old: StateKey, new: StateKey) -> None:
        """A state goes on under another period; nothing is told."""
        self._write(new, self._states[old])
        self.forget(old)

    def collect(self, delta: Delta) -> None:
        for name, text in self._changed.items():
            if text is None:
                delta.state_deleted.append(name)
            else:
                delta.state_set[name] = text
        self._changed.clear()
        delta.notifications = self.notifications
        self.notifications = []

    def _put(self, key: StateKey, state: State, occasion: Occasion) -> None:
        if state in (State.OK, State.EVALUATING):
            if key in self._states:
                self.forget(key)
            return
        self._write(key, StoredState(state.value, occasion.triggered_by.value, occasion.timestamp_us))

    def _write(self, key: StateKey, stored: StoredState) -> None:
        self._states[key] = stored
        self._changed[state_field(key)] = encode_state(stored)

    def _notify(self, key: StateKey, message: Message, finding: Finding, occasion: Occasion) -> None:
        alert, value = finding.alert, finding.value
        counter = sequence_field(key.alert_id, key.sub_key)
        sequence = self._sequences[counter] = self._sequences.get(counter, 0) + 1
        self._changed[counter] = str(sequence)
        (start, end), (told_start, told_end) = key.period, finding.told_period or key.period
        name = f"{self._customer_id}|{alert.id}|{key.sub_key}|{start}-{end}|{sequence}"
        names = [name for name, _ in alert.group_values]
        group_values = tuple(zip(names, sub_key_values(key.sub_key), strict=True)) if names else ()
        self.notifications.append(
            Notification(
                id=str(uuid5(NAMESPACE, name)),
                type=f"alerts.{alert.type.value.removesuffix('_reached')}_{message}",
                customer_id=self._customer_id,
                alert_id=alert.id,
                alert_name=alert.name,
                alert_version=alert.version,
                threshold=alert.threshold,
                previous_value=finding.previous_value,
                value=value,
                period_starting_us=told_start * HOUR_US,
                period_ending_us=told_end * HOUR_US,
                sequence=sequence,
                triggered_by=occasion.triggered_by,
                timestamp_us=occasion.timestamp_us,
                measure=finding.measure if finding.measure is not None else _gauge_measure(alert, value),
                group_values=group_values,
                evidence=occasion.evidence,
                uniqueness_key=alert.uniqueness_key,
            )
        )


def _gauge_measure(alert: Alert, value: Decimal) -> Mapping[str, object]:
    if alert.type is AlertType.SPEND_THRESHOLD:
        return {"current_spend": value, "credit_type_id": alert.credit_type_id}
    return {"billable_metric_id": alert.metric_id, "current_usage": value}
