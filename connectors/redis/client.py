"""The one way to get a Redis client.

After a failover the old primary is a replica that answers reads and refuses writes, and a connection to it lasts. So each answer
that says "no primary" marks all connections of the pool: those at rest are made again before their next use, those in use after
it. Making one resolves the name again, or asks the Sentinels, and asks the server for its role: a replica is refused at once,
because what it would let us read may be old. The refused call itself is not repeated here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from connectors.redis.address import SentinelAddress, read_address
from connectors.redis.errors import ROLE_LOST, refusal_code
from connectors.settings import Settings

BLOCK_MS_MAX = 5_000
"""How long a blocking read may wait: a socket timeout below that would cut it off."""

CONNECTIONS_MAX = 4_096
"""Each blocking read holds a connection, and a worker has one for each of its partitions (1,024 at most)."""

SENTINEL_TIMEOUT_S_MAX = 2.0
"""Of one Sentinel: the next one is asked after that."""


def connect(settings: Settings) -> Redis:
    """A client with its own pool; close it with ``aclose``. Replies are bytes. The URL may hold credentials: never log it.

    Retries are off, explicitly: redis-py retries by itself unless told otherwise, and a write that is sent again after a lost
    reply counts twice. Where a repetition is safe (a compare-and-set), the caller repeats. RESP2, because RESP3 gives some
    replies another shape.
    """
    url = settings.redis_url.get_secret_value()
    options: dict[str, Any] = {
        "decode_responses": False,
        **_options(settings, settings.redis_timeout_s),
        "socket_timeout": settings.redis_timeout_s + BLOCK_MS_MAX / 1000,
        "max_connections": CONNECTIONS_MAX,
    }
    address = read_address(url)
    if address is not None:
        return Redis.from_pool(_sentinel_pool(address, settings, options))
    given = parse_url(url)  # type: ignore[no-untyped-call]
    kind = _CLASSES[given.pop("connection_class", Connection)]
    tls = _tls(settings) if kind is _Tls else {}
    return Redis.from_pool(_Pool(connection_class=kind, **{**options, **tls, **given}))


def _options(settings: Settings, timeout_s: float) -> dict[str, Any]:
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_connect_timeout": timeout_s,
        "socket_timeout": timeout_s,
        "health_check_interval": 0,
    }


def _tls(settings: Settings) -> dict[str, Any]:
    return {"ssl_ca_certs": settings.redis_ssl_ca_certs} if settings.redis_ssl_ca_certs else {}


def _sentinel_pool(address: SentinelAddress, settings: Settings, options: dict[str, Any]) -> ConnectionPool:
    tls = _tls(settings) if address.tls else {}
    password = settings.redis_sentinel_password
    manager = Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels,
        sentinel_kwargs={
            **_options(settings, min(settings.redis_timeout_s, SENTINEL_TIMEOUT_S_MAX)),
            **({"ssl": True} if address.tls else {}),
            **tls,
            "username": settings.redis_sentinel_username,
            "password": None if password is None else password.get_secret_value(),
        },
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        address.service,
        manager,
        connection_class=_SentinelTls if address.tls else _SentinelTcp,
        db=address.db,
        username=address.username,
        password=address.password,
        **options,
        **tls,
    )


class _Primary(AbstractConnection):
    """A connection to a primary, or none. ``role_lost`` is called when an answer says that the server is no primary any more."""

    role_lost: Callable[[], None]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        try:
            role = await self.read_response()
        except ResponseError:  # an access list that keeps ROLE from us, or a busy server: the first write will tell
            return
        if role[0] != b"master":
            raise ReadOnlyError("the server at this address is a replica", status_code="READONLY")

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            # not super(): redis-py's connection by Sentinel breaks off in the middle of a pipeline here
            return await AbstractConnection.read_response(self, *args, **kwargs)
        except ResponseError as error:
            if refusal_code(error) in ROLE_LOST:
                self.role_lost()
            raise


class _Tcp(_Primary, Connection):
    pass


class _Tls(_Primary, SSLConnection):
    pass


class _Socket(_Primary, UnixDomainSocketConnection):
    pass


class _SentinelTcp(_Primary, SentinelManagedConnection):
    pass


class _SentinelTls(_Primary, SentinelManagedSSLConnection):
    pass


_CLASSES: dict[Any, type[_Primary]] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Socket}


class _Pool(ConnectionPool):
    def make_connection(self) -> Any:
        connection = super().make_connection()  # type: ignore[no-untyped-call]
        connection.role_lost = self._role_lost
        return connection

    def _role_lost(self) -> None:
        for connection in chain(self._available_connections, self._in_use_connections):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]

    async def ensure_connection(self, connection: Any) -> None:
        if connection.should_reconnect():
            await connection.disconnect()
        await super().ensure_connection(connection)


class _SentinelPool(_Pool, SentinelConnectionPool):
    """Asks the Sentinels not only for new connections: for some seconds after it has named another primary, a Sentinel lets the
    old one go on taking writes, which are lost when it is demoted. So while the pool is used, it asks every ``LOOK_S``."""

    LOOK_S = 0.5
    _looked_at_s = 0.0
    _look: asyncio.Task[None] | None = None

    async def ensure_connection(self, connection: Any) -> None:
        if self._look is None and time.monotonic() - self._looked_at_s > self.LOOK_S:
            self._look = asyncio.create_task(self._look_for_another())
        await super().ensure_connection(connection)

    async def _look_for_another(self) -> None:
        known = self.master_address
        try:
            found = await self.sentinel_manager.discover_master(self.service_name)
            if known is not None and found != known:
                self._role_lost()
        except (RedisError, OSError):  # nothing can be said: what is connected goes on
            pass
        finally:
            self._looked_at_s = time.monotonic()
            self._look = None

    async def aclose(self) -> None:
        if self._look is not None:
            self._look.cancel()
        await super().aclose()
        await self.sentinel_manager.aclose()
