"""The open paths, webhook endpoints, and the OpenAPI document."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest

from connectors import clock
from connectors.heartbeats import STALE_S
from connectors.http.event_log import EventLog
from connectors.http.server import ROUTES
from connectors.http.watch import Watch
from connectors.kafka.lag import LagOfAll
from connectors.redis.client import connect
from connectors.redis.keys import CatalogKeys, PartitionKeys
from tests.conformance.conftest import PARTITIONS, Api


async def test_the_document_has_every_route_and_every_schema_resolves(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    open_paths = {("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")}
    assert described == {(route.method, route.path) for route in ROUTES} | open_paths
    assert len({operation["operationId"] for path in document["paths"].values() for operation in path.values()}) == len(described)
    for reference in references(document):
        assert reference.startswith("#/components/schemas/")
        assert reference.rsplit("/", 1)[-1] in document["components"]["schemas"]
    create = document["paths"]["/v1/alerts/create"]["post"]
    schema = document["components"]["schemas"][
        create["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1]
    ]
    assert set(schema["required"]) == {"alert_type", "name", "threshold"}
    assert schema["properties"]["threshold"]["type"] == "number"
    parameters = document["paths"]["/v1/customers/{customer_id}/billable-metrics"]["get"]["parameters"]
    assert {(each["in"], each["name"]) for each in parameters} >= {("path", "customer_id"), ("query", "limit")}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


async def test_readiness_says_when_notifications_have_nowhere_to_go(http: httpx.AsyncClient) -> None:
    async def nowhere_to_go() -> bool:
        return any("no webhook endpoint" in warning for warning in (await http.get("/readyz")).json()["warnings"])

    ready = (await http.get("/readyz")).json()
    assert (ready["ready"], ready["checks"]) == (True, dict.fromkeys(("kafka", "redis", "catalog", "topic"), "ok"))
    assert await nowhere_to_go()
    endpoint = (await http.post("/v1/webhook-endpoints", json={"url": "https://example.com/hook"})).json()["data"]["id"]
    assert not await nowhere_to_go()
    await http.patch(f"/v1/webhook-endpoints/{endpoint}", json={"enabled": False})
    assert await nowhere_to_go()


async def test_readiness_says_what_the_other_roles_report_and_which_is_missing(http: httpx.AsyncClient, api: Api) -> None:
    """A worker that is well, one with a partition that stopped, one that hangs; and no dispatcher."""

    async def report(process: str, **changes: object) -> None:
        seconds, _ = await redis.time()
        beat = {"role": "worker", "process": process, "at_s": seconds, "ready": True, "checks": {}, "warnings": [], **changes}
        await redis.hset(CatalogKeys.HEARTBEATS, f"worker {process}", orjson.dumps(beat))

    redis: Any = connect(api.settings)
    await report("a:1", checks={"group": "ok"})
    await report("b:2", ready=False, checks={"group": "ok", "partition 3": "stopped: a codec"})
    await report("c:3", at_s=(await redis.time())[0] - STALE_S - 5)
    await report("d:4", at_s=(await redis.time())[0] - 7200)
    answer = (await http.get("/readyz")).json()
    assert answer["ready"]
    assert [(role["process"], role["ready"]) for role in answer["roles"]] == [("a:1", True), ("b:2", False), ("c:3", False)]
    told = "\n".join(answer["warnings"])
    assert "worker b:2: partition 3: stopped: a codec" in told
    assert "worker c:3 has not reported for 25 s" in told
    assert "no dispatcher reports: no notification is sent" in told
    assert "no worker reports" not in told
    assert "a:1" not in told
    await redis.delete(CatalogKeys.HEARTBEATS)
    assert "no worker reports: no usage is counted" in "\n".join((await http.get("/readyz")).json()["warnings"])
    await redis.aclose()


async def test_readiness_tells_of_quarantine_last_commits_and_partitions_that_stand_still(
    http: httpx.AsyncClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis: Any = connect(api.settings)
    before = (await http.get("/readyz")).json()
    assert (before["quarantined"], before["last_commits"]) == ({}, {str(partition): None for partition in range(PARTITIONS)})
    await redis.hset(PartitionKeys(1).quarantined, mapping={"acme": b"{}", "globex": b"{}"})
    await redis.hset(PartitionKeys(2).position, "committed_at_ms", 1_767_225_600_000)
    answer = (await http.get("/readyz")).json()
    assert answer["ready"]
    assert answer["quarantined"] == {"1": 2}
    assert answer["last_commits"]["2"] == "2026-01-01T00:00:00Z"
    assert "2 customers are in quarantine" in "\n".join(answer["warnings"])

    watch = Watch(api.settings, redis, PARTITIONS)

    async def measured(_: LagOfAll) -> None:
        watch._lag._lag.records = {1: 5, 2: 7, 3: 0}

    monkeypatch.setattr(LagOfAll, "measure", measured)
    monkeypatch.setattr("connectors.http.watch.STANDING_STILL_S", 0.0)
    await watch.measure_lag()
    await redis.hset(PartitionKeys(2).position, "committed_at_ms", 1_767_225_600_001)
    moved = watch._moved[1], watch._moved[2]
    await watch.measure_lag()
    assert (watch._moved[1], watch._moved[2]) != moved
    assert watch._moved[1] == moved[0]
    (first, second) = sorted(watch.standing_still())
    assert first.startswith("partition 1: 5 records wait, and nothing was committed for ")
    assert second.startswith("partition 2: 7 records wait")
    await redis.aclose()


async def test_webhook_endpoints(http: httpx.AsyncClient) -> None:
    base = "/v1/webhook-endpoints"
    created = (await http.post(base, json={"url": "https://example.com/hook", "name": "main"})).json()["data"]
    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    one = f"{base}/{created['id']}"
    assert (await http.get(one)).json()["data"] == created
    assert (await http.get(base)).json() == {"data": [created], "next_page": None}
    rotated = (await http.post(f"{one}/rotate-secret")).json()["data"]
    assert rotated["secret"] not in (secret, None)
    patched = (await http.patch(one, json={"url": "https://example.org/", "enabled": False})).json()["data"]
    assert (patched["url"], patched["enabled"], patched["name"], "secret" in patched) == (
        "https://example.org/",
        False,
        "main",
        False,
    )
    refused = await http.patch(one, json={"url": "http://10.0.0.1/"})
    assert refused.status_code == 400
    assert (await http.delete(one)).json() == {"data": {"id": created["id"]}}
    for answer in (await http.get(one), await http.patch(one, json={}), await http.delete(one)):
        assert answer.status_code == 404


async def test_a_request_under_way_is_answered_before_the_end(
    http: httpx.AsyncClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()
    append = EventLog.append

    async def slow_append(log: EventLog, events: Sequence[tuple[str, bytes]]) -> None:
        entered.set()
        await release.wait()
        await append(log, events)

    monkeypatch.setattr(EventLog, "append", slow_append)
    event = {"transaction_id": "t", "customer_id": "c", "event_type": "e", "timestamp": clock.now().isoformat()}
    request = asyncio.create_task(http.post("/v1/ingest", json=[event]))
    await entered.wait()
    api.stop.set()
    await asyncio.sleep(0.1)
    assert not request.done()
    with pytest.raises(httpx.ConnectError):  # nothing new is taken
        async with httpx.AsyncClient(base_url=api.url) as late:
            await late.get("/healthz")
    release.set()
    assert (await request).status_code == 200


async def test_metrics_count_requests_by_pattern(http: httpx.AsyncClient) -> None:
    await http.get("/v1/customers/some-id")
    exposition = (await http.get("/metrics")).text
    assert 'tidemark_http_requests_total{method="GET",route="/v1/customers/{customer_id}",status="404"}' in exposition
    assert "some-id" not in exposition
