"""Which addresses a webhook may be sent to.

Whoever may register an endpoint could otherwise make the dispatcher talk to what only it can reach: its own loopback, the
private network, a cloud's metadata service. The check sits where the socket is made (``AddressGuard``), on the very address that
is dialled: a name cannot resolve to something harmless for the check and to something else for the connection, and a
literal address, which no resolver sees, is checked like any other.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# IANA's special-purpose registry for IPv4, as far as it is not globally reachable, with multicast and the reserved class E.
_NOT_PUBLIC_V4 = _networks(
    "0.0.0.0/8",  # this network; connecting to 0.0.0.0 reaches loopback
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, with the metadata service of most clouds
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, with broadcast
    "168.63.129.16/32",  # looks public: the host agent of Azure, reachable from its virtual machines alone
)
# Of IPv6 only global unicast is public. That leaves out loopback, IPv4-mapped and -compatible addresses, NAT64 (64:ff9b::/96
# and 64:ff9b:1::/48, which hide an IPv4 target), the discard prefix, segment routing, unique local, link-local and multicast.
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = _networks(
    "2001::/23",  # protocol assignments, with Teredo (hides an IPv4 target)
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4 (hides an IPv4 target)
    "3fff::/20",  # documentation
)
# What hands out credentials to whoever asks from inside: stays shut even where private targets are allowed.
_METADATA = _networks(
    "169.254.0.0/16",  # AWS, Google, Azure, Oracle, OpenStack, DigitalOcean, Hetzner, IBM, Tencent, Scaleway; ECS, EKS
    "100.100.100.200/32",  # Alibaba
    "192.0.0.192/32",  # Oracle, classic
    "168.63.129.16/32",  # Azure's host agent
    "fe80::/10",
    "fd00:ec2::/32",  # AWS
    "fd20:ce::/32",  # Google
    "fd00:c1::/32",  # Oracle
    "fd00:42::/32",  # Scaleway
    "fd00:a9fe:a9fe::/48",  # Akamai (Linode)
)
_METADATA_HOSTS = _networks(
    "169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"
)
_IPV4_AT_THE_END = tuple(
    IPv6Network(text)
    for text in (
        "::/96",  # compatible
        "::ffff:0:0/96",  # mapped
        "::ffff:0:0:0/96",  # translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
    )
)
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")  # RFC 8215: with prefixes of several lengths
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: before the IPv4 address, under any prefix
_MASK = 0xFFFF_FFFF


def embedded(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that a gateway, a tunnel or the kernel would make of an IPv6 address."""
    if isinstance(address, IPv4Address):
        return []
    number = int(address)
    found = []
    if any(address in network for network in _IPV4_AT_THE_END) or (number >> 32) & _MASK in _ISATAP:
        found.append(number & _MASK)
    if address in _NAT64_LOCAL:
        # RFC 6052, 2.2: prefixes of 48, 56, 64 and 96 bits, with eight bits of nothing at 64
        before, after = (number >> 64) & 0xFFFF, (number >> 24) & _MASK
        found += [number & _MASK, after, before << 16 | after >> 16, (before & 0xFF) << 24 | after >> 8]
    if address in _6TO4:
        found.append((number >> 80) & _MASK)
    if address in _TEREDO:
        found += [(number >> 64) & _MASK, ~number & _MASK]  # its server, and its client, inverted
    return [IPv4Address(each) for each in found]


def is_metadata(address: Address) -> bool:
    """Also inside of an IPv6 address; and where one ends in a metadata service's address, whatever its prefix: an operator may
    have a NAT64 prefix of their own."""
    if _within(address, _METADATA) or any(_within(each, _METADATA) for each in embedded(address)):
        return True
    return isinstance(address, IPv6Address) and _within(IPv4Address(int(address) & _MASK), _METADATA_HOSTS)


def is_public(address: Address) -> bool:
    """Whether anyone on the Internet could reach it."""
    if isinstance(address, IPv4Address):
        return not _within(address, _NOT_PUBLIC_V4)
    inside = embedded(address)  # of what is public otherwise: ISATAP's
    return address in _GLOBAL_UNICAST_V6 and not _within(address, _NOT_PUBLIC_V6) and all(is_public(each) for each in inside)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Public addresses, and what the operator has opened beside them."""

    allow_private: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allow_private: bool, allow_list: str) -> TargetPolicy:
        """``allow_list``: comma separated host names, addresses and networks ("10.1.0.0/16, hooks.internal")."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in filter(None, (part.strip() for part in allow_list.split(","))):
            try:
                networks.append(ip_network(entry))
            except ValueError:
                if "/" in entry:
                    raise ValueError(f"the allow-list entry {entry!r} is not a network") from None
                hosts.add(_host(entry))
        return cls(allow_private, frozenset(hosts), tuple(networks))

    def allows(self, host: str, address: Address) -> bool:
        """``host``: the name in the endpoint's URL, which resolved to ``address``. Only a network of the allow list opens a
        metadata service."""
        if _within(address, self.networks):
            return True
        if is_metadata(address):
            return False
        return is_public(address) or self.allow_private or _host(host) in self.hosts


def _host(name: str) -> str:
    return name.lower().rstrip(".")


class BlockedAddressError(OSError):
    """The address is not public. The text is the same for all: aiohttp then raises the first of several as it is."""

    def __init__(self, address: str) -> None:
        super().__init__("the address of the target is not allowed")
        self.address = address


def unguarded_socket(info: AddressInfo) -> socket.socket:
    """For connections to the operator's own proxy, wherever that is."""
    return socket.socket(*info[:3])


class AddressGuard:
    """Makes the sockets of one endpoint's connections (``socket_factory`` of aiohttp's TCPConnector)."""

    def __init__(self, policy: TargetPolicy, host: str) -> None:
        self._policy = policy
        self._host = host

    def __call__(self, info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        text = str(address[0])
        try:
            allowed = self._policy.allows(self._host, ip_address(text.partition("%")[0]))  # fe80::1%eth0
        except ValueError:
            allowed = False
        if not allowed:
            raise BlockedAddressError(text)
        return socket.socket(family, kind, protocol)
