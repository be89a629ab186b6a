"""One request to a receiver that misbehaves in every way we know of."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from connectors.redis.types import OutboxEntry
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.client import RESPONSE_BYTES_MAX, Attempt, EndpointClient
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.names import NameService
from connectors.webhooks.proxy import read_proxy
from connectors.webhooks.signatures import Signing
from connectors.webhooks.timing import client_tls
from connectors.webhooks.webhook import SignedForm
from tests.support.receiver import Answer, Behaviour, Hang, Receiver, Reset

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id":"n-1","type":"alerts.spend_threshold_reached","properties":{}}'
LOOPBACK = TargetPolicy(allow_private=True)


class Client(EndpointClient):
    """Sends a body of the test's own, signed."""

    async def attempt(  # type: ignore[override]
        self, message_id: str, body: bytes, first_byte: Callable[[], None] | None
    ) -> Attempt:
        entry = OutboxEntry(message_id, "alerts.spend_threshold_reached", "c-1", "a-1", body, None, 0)
        return await super().attempt(entry, first_byte)


Open = Callable[..., Client]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        running.secret = SECRET
        yield running


@pytest.fixture
async def open_client() -> AsyncIterator[Open]:
    opened: list[Client] = []

    def make(
        url: str, policy: TargetPolicy = LOOPBACK, timeout_s: float = 5.0, trusted: Path | None = None, proxy: str | None = None
    ) -> Client:
        tls = client_tls()
        if trusted is not None:
            tls.load_verify_locations(trusted)
        endpoint = Endpoint("e-1", url, Signing(((SECRET, None),)))
        opened.append(
            Client(
                endpoint,
                SignedForm(endpoint.signing),
                policy,
                tls,
                timeout_s=timeout_s,
                connections=2,
                proxy=None if proxy is None else read_proxy(proxy),
            )
        )
        return opened[-1]

    yield make
    for client in opened:
        await client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("behaviour", "outcome", "status"),
    [
        (Answer(200), "success", 200),
        (Answer(204), "success", 204),
        (Answer(299), "success", 299),
        (Answer(302, {"Location": "/elsewhere"}), "http_3xx", 302),
        (Answer(304), "http_3xx", 304),
        (Answer(400), "http_4xx", 400),
        (Answer(429), "http_4xx", 429),
        (Answer(500), "http_5xx", 500),
        (Answer(200, body_bytes=50 * RESPONSE_BYTES_MAX), "success", 200),
        (Answer(500, body_bytes=50 * RESPONSE_BYTES_MAX), "http_5xx", 500),
        (Hang(after_headers=True), "success", 200),
    ],
)
async def test_outcome(receiver: Receiver, open_client: Open, behaviour: Behaviour, outcome: str, status: int | None) -> None:
    receiver.script("/hook", behaviour)
    attempt = await open_client(receiver.url).attempt("n-1", BODY, None)
    assert (attempt.outcome, attempt.status) == (outcome, status)
    assert [request.body for request in receiver.received] == [BODY]
    assert receiver.invalid == []


async def test_redirect_is_not_followed(receiver: Receiver, open_client: Open) -> None:
    for status in (301, 302, 303, 307, 308):
        receiver.script("/hook", Answer(status, {"Location": receiver.url_of("/elsewhere")}))
        assert (await open_client(receiver.url).attempt("n-1", BODY, None)).outcome == "http_3xx"
    assert receiver.at("/elsewhere") == []


async def test_hanging_receiver_times_out(receiver: Receiver, open_client: Open) -> None:
    receiver.script("/hook", Hang())
    attempt = await open_client(receiver.url, timeout_s=0.2).attempt("n-1", BODY, None)
    assert (attempt.outcome, attempt.status) == ("timeout", None)


async def test_nobody_listens(open_client: Open) -> None:
    attempt = await open_client(f"http://127.0.0.1:{free_port()}/").attempt("n-1", BODY, None)
    assert attempt.outcome == "connect"


async def test_plain_text_where_tls_was_promised(receiver: Receiver, open_client: Open) -> None:
    attempt = await open_client(receiver.url.replace("http:", "https:")).attempt("n-1", BODY, None)
    assert attempt.outcome == "tls"
    assert receiver.received == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
