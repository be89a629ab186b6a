"""The Idempotency-Key header."""

from __future__ import annotations

import asyncio

import httpx

from connectors.http.tokens import token_hash
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from tests.conformance.conftest import TOKEN, Api


async def create(http: httpx.AsyncClient, key: str, name: str) -> httpx.Response:
    return await http.post("/v1/customers", json={"name": name}, headers={"Idempotency-Key": key})


async def count(http: httpx.AsyncClient) -> int:
    return len((await http.get("/v1/customers")).json()["data"])


async def test_the_same_request_has_the_first_answer(http: httpx.AsyncClient) -> None:
    first = await create(http, "k", "a")
    again = await create(http, "k", "a")
    assert again.status_code == 200
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await count(http) == 1
    assert (await create(http, "other", "a")).content != first.content


async def test_another_request_is_a_conflict(http: httpx.AsyncClient) -> None:
    await create(http, "k", "a")
    refused = await create(http, "k", "b")
    assert refused.status_code == 409
    assert refused.headers["x-should-retry"] == "false"
    elsewhere = await http.post("/v1/billable-metrics/archive", json={"name": "a"}, headers={"Idempotency-Key": "k"})
    assert elsewhere.status_code == 409
    assert await count(http) == 1


async def test_errors_are_kept_too(http: httpx.AsyncClient) -> None:
    await http.post("/v1/customers", json={"name": "a", "ingest_aliases": ["x"]})
    body = {"name": "b", "ingest_aliases": ["x"]}
    answers = [await http.post("/v1/customers", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"


async def test_requests_at_once_are_one(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(create(http, "k", "a") for _ in range(8)))
    assert await count(http) == 1
    for answer in answers:
        if answer.status_code != 200:  # it came while the first one ran, and may come again
            assert (answer.status_code, answer.headers["x-should-retry"], answer.headers["Retry-After"]) == (409, "true", "1")
    assert any(answer.status_code == 200 for answer in answers)


async def test_a_key_in_use_is_refused_until_its_request_ends(http: httpx.AsyncClient, api: Api) -> None:
    redis = connect(api.settings)
    store = CatalogStore(redis)
    assert await store.idempotency_begin(token_hash(TOKEN), "k", 60) is None
    assert (await create(http, "k", "a")).status_code == 409
    assert await count(http) == 0
    await store.idempotency_abandon(token_hash(TOKEN), "k")
    assert (await create(http, "k", "a")).status_code == 200
    await redis.aclose()


async def test_keys_belong_to_their_token(http: httpx.AsyncClient) -> None:
    await create(http, "k", "a")
    other = await http.post(
        "/v1/customers", json={"name": "b"}, headers={"Idempotency-Key": "k", "Authorization": "Bearer another"}
    )
    assert other.status_code == 200
    assert await count(http) == 2


async def test_a_key_has_bounds(http: httpx.AsyncClient) -> None:
    assert (await create(http, "k" * 256, "a")).status_code == 400
