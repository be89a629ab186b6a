"""Partitions that cannot be served at the moment, while the worker serves its others.

Each is told as it stops, with what to do about it, and tried again by itself: after 5 s, and then after ever longer waits of up
to a minute. So what is mended from outside (a setting of the topic, a right, a position that was moved) needs no restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from connectors.kafka.errors import advice, told
from connectors.metrics import PARTITION_STOPPED, PARTITION_STOPS

AGAIN_FIRST_S = 5.0
AGAIN_MAX_S = 60.0
HEALTHY_S = 60.0
"""After so long without a stop the waits are short again."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Stop:
    text: str
    at_s: float
    wait_s: float
    timer: asyncio.TimerHandle | None


class StoppedPartitions:
    """``again``: called with a partition when it is to be tried again. Times are those of the event loop's clock."""

    def __init__(self, again: Callable[[int], None]) -> None:
        self._again = again
        self._stops: dict[int, _Stop] = {}

    def stop(self, partition: int, error: BaseException) -> None:
        loop = asyncio.get_running_loop()
        before = self._stops.get(partition)
        wait_s = AGAIN_FIRST_S
        if before is not None and loop.time() - before.at_s < before.wait_s + HEALTHY_S:
            wait_s = min(AGAIN_MAX_S, 2 * before.wait_s)
        text = f"{told(error)}; {advice(error)}".removesuffix("; ")
        timer = loop.call_later(wait_s, self._try_again, partition)
        self._stops[partition] = _Stop(text, loop.time(), wait_s, timer)
        PARTITION_STOPPED.labels(str(partition)).set(1)
        PARTITION_STOPS.labels(type(error).__name__).inc()
        log.error(
            "a partition stopped; the others go on",
            partition=partition,
            error=told(error),
            to_do=advice(error) or "see the traceback: this is a defect",
            again_s=wait_s,
            exc_info=None if advice(error) else error,
        )

    def _try_again(self, partition: int) -> None:
        self._stops[partition].timer = None
        PARTITION_STOPPED.labels(str(partition)).set(0)
        self._again(partition)

    def forget(self, partition: int) -> None:
        """It is somebody else's now."""
        stop = self._stops.pop(partition, None)
        if stop is not None and stop.timer is not None:
            stop.timer.cancel()
            PARTITION_STOPPED.labels(str(partition)).set(0)

    def reasons(self) -> dict[int, str]:
        """Of those that are not served now: why, and what to do."""
        return {partition: stop.text for partition, stop in self._stops.items() if stop.timer is not None}
