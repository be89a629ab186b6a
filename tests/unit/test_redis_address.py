"""Where Redis is: the forms of TIDEMARK_REDIS_URL."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.redis.address import read_address, servers_of
from connectors.settings import Settings


def test_a_service_of_sentinels() -> None:
    address = read_address("rediss+sentinel://tide%40mark:p%2Fw@one:26380,two,[::1]:26381/my-service/3")
    assert address is not None
    assert address.sentinels == (("one", 26380), ("two", 26379), ("::1", 26381))
    assert (address.service, address.db, address.username, address.password, address.tls) == (
        *("my-service", 3, "tide@mark", "p/w", True),
    )
    assert "p/w" not in repr(address)


def test_the_simplest_service() -> None:
    address = read_address("redis+sentinel://localhost/tidemark")
    assert address is not None
    assert (address.sentinels, address.db, address.username, address.password, address.tls) == (
        *((("localhost", 26379),), 0, None, None, False),
    )


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "rediss://user:pw@redis:6380/1", "unix:///run/redis.sock"])
def test_one_server_is_none_of_ours(url: str) -> None:
    assert read_address(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://redis:6379",
        "redis://redis:port",
        "redis+sentinel://",
        "redis+sentinel://sentinel:26379",
        "redis+sentinel://sentinel:26379/",
        "redis+sentinel:///service",
        "redis+sentinel://a,,b/service",
        "redis+sentinel://a:0/service",
        "redis+sentinel://a:70000/service",
        "redis+sentinel://a:b/service",
        "redis+sentinel://a/service/db",
        "redis+sentinel://a/service?db=1",
        "redis+sentinels://a/service",
    ],
)
def test_what_cannot_be_meant_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError):
        read_address(url)
    with pytest.raises(ValidationError) as refused:
        Settings(redis_url=url)
    assert "must be redis://" in str(refused.value)


def test_what_is_tried_at_a_start_holds_no_password() -> None:
    assert servers_of("redis://user:hunter2@redis:6379/0") == ["redis:6379"]
    assert servers_of("redis+sentinel://user:hunter2@one,two:1/service") == ["one:26379", "two:1"]
    assert servers_of("unix:///run/redis.sock") == []
