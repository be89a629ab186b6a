"""Webhook deliveries through the API and the command line: look, send again, recover, test, rotate; with a real dispatcher."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from connectors import clock
from connectors.cli.main import cli
from connectors.redis.batches import outbox_fields
from connectors.redis.catalog import CatalogStore
from connectors.redis.keys import PartitionKeys, partition_of
from connectors.redis.types import OutboxEntry
from connectors.webhooks import operations
from connectors.webhooks.verify import VerificationError, verify, verify_standard
from schemas.documents import instant_text
from tests.conformance.conftest import PARTITIONS, Api
from tests.support.dispatching import SECRET, dispatching, notification, settings_for
from tests.support.receiver import Answer, Receiver

BASE = "/v1/webhook-deliveries"
ENDPOINTS = "/v1/webhook-endpoints"
PAST = "2020-01-01T00:00:00Z"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        running.secret = SECRET
        yield running


class Site:
    """The API's Redis with a dispatcher that may reach loopback."""

    def __init__(self, api: Api, http: httpx.AsyncClient, redis: Redis) -> None:
        self.url = api.settings.redis_url.get_secret_value()
        self.http = http
        self.redis: Any = redis

    async def add_endpoint(self, endpoint_id: str, url: str, **more: object) -> None:
        document = {"id": endpoint_id, "url": url, "secret": SECRET, "enabled": True, "name": None, "created_at": PAST}
        await CatalogStore(self.redis).put_endpoint(endpoint_id, orjson.dumps(document | {"updated_at": PAST} | more))

    async def write(self, *entries: OutboxEntry) -> None:
        for entry in entries:
            fields = outbox_fields(entry)
            key = PartitionKeys(partition_of(entry.customer_id, PARTITIONS)).outbox
            await self.redis.xadd(key, dict(zip(fields[::2], fields[1::2], strict=True)))

    @asynccontextmanager
    async def dispatched(self, **changes: object) -> AsyncIterator[None]:
        """Everything that can be delivered has been, or has been given up."""
        async with dispatching(settings_for(self.url, **changes)):
            yield
            await self.until_ended()

    async def until_ended(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            keys = [PartitionKeys(partition) for partition in range(PARTITIONS)]
            left = [await self.redis.xlen(each.outbox) + await self.redis.hlen(each.deliveries) for each in keys]
            if not any(left):
                return
            assert time.monotonic() < deadline

    async def exhaust(self, receiver: Receiver, *entries: OutboxEntry) -> None:
        receiver.default["/hook"] = Answer(500, body_bytes=3)
        await self.write(*entries)
        async with self.dispatched(webhook_retry_age_max_hours=0.2 / 3600):
            pass
        receiver.default["/hook"] = Answer(204)

    async def listed(self, **query: str) -> list[dict[str, Any]]:
        answer = await self.http.get(BASE, params=query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()["data"] if status == 200 else answer.json()["message"]


@pytest.fixture
async def site(api: Api, http: httpx.AsyncClient) -> AsyncIterator[Site]:
    redis = Redis.from_url(api.settings.redis_url.get_secret_value())
    yield Site(api, http, redis)
    await redis.aclose()


async def test_list_filters_and_pages(site: Site, receiver: Receiver) -> None:
    await site.add_endpoint("a", receiver.url)
    await site.write(*(notification(number) for number in range(5)))
    async with site.dispatched():
        pass
    everything = await site.listed()
    assert [each["status"] for each in everything] == ["delivered"] * 5
    assert [each["changed_at"] for each in everything] == sorted((each["changed_at"] for each in everything), reverse=True)
    assert {each["id"] for each in everything} == {f"n-{number}:a" for number in range(5)}
    paged: list[dict[str, Any]] = []
    query = {"limit": "2"}
    while True:
        answer = (await site.http.get(BASE, params=query)).json()
        paged += answer["data"]
        assert len(answer["data"]) <= 2
        if answer["next_page"] is None:
            break
        query["next_page"] = answer["next_page"]
    assert paged == everything
    assert [each["id"] for each in await site.listed(customer_id="customer-3")] == ["n-3:a"]
    for query in ({"endpoint_id": "b"}, {"alert_id": "a-2"}, {"type": "x"}, {"status": "waiting"}, {"until": PAST}):
        assert await site.listed(**query) == []
    assert await site.listed(endpoint_id="a", alert_id="a-1", status="delivered", since=PAST) == everything
    latest = everything[0]["changed_at"]
    assert {each["changed_at"] for each in await site.listed(since=latest)} == {latest}
    for query in ({"status": "lost"}, {"next_page": "x"}, {"since": "yesterday"}):
        assert (await site.http.get(BASE, params=query)).status_code == 400


async def test_get_shows_body_and_attempts(site: Site, receiver: Receiver) -> None:
    receiver.script("/hook", Answer(500, body_bytes=3))
    await site.add_endpoint("a", receiver.url)
    entry = notification(1)
    await site.write(entry)
    async with site.dispatched():
        pass
    delivery = (await site.http.get(f"{BASE}/n-1:a")).json()["data"]
    assert (delivery["status"], delivery["attempts"], delivery["last_error"]) == ("delivered", 2, None)
    assert delivery["body"].encode() == entry.body
    assert [(each["outcome"], each["status"], each["response"]) for each in delivery["attempt_log"]] == [
        ("http_5xx", 500, "xxx"),
        ("success", 204, ""),
    ]
    assert (await site.http.get(f"{BASE}/n-2:a")).status_code == 404


async def test_dead_letters_are_listed_and_redriven(site: Site, receiver: Receiver) -> None:
    await site.add_endpoint("a", receiver.url)
    await site.exhaust(receiver, notification(1), notification(2), notification(3))
    dead = await site.listed(status="exhausted")
    assert {each["last_error"] for each in dead} == {"http_5xx (500)"}
    assert len(dead) == 3
    before = len(receiver.received)
    dry = await site.post(f"{BASE}/resend", {"endpoint_id": "a", "dry_run": True})
    assert (dry["count"], dry["dry_run"], dry["complete"]) == (3, True, True)
    assert dry["delivery_ids"] == [each["id"] for each in reversed(dead)]
    assert await site.listed(status="exhausted") == dead
    assert await site.post(f"{BASE}/n-2:a/resend") == {"id": "n-2:a", "outcome": "resent"}
    assert (await site.post(f"{BASE}/resend", {"customer_id": "customer-3"}))["delivery_ids"] == ["n-3:a"]
    async with site.dispatched():
        pass
    assert sorted(request.id for request in receiver.received[before:]) == ["n-2", "n-3"]
    assert [each["id"] for each in await site.listed(status="exhausted")] == ["n-1:a"]
    assert await site.post(f"{BASE}/n-2:a/resend") == {"id": "n-2:a", "outcome": "resent"}  # one that was delivered, too
    assert await site.post(f"{BASE}/n-2:a/resend") == {"id": "n-2:a", "outcome": "hastened"}
    await site.http.delete(f"{ENDPOINTS}/a")
    assert "deleted" in await site.post(f"{BASE}/n-1:a/resend", status=409)
    assert (await site.post(f"{BASE}/resend", {"since": PAST}))["count"] == 0


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({}, "must name"),
        ({"dry_run": True}, "must name"),
        ({"until": PAST}, "must name"),
        ({"endpoint_id": "a", "status": []}, "status"),
        ({"endpoint_id": "a", "status": ["lost"]}, "status"),
        ({"endpoint": "a"}, "known field"),
    ],
)
async def test_a_resend_that_names_nothing_is_refused(site: Site, body: dict[str, object], rule: str) -> None:
    assert rule in await site.post(f"{BASE}/resend", body, 400)


