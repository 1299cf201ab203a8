"""The first bytes of a caller: a PROXY header, which is taken away, and a TLS ClientHello, which is passed on."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import attrs
import trio

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy.client_hello import HelloReader
from gossipreg.frontends.proxy.header import BadHeader, ReadHeader, read_header
from gossipreg.frontends.proxy.limits import HELLO_BYTES_MAX
from gossipreg.frontends.proxy.listeners import plain_host
from gossipreg.model import Address
from gossipreg.text import shown
from gossipreg.values import frozen

Network = IPv4Network | IPv6Network


class CallerGone(Exception):
    """The caller closed before it said who it is or where it wants to go."""


@frozen
class Call:
    """What is known of a caller when an instance is chosen for it."""

    caller: Address | None = None  # its address, or what a PROXY header tells; None if it is not needed
    called: Address | None = None  # the address that it called, likewise
    data: bytes = b""  # what it has sent and was read here; an instance gets it first


@attrs.define(eq=False, repr=False)
class FirstBytes:
    """Reads a connection's first bytes and keeps what an instance is to get of them."""

    _connection: trio.socket.SocketType
    _data: bytes = b""

    @property
    def data(self) -> bytes:
        """What was read and not taken away."""
        return self._data

    async def take_header(self) -> ReadHeader:
        """The PROXY header, which is not passed on. Raises ``BadHeader``, ``CallerGone`` and ``OSError``."""
        while (found := read_header(self._data)) is None:
            await self._more()
        self._data = self._data[found.size :]
        return found

    async def server_name(self) -> str:
        """The name in the ClientHello, "" if there is none. Raises ``BadHello``, ``CallerGone`` and ``OSError``."""
        reader = HelloReader()
        reader.receive(self._data)
        while reader.name is None:
            reader.receive(await self._more())
        return reader.name

    async def _more(self) -> bytes:
        piece = await self._connection.recv(HELLO_BYTES_MAX)
        if not piece:
            raise CallerGone
        self._data += piece
        return piece


def read_network(text: str) -> Network:
    """A network, such as ``10.0.0.0/8``, or a single address. Raises ``ConfigError``."""
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigError(
            f"{shown(text)} is not a network: write an address, with the bits that count if it is more than one, such "
            "as 10.0.0.0/8, and 0 for the others"
        ) from None


def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """Whether ``host``, an IP address, is in one of them."""
    address = ip_address(plain_host(host.partition("%")[0]))
    return any(address in network for network in networks)


__all__ = ["BadHeader", "Call", "CallerGone", "FirstBytes", "Network", "is_within", "read_network"]
