"""Whose fault it is when a name cannot be resolved for the moment: ours, or that of the name's own servers?

The resolver says "try again" for both. But where it has just answered for another name, ours works.
"""

from __future__ import annotations

import socket
import time

NO_ANSWER = frozenset({socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY})
"""What getaddrinfo reports where nobody said whether there is such a name."""

LATELY_S = 60.0
_NAMES_MAX = 1_000


class NameService:
    """What this machine's resolver has answered lately, be it that a name does not exist."""

    def __init__(self) -> None:
        self._answered_s: dict[str, float] = {}

    def answered(self, name: str) -> None:
        self._answered_s.pop(name, None)  # the latest one is the last one
        self._answered_s[name] = time.monotonic()
        while len(self._answered_s) > _NAMES_MAX:
            del self._answered_s[next(iter(self._answered_s))]

    def works_without(self, name: str) -> bool:
        """Whether it has answered for another name."""
        since_s = time.monotonic() - LATELY_S
        return any(at_s >= since_s for other, at_s in self._answered_s.items() if other != name)


name_service = NameService()
"""This process' resolver: there is one."""
