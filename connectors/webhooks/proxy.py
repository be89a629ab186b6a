"""The operator's proxy, through which all requests go where there is one: its URL, read by the same rules as an endpoint's."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from schemas.urls import parse_target


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def read_proxy(url: str) -> Proxy:
    """``http://user:password@host:port``. Raises ValueError, whose text may hold a part of the password."""
    scheme, separator, rest = url.partition("://")
    credentials, _, place = rest.rpartition("@")
    target = parse_target(f"{scheme}{separator}{place}")
    if target.scheme != "http" or target.target != "/":
        raise ValueError("must be http://, with nothing behind the port")
    if any(letter in "/?#[]@\\" or not " " < letter < "\x7f" for letter in credentials):
        raise ValueError("special characters of user and password are to be percent-encoded")
    user, colon, password = credentials.partition(":")
    return Proxy(target.host, target.port, unquote(user) or None, unquote(password) if colon else None)
