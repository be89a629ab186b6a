"""What real servers answer, and what a raw request looks like: the status line decides, whatever surrounds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.redis.types import OutboxEntry
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.answers import HEAD_BYTES_MAX, Head
from connectors.webhooks.client import Attempt, EndpointClient
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.signatures import Signing
from connectors.webhooks.slack import SlackForm
from connectors.webhooks.timing import client_tls
from connectors.webhooks.webhook import SignedForm
from tests.support.dispatching import SECRET

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH_0 = b"Content-Length: 0\r\n\r\n"
ENTRY = OutboxEntry("n-1", "alerts.x", "c", "a", b"{}", None, 0)
LOOPBACK = TargetPolicy.parse(True, "")

TAKEN: dict[str, tuple[bytes, ...]] = {
    "plain": (OK + LENGTH_0,),
    "a header of 9 kB": (OK + b"X: " + b"x" * 9_000 + b"\r\n" + LENGTH_0,),
    "a header of 200 kB": (OK + b"X: " + b"x" * 200_000 + b"\r\n" + LENGTH_0,),
    "200 header lines": (OK + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + LENGTH_0,),
    "5,000 header lines": (OK + b"".join(b"X-%d: 1\r\n" % n for n in range(5_000)) + LENGTH_0,),
    "headers without end": (OK, *(b"X: " + b"x" * 60_000 + b"\r\n",) * 8),
    "a header without end": (OK + b"X: ", *(b"x" * 60_000,) * 8),
    "a body after 204": (b"HTTP/1.1 204 No Content\r\n\r\nbody",),
    "a body after 204, with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody",),
    "equal double length": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",),
    "equal double length in one": (OK + b"Content-Length: 2, 2\r\n\r\nok",),
    "other double length": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",),
    "length and chunks": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",),
    "a length that is no number": (OK + b"Content-Length: many\r\n\r\nok",),
    "a negative length": (OK + b"Content-Length: -1\r\n\r\nok",),
    "a broken chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",),
    "a broken chunk, later": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"zz\r\n"),
    "a chunk without its end": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokok\r\n0\r\n\r\n",),
    "chunks cut off": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nok",),
    "a body cut off": (OK + b"Content-Length: 100\r\n\r\nok",),
    "cut off in the headers": (OK + b"Content-Ty",),
    "cut off after the status line": (OK,),
    "cut off before the line's end": (b"HTTP/1.1 200 OK",),
    "cut off before the reason": (b"HTTP/1.1 200",),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH_0,),
    "a reason that is not ASCII": (b"HTTP/1.1 200 \xc3\x84\xff\r\n" + LENGTH_0,),
    "in pieces": tuple(bytes([octet]) for octet in b"HTTP/1.1 200 OK\r\n\r\n"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nok",),
    "HTTP/1.0, with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",),
    "an unknown version": (b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n",),
    "lower-case letters": (b"http/1.1 200 ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",),
    "line feeds only": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",),
    "blank lines before it": (b"\r\n\r\n" + OK + LENGTH_0,),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH_0,),
    "102, three times": (b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + OK + LENGTH_0,),
    "103 with hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n", OK + LENGTH_0),
    "trailing garbage": (OK + LENGTH_0 + b"\x00\x01 garbage",),
    "another answer behind it": (OK + LENGTH_0 + b"HTTP/1.1 500 No\r\n" + LENGTH_0,),
    "a header without a colon": (OK + b"garbage\r\n" + LENGTH_0,),
    "a header without a name": (OK + b": x\r\n" + LENGTH_0,),
    "a header with a space in its name": (OK + b"X y: x\r\n" + LENGTH_0,),
    "a header with NUL": (OK + b"X: \x00\r\n" + LENGTH_0,),
    "a folded header": (OK + b"X: a\r\n  b\r\n" + LENGTH_0,),
    "bytes that are no UTF-8": (OK + b"X: \xff\xfe\r\n" + LENGTH_0,),
    "a cookie that is none": (OK + b"Set-Cookie: \x01=\r\n" + LENGTH_0,),
    "gzip that is none": (OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",),
    "an encoding that nobody knows": (OK + b"Content-Encoding: zzz\r\nTransfer-Encoding: zzz\r\n\r\nok",),
    "a charset that nobody knows": (OK + b"Content-Type: text/plain; charset=\xff\r\n" + LENGTH_0,),
    "an upgrade that nobody asked for": (OK + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + LENGTH_0,),
}
REFUSED = {
    "500 with a broken head": (b"HTTP/1.1 500 No\r\n: x\r\n\r\n", "http_5xx", 500),
    "500 cut off": (b"HTTP/1.1 500", "http_5xx", 500),
    "404 behind 103": (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 404 No\r\n\r\n", "http_4xx", 404),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "http_1xx", 101),
    "100 alone": (b"HTTP/1.1 100 Continue\r\n\r\n", "connect", None),
    "nothing": (b"", "connect", None),
    "a status line cut off": (b"HTTP/1.1 20", "connect", None),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "connect", None),
    "a status that is none": (b"HTTP/1.1 xxx OK\r\n\r\n", "connect", None),
    "another protocol": (b"220 smtp.example ESMTP\r\n", "connect", None),
    "a page without a head": (b"<html>200 OK</html>\r\n\r\n", "connect", None),
    "interim answers without end": (b"HTTP/1.1 102 Processing\r\n\r\n" * (HEAD_BYTES_MAX // 20), "connect", None),
}


class RawServer:
    """Answers each request with ``parts`` and closes the connection, unless it is told to keep it."""

    def __init__(self) -> None:
        self.parts: tuple[bytes, ...] = ()
        self.keeps = False
        self.requests: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                self.requests.append(head)
                for part in self.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.0005)
                if not self.keeps:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        writer.close()


@asynccontextmanager
async def raw_server() -> AsyncIterator[tuple[RawServer, str]]:
    raw = RawServer()
    server = await asyncio.start_server(raw.handle, "127.0.0.1", 0)
    try:
        yield raw, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def client_to(url: str, slack: bool = False) -> AsyncIterator[Callable[[], asyncio.Future[Attempt]]]:
    endpoint = Endpoint("e", url, Signing(((SECRET, None),)))
    form = SlackForm() if slack else SignedForm(endpoint.signing)
    client = EndpointClient(endpoint, form, LOOPBACK, client_tls(), timeout_s=10.0, connections=2)
    try:
        yield lambda: asyncio.ensure_future(client.attempt(ENTRY, None))
    finally:
        await client.close()


@pytest.mark.parametrize("parts", TAKEN.values(), ids=TAKEN.keys())
async def test_a_2xx_is_a_success_whatever_surrounds_it(parts: tuple[bytes, ...]) -> None:
    async with raw_server() as (raw, url), client_to(url) as attempt:
        raw.parts = parts
        made = await attempt()
        assert (made.outcome, made.sent, len(raw.requests)) == ("success", 1, 1)
        assert made.status in {200, 204}
        assert len(made.response) <= 20_000
        raw.parts = (OK + LENGTH_0,)
        assert (await attempt()).outcome == "success"  # what was left over of the first answer is not taken for the second


@pytest.mark.parametrize(("answer", "outcome", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_2xx_is_none(answer: bytes, outcome: str, status: int | None) -> None:
    async with raw_server() as (raw, url), client_to(url) as attempt:
        raw.parts = (answer,)
        made = await attempt()
        assert (made.outcome, made.status) == (outcome, status)


async def test_what_a_broken_answer_says_is_kept_and_followed() -> None:
    async with raw_server() as (raw, url), client_to(url) as attempt, client_to(url, slack=True) as slack:
        raw.parts = (b"HTTP/1.1 429 No\r\n: x\r\nretry-After:  7 \r\n\r\nslow down",)
        made = await attempt()
        assert (made.status, made.retry_after_s, made.response) == (429, 7.0, b"slow down")
        raw.parts = (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",)
        assert (await slack()).outcome == "success"
        raw.parts = (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nno",)
        assert (await slack()).outcome == "refused"


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    async with raw_server() as (raw, url), client_to(url) as attempt:
        raw.keeps, raw.parts = True, (OK + LENGTH_0,)
        assert (await attempt()).outcome == "success"
        assert (await attempt()).outcome == "success"
        assert raw.connections == 1  # kept alive
        raw.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.05)
        assert (await attempt()).outcome == "success"
        assert raw.connections == 2


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("", "/"),
        ("?", "/?"),
        ("/a%2Fb/../c/./d//e?", "/a%2Fb/../c/./d//e?"),
        ("/%7e%2f%2F?a=%20+b&&c=%26;", "/%7e%2f%2F?a=%20+b&&c=%26;"),
        ("/a;b=c,d:e@f!$'()*|^`{}\"<>[]?x=[]&y=?/", "/a;b=c,d:e@f!$'()*|^`{}\"<>[]?x=[]&y=?/"),
        ("/%zz%?100%", "/%zz%?100%"),
        ("/ü%C3%BC?ü", "/%C3%BC%C3%BC?%C3%BC"),
        ("/..", "/.."),
        ("//other.example/", "//other.example/"),
    ],
)
async def test_the_request_line_is_what_was_given(given: str, target: str) -> None:
    async with raw_server() as (raw, url), client_to(url + given) as attempt:
        raw.parts = (OK + LENGTH_0,)
        assert (await attempt()).outcome == "success"
        lines = raw.requests[0].decode().split("\r\n")
        assert lines[0] == f"POST {target} HTTP/1.1"
        assert f"Host: {url.removeprefix('http://')}" in lines


@given(st.lists(st.integers(0, 400), max_size=6), st.sampled_from([200, 299, 404]), st.integers(0, 3))
def test_the_status_is_the_same_however_the_bytes_come_in(cuts: list[int], status: int, interim: int) -> None:
    answer = b"HTTP/1.1 103 Hints\r\nRetry-After: 1\r\n\r\n" * interim
    answer += b"HTTP/1.1 %d Reason\r\nX: y\r\nRetry-After: 5\r\n\r\nbody" % status
    head, edges = Head(), sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    for start, end in pairwise(edges):
        head.feed(answer[start:end])
    assert (head.status, head.retry_after, head.body, head.complete) == (status, "5", b"body", True)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_read_within_bounds(parts: list[bytes]) -> None:
    head = Head()
    for part in parts:
        head.feed(part)
    head.end()
    assert head.status is None or 100 <= head.status <= 999