async def test_recover_sends_what_one_endpoint_has_missed(site: Site, receiver: Receiver) -> None:
    """It did not exist for the first, gave up the second, and has the third."""
    await site.add_endpoint("other", receiver.url_of("/other"))
    await site.write(notification(1))
    async with site.dispatched():
        pass
    await site.add_endpoint("a", receiver.url)
    await site.exhaust(receiver, notification(2))
    await site.write(notification(3))
    async with site.dispatched():
        pass
    before = len(receiver.received)
    dry = await site.post(f"{ENDPOINTS}/a/recover", {"since": PAST, "dry_run": True})
    assert (dry["count"], sorted(dry["delivery_ids"])) == (2, ["n-1:a", "n-2:a"])
    tomorrow = instant_text(clock.now_us() + 86_400_000_000)
    assert (await site.post(f"{ENDPOINTS}/a/recover", {"since": tomorrow}))["count"] == 0
    assert (await site.post(f"{ENDPOINTS}/a/recover", {"since": PAST}))["count"] == 2
    async with site.dispatched():
        pass
    assert sorted((request.path, request.id) for request in receiver.received[before:]) == [("/hook", "n-1"), ("/hook", "n-2")]
    assert (await site.post(f"{ENDPOINTS}/a/recover", {"since": PAST}))["count"] == 0
    assert (await site.http.post(f"{ENDPOINTS}/b/recover", json={"since": PAST})).status_code == 404


