"""The Idempotency-Key header."""

from __future__ import annotations

import asyncio

import httpx

from connectors.http.idempotency import fingerprint, keyed_request
from connectors.http.tokens import token_hash
from connectors.redis.client import connect
from connectors.redis.once import KeyStore
from tests.conformance.conftest import PARTITIONS, TOKEN, Api


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


async def test_a_refusal_keeps_nothing(http: httpx.AsyncClient) -> None:
    """It changed nothing: asked again it is asked anew, and the mended request goes under the same key."""
    await http.post("/v1/customers", json={"name": "a", "ingest_aliases": ["x"]})
    body = {"name": "b", "ingest_aliases": ["x"]}
    answers = [await http.post("/v1/customers", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert "Idempotency-Replayed" not in answers[1].headers
    wrong = await http.post("/v1/customers", json={"nam": "b"}, headers={"Idempotency-Key": "k"})
    assert wrong.status_code == 400
    mended = await create(http, "k", "b")
    assert mended.status_code == 200
    assert (await create(http, "k", "b")).content == mended.content


async def test_requests_at_once_are_one(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(create(http, "k", "a") for _ in range(8)))
    assert await count(http) == 1
    for answer in answers:
        if answer.status_code != 200:  # it came while the first one ran, and may come again
            assert (answer.status_code, answer.headers["x-should-retry"], answer.headers["Retry-After"]) == (409, "true", "1")
    assert any(answer.status_code == 200 for answer in answers)


async def test_a_key_in_use_is_refused_until_its_request_ends(http: httpx.AsyncClient, api: Api) -> None:
    """Whoever runs it prolongs its lease; who dies does not, and the next one waits for no longer than a lease lasts."""
    redis = connect(api.settings)
    store = KeyStore(redis, PARTITIONS)
    body = b'{"name":"a"}'
    run = keyed_request(token_hash(TOKEN), "k", fingerprint("POST", "/v1/customers", body), 60)
    assert (await store.begin(run))[0] == "first"
    asked = asyncio.create_task(http.post("/v1/customers", content=body, headers={"Idempotency-Key": "k"}))
    while not asked.done():
        await store.prolong(run)
        await asyncio.sleep(0.1)
    assert (asked.result().status_code, asked.result().headers["Retry-After"]) == (409, "1")
    assert await count(http) == 0
    assert (await http.post("/v1/customers", content=body, headers={"Idempotency-Key": "k"})).status_code == 200
    assert await count(http) == 1
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
