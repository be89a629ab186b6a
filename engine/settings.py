"""What the engine can be told about time spans and messages. The process's settings are the connectors' business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """``grace_hours``: how long a period stays open after its end. ``windows_hourly_days``: how long hours are kept before
    they are folded into days; ``windows_daily_months``: how long folded months are kept. ``group_values_max``: how many
    combinations of values of each declared group key are kept apart (see engine.metering.bounded)."""

    grace_hours: int = 24
    windows_hourly_days: int = 35
    windows_daily_months: int = 13
    resolved_notifications: bool = True
    group_values_max: int = 10_000
