"""The one way to get a Redis client."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from connectors.settings import Settings

BLOCK_MS_MAX = 5_000
"""How long a blocking read may wait: a socket timeout below that would cut it off."""

CONNECTIONS_MAX = 4_096
"""Each blocking read holds a connection, and a worker has one for each of its partitions (1,024 at most)."""


def connect(settings: Settings) -> Redis:
    """A client with its own pool; close it with ``aclose``. Replies are bytes. The URL may hold credentials: never log it.

    Retries are off, explicitly: redis-py retries by itself unless told otherwise, and a write that is sent again after a lost
    reply counts twice. Where a repetition is safe (a compare-and-set), the caller repeats. RESP2, because RESP3 gives some
    replies another shape.
    """
    tls: dict[str, Any] = {"ssl_ca_certs": settings.redis_ssl_ca_certs} if settings.redis_ssl_ca_certs else {}
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=False,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        socket_connect_timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s + BLOCK_MS_MAX / 1000,
        health_check_interval=0,
        max_connections=CONNECTIONS_MAX,
        **tls,
    )
