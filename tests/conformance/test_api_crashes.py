"""The API dies at every await of a POST with an Idempotency-Key, and the request is sent again: one effect, one answer.

The server and its scripts are real; the API's handlers run in this process on a client whose every command is a point of death
(tests/support/crashing.py). Ids, clock and secrets are the same in each life, so that what is stored after a death and a
repetition can be compared, byte by byte, with what is stored after a request that was left alone.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import Mock

import orjson
import pytest
import redis as blocking
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request
from pydantic import SecretStr
from redis.asyncio import Redis

from connectors.http import endpoints
from connectors.http.audit import REQUEST_ID
from connectors.http.dispatch import handler_of
from connectors.http.event_log import EventLog
from connectors.http.routing import Route
from connectors.http.server import ROUTES
from connectors.http.services import Services
from connectors.http.tokens import Tokens
from connectors.redis import once
from connectors.redis.catalog import CatalogStore
from connectors.redis.customers import CustomerStore
from connectors.redis.keys import CatalogKeys, PartitionKeys
from connectors.redis.once import KeyStore
from connectors.settings import Settings
from engine import numbers
from tests.support.crashing import CrashingRedis, Life
from tests.support.redis_server import RedisServer

TOKEN = "conformance-token"
PARTITIONS = 2
NOW_US = 1_767_225_600_000_000
START = "2026-01-01T00:00:00Z"
USD = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
SEED = uuid.UUID(int=7)
SETTINGS = Settings(api_tokens=SecretStr(TOKEN), redis_timeout_s=1)
NOT_COMPARED = (
    *("audit", "changes", "position"),  # streams and counts of what was told: a step that is done again is told again
    *("idempotency:", "once:"),  # the keys themselves
    "endpoints_revision",  # Redis' own clock
    "claims:custom_field_keys",  # a value that is gone may still be claimed: whoever wants it finds that nobody has it
)


class QuickLife(Life):
    async def latency(self) -> None:
        pass


class SlowLife(Life):
    """Its steps come in any order with those of others."""

    async def latency(self) -> None:
        await asyncio.sleep(self.dice.uniform(0, 0.002))


@dataclass
class Api:
    """One life of an API process. ``dies_at``: the point at which it ends."""

    server: Any
    dies_at: int | None = None
    life: Life = field(default=None)  # type: ignore[assignment]
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.life = self.life or QuickLife(random.Random(0), self.dies_at)
        client = cast(Redis, CrashingRedis(self.server, self.life))
        self.services = Services(
            SETTINGS,
            client,
            CatalogStore(client),
            CustomerStore(client, PARTITIONS),
            cast(EventLog, None),
            KeyStore(client, PARTITIONS),
            PARTITIONS,
            now_us=lambda: NOW_US,
        )

    async def post(self, path: str, body: dict[str, Any], key: str | None = None, method: str = "POST") -> web.Response:
        route, match = routed(method, path)
        payload = StreamReader(Mock(_reading_paused=False), 2**16)
        payload.feed_data(orjson.dumps(body))
        payload.feed_eof()
        headers = {"Authorization": f"Bearer {TOKEN}", **({} if key is None else {"Idempotency-Key": key})}
        request = make_mocked_request(method, path, headers, match_info=match, payload=payload)
        request[REQUEST_ID] = "request"
        return await handler_of(route, self.services, Tokens(SETTINGS, self.services.catalog))(request)

    async def made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answered = await self.post(path, body)
        assert answered.status == 200, (path, answered.body)
        text = cast(bytes, answered.body)
        return cast(dict[str, Any], orjson.loads(text)["data"]) if text else {}

    async def ends_in(self, path: str, body: dict[str, Any], key: str | None) -> bool:
        """Whether the process died in the request, which then stays without an answer."""
        asked, died = asyncio.create_task(self.post(path, body, key)), asyncio.create_task(self.life.died.wait())
        await asyncio.wait({asked, died}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, died):
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
        return self.life.died.is_set()


def routed(method: str, path: str) -> tuple[Route, dict[str, str]]:
    for route in ROUTES:
        parts, given = route.path.split("/"), path.split("/")
        pairs = list(zip(parts, given, strict=False))
        if (
            route.method == method
            and len(parts) == len(given)
            and all(part == text or part.startswith("{") for part, text in pairs)
        ):
            return route, {part[1:-1]: text for part, text in pairs if part.startswith("{")}
    raise AssertionError(path)


def schedule(amount: int) -> dict[str, Any]:
    items = [{"amount": amount, "starting_at": START, "ending_before": "2027-01-01T00:00:00Z"}]
    return {"credit_type_id": USD, "schedule_items": items}


async def world(api: Api) -> dict[str, tuple[str, dict[str, Any]]]:
    """What there is before, and the requests by a name of each."""
    rates = "/v1/contract-pricing/rate-cards"
    await api.made("/v1/customFields/addKey", {"entity": "customer", "key": "crm", "enforce_uniqueness": True})
    await api.made("/v1/customFields/addKey", {"entity": "customer", "key": "gone", "enforce_uniqueness": False})
    metric = (await api.made("/v1/billable-metrics/create", {"name": "m", "aggregation_type": "COUNT"}))["id"]
    products = "/v1/contract-pricing/products/create"
    product = (await api.made(products, {"name": "p", "type": "USAGE", "billable_metric_id": metric}))["id"]
    fixed = (await api.made(products, {"name": "f", "type": "FIXED"}))["id"]
    card = (await api.made(f"{rates}/create", {"name": "c"}))["id"]
    rate = {
        "rate_card_id": card,
        "product_id": product,
        "starting_at": START,
        "entitled": True,
        "rate_type": "FLAT",
        "price": 1,
    }
    await api.made(f"{rates}/addRate", rate)
    customer = (
        await api.made("/v1/customers", {"name": "a", "ingest_aliases": ["old"], "custom_fields": {"crm": "1", "gone": "x"}})
    )["id"]
    contract = (await api.made("/v1/contracts/create", {"customer_id": customer, "rate_card_id": card, "starting_at": START}))[
        "id"
    ]
    of = {"customer_id": customer, "contract_id": contract}
    commit = {
        "customer_id": customer,
        "type": "PREPAID",
        "product_id": fixed,
        "priority": 1,
        "access_schedule": schedule(100),
        "invoice_contract_id": contract,
        "invoice_schedule": {"schedule_items": [{"amount": 100, "timestamp": START}]},
    }
    credit = {"customer_id": customer, "product_id": fixed, "priority": 1, "access_schedule": schedule(10)}
    own_credit = {name: value for name, value in credit.items() if name != "customer_id"}
    held = (await api.made("/v1/contracts/customerCredits/create", credit))["id"]
    shown = await api.made("/v1/contracts/customerCredits/list", {"customer_id": customer})
    segment = cast(Any, shown)[0]["access_schedule"]["schedule_items"][0]["id"]
    alert = {"alert_type": "spend_threshold_reached", "name": "al", "threshold": 5}
    own = (await api.made("/v1/alerts/create", {**alert, "customer_id": customer, "uniqueness_key": "own"}))["id"]
    endpoint = (await api.made("/v1/webhook-endpoints", {"url": "https://example.com/hook"}))["id"]
    overrides = [{"starting_at": START, "type": "MULTIPLIER", "multiplier": 2, "product_id": product}]
    return {
        "customer": ("/v1/customers", {"name": "b", "ingest_aliases": ["new", "newer"], "custom_fields": {"crm": "2"}}),
        "customer's name": (f"/v1/customers/{customer}/setName", {"name": "z"}),
        "customer's aliases": (f"/v1/customers/{customer}/setIngestAliases", {"ingest_aliases": ["young"]}),
        "customer's config": (f"/v1/customers/{customer}/updateConfig", {"salesforce_account_id": "s"}),
        "metric": ("/v1/billable-metrics/create", {"name": "n", "aggregation_type": "COUNT"}),
        "rate": (f"{rates}/addRate", {**rate, "price": 2, "starting_at": "2026-02-01T00:00:00Z"}),
        "contract": (
            "/v1/contracts/create",
            {"customer_id": customer, "rate_card_id": card, "starting_at": START, "uniqueness_key": "u", "credits": [own_credit]},
        ),
        "edit": ("/v2/contracts/edit", {**of, "add_overrides": overrides, "uniqueness_key": "e"}),
        "amendment": ("/v1/contracts/amend", {**of, "starting_at": START, "overrides": overrides}),
        "end date": ("/v1/contracts/updateEndDate", {**of, "ending_before": "2026-12-01T00:00:00Z"}),
        "commit": ("/v1/contracts/customerCommits/create", {**commit, "uniqueness_key": "k"}),
        "credit": ("/v1/contracts/customerCredits/create", credit),
        "manual entry": (
            "/v1/contracts/addManualBalanceLedgerEntry",
            {"customer_id": customer, "id": held, "segment_id": segment, "amount": -1, "reason": "r", "uniqueness_key": "l"},
        ),
        "alert for all": ("/v1/alerts/create", {**alert, "uniqueness_key": "for all"}),
        "alert": ("/v1/alerts/create", {**alert, "customer_id": customer, "uniqueness_key": "mine"}),
        "alert's end": ("/v1/alerts/archive", {"id": own, "release_uniqueness_key": True}),
        "reset": ("/v1/customer-alerts/reset", {"customer_id": customer, "alert_id": own}),
        "endpoint": ("/v1/webhook-endpoints", {"url": "https://example.com/another"}),
        "secret": (f"/v1/webhook-endpoints/{endpoint}/rotate-secret", {}),
        "package": ("/v1/packages/create", {"name": "p", "rate_card_id": card, "uniqueness_key": "p"}),
        "unit": ("/v1/credit-types/create", {"name": "u"}),
        "field": ("/v1/customFields/addKey", {"entity": "customer", "key": "gone2", "enforce_uniqueness": True}),
        "field's end": ("/v1/customFields/removeKey", {"entity": "customer", "key": "gone"}),
        "value": ("/v1/customFields/setValues", {"entity": "customer", "entity_id": customer, "custom_fields": {"crm": "3"}}),
    }


def stored(server: blocking.Redis) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for key in sorted(cast(list[bytes], server.keys("*"))):
        if not any(f":{part}" in key.decode().partition("}")[2] for part in NOT_COMPARED):
            kind = cast(bytes, server.type(key))
            read = {b"hash": server.hgetall, b"set": server.smembers, b"string": server.get}.get(kind)
            found[key] = read(key) if read is not None else server.dump(key)
    return found


def told(server: blocking.Redis) -> bool:
    """Whether all partitions know of the latest catalog, and nobody's references are still to be announced."""
    revision = cast(Any, server.get(CatalogKeys.REVISION))
    announced = [cast(Any, server.hget(PartitionKeys(each).position, "announced_catalog")) for each in range(PARTITIONS)]
    return all(each == revision for each in announced) and not server.exists(CatalogKeys.PENDING)


