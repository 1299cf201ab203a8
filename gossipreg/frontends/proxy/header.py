"""The PROXY protocol header, version 1 (text) and 2 (binary): gives an instance the caller's own address.

Written for instances, and read from balancers that stand before this one. The source is HAProxy's specification,
https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gossipreg.frontends.proxy.limits import HEADER_BYTES_MAX
from gossipreg.frontends.proxy.listeners import plain_host
from gossipreg.model import Address
from gossipreg.values import frozen

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_TEXT: Final = b"PROXY "
_TEXT_BYTES_MAX: Final = 107  # §2.1
_HEAD: Final = struct.Struct("!12sBBH")
_PROXIED: Final = 0x21  # version 2, on behalf of another
_LOCAL: Final = 0x20  # version 2, of the sender itself: a health check
_FAMILIES: Final = {4: 0x11, 6: 0x21}  # by IP version, each over TCP
_SIZES: Final = {0x11: 4, 0x21: 16}  # of an address (bytes), by family over TCP
_KINDS: Final[dict[str, type[IPv4Address | IPv6Address]]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")


def header(version: str, caller: Address, called: Address) -> bytes:
    """The header for a connection of ``caller`` to ``called``, two IP addresses of one family; ``v1`` or ``v2``."""
    source, destination = ip_address(caller.host.partition("%")[0]), ip_address(called.host.partition("%")[0])
    if version == "v1":
        return f"PROXY TCP{source.version} {source} {destination} {caller.port} {called.port}\r\n".encode("ascii")
    body = source.packed + destination.packed + struct.pack("!HH", caller.port, called.port)
    return _SIGNATURE + struct.pack("!BBH", _PROXIED, _FAMILIES[source.version], len(body)) + body


class BadHeader(Exception):
    """What came is no PROXY protocol header, or a larger one than is read."""


@frozen
class ReadHeader:
    """A header that was read: the addresses that it tells, if it tells any, and its size in bytes."""

    size: int
    caller: Address | None = None
    called: Address | None = None


def read_header(data: bytes) -> ReadHeader | None:
    """The header, of either version, at the start of ``data``; None while it is not whole.

    Addresses that do not belong to a TCP connection, such as those of a Unix socket, are left out, and so is what
    version 2 may tell besides (TLVs). Raises ``BadHeader`` as soon as it can be none.
    """
    if data.startswith(_TEXT):
        return _read_text(data)
    if data.startswith(_SIGNATURE):
        return _read_binary(data)
    if _TEXT.startswith(data) or _SIGNATURE.startswith(data):
        return None
    raise BadHeader("it begins otherwise")


def _read_text(data: bytes) -> ReadHeader | None:
    end = data.find(b"\r\n", 0, _TEXT_BYTES_MAX)
    if end < 0:
        if len(data) >= _TEXT_BYTES_MAX:
            raise BadHeader(f"no end within {_TEXT_BYTES_MAX} bytes")
        return None
    _, family, *told = data[:end].decode("latin-1").split(" ")
    if family == "UNKNOWN":
        return ReadHeader(end + 2)
    try:
        kind = _KINDS[family]
        source, destination, *ports = told
        caller, called = kind(source), kind(destination)
        if "%" in source + destination:  # an interface of another host
            raise BadHeader("its addresses are none")
        if len(ports) != 2 or not all(map(_PORT.fullmatch, ports)):
            raise BadHeader("its ports are none")
    except (KeyError, ValueError):
        raise BadHeader("its addresses are none") from None
    return _read(end + 2, caller, called, int(ports[0]), int(ports[1]))


def _read_binary(data: bytes) -> ReadHeader | None:
    if len(data) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(data)
    if command not in (_PROXIED, _LOCAL):
        raise BadHeader(f"version and command are {command:#x}")
    end = _HEAD.size + length
    if end > HEADER_BYTES_MAX:
        raise BadHeader(f"it has {end} bytes")
    if len(data) < end:
        return None
    size = _SIZES.get(family)
    if command == _LOCAL or size is None:
        return ReadHeader(end)
    if length < 2 * size + 4:
        raise BadHeader("its addresses are cut off")
    body = data[_HEAD.size : end]
    ports = struct.unpack_from("!HH", body, 2 * size)
    return _read(end, ip_address(body[:size]), ip_address(body[size : 2 * size]), *ports)


def _read(
    size: int, caller: IPv4Address | IPv6Address, called: IPv4Address | IPv6Address, caller_port: int, called_port: int
) -> ReadHeader:
    if max(caller_port, called_port) > 0xFFFF:
        raise BadHeader("its ports are none")
    hosts = [str(caller), str(called)]
    plain = [plain_host(host) for host in hosts]
    if ip_address(plain[0]).version == ip_address(plain[1]).version:  # or they could not be passed on together
        hosts = plain
    return ReadHeader(size, Address(hosts[0], caller_port), Address(hosts[1], called_port))
