"""What strangers can send: no header, path, query or body gives 500, or holds an Idempotency-Key."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from itertools import product

import httpx
import pytest

from tests.conformance.conftest import TOKEN, Api

HEADERS = (
    *(b"User-Agent", b"Idempotency-Key", b"X-Anything", b"Content-Type", b"Content-Encoding", b"Accept", b"Accept-Encoding"),
    *(b"Cookie", b"Traceparent", b"X-Forwarded-For", b"X-Request-Id", b"Expect", b"Range", b"If-Modified-Since", b"Origin"),
    *(b"Connection", b"Upgrade", b"Authorization"),
)
VALUES = (b"", b"\xff\xfe", "\u0130\u00df\ud800".encode("utf-8", "surrogatepass"), b"a" * 8_000, b"a" * 20_000, b"a\x01b")
ROUTES = (
    (b"POST", b"/v1/customers", b'{"name": "a"}'),
    (b"POST", b"/v1/contracts/create", b'{"customer_id": "x"}'),
    (b"POST", b"/v1/ingest", b"[]"),
    (b"GET", b"/v1/customers/x", b""),
    (b"PUT", b"/v1/billable-metrics/x", b'{"name": "a"}'),
    (b"DELETE", b"/v1/webhook-endpoints/x", b""),
    (b"POST", b"/nowhere", b"{}"),
    (b"GET", b"/healthz", b""),
)
ODD_PATHS = (b"%00", b"%0a", b"%ff%fe", b"%ed%a0%80", b"\xff", b"%", b"%zz", b"..%2f..", b"a" * 7_000, "\u00e9".encode())
TIMEOUT_S = 30.0


def request_of(method: bytes, path: bytes, body: bytes, *headers: bytes, token: bytes = TOKEN.encode()) -> bytes:
    lines = (b"%s %s HTTP/1.1" % (method, path), b"Host: x", b"Content-Length: %d" % len(body), *headers)
    given = () if any(each.startswith(b"Authorization") for each in headers) else (b"Authorization: Bearer " + token,)
    closing = () if any(each.startswith(b"Connection") for each in headers) else (b"Connection: close",)
    return b"\r\n".join((*lines, *given, *closing)) + b"\r\n\r\n" + body


async def status_of(api: Api, request: bytes) -> int:
    url = httpx.URL(api.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            writer.write(request)
            first = await reader.readline()
            while first.startswith(b"HTTP/1.1 100"):
                await reader.readline()
                first = await reader.readline()
        return int(first.split()[1])
    finally:
        writer.close()


async def test_no_header_gives_500_or_holds_a_key(api: Api) -> None:
    for number, (header, value, (method, path, body)) in enumerate(product(HEADERS, VALUES, ROUTES)):
        key = b"Idempotency-Key: key-%d" % number
        keyed = () if header == b"Idempotency-Key" else (key,)
        status = await status_of(api, request_of(method, path, body, *keyed, b"%s: %s" % (header, value)))
        assert 200 <= status < 500, (header, value[:20], path, status)
        if method == b"POST" and path == b"/v1/customers" and keyed:
            again = await status_of(api, request_of(method, path, body, key))
            assert again == 200, (header, value[:20], status, again)


async def test_no_path_or_query_gives_500(api: Api) -> None:
    for odd in ODD_PATHS:
        for method, path in (
            *((b"GET", each) for each in (b"/v1/customers/", b"/v1/webhook-deliveries/", b"/v1/customers?next_page=", b"/")),
            *((b"GET", each) for each in (b"/v1/customers?ingest_alias=", b"/v1/customers?", b"/healthz?")),
            *((b"DELETE", b"/v1/webhook-endpoints/"), (b"PATCH", b"/v1/webhook-endpoints/"), (b"POST", b"/v1/customers?")),
            (b"PUT", b"/v1/billable-metrics/"),
        ):
            status = await status_of(api, request_of(method, path + odd, b'{"name": "a"}', b"Idempotency-Key: k"))
            assert 200 <= status < 500, (method, path, odd[:20], status)


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        (b"gzip", gzip.compress(b'{"name": "a"}', mtime=0), 200),
        (b"deflate", zlib.compress(b'{"name": "a"}'), 200),
        (b"identity", b'{"name": "a"}', 200),
        (b"gzip", b'{"name": "a"}', 400),
        (b"gzip", gzip.compress(b'{"name": "a"}', mtime=0)[:12], 400),
        (b"gzip", gzip.compress(b'{"name": "a"}', mtime=0) + b"more", 400),
        (b"gzip", gzip.compress(b" " * 50_000_000, mtime=0), 413),
        (b"deflate", zlib.compress(b" " * 50_000_000), 413),
        (b"deflate", b'{"name": "a"}', 400),
        (b"deflate", zlib.compress(b'{"name": "a"}')[:8], 400),
        (b"br", b'{"name": "a"}', 400),
        (b"zstd", b'{"name": "a"}', 400),
        (b"gzip, gzip", gzip.compress(gzip.compress(b'{"name": "a"}', mtime=0), mtime=0), 400),
        (b"unheard-of", b'{"name": "a"}', 400),
    ],
)
async def test_a_body_is_what_its_encoding_says(api: Api, encoding: bytes, body: bytes, expected: int) -> None:
    assert await status_of(api, request_of(b"POST", b"/v1/customers", body, b"Content-Encoding: " + encoding)) == expected


async def test_texts_with_control_characters_are_refused_where_they_stand(http: httpx.AsyncClient) -> None:
    for body, place in (
        ({"name": "a\0"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "ingest_aliases": ["fine", "a\x1b[2J"]}, "ingest_aliases[1]"),
        ({"name": "a", "custom_fields": {"k\0": "v"}}, "custom_fields.k\ufffd"),
        ({"name": "a", "custom_fields": {"k": "\x7f"}}, "custom_fields.k"),
    ):
        refused = await http.post("/v1/customers", json=body)
        assert (refused.status_code, refused.json()["message"]) == (400, f"{place}: must not hold control characters")


async def test_a_wrong_token_is_told_before_anything_else(http: httpx.AsyncClient) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    for path, body in (("/v1/ingest", b"[]"), ("/v1/ingest", b"\xff"), ("/v1/customers", b'{"name": "a\\u0000"}')):
        assert (await http.post(path, content=body, headers=wrong)).status_code == 401


async def test_a_right_token_does_not_wait_for_wrong_ones(api: Api, http: httpx.AsyncClient) -> None:
    """All from one address: the wrong ones wait, the right one is answered while they do."""
    wrong = request_of(b"GET", b"/v1/customers", b"", token=b"wrong")
    waiting = [asyncio.create_task(status_of(api, wrong)) for _ in range(30)]
    async with asyncio.timeout(TIMEOUT_S):
        while sum(each.done() for each in waiting) < 5:
            await asyncio.sleep(0.01)
    assert (await http.get("/v1/customers")).status_code == 200
    assert any(not each.done() for each in waiting)
    assert set(await asyncio.gather(*waiting)) == {401}
