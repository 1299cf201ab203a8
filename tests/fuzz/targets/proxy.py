"""Target of the PROXY header: addresses from the kernel and from the registry."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gossipreg.frontends.proxy.header import header
from gossipreg.model import Address
from tests.fuzz.target import Target

_V2: Final = struct.Struct("!12sBBH")


def _proxy_header(data: bytes) -> str:
    """Version, family, two addresses, two ports: the header contains exactly these."""
    choice, data = (data[:1] or b"\0")[0], data[1:].ljust(36, b"\0")
    size, kind = (16, IPv6Address) if choice & 1 else (4, IPv4Address)
    source, destination = kind(data[:size]), kind(data[size : 2 * size])
    ports = struct.unpack("!HH", data[2 * size : 2 * size + 4])
    version = "v2" if choice & 2 else "v1"
    written = header(version, Address(str(source), ports[0]), Address(str(destination), ports[1]))
    assert _read(written) == (str(source), str(destination), *ports)
    return f"{version} {size}"


def _read(data: bytes) -> tuple[str, str, int, int]:
    """Parse the header like a server, which reads exactly one header."""
    if data.startswith(b"PROXY "):
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == 1
        assert len(data) <= 107  # the most that version 1 may have
        _, family, source, destination, *ports = data.decode("ascii").split()
        assert family == f"TCP{ip_address(source).version}"
        return source, destination, int(ports[0]), int(ports[1])
    signature, command, family, length = _V2.unpack_from(data)
    assert signature == b"\r\n\r\n\0\r\nQUIT\n"
    assert command == 0x21
    assert len(data) == _V2.size + length
    size = {0x11: 4, 0x21: 16}[family]
    body = data[_V2.size :]
    first, second = struct.unpack("!HH", body[2 * size :])
    return str(ip_address(body[:size])), str(ip_address(body[size : 2 * size])), first, second


def _seeds() -> Iterator[bytes]:
    for choice in range(4):
        yield bytes((choice,)) + bytes(range(36))


TARGETS: Final = (
    Target("proxy-header", "a server reads the addresses that were written", _proxy_header, _seeds, bytes_max=64),
)
