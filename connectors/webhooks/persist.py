"""Writing down in Redis what a receiver has answered, through any outage: it must not be asked again because of us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.agreement import PROCESS
from connectors.background import until_done
from connectors.redis.errors import Trouble, trouble

_T = TypeVar("_T")


async def persist(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat while Redis is away or refuses; only this task's cancellation ends that. What no waiting mends is raised: whoever
    spawned this task contains it, and the delivery is due again when its lease runs out.

    The repetition is safe: ``conclude`` and ``put_back`` change nothing the second time. (If the reply to ``conclude`` was lost,
    the next delivery of the order key goes when the lease that we do not know of has run out.)
    """
    results: list[_T] = []
    defects: list[Exception] = []

    async def turn() -> None:
        try:
            results.append(await operation())
        except Exception as error:
            if trouble(error) is not Trouble.DEFECT:
                raise
            defects.append(error)  # raised below: the loop would repeat it for ever

    await until_done("dispatcher.persist", turn, asyncio.Event())
    if defects:
        raise defects[0]
    return results[0]


def clock_ms() -> int:
    """By which everything is dated that is stored, or decides: see connectors/agreement.py."""
    return PROCESS.now_ms()
