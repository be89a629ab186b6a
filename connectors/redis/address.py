"""Where Redis is: one server by its URL, or a service whose primary is asked of Sentinels.

    redis://[user:password@]host:port/db            rediss:// for TLS, unix:// for a socket: as redis-py reads them
    redis+sentinel://[user:password@]host:port,host:port,.../service[/db]
                                                    rediss+sentinel:// for TLS, to the Sentinels as to the servers

User and password are the servers'; what the Sentinels themselves ask for is a setting of its own. A host without a port is at
26379; an IPv6 address stands in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from redis.connection import parse_url

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26_379


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    sentinels: tuple[tuple[str, int], ...]
    service: str
    db: int
    username: str | None
    password: str | None
    tls: bool

    def __repr__(self) -> str:
        return f"SentinelAddress(sentinels={self.sentinels!r}, service={self.service!r})"  # nothing secret


def read_address(url: str) -> SentinelAddress | None:
    """The Sentinels and their service; None for the URL of one server. Raises ValueError, whose text may quote the URL."""
    if not url.startswith(SENTINEL_SCHEMES):
        parse_url(url)  # type: ignore[no-untyped-call]
        return None
    parts = urlsplit(url)
    if parts.scheme not in SENTINEL_SCHEMES or parts.query or parts.fragment:
        raise ValueError("redis+sentinel:// or rediss+sentinel://, without a query")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, _, db = parts.path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("the path must name the service, as the Sentinels know it")
    return SentinelAddress(
        sentinels=tuple(_host(host) for host in hosts.split(",")),
        service=unquote(service),
        db=int(db) if db else 0,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=parts.scheme == "rediss+sentinel",
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel needs a host")
    port = SENTINEL_PORT if parts.port is None else parts.port
    if not 0 < port < 65_536:
        raise ValueError("a port is between 1 and 65535")
    return parts.hostname, port


def servers_of(url: str) -> list[str]:
    """``host:port`` of what answers first: the server, or each Sentinel; empty for a socket. Never a password."""
    if url.startswith("unix:"):
        return []
    address = read_address(url)
    if address is not None:
        return [f"{host}:{port}" for host, port in address.sentinels]
    return [url.partition("://")[2].rpartition("@")[2].partition("/")[0]]
