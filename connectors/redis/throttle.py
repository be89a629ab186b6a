"""The token bucket of an endpoint with a rate limit: one for all dispatchers."""

from __future__ import annotations

from redis.asyncio import Redis

from connectors.redis.keys import CatalogKeys
from connectors.redis.scripts import Script

_TOKEN_BUCKET = Script("token_bucket")
BURST_S = 1.0
"""A bucket that was left alone holds the tokens of this many seconds, and at least one."""


async def take_tokens(redis: Redis, endpoint_id: str, rate_per_s: float, wanted: int) -> tuple[int, float]:
    """How many of ``wanted`` tokens there are for the caller, who may send as many requests; if none, the seconds until there
    is one. Raises RedisError; tokens of a lost reply are lost."""
    size = max(1, int(rate_per_s * BURST_S))
    step_us = max(1, round(1_000_000 / rate_per_s))
    taken, wait_us = await _TOKEN_BUCKET.run(redis, [CatalogKeys.bucket(endpoint_id)], step_us, size, wanted)
    return int(taken), int(wait_us) / 1_000_000
