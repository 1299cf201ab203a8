"""The bytes are those of the PROXY protocol's specification."""

from __future__ import annotations

import pytest

from gossipreg.frontends.proxy.header import BadHeader, ReadHeader, header, read_header
from gossipreg.frontends.proxy.limits import HEADER_BYTES_MAX
from gossipreg.model import Address

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


@pytest.mark.parametrize(
    ("caller", "called", "line"),
    [
        (Address("192.168.0.1", 56324), Address("192.168.0.11", 443), b"TCP4 192.168.0.1 192.168.0.11 56324 443"),
        (Address("2001:db8::1", 1), Address("::1", 2), b"TCP6 2001:db8::1 ::1 1 2"),
    ],
)
def test_version_1_is_a_line_of_text(caller: Address, called: Address, line: bytes) -> None:
    assert header("v1", caller, called) == b"PROXY " + line + b"\r\n"


def test_version_2_is_binary() -> None:
    said = header("v2", Address("192.0.2.1", 0x1234), Address("192.0.2.2", 443))
    assert said == SIGNATURE + bytes.fromhex("21 11 000c c0000201 c0000202 1234 01bb")


def test_version_2_of_ipv6_has_whole_addresses_without_a_zone() -> None:
    said = header("v2", Address("fe80::1%eth0", 1), Address("::1", 2))
    assert said[12:16] == bytes.fromhex("21 21 0024")
    assert said[16:] == bytes.fromhex(f"fe80{1:028x}{1:032x}00010002")


CALLER, CALLED = Address("192.0.2.1", 1234), Address("192.0.2.2", 443)
HEAD = SIGNATURE + b"\x21"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("caller", "called"), [(CALLER, CALLED), (Address("2001:db8::1", 1), Address("::1", 65_535))], ids=["IPv4", "IPv6"]
)
def test_what_is_written_is_read_once_it_is_whole(version: str, caller: Address, called: Address) -> None:
    data = header(version, caller, called)
    assert read_header(data + b"GET /") == ReadHeader(len(data), caller, called)
    assert [read_header(data[:end]) for end in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n",
        SIGNATURE + bytes.fromhex("20 00 0000"),
        SIGNATURE + bytes.fromhex("20 11 000c c0000201 c0000202 1234 01bb"),
        HEAD + bytes.fromhex("00 0003 010203"),
        HEAD + bytes.fromhex("12 000c c0000201 c0000202 1234 01bb"),  # over UDP
        HEAD + b"\x31\0\xd8" + bytes(216),  # a Unix socket
    ],
)
def test_a_header_without_addresses_of_a_tcp_connection_tells_none(data: bytes) -> None:
    assert read_header(data + b"more") == ReadHeader(len(data))


def test_what_version_2_tells_besides_is_passed_over() -> None:
    data = HEAD + bytes.fromhex("11 0013 c0000201 c0000202 04d2 01bb 04 0004 00000000")
    assert read_header(data) == ReadHeader(len(data), CALLER, CALLED)


def test_ipv4_addresses_that_are_written_as_ipv6_are_read_as_they_are() -> None:
    assert read_header(header("v2", Address("::ffff:192.0.2.1", 1234), Address("::ffff:192.0.2.2", 443))) == ReadHeader(
        52, CALLER, CALLED
    )
    mixed = read_header(header("v2", Address("::ffff:192.0.2.1", 1234), Address("::1", 443)))
    assert mixed is not None
    assert mixed.caller is not None
    assert ":" in mixed.caller.host, "both are of one family, so that they can be passed on"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "it begins otherwise"),
        (b"\x16\3\1", "it begins otherwise"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + b" " * 100, "no end within 107 bytes"),
        (b"PROXY\x20\r\n", "its addresses are none"),
        (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "its addresses are none"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "its addresses are none"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "its addresses are none"),
        (b"PROXY TCP4 192.0.2.1\r\n", "its addresses are none"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "its ports are none"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "its ports are none"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "its ports are none"),
        (SIGNATURE + bytes.fromhex("31 11 000c c0000201 c0000202 1234 01bb"), "version and command are 0x31"),
        (HEAD + bytes.fromhex("11 000b c0000201 c0000202 1234 01"), "its addresses are cut off"),
        (HEAD + bytes.fromhex("11 ffff"), "it has 65551 bytes"),
    ],
)
def test_what_is_no_header_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        read_header(data)


def test_a_header_may_be_so_large_and_no_larger() -> None:
    data = HEAD + b"\0" + (HEADER_BYTES_MAX - 16).to_bytes(2) + bytes(HEADER_BYTES_MAX - 16)
    assert read_header(data) == ReadHeader(HEADER_BYTES_MAX)
    with pytest.raises(BadHeader):
        read_header(HEAD + b"\0" + (HEADER_BYTES_MAX - 15).to_bytes(2))