@pytest.fixture
def server(valkey: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[blocking.Redis]:
    numbers.activate()
    monkeypatch.setattr(once, "LEASE_MS", 0)  # nobody lives who could prolong it
    monkeypatch.setattr(endpoints.secrets, "token_bytes", lambda length: b"\1" * length)
    client = blocking.Redis.from_url(valkey.url)
    client.flushall()
    yield client
    client.flushall()
    client.close()


async def test_one_effect_and_one_answer_whatever_dies(server: blocking.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    server.set(CatalogKeys.PARTITIONS, PARTITIONS)
    requests = await world(Api(server))
    before = {key: (server.dump(key), server.pttl(key)) for key in cast(list[bytes], server.keys("*"))}
    monkeypatch.setattr(once.uuid, "uuid4", lambda: SEED)

    def begin_anew() -> None:
        server.flushdb()
        for key, (value, _) in before.items():
            server.restore(key, 0, cast(Any, value))

    for name, (path, body) in requests.items():
        for _ in range(2):  # the first time its scripts may have to be loaded, which is a point more
            begin_anew()
            left_alone = Api(server)
            expected = await left_alone.post(path, body, name)
        assert expected.status == 200, (name, expected.body)
        after, points = stored(server), left_alone.life.points
        assert points > 4, name
        for point in range(1, points + 1):
            begin_anew()
            assert await Api(server, dies_at=point).ends_in(path, body, name), (name, point)
            again = await Api(server).post(path, body, name)
            assert (again.status, again.body) == (200, expected.body), (name, point, again.body)
            assert stored(server) == after, (name, point)
            assert told(server), (name, point)
        once_more = await Api(server).post(path, body, name)
        assert (once_more.body, stored(server)) == (expected.body, after), name


WITH_UNIQUENESS = ("contract", "edit", "commit", "manual entry", "alert", "alert for all", "package")


async def test_a_uniqueness_key_alone_makes_one_object_whatever_dies(server: blocking.Redis) -> None:
    """Without an Idempotency-Key the repetition is another request, with other ids: it makes the object, or is told that it is
    there, and by which id. Never is it told of an object that does not exist."""
    server.set(CatalogKeys.PARTITIONS, PARTITIONS)
    requests = await world(Api(server))
    before = {key: server.dump(key) for key in cast(list[bytes], server.keys("*"))}
    for name in WITH_UNIQUENESS:
        path, body = requests[name]
        outcomes = set()
        for point in range(1, 200):
            server.flushdb()
            for key, value in before.items():
                server.restore(key, 0, cast(Any, value))
            if not await Api(server, dies_at=point).ends_in(path, body, None):
                break
            again = await Api(server).post(path, body)
            assert again.status in {200, 409}, (name, point, again.body)
            if again.status == 409:
                holder = orjson.loads(cast(bytes, again.body))["conflicting_id"]
                assert any(holder in str(value) for key, value in stored(server).items() if b":claims:" not in key), (name, point)
            assert (await Api(server).post(path, body)).status == 409, (name, point)
            outcomes.add(again.status)
        assert outcomes == {200, 409}, name


async def test_three_runs_of_one_key_at_once_make_one_change(server: blocking.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lease runs out while its request lives: whichever is faster, all have its answer."""
    server.set(CatalogKeys.PARTITIONS, PARTITIONS)
    requests = await world(Api(server))
    before = {key: server.dump(key) for key in cast(list[bytes], server.keys("*"))}
    monkeypatch.setattr(once.uuid, "uuid4", lambda: SEED)
    for name, (path, body) in requests.items():
        found = []
        for seed in range(4):
            server.flushdb()
            for key, value in before.items():
                server.restore(key, 0, cast(Any, value))
            runs = 1 if seed == 0 else 3
            apis = [Api(server, life=SlowLife(random.Random(f"{seed} {each}"), None)) for each in range(runs)]
            answers = await asyncio.gather(*(api.post(path, body, name) for api in apis))
            assert {answer.status for answer in answers} == {200}, (name, seed, [answer.body for answer in answers])
            assert told(server), (name, seed)
            found.append((answers[0].body, stored(server)))
            assert {answer.body for answer in answers} == {found[0][0]}, (name, seed)
            assert found[seed] == found[0], (name, seed)
