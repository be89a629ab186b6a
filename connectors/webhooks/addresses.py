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
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "168.63.129.16/32",
    "::ffff:169.254.0.0/112",
    "::ffff:100.100.100.200/128",
    "::ffff:192.0.0.192/128",
    "::ffff:168.63.129.16/128",
    "64:ff9b::a9fe:0/112",
)


def is_public(address: Address) -> bool:
    """Whether anyone on the Internet could reach it."""
    if isinstance(address, IPv4Address):
        return not _within(address, _NOT_PUBLIC_V4)
    return address in _GLOBAL_UNICAST_V6 and not _within(address, _NOT_PUBLIC_V6)


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
        """``host``: the name in the endpoint's URL, which resolved to ``address``."""
        if is_public(address) or _within(address, self.networks):
            return True
        return (self.allow_private or _host(host) in self.hosts) and not _within(address, _METADATA)


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
