"""Which URLs may be given, and what goes over the wire for them."""

from __future__ import annotations

from ipaddress import ip_address

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from connectors.settings import Settings
from connectors.webhooks.client import wire_url
from connectors.webhooks.endpoints import parse_endpoint
from connectors.webhooks.proxy import read_proxy
from schemas.endpoints import Url
from schemas.urls import UrlError, parse_target

LABEL_63 = "a" * 63
NAME_253 = f"{LABEL_63}.{LABEL_63}.{LABEL_63}.{'b' * 61}"

GOOD = {  # URL -> host as it is resolved, port, request target
    "http://example.com": ("example.com", 80, "/"),
    "HTTPS://Example.COM:8443/In?x=1": ("example.com", 8443, "/In?x=1"),
    "http://example.com./in": ("example.com.", 80, "/in"),
    "http://example.com:/": ("example.com", 80, "/"),
    "http://example.com?x": ("example.com", 80, "/?x"),
    "http://example.com/a%2Fb/../c//d?": ("example.com", 80, "/a%2Fb/../c//d?"),
    "http://example.com/a+b?c=d+e&f=%20%zz;|{}": ("example.com", 80, "/a+b?c=d+e&f=%20%zz;|{}"),
    "http://example.com/ü%C3%BC?ü=ü": ("example.com", 80, "/%C3%BC%C3%BC?%C3%BC=%C3%BC"),
    "http://my_service:8080/": ("my_service", 8080, "/"),
    "http://r3---sn-abc.example.com/": ("r3---sn-abc.example.com", 80, "/"),
    "http://münchen.example/": ("xn--mnchen-3ya.example", 80, "/"),
    "http://MÜNCHEN。example/": ("xn--mnchen-3ya.example", 80, "/"),
    "http://faß.example/": ("xn--fa-hia.example", 80, "/"),
    "http://xn--mnchen-3ya.example/": ("xn--mnchen-3ya.example", 80, "/"),
    "http://127.0.0.1:1/": ("127.0.0.1", 1, "/"),
    "http://１２７.0.0.1/": ("127.0.0.1", 80, "/"),
    "http://[::1]:65535/": ("::1", 65535, "/"),
    "http://[0:0::FFFF:1.2.3.4]/": ("::ffff:102:304", 80, "/"),
    f"http://{LABEL_63}.example/": (f"{LABEL_63}.example", 80, "/"),
    f"http://{NAME_253}/": (NAME_253, 80, "/"),
}
BAD = [
    "",
    "http",
    "http:/example.com",
    "http://",
    "http:///in",
    "//example.com/",
    "ftp://example.com/",
    "javascript://example.com/",
    "http://hooks..example.com/in",
    "http://a..b",
    "http://.a",
    "http://.",
    "http://a..",
    f"http://{LABEL_63}a.example/",
    f"http://{NAME_253}b/",
    f"http://{'ü' * 63}.example/",
    "http://xn--/",
    "http://xn--.example/",
    "http://xn--a.example/",
    "http://xn--\u00fc.example/",
    "http://xn--n3h.example/",  # a snowman: of IDNA 2003
    "http://\u2603.example/",
    "http://-a.example/",
    "http://a-.example/",
    "http://exa mple.com/",
    "http://exa\u200bmple.com/",
    "http://example.com/\u2028",
    "http://example.com/a b",
    "http://example.com/a\r\nHost: other",
    "http://example.com/\x00",
    "http://example.com/\x7f",
    "http://example.com\\@other/",
    " http://example.com/",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://example.com/#part",
    "http://example.com#",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:+80/",
    "http://example.com:0x50/",
    "http://example.com:８０/",
    "http://example.com:80:80/",
    "http://example.com:" + "0" * 5_000 + "80/",
    "http://%65xample.com/",
    "http://127.0.0.1%2f@example.com/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]x/",
    "http://[v1.a]/",
    "http://[]/",
    "http://[127.0.0.1]/",
    "http://2130706433/",
    "http://127.1/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://169.254.43518/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://example.0x1f/",
    "http://a<b/",
    "http://a'b/",
    "http://example.com/" + "a" * 2_048,
    "http://example.com/" + "ü" * 700,
    "http://example.com/\ud800",
]


@pytest.mark.parametrize(("url", "target"), GOOD.items(), ids=map(ascii, GOOD))
def test_what_is_given_is_sent(url: str, target: tuple[str, int, str]) -> None:
    found = parse_target(url)
    assert (found.host, found.port, found.target) == target
    wire = wire_url(found)
    assert (wire.raw_host, wire.port, wire.raw_path_qs) == target
    assert str(wire).endswith(found.target)  # as an HTTP proxy is asked


@pytest.mark.parametrize("url", BAD, ids=lambda url: ascii(url)[:60])
def test_what_nothing_can_be_sent_to_is_refused_where_it_comes_in_and_harms_nothing_where_it_is_stored(url: str) -> None:
    with pytest.raises(UrlError):
        parse_target(url)
    with pytest.raises(ValidationError, match="must"):
        TypeAdapter(Url).validate_python(url)
    if url.isprintable():
        document = orjson.dumps({"url": url, "secret": "whsec_AAAA", "enabled": True})
        assert parse_endpoint("e", document).target is None
    if "@" not in url:  # a proxy may have a user
        with pytest.raises(ValueError):
            read_proxy(url)


@given(st.text() | st.from_regex(r"https?://[\w.:\[\]%@-]{0,30}[/?].{0,10}"))
def test_any_text_is_a_target_or_an_error_of_this_kind(url: str) -> None:
    try:
        found = parse_target(url)
    except UrlError:
        return
    assert all("!" <= letter <= "~" for letter in found.host + found.target)
    assert found.target.startswith("/")
    assert all(0 < len(label) <= 63 for label in found.host.removesuffix(".").split("."))
    assert parse_target(f"{found.scheme}://{found.authority}:{found.port}{found.target}") == found


def test_an_address_is_known_for_one() -> None:
    assert parse_target("http://[::ffff:169.254.169.254]/").address == ip_address("::ffff:a9fe:a9fe")
    assert parse_target("http://169.254.169.254./").address == ip_address("169.254.169.254")
    assert parse_target("http://a169.254.169.254a/").address is None


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("http://proxy:3128", ("proxy", 3128, None, None)),
        ("http://proxy:3128/", ("proxy", 3128, None, None)),
        ("http://us%40er:p%2Fw@[::1]:3128", ("::1", 3128, "us@er", "p/w")),
        ("http://user@proxy", ("proxy", 80, "user", None)),
    ],
)
def test_a_proxy(url: str, fields: tuple[object, ...]) -> None:
    found = read_proxy(url)
    assert (found.host, found.port, found.user, found.password) == fields
    assert Settings(webhook_proxy_url=url).webhook_proxy_url is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["https://proxy:1", "http://proxy/path", "http://a@b@proxy", "http://s3cret/@x y/", "socks5://proxy"]
)
def test_a_proxy_that_cannot_be_used_stops_the_start_without_its_password(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(webhook_proxy_url=url)  # type: ignore[arg-type]
    assert "s3cret" not in refused.value.errors()[0]["msg"]
