"""Writing down in Redis what a receiver has answered, through any outage: it must not be asked again because of us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from connectors import clock

_log = structlog.get_logger("webhooks.deliveries")
_T = TypeVar("_T")
_PAUSE_MAX_S = 5.0


async def persist(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat while Redis cannot be reached.

    The repetition is safe: ``conclude`` and ``put_back`` change nothing the second time. (If the reply to ``conclude`` was lost,
    the next delivery of the order key goes when the lease that we do not know of has run out.)
    """
    pause_s = 0.05
    while True:
        try:
            return await operation()
        except (RedisError, OSError) as error:
            _log.warning("redis.failed", error=type(error).__name__)
        await asyncio.sleep(pause_s)
        pause_s = min(_PAUSE_MAX_S, 2 * pause_s)


def clock_ms() -> int:
    return clock.now_ms()
