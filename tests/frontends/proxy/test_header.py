"""The bytes are those of the PROXY protocol's specification."""

from __future__ import annotations

import pytest

from gossipreg.frontends.proxy.header import header
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
