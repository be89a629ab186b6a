"""The aggregate root: one customer's usage, spend and alert states.

usage events ─► apply ─┐
configuration ─► reconfigure ─┤──► windows, states, notifications, timer ─► collect() -> Delta
time ─► advance ─┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.alerts.stored import decode_meta
from engine.catalog import Catalog, CustomerConfig
from engine.effects import Delta, Rejection, StoredCustomer, UsageEvent


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """``grace_hours``: how long a period stays open after its end. ``windows_hourly_days``: how long hours are kept before
    they are folded into days; ``windows_daily_months``: how long folded months are kept."""

    grace_hours: int = 24
    windows_hourly_days: int = 35
    windows_daily_months: int = 13
    resolved_notifications: bool = True


def stored_days(state: Mapping[str, str]) -> tuple[int, ...]:
    """The UTC days (since the epoch) whose window maps must be loaded together with this state."""
    return tuple(sorted(decode_meta(state).days))


class CustomerAggregate:
    """One customer. Feed it, then ``collect`` what is to be written; after a failed write, drop it and load again."""

    customer_version: int
    catalog_revision: int

    def __init__(
        self, customer: CustomerConfig, catalog: Catalog, stored: StoredCustomer, settings: EngineSettings, now_us: int
    ) -> None:
        """Rebuilds the customer from what is stored. If that was evaluated under another configuration, it is brought up to
        date here, alerts that are new to the customer included; and time is moved on to ``now_us``."""
        raise NotImplementedError

    def apply(self, event: UsageEvent, now_us: int) -> Rejection | None:
        """Counts one event and evaluates what it can change. A rejection means that nothing was changed."""
        raise NotImplementedError

    def reconfigure(self, customer: CustomerConfig, catalog: Catalog, now_us: int) -> None:
        """Takes a new configuration and evaluates everything under it."""
        raise NotImplementedError

    def reset(self, alert_id: str, now_us: int) -> None:
        """Drops the alert's states and evaluates it at once: a breach that still holds is notified again."""
        raise NotImplementedError

    def advance(self, now_us: int) -> None:
        """Lets time pass: period ends, ends of grace, folding of windows. Time never goes back."""
        raise NotImplementedError

    def collect(self) -> Delta:
        """What has changed since the last ``collect``."""
        raise NotImplementedError
