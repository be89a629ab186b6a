"""What a defect may harm: one delivery, which is tried again later, and never the dispatcher.

A raise that nobody expected is logged with its traceback and counted (``tidemark_webhook_contained_total``). Nothing is lost by
it: what a dispatcher works on is leased, and a lease that runs out makes the delivery due again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType

import structlog

from connectors.metrics import WEBHOOK_CONTAINED

_log = structlog.get_logger("webhooks.containment")


class contained:
    """``with contained("lane", endpoint_id=...) as raised: ...``: goes on after the block, whatever was raised in it.

    This task's cancellation, and what ends the process, pass. ``error``: the name of what was raised; empty if nothing was. A
    class and not a generator, since it stands around each request.
    """

    __slots__ = ("_fields", "_where", "error")

    def __init__(self, where: str, **fields: object) -> None:
        self._where = where
        self._fields = fields
        self.error = ""

    def __enter__(self) -> contained:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception) and not _astray(error):
            return False
        self.error = type(error).__name__
        WEBHOOK_CONTAINED.labels(self._where).inc()
        _log.error("contained", where=self._where, error=self.error, exc_info=error, **self._fields)
        return True


def _astray(error: BaseException | None) -> bool:
    """A cancellation that was never meant for this task: of a future that it shares with others."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()


async def in_a_task(work: Coroutine[object, object, None]) -> None:
    """For a task of its own, which nobody awaits: what it raises would go nowhere, or end all its siblings."""
    with contained("task"):
        await work
