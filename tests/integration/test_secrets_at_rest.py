"""Secrets in Redis: sealed where there is a key, readable with every key that is given, sealed anew by a rotation."""

from __future__ import annotations

import orjson
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from connectors.http.idempotency import fingerprint, keyed_request, once
from connectors.http.replies import Reply
from connectors.redis.catalog import CatalogStore
from connectors.redis.once import Keyed, KeyStore
from connectors.redis.secrets import SecretsLocked, Vault
from connectors.settings import Settings
from connectors.webhooks.endpoints import EndpointDirectory
from tests.support.redis_stores import snapshot

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRET = b"whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
SLACK = b"https://hooks.slack.com/services/T0/B0/unguessable"
DOCUMENTS = {
    "signed": b'{"id":"signed","type":"webhook","url":"https://example.com/","enabled":true,"secret":"%s"}' % SECRET,
    "slack": b'{"id":"slack","type":"slack","url":"%s","enabled":true,"secret":"%s"}' % (SLACK, SECRET),
}


def store(redis: Redis, *keys: str) -> CatalogStore:
    return CatalogStore(redis, Vault(keys))


async def shows(redis: Redis, *texts: bytes) -> bool:
    return any(text in (value or b"") for value in (await snapshot(redis)).values() for text in texts)


async def put_all(catalog: CatalogStore) -> None:
    for endpoint_id, document in DOCUMENTS.items():
        await catalog.put_endpoint(endpoint_id, document)


async def test_nothing_in_redis_shows_a_sealed_secret(redis: Redis) -> None:
    await put_all(store(redis))
    assert await shows(redis, SECRET, SLACK), "without a key they lie open: else this test could not fail"
    await redis.flushall()
    catalog = store(redis, OLD)
    await put_all(catalog)
    assert await catalog.replace_endpoint("signed", DOCUMENTS["signed"], DOCUMENTS["signed"] + b" ")
    assert not await catalog.replace_endpoint("signed", DOCUMENTS["signed"], b"{}")
    assert await catalog.endpoints() == DOCUMENTS | {"signed": DOCUMENTS["signed"] + b" "}
    assert not await shows(redis, SECRET, SLACK)


async def test_keys_are_introduced_and_exchanged_while_everything_runs(redis: Redis) -> None:
    await put_all(store(redis))
    both = store(redis, NEW, OLD)
    for keys in ((OLD,), (NEW, OLD), (NEW,)):
        rotating = store(redis, *keys)
        assert await rotating.endpoints() == DOCUMENTS, "what was written before stays readable"
        await rotating.seal_endpoints_anew()
        assert await rotating.endpoints() == await both.endpoints() == DOCUMENTS
        assert not await shows(redis, SECRET, SLACK)
    with pytest.raises(SecretsLocked):
        await store(redis, OLD).endpoints()


async def test_a_role_without_the_key_does_not_start(redis: Redis) -> None:
    await put_all(store(redis, OLD))
    await store(redis, NEW, OLD).check_endpoints()
    for keys in ((), (NEW,)):
        with pytest.raises(SecretsLocked, match="2 of 2 webhook endpoints"):
            await store(redis, *keys).check_endpoints()


async def test_the_dispatcher_reads_and_switches_off_what_is_sealed(redis: Redis) -> None:
    await put_all(store(redis, OLD))
    directory = EndpointDirectory(store(redis, NEW, OLD), lambda _: None)
    await directory.look()
    assert set(directory.enabled) == set(DOCUMENTS)
    assert await directory.disable(directory.enabled["slack"], "gone")
    assert orjson.loads((await store(redis, NEW).endpoint("slack")) or b"")["disabled_reason"] == "gone"
    assert not await shows(redis, SLACK)


async def test_an_answer_that_shows_a_secret_is_kept_sealed(redis: Redis) -> None:
    keys = KeyStore(redis, 1)

    async def answered(_: Keyed) -> Reply:
        return Reply(200, SECRET)

    async def settled() -> None: ...

    async def refused(_: Keyed) -> Reply:
        raise AssertionError("it runs once")

    request = fingerprint("POST", "/", b"")
    first = await once(keys, keyed_request("token", "key", request, 60, Vault((OLD,))), answered, settled)
    again = await once(keys, keyed_request("token", "key", request, 60, Vault((NEW, OLD))), refused, settled)
    assert first.body == again.body == SECRET
    kept = (await redis.get("tidemark:{catalog}:idempotency:token:key")) or b""
    assert kept.startswith(b"sealed:")


def test_a_key_that_is_none_is_refused_without_being_told() -> None:
    assert Settings(secrets_keys=SecretStr(f" {NEW} , {OLD}")).secrets_key_list() == (NEW, OLD)
    with pytest.raises(ValidationError) as refused:
        Settings(secrets_keys=SecretStr(f"{NEW},mistyped-key"))
    assert "mistyped" not in str(refused.value)