async def test_recover_goes_through_a_long_log_in_parts(site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part says up to when it has looked; together they send everything, once, and the oldest first."""
    await site.add_endpoint("other", receiver.url_of("/other"))
    for number in range(6):
        await site.write(notification(number))
        async with site.dispatched():
            pass
    await site.add_endpoint("a", receiver.url)
    monkeypatch.setattr(operations, "_SCAN", 2)
    monkeypatch.setattr(operations, "LOOKED_AT_MAX", 2)
    sent: list[str] = []
    since: str | None = PAST
    parts = 0
    while since is not None:
        part = await site.post(f"{ENDPOINTS}/a/recover", {"since": since})
        assert part["complete"] is (part["looked_until"] is None)
        sent += part["delivery_ids"]
        since = part["looked_until"]
        parts += 1
    assert parts > 2
    assert sent == [f"n-{number}:a" for number in range(6)]


async def test_recover_heeds_the_filter_and_leaves_alone_what_was_superseded(site: Site, receiver: Receiver) -> None:
    await site.add_endpoint("other", receiver.url_of("/other"))
    await site.write(*(notification(number) for number in range(4)))
    async with site.dispatched():
        pass
    await site.add_endpoint("a", receiver.url, customer_ids=["customer-1", "customer-2"], supersede=True)
    assert (await site.post(f"{ENDPOINTS}/a/recover", {"since": PAST, "dry_run": True}))["count"] == 2
    await site.write(notification(5, customer_id="customer-1"), notification(6, customer_id="customer-1"))
    receiver.script("/hook", Answer(500, delay_s=0.3))
    async with site.dispatched():
        pass
    statuses = {each["id"]: each["status"] for each in await site.listed(endpoint_id="a")}
    assert statuses == {"n-5:a": "superseded", "n-6:a": "delivered"}
    dry = await site.post(f"{ENDPOINTS}/a/recover", {"since": PAST, "dry_run": True})
    assert sorted(dry["delivery_ids"]) == ["n-1:a", "n-2:a"]


async def test_test_button(site: Site, receiver: Receiver) -> None:
    await site.add_endpoint("a", receiver.url)
    await site.add_endpoint("other", receiver.url_of("/other"))
    async with site.dispatched():
        delivery_id = (await site.post(f"{ENDPOINTS}/a/test"))["id"]
    (request,) = receiver.received
    assert orjson.loads(request.body) == {"id": request.id, "type": "webhooks.test"}
    assert (request.path, request.invalid, delivery_id) == ("/hook", None, f"{request.id}:a")
    assert (await site.http.get(f"{BASE}/{delivery_id}")).json()["data"]["status"] == "delivered"
    assert (await site.post(f"{ENDPOINTS}/other/recover", {"since": PAST}))["count"] == 0  # a test is for one endpoint
    await site.http.patch(f"{ENDPOINTS}/a", json={"enabled": False})
    assert "disabled" in await site.post(f"{ENDPOINTS}/a/test", status=409)


async def test_rotation_overlaps(site: Site, receiver: Receiver) -> None:
    receiver.secret = None
    await site.add_endpoint("a", receiver.url)
    new = (await site.post(f"{ENDPOINTS}/a/rotate-secret"))["secret"]
    newest = (await site.post(f"{ENDPOINTS}/a/rotate-secret", {"overlap_hours": 1}))["secret"]
    async with site.dispatched():
        await site.post(f"{ENDPOINTS}/a/test")
    await site.post(f"{ENDPOINTS}/a/rotate-secret", {"overlap_hours": 0})
    first = receiver.received[0]
    verify(newest, first.headers, first.body)
    for secret in (SECRET, new):
        verify_standard(secret, first.headers, first.body)
    assert len(first.headers["webhook-signature"].split(" ")) == 3
    for body in ({"overlap_hours": -1}, {"overlap_hours": 169}, {"overlap_hours": 1.5}):
        assert "overlap_hours" in await site.post(f"{ENDPOINTS}/a/rotate-secret", body, 400)
    document = (await site.http.get(f"{ENDPOINTS}/a")).json()["data"]
    assert not {"secret", "previous_secrets", "signing_key"} & set(document)


async def test_at_most_ten_secrets_sign(site: Site, receiver: Receiver) -> None:
    receiver.secret = None
    await site.add_endpoint("a", receiver.url)
    for _ in range(12):
        newest = (await site.post(f"{ENDPOINTS}/a/rotate-secret"))["secret"]
    async with site.dispatched():
        await site.post(f"{ENDPOINTS}/a/test")
    (request,) = receiver.received
    assert len(request.headers["webhook-signature"].split(" ")) == 10
    verify(newest, request.headers, request.body)
    with pytest.raises(VerificationError):
        verify_standard(SECRET, request.headers, request.body)


async def test_key_pair(site: Site, http: httpx.AsyncClient, receiver: Receiver) -> None:
    created = await site.post(ENDPOINTS, {"url": "https://example.com/hook", "ed25519": True})
    assert len(base64.b64decode(created["public_key"].removeprefix("whpk_"), validate=True)) == 32
    stored = orjson.loads((await CatalogStore(site.redis).endpoints())[created["id"]])
    await site.add_endpoint(created["id"], receiver.url, signing_key=stored["signing_key"], public_key=stored["public_key"])
    async with site.dispatched():
        await site.post(f"{ENDPOINTS}/{created['id']}/test")
    (request,) = receiver.received
    verify(created["public_key"], request.headers, request.body)
    assert request.invalid is None


async def test_options_and_states_of_an_endpoint(site: Site, receiver: Receiver) -> None:
    created = await site.post(ENDPOINTS, {"url": "https://example.com/", "rate_limit_per_second": 5, "supersede": True})
    shown = {name: created[name] for name in ("state", "failing_since", "rate_limit_per_second", "supersede", "public_key")}
    assert shown == {"state": "active", "failing_since": None, "rate_limit_per_second": 5, "supersede": True, "public_key": None}
    one = f"{ENDPOINTS}/{created['id']}"
    changed = (await site.http.patch(one, json={"rate_limit_per_second": None, "supersede": False})).json()["data"]
    assert (changed["rate_limit_per_second"], changed["supersede"]) == (None, False)
    for body in ({"rate_limit_per_second": 0}, {"rate_limit_per_second": 10_001}, {"supersede": "yes"}):
        assert (await site.http.patch(one, json=body)).status_code == 400
    await site.add_endpoint("a", receiver.url)
    await site.exhaust(receiver, notification(1))
    failing = (await site.http.get(f"{ENDPOINTS}/a")).json()["data"]
    assert failing["state"] == "failing"
    assert failing["failing_since"] > PAST
    disabled = (await site.http.patch(f"{ENDPOINTS}/a", json={"enabled": False})).json()["data"]
    assert (disabled["state"], disabled["failing_since"]) == ("disabled", failing["failing_since"])
    enabled = (await site.http.patch(f"{ENDPOINTS}/a", json={"enabled": True})).json()["data"]
    assert (enabled["state"], enabled["failing_since"]) == ("active", None)


async def test_command_line(site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("TIDEMARK_REDIS_URL", site.url)

    async def run(*arguments: str, exit_code: int = 0) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["deliveries", *arguments])
        assert result.exit_code == exit_code, result.output
        return result

    await site.add_endpoint("a", receiver.url)
    await site.exhaust(receiver, notification(1), notification(2))
    listed = (await run("list", "--status", "exhausted", "--endpoint", "a")).output.splitlines()
    assert sorted(line.split("  ")[3] for line in listed) == ["n-1:a", "n-2:a"]
    assert len((await run("list", "--limit", "1")).output.splitlines()) == 1
    shown = (await run("show", "n-1:a")).output
    assert "exhausted since" in shown
    assert "http_5xx 500" in shown
    assert '"sequence":1' in shown
    assert "2 would be sent again" in (await run("resend", "--endpoint", "a", "--dry-run")).output
    assert (await run("resend", "n-1:a")).output == "resent\n"
    assert "1 sent again" in (await run("recover", "a", "--since", PAST)).output
    before = len(receiver.received)
    async with site.dispatched():
        pass
    assert sorted(request.id for request in receiver.received[before:]) == ["n-1", "n-2"]
    await run("resend", exit_code=2)
    await run("resend", "--until", PAST, exit_code=2)
    await run("resend", "n-1:a", "--dry-run", exit_code=2)
    await run("recover", "a", "--since", "yesterday", exit_code=2)
    await run("show", "n-9:a", exit_code=1)


async def test_what_no_endpoint_wanted_is_listed_and_sent_where_it_is_told_to(site: Site, receiver: Receiver) -> None:
    await site.add_endpoint("a", receiver.url, customer_ids=["customer-9"])
    await site.write(notification(1), notification(2))
    async with site.dispatched():
        pass
    listed = await site.listed(status="unwanted")
    assert {(each["notification_id"], each["endpoint_id"]) for each in listed} == {("n-1", None), ("n-2", None)}
    assert all(each["unwanted"] == [{"endpoint_id": "a", "reason": "customer_ids"}] for each in listed)
    one = f"{BASE}/n-1:/resend"
    for body, status in ((None, 400), ({"endpoint_id": "b"}, 404), ({"endpoint_id": "a"}, 200)):
        answer = await site.http.post(one, json=body)
        assert answer.status_code == status, answer.text
    answer = await site.http.post(f"{BASE}/resend", json={"status": ["unwanted"], "since": PAST, "dry_run": True})
    assert answer.json()["data"]["count"] == 0  # nowhere to go
    body = {"status": ["unwanted"], "customer_id": "customer-2", "to_endpoint_id": "a"}
    answer = await site.http.post(f"{BASE}/resend", json=body)
    assert (answer.json()["data"]["count"], answer.json()["data"]["delivery_ids"]) == (1, ["n-2:a"])
    async with site.dispatched():
        pass
    assert sorted(request.id for request in receiver.received) == ["n-1", "n-2"]
    assert (await site.http.get(f"{BASE}/n-1:")).json()["data"]["status"] == "unwanted"
