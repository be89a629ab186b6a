"""Which targets a webhook may have: the table of addresses that reach something they should not."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webhooks.addresses import AddressGuard, BlockedAddressError, TargetPolicy, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
]
NOT_PUBLIC = {
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 172, last": "172.31.255.255",
    "private 192": "192.168.1.1",
    "carrier-grade NAT": "100.64.0.1",
    "Alibaba metadata": "100.100.100.200",
    "loopback": "127.0.0.1",
    "loopback, other": "127.255.255.254",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "container metadata": "169.254.170.2",
    "Azure host agent": "168.63.129.16",
    "protocol assignments": "192.0.0.1",
    "Oracle metadata": "192.0.0.192",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "6to4 relay": "192.88.99.1",
    "benchmark": "198.18.0.1",
    "benchmark, last": "198.19.255.255",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified 6": "::",
    "loopback 6": "::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped public": "::ffff:8.8.8.8",
    "compatible": "::127.0.0.1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of a public one": "64:ff9b::808:808",
    "local NAT64": "64:ff9b:1::7f00:1",
    "6to4 of loopback": "2002:7f00:1::",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "ORCHID": "2001:20::1",
    "documentation 6": "2001:db8::1",
    "documentation 6, new": "3fff::1",
    "discard": "100::1",
    "unique local": "fc00::1",
    "AWS metadata 6": "fd00:ec2::254",
    "link-local 6": "fe80::1",
    "site-local 6": "fec0::1",
    "multicast 6": "ff02::1",
    "segment routing": "5f00::1",
    "unassigned": "4000::1",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC.values(), ids=NOT_PUBLIC.keys())
def test_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not TargetPolicy().allows("hooks.example.com", ip_address(address))


def test_allow_private_opens_private_addresses_but_not_metadata() -> None:
    policy = TargetPolicy.parse(True, "")
    assert policy.allows("localhost", ip_address("127.0.0.1"))
    assert policy.allows("x", ip_address("10.0.0.1"))
    assert policy.allows("x", ip_address("::1"))
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "168.63.129.16", "64:ff9b::a9fe:a9fe"):
        assert not policy.allows("x", ip_address(address))


IPV4 = st.sampled_from(["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "169.254.0.23"])


def forms_of(address: str) -> list[str]:
    """IPv6 addresses that lead to an IPv4 address, each by another way."""
    number = int(IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    octets = address.split(".")
    hexes = [f"{int(octet):02x}" for octet in octets]
    flipped = ~number & 0xFFFFFFFF
    return [
        address,
        f"::{address}",
        f"::ffff:{address}",
        f"::ffff:0:{address}",
        f"64:ff9b::{address}",
        f"64:ff9b:1::{address}",  # a prefix of 96 bits
        f"64:ff9b:1:{high}:00{hexes[2]}:{hexes[3]}00::",  # 48
        f"64:ff9b:1:ab{hexes[0]}:00{hexes[1]}:{hexes[2]}{hexes[3]}::",  # 56
        f"64:ff9b:1:abcd:00{hexes[0]}:{hexes[1]}{hexes[2]}:{hexes[3]}00:0",  # 64
        f"2002:{high}:{low}::1",
        f"2001:0:{high}:{low}::1",  # as a Teredo server
        f"2001:0:4136:e378:8000:63bf:{flipped >> 16:x}:{flipped & 0xFFFF:x}",  # as a Teredo client
        f"2606:4700::5efe:{address}",  # ISATAP under a public prefix
        f"fd00::200:5efe:{address}",
        f"fe80::{address}",
    ]


METADATA_V6 = [
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fe80::1",
]


@given(IPV4.flatmap(lambda address: st.sampled_from(forms_of(address))) | st.sampled_from(METADATA_V6))
def test_a_metadata_service_stays_shut_in_every_form_and_under_every_switch(text: str) -> None:
    address = ip_address(text)
    for policy in (TargetPolicy(), TargetPolicy.parse(True, ""), TargetPolicy.parse(True, "hooks.internal,10.0.0.0/8")):
        assert not policy.allows("hooks.internal", address)
    assert TargetPolicy.parse(False, text).allows("x", address)  # who names the address itself wants it


@given(st.sampled_from(["10.0.0.1", "127.0.0.1", "192.168.1.1"]).flatmap(lambda address: st.sampled_from(forms_of(address))))
def test_private_addresses_in_every_form_are_open_only_where_they_are_allowed(text: str) -> None:
    assert not TargetPolicy().allows("x", ip_address(text))
    assert TargetPolicy.parse(True, "").allows("x", ip_address(text)) is not text.startswith("fe80")


def test_a_prefix_for_nat64_of_the_operators_own_leads_to_no_metadata_service() -> None:
    assert not TargetPolicy.parse(True, "").allows("x", ip_address("2606:4700:64::a9fe:a9fe"))


def test_allow_list_opens_named_hosts_and_networks_alone() -> None:
    policy = TargetPolicy.parse(False, " Hooks.Internal , 10.1.0.0/16,fd12::/16, 127.0.0.1 ")
    assert policy.allows("hooks.internal", ip_address("10.9.9.9"))
    assert policy.allows("HOOKS.internal.", ip_address("10.9.9.9"))
    assert policy.allows("other", ip_address("10.1.2.3"))
    assert policy.allows("other", ip_address("fd12::1"))
    assert policy.allows("other", ip_address("127.0.0.1"))
    assert not policy.allows("other", ip_address("10.2.0.1"))
    assert not policy.allows("evil-hooks.internal", ip_address("10.9.9.9"))
    assert not policy.allows("hooks.internal", ip_address("169.254.169.254"))


def test_an_unreadable_network_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="is not a network"):
        TargetPolicy.parse(False, "10.1.0.0/99")


@pytest.mark.parametrize("address", [("fe80::1%eth0", 443, 0, 2), ("127.0.0.1", 443), ("not an address", 443)])
def test_the_guard_refuses_to_make_the_socket(address: tuple[object, ...]) -> None:
    with pytest.raises(BlockedAddressError):
        AddressGuard(TargetPolicy(), "h")((socket.AF_INET, socket.SOCK_STREAM, 6, "", address))


def test_the_guard_makes_a_socket_for_a_public_address() -> None:
    made = AddressGuard(TargetPolicy(), "h")((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443)))
    assert made.family == socket.AF_INET
    made.close()