async def test_certificate_must_be_trusted_and_for_this_host(open_client: Open, tmp_path: Path) -> None:
    """One certificate for localhost, which nobody has signed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), *subject]
    subprocess.run(made, check=True, capture_output=True)  # noqa: ASYNC221
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(BODY))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await open_client(f"https://localhost:{port}/").attempt("n-1", BODY, None)).outcome == "tls"
        other_name = open_client(f"https://127.0.0.1:{port}/", trusted=certificate)
        assert (await other_name.attempt("n-1", BODY, None)).outcome == "tls"
        assert heard == []
        trusting = open_client(f"https://localhost:{port}/", trusted=certificate)
        trusted = await trusting.attempt("n-1", BODY, None)
        assert trusted.outcome == "success"
        await trusting.close()
    timings = trusted.timings
    assert timings.dns_s is not None
    assert timings.tls_s is not None
    assert timings.connect_s is not None
    assert 0 < timings.dns_s < timings.dns_s + timings.tls_s <= timings.connect_s
    assert len(heard) == 1


async def test_unknown_name(open_client: Open) -> None:
    attempt = await open_client("http://no-such-host.invalid/").attempt("n-1", BODY, None)
    assert attempt.outcome == "dns"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_private_target_is_refused_before_anything_is_sent(receiver: Receiver, open_client: Open, host: str) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    attempt = await open_client(url, TargetPolicy()).attempt("n-1", BODY, None)
    assert attempt.outcome == "blocked"
    assert receiver.connections == 0


async def test_allow_listed_host_is_reached(receiver: Receiver, open_client: Open) -> None:
    policy = TargetPolicy.parse(False, "localhost")
    assert (
        await open_client(receiver.url.replace("127.0.0.1", "localhost"), policy).attempt("n-1", BODY, None)
    ).outcome == "success"
    assert (await open_client(receiver.url, policy).attempt("n-1", BODY, None)).outcome == "blocked"


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert (await open_client(receiver.url).attempt("n-1", BODY, None)).outcome == "success"


@pytest.mark.parametrize(("status", "asked_s"), [(429, 7.0), (503, 7.0), (500, None), (204, None)])
async def test_retry_after_counts_for_429_and_503(
    receiver: Receiver, open_client: Open, status: int, asked_s: float | None
) -> None:
    receiver.script("/hook", Answer(status, {"Retry-After": "7"}))
    assert (await open_client(receiver.url).attempt("n-1", BODY, None)).retry_after_s == asked_s


async def test_connection_is_kept_alive_also_after_an_answer_with_a_body(receiver: Receiver, open_client: Open) -> None:
    client = open_client(receiver.url)
    for behaviour in (Answer(200, body_bytes=1000), Answer(500, body_bytes=1000), Answer(204)):
        receiver.script("/hook", behaviour)
        await client.attempt("n-1", BODY, None)
    assert receiver.connections == 1


async def test_a_connection_that_fails_at_once_is_tried_again_at_once(receiver: Receiver, open_client: Open) -> None:
    """A kept-alive connection that is dead, or a receiver that restarts: neither costs an attempt."""
    receiver.script("/hook", Answer(204), Reset(), Answer(204))
    client = open_client(receiver.url)
    attempts = [await client.attempt(f"n-{number}", BODY, None) for number in (1, 2)]
    assert [(attempt.outcome, attempt.sent) for attempt in attempts] == [("success", 1), ("success", 2)]
    assert [request.id for request in receiver.received] == ["n-1", "n-2", "n-2"]


async def test_but_only_once(receiver: Receiver, open_client: Open) -> None:
    receiver.script("/hook", Reset(), Reset())
    attempt = await open_client(receiver.url).attempt("n-1", BODY, None)
    assert (attempt.outcome, attempt.status, attempt.sent) == ("connect", None, 2)
    assert len(receiver.received) == 2


async def test_and_only_within_the_first_second(receiver: Receiver, open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.webhooks.client._REPEAT_WITHIN_S", -1.0)
    receiver.script("/hook", Reset())
    attempt = await open_client(receiver.url).attempt("n-1", BODY, None)
    assert (attempt.outcome, attempt.sent) == ("connect", 1)


async def test_first_byte_is_told_once_and_only_if_it_was_sent(receiver: Receiver, open_client: Open) -> None:
    told: list[str] = []
    receiver.script("/hook", Answer(204), Reset(), Reset())
    client = open_client(receiver.url)
    await client.attempt("n-1", BODY, lambda: told.append("n-1"))
    await client.attempt("n-2", BODY, lambda: told.append("n-2"))
    await open_client(f"http://127.0.0.1:{free_port()}/").attempt("n-3", BODY, lambda: told.append("n-3"))
    assert told == ["n-1", "n-2"]


async def test_the_answer_is_kept_up_to_a_limit_with_timings(receiver: Receiver, open_client: Open) -> None:
    receiver.script("/hook", Answer(500, body_bytes=3), Answer(500, body_bytes=50 * RESPONSE_BYTES_MAX), Hang(after_headers=True))
    client = open_client(receiver.url)
    small, huge, hanging = [await client.attempt("n-1", BODY, None) for _ in range(3)]
    assert small.response == b"xxx"
    assert huge.response == b"x" * RESPONSE_BYTES_MAX
    assert hanging.response == b""
    timings = small.timings
    assert timings.connect_s is not None
    assert timings.headers_s is not None
    assert 0 < timings.connect_s <= timings.headers_s <= small.seconds
    assert (timings.dns_s, timings.tls_s) == (None, None)  # an address, without TLS
    assert huge.timings.connect_s is None  # the connection was kept alive


@pytest.mark.parametrize(
    ("code", "answered", "outcome"),
    [
        (socket.EAI_AGAIN, [], "fault"),
        (socket.EAI_AGAIN, ["hooks.example.com"], "fault"),  # it did once; whether it does now nobody knows
        (socket.EAI_AGAIN, ["other.example.com"], "dns"),  # ours works: the name's own servers do not
        (socket.EAI_NONAME, [], "dns"),
    ],
)
async def test_a_resolver_that_cannot_say_is_a_fault_of_ours(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, code: int, answered: list[str], outcome: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "no address")

    names = NameService()
    monkeypatch.setattr("connectors.webhooks.client.name_service", names)
    monkeypatch.setattr("connectors.webhooks.timing.name_service", names)
    for name in answered:
        names.answered(name)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    attempt = await open_client("http://hooks.example.com/").attempt("n-1", BODY, None)
    assert (attempt.outcome, attempt.is_fault) == (outcome, outcome == "fault")
    assert names.works_without("hooks.example.com") == (answered == ["other.example.com"])
    assert names.works_without("third.example.com") == (bool(answered) or code == socket.EAI_NONAME)


@pytest.mark.parametrize(
    ("number", "outcome"),
    [(errno.EMFILE, "fault"), (errno.ENETUNREACH, "fault"), (errno.EADDRNOTAVAIL, "fault"), (errno.ECONNREFUSED, "connect")],
)
async def test_a_machine_without_sockets_or_network_is_a_fault_of_ours(
    receiver: Receiver, open_client: Open, monkeypatch: pytest.MonkeyPatch, number: int, outcome: str
) -> None:
    def refuse(self: object, info: object) -> socket.socket:
        raise OSError(number, "refused")

    monkeypatch.setattr("connectors.webhooks.addresses.AddressGuard.__call__", refuse)
    assert (await open_client(receiver.url).attempt("n-1", BODY, None)).outcome == outcome
    assert receiver.connections == 0


async def test_a_client_holds_nothing_until_it_is_used_and_can_be_used_after_it_was_closed(
    receiver: Receiver, open_client: Open
) -> None:
    client = open_client(receiver.url)
    for connections in (1, 2):
        assert (await client.attempt("n-1", BODY, None)).outcome == "success"
        assert receiver.connections == connections
        await client.close()


async def test_many_requests_share_few_connections(receiver: Receiver, open_client: Open) -> None:
    client = open_client(receiver.url)
    attempts: list[Awaitable[object]] = [client.attempt(f"n-{number}", BODY, None) for number in range(20)]
    await asyncio.gather(*attempts)
    assert len(receiver.received) == 20
    assert receiver.connections <= 2


# --- through a proxy --------------------------------------------------------------------------------------------------------


async def test_a_proxy_of_the_operator_is_used_wherever_it_is(receiver: Receiver, open_client: Open) -> None:
    """It resolves the name, which means nothing here."""
    client = open_client("http://hooks.example.com/hook", TargetPolicy(), proxy=receiver.url_of(""))
    assert (await client.attempt("n-1", BODY, None)).outcome == "success"
    assert [request.headers["host"] for request in receiver.received] == ["hooks.example.com"]
    assert receiver.invalid == []


async def test_a_proxy_that_fails_is_a_fault_of_ours(receiver: Receiver, open_client: Open) -> None:
    nobody = open_client("http://hooks.example.com/hook", TargetPolicy(), proxy=f"http://127.0.0.1:{free_port()}")
    assert (await nobody.attempt("n-1", BODY, None)).outcome == "fault"
    unknown = open_client("http://hooks.example.com/hook", TargetPolicy(), proxy="http://no-such-proxy.invalid:3128")
    assert (await unknown.attempt("n-1", BODY, None)).outcome == "fault"
    receiver.script("/hook", Answer(407))
    shut = open_client("http://hooks.example.com/hook", TargetPolicy(), proxy=receiver.url_of(""))
    assert (await shut.attempt("n-1", BODY, None)).outcome == "fault"


@pytest.mark.parametrize(
    ("status", "outcome"), [(403, "blocked"), (407, "fault"), (500, "fault"), (502, "connect"), (504, "connect")]
)
async def test_what_a_proxy_says_of_a_tls_target(open_client: Open, status: int, outcome: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT hooks.example.com:443 ")
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = open_client(
            "https://hooks.example.com/hook", TargetPolicy(), proxy=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        )
        assert (await client.attempt("n-1", BODY, None)).outcome == outcome
        await client.close()


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "[::1]", "10.0.0.1"])
async def test_a_literal_private_target_is_refused_before_the_proxy(receiver: Receiver, open_client: Open, host: str) -> None:
    client = open_client(f"http://{host}/hook", TargetPolicy(), proxy=receiver.url_of(""))
    assert (await client.attempt("n-1", BODY, None)).outcome == "blocked"
    assert receiver.connections == 0
