"""How the Redis server is set up: what loses state in silence is refused, what is risky is told.

All of it comes from INFO, which managed services allow where they forbid CONFIG.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError


class RedisUnfit(RuntimeError):
    """This server drops keys by itself: counts, and what was notified, would be wrong without a word."""


async def check_redis(redis: Redis) -> None:
    """Raises RedisUnfit if the server may evict keys, and RedisError if it does not answer."""
    try:
        memory: dict[str, Any] = await redis.info("memory")
    except NoPermissionError:
        return
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and memory.get("maxmemory", 0):
        raise RedisUnfit(
            f"Redis may drop keys when its memory is full (maxmemory-policy {policy}): customers' usage, alert states and the "
            "ids of events that were counted would vanish without a word. Set maxmemory-policy noeviction: a full Redis then "
            "refuses writes, and everything waits."
        )


async def redis_warnings(redis: Redis) -> list[str]:
    """What an operator should change. Raises RedisError if the server does not answer."""
    try:
        persistence: dict[str, Any] = await redis.info("persistence")
    except NoPermissionError:
        return ["Redis does not let this user ask how it is set up (INFO): persistence and eviction were not checked"]
    if persistence.get("aof_enabled"):
        return []
    if await _saves(redis):
        return [
            "Redis keeps snapshots only (appendonly no): a crash loses what the API changed since the last one; usage is read "
            "again from Kafka. Set appendonly yes"
        ]
    return ["Redis keeps nothing on disk (appendonly no, no save): a restart loses configuration and state. Set appendonly yes"]


async def _saves(redis: Redis) -> bool:
    """Whether snapshots are made by themselves; also where the server does not say, since then it is somebody's service."""
    try:
        return bool((await redis.config_get("save")).get("save", "unknown"))
    except ResponseError:
        return True
