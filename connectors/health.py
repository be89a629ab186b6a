"""What a role says of itself: on its `/readyz`, and in the heartbeat by which the API knows of it (heartbeats.py).

A role is ready when what it consists of works: the background loops turn (background.py), and what the role adds by ``tell_by``.
Nobody asks the services here: a report has to come at once, also while they are away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connectors.agreement import PROCESS
from connectors.background import loops_problem


@dataclass(frozen=True, slots=True)
class Report:
    """``checks``: "ok" or what is wrong, by what was looked at. ``warnings``: what works, and should be changed."""

    checks: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return all(result == "ok" for result in self.checks.values())


class Health:
    def __init__(self) -> None:
        self.started = False  # the role said that it is ready, once
        self._look: Callable[[], Report] = Report

    def tell_by(self, look: Callable[[], Report]) -> None:
        """``look`` is asked from now on, instead of whoever was before."""
        self._look = look

    def report(self) -> Report:
        told = self._look()
        checks = {"start": "ok" if self.started else "not ready yet", **told.checks, "loops": loops_problem() or "ok"}
        return Report(checks, (*told.warnings, *([PROCESS.warning] if PROCESS.warning else [])))
