"""Which gauges a customer's alerts ask for, and the ladder of each. Compiled once for a set of alerts; immutable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.alerts.kinds import GAUGED
from engine.alerts.ladder import Ladder
from engine.catalog import Alert, AlertType, CustomFieldFilter

NamesOf = tuple[str, ...]
"""The group keys of a spend alert, sorted; () for an ungrouped one."""


def group_names(alert: Alert) -> NamesOf:
    return tuple(sorted(name for name, _ in alert.group_values))


class Split(NamedTuple):
    """Which spend is counted and how it is split: that of the contracts with all of these custom fields, by these group keys."""

    names: NamesOf
    filters: tuple[CustomFieldFilter, ...] = ()


def split_of(alert: Alert) -> Split:
    return Split(group_names(alert), alert.custom_field_filters)


Scope = tuple[CustomFieldFilter, ...]
"""Which contracts an alert on a gauge is about: those with all of these custom fields; () for all of them."""


def scope_of(alert: Alert) -> Scope:
    return alert.custom_field_filters if alert.type is AlertType.SPEND_THRESHOLD else ()


class SpendLadders:
    """The ladders of spend in one credit type and one split: one for each combination of group values.

    All groups that no alert names on its own share one ladder."""

    __slots__ = ("_every", "_named", "_shared", "names")

    def __init__(self, names: NamesOf, alerts: Sequence[Alert]) -> None:
        self.names = names
        self._every = [alert for alert in alerts if all(value is None for _, value in alert.group_values)]
        self._named = [alert for alert in alerts if any(value is not None for _, value in alert.group_values)]
        self._shared = Ladder(self._every)

    def ladder(self, group: tuple[str, ...]) -> Ladder | None:
        """The ladder for one combination of values (in the order of ``names``); None if nobody watches it."""
        named = [alert for alert in self._named if _names(alert, self.names, group)]
        if named:
            return Ladder([*self._every, *named])
        return self._shared if self._every else None

    def fixed_groups(self) -> list[tuple[str, ...]]:
        """The combinations that alerts name in full: they are measured from the start, at 0, by all alerts
        that watch them."""
        groups = []
        for alert in self._named:
            values = dict(alert.group_values)
            group = tuple(value for value in (values[name] for name in self.names) if value is not None)
            if len(group) == len(self.names):
                groups.append(group)
        return groups


class Watch:
    """``usage``: by metric; ``spend``: by credit type and split; ``lowest``: the least threshold of these, if any.
    ``scopes``: those of any of these alerts, that of all contracts first.
    ``standing``: alerts that are read from a statement (engine.standing)."""

    __slots__ = ("_gauged", "alerts", "lowest", "scopes", "spend", "standing", "usage")

    def __init__(self, alerts: Iterable[Alert]) -> None:
        self.alerts = {alert.id: alert for alert in alerts}
        gauged = [alert for alert in self.alerts.values() if alert.type in GAUGED]
        self.standing = tuple(alert for alert in self.alerts.values() if alert.type not in GAUGED)
        self.lowest = min((alert.threshold for alert in gauged), default=None)
        self.scopes = tuple(dict.fromkeys([(), *(scope_of(alert) for alert in gauged)]))
        usage: dict[str, list[Alert]] = {}
        spend: dict[tuple[str, Split], list[Alert]] = {}
        for alert in gauged:
            if alert.type is AlertType.SPEND_THRESHOLD:
                spend.setdefault((alert.credit_type_id, split_of(alert)), []).append(alert)
            elif alert.metric_id is not None:
                usage.setdefault(alert.metric_id, []).append(alert)
        self._gauged = {scope: frozenset(a.id for a in gauged if scope_of(a) == scope) for scope in self.scopes}
        self.usage = {metric_id: Ladder(group) for metric_id, group in usage.items()}
        self.spend = {key: SpendLadders(key[1].names, group) for key, group in spend.items()}

    def gauged(self, scope: Scope) -> frozenset[str]:
        """The ids of the alerts on spend and usage that are about these contracts."""
        return self._gauged[scope]


def alert_group(alert: Alert, names: NamesOf, group: tuple[str, ...]) -> tuple[str, ...]:
    """A gauge's group values in the order in which the alert names its keys."""
    return tuple(group[names.index(name)] for name, _ in alert.group_values)


def _names(alert: Alert, names: NamesOf, group: tuple[str, ...]) -> bool:
    return all(value is None or group[names.index(name)] == value for name, value in alert.group_values)
