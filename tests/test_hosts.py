"""Every host that is taken can be called; what cannot is refused with what is wrong."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipreg.hosts import flaw, source_of


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "web-1", "a", "orders.example.com", "orders.example.com.", "my_service", "x1", "1x", "4.a"),
        *("127.0.0.1", "10.1.2.3", "::1", "fe80::1%eth0", "2001:db8::1", "::ffff:10.0.0.1", "a" * 63),
    ],
)
def test_what_can_be_called_is_taken(host: str) -> None:
    assert flaw(host) is None


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("0.0.0.0", "to listen at"),
        ("::", "to listen at"),
        ("::ffff:0.0.0.0", "to listen at"),
        ("224.0.0.1", "many machines"),
        ("255.255.255.255", "many machines"),
        ("ff02::1", "many machines"),
        ("::ffff:224.0.0.1", "many machines"),
        ("1.2.3", "four plain numbers"),
        ("010.0.0.1", "four plain numbers"),
        ("0x7f.1", "four plain numbers"),
        ("2130706433", "four plain numbers"),
        ("0x7f000001", "four plain numbers"),
        ("1.2.3.4.5", "four plain numbers"),
        ("256.1.1.1", "four plain numbers"),
        ("example.com.1", "four plain numbers"),
        ("127.0.0.1.", "four plain numbers"),
        ("host:80", "the port apart from it"),
        ("[::1]", "without brackets"),
        ("fd00::1%eth0", "write fd00::1"),
        ("::1%lo", "write ::1"),
        ("fe80::1", "write fe80::1%INTERFACE"),
        ("10.0.0.1:80", "the port apart from it"),
        ("1:2:3", "not an IPv6 address"),
        ("::1%", "name of an interface"),
        ("fe80::1%a/b", "name of an interface"),
        ("app..svc", "not a host name"),
        (".", "not a host name"),
        (".a", "not a host name"),
        ("a" * 64, "not a host name"),
        ("-a", "not a host name"),
        ("a-.b", "not a host name"),
        ("a b", "not a host name"),
        ("a/b", "not a host name"),
        ("a@b", "not a host name"),
        ("a%b", "not a host name"),
        ("", "not a host name"),
        ("a.".ljust(300, "b"), "not a host name"),
        ("b\u00fccher", "not a host name"),
    ],
)
def test_what_cannot_is_refused(host: str, said: str) -> None:
    assert said in str(flaw(host))


@given(st.text(st.sampled_from("a1-_.:%[]/@ \0\u00e9xF")) | st.text(max_size=80) | st.integers(0, 2**33).map(str))
@example("a.".ljust(254, "b"))
@example("1.1")
@example("0")
def test_what_is_taken_can_be_handed_to_the_resolver(host: str) -> None:
    if flaw(host) is None:
        host.partition("%")[0].encode("idna")  # what getaddrinfo does first: it raises UnicodeError for bad labels
        if host[-1].isdigit() and host.replace(".", "").isdigit():
            assert socket.inet_pton(socket.AF_INET, host)


@given(st.ip_addresses())
def test_every_address_of_one_machine_is_taken(address: IPv4Address | IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    meant = mapped or address
    several = meant.is_unspecified or meant.is_multicast or meant == IPv4Address("255.255.255.255")
    is_of_one_link = isinstance(meant, IPv6Address) and meant.is_link_local
    assert (flaw(str(address)) is None) is not (several or is_of_one_link)
    if isinstance(meant, IPv6Address):
        assert (flaw(f"{address}%eth0") is None) is is_of_one_link


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_a_source_is_an_address_or_a_network_that_one_host_is_given(host: str, source: str) -> None:
    assert source_of(host) == source
