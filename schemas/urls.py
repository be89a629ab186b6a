"""URLs that a request can be sent to: the rules by which names are resolved, and the request as it goes over the wire.

What is given is sent: the path and query of a URL stand in the request line letter for letter (``%2F``, ``/../``, ``//``, a
``?`` without anything behind it), with one exception: letters outside of ASCII are percent-encoded, once, as UTF-8. Of the host,
names in other scripts become what name servers know (IDNA 2008, RFC 5891, after the mapping of UTS 46).

Refused is what no name server and no socket can take: empty labels, labels over 63 and names over 253 octets, punycode that
stands for nothing, ports outside of 1 to 65535, IPv6 zones. And what is read in two ways: percent-encoded hosts, users,
fragments, backslashes, white space, control characters, and IPv4 addresses in another form than four decimal numbers
(``2130706433``, ``0x7f.1``, ``0177.0.0.1``), which resolvers take for addresses that no reader sees.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import idna

URL_CHARACTERS_MAX = 2048
"""Also of its form in ASCII, as it is sent."""

PORT_MAX = 65_535
_LABEL_MAX = 63
_NAME_MAX = 253
_PORTS = {"http": 80, "https": 443}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")  # underscores are no host names, but names of containers


class UrlError(ValueError):
    """The text ends a sentence that begins with the URL: "must ..."."""


@dataclass(frozen=True, slots=True)
class Target:
    """``host``: as it is resolved: a name in ASCII and lower case, or an address without brackets. ``target``: path and query, as
    they stand in the request line."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Without the port."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """None: it is a name."""
        if ":" in self.host:
            return IPv6Address(self.host)
        return IPv4Address(self.host) if _ends_in_a_number(self.host) else None


@lru_cache(maxsize=1024)
def parse_target(url: str) -> Target:
    """Raises UrlError, and nothing else, whatever the text."""
    if not url or len(url) > URL_CHARACTERS_MAX:
        raise UrlError(f"must be a URL of 1 to {URL_CHARACTERS_MAX} characters")
    if any(_is_forbidden(letter) for letter in url):
        raise UrlError("must not hold white space, control characters or backslashes")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise UrlError("must be an http or https URL with a host")
    if "#" in rest:
        raise UrlError("must not have a fragment")
    end = min((at for mark in "/?" if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, target = rest[:end], rest[end:]
    if "@" in authority:
        raise UrlError("must not hold a user name or password")
    host, port = _host_and_port(authority)
    target = _in_ascii(target if target.startswith("/") else f"/{target}")
    if len(target) > URL_CHARACTERS_MAX:
        raise UrlError(f"must have at most {URL_CHARACTERS_MAX} characters when it is percent-encoded")
    return Target(scheme, host, _PORTS[scheme] if port is None else port, target)


def _is_forbidden(letter: str) -> bool:
    if letter.isascii():
        return letter <= " " or letter in "\\\x7f"
    # separators and what is not to be seen (Zs, Zl, Zp, Cc, Cf, Cs, Co, Cn)
    return unicodedata.category(letter)[0] in "ZC"


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlError("must have a host; an IPv6 address stands in brackets")
        return _ipv6(literal), _port(rest[1:])
    host, colon, port = authority.partition(":")
    if ":" in port:
        raise UrlError("must have a host; an IPv6 address stands in brackets")
    return _name(host), _port(port) if colon else None


def _port(text: str) -> int | None:
    """Of nothing behind the colon None (RFC 3986, 3.2.3)."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= PORT_MAX):
        raise UrlError(f"must have a port of 1 to {PORT_MAX}")
    return int(text)


def _ipv6(literal: str) -> str:
    if "%" in literal:
        raise UrlError("must not name a zone of an IPv6 address")
    try:
        return str(IPv6Address(literal))
    except ValueError:
        raise UrlError("must not hold anything but an IPv6 address in brackets") from None


def _name(host: str) -> str:
    if not host:
        raise UrlError("must be an http or https URL with a host")
    if "%" in host:
        raise UrlError("must not have a percent-encoded host")
    if not host.isascii():
        host = _mapped(host)
    name, dot = host.lower().removesuffix("."), "." if host.endswith(".") else ""  # with it no search list is tried
    if _ends_in_a_number(name):
        return _ipv4(name)
    if len(name) > _NAME_MAX:
        raise UrlError(f"must have a host name of at most {_NAME_MAX} characters")
    for label in name.split("."):
        _check_label(label)
    return name + dot


def _mapped(host: str) -> str:
    """Case, width and full stops of other scripts (UTS 46), then each label by IDNA 2008. What that gives may be an address."""
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        return ".".join(label if not label or label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError, IndexError) as error:  # the package raises the last for some texts that are none
        raise UrlError("must have a host name that IDNA 2008 allows") from error


def _check_label(label: str) -> None:
    if not label:
        raise UrlError("must not have an empty label in its host name (two full stops in a row, or one at the beginning)")
    if len(label) > _LABEL_MAX:
        raise UrlError(f"must have labels of at most {_LABEL_MAX} characters in its host name")
    if not _LETTERS.issuperset(label) or label.startswith("-") or label.endswith("-"):
        raise UrlError("must have a host name of letters, digits and hyphens, with no hyphen at the edge of a label")
    if label.startswith("xn--"):
        try:
            sound = idna.alabel(idna.ulabel(label)).decode() == label
        except (idna.IDNAError, UnicodeError, IndexError):
            sound = False
        if not sound:
            raise UrlError("must not have a label of punycode that IDNA 2008 does not allow")


def _ends_in_a_number(name: str) -> bool:
    """Then resolvers take it for an IPv4 address (URL standard of WHATWG, "ends in a number")."""
    last = name.rpartition(".")[2]
    return last.isdigit() or (last.startswith("0x") and all(letter in "0123456789abcdef" for letter in last[2:]))


def _ipv4(name: str) -> str:
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise UrlError("must have an IPv4 address in its usual form, four decimal numbers, or a name") from None


def _in_ascii(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter if letter.isascii() else "".join(f"%{octet:02X}" for octet in letter.encode()) for letter in text)
