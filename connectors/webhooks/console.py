"""Standard output, for development: one line of JSON for each notification, as its webhook would have been."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import BinaryIO

from connectors.agreement import PROCESS
from connectors.redis.types import OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import Endpoint


class Console:
    """``out``: None = this process' standard output, as it is at the time. A line that cannot be written is a fault of ours."""

    def __init__(self, endpoint: Endpoint, out: BinaryIO | None = None) -> None:
        self.endpoint = endpoint
        self._out = out

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        at_s, started_s = PROCESS.now_s(), time.monotonic()
        if first_byte is not None:
            first_byte()
        out = self._out or sys.stdout.buffer
        outcome = "success"
        try:
            out.write(entry.body + b"\n")
            out.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            outcome = "fault"
        return Attempt(outcome, at_s, time.monotonic() - started_s)

    async def close(self) -> None:
        """There is nothing to close: the output is not ours."""
