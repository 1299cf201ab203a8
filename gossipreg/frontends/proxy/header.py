"""The PROXY protocol header, version 1 (text) and 2 (binary): gives an instance the caller's own address."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final

from gossipreg.model import Address

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_PROXIED: Final = 0x21  # version 2, on behalf of another
_FAMILIES: Final = {4: 0x11, 6: 0x21}  # by IP version, each over TCP


def header(version: str, caller: Address, called: Address) -> bytes:
    """The header for a connection of ``caller`` to ``called``, two IP addresses of one family; ``v1`` or ``v2``."""
    source, destination = ip_address(caller.host.partition("%")[0]), ip_address(called.host.partition("%")[0])
    if version == "v1":
        return f"PROXY TCP{source.version} {source} {destination} {caller.port} {called.port}\r\n".encode("ascii")
    body = source.packed + destination.packed + struct.pack("!HH", caller.port, called.port)
    return _SIGNATURE + struct.pack("!BBH", _PROXIED, _FAMILIES[source.version], len(body)) + body
