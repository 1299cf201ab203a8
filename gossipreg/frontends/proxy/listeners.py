"""Listeners of the balancer: bound here or handed over by a service manager, and which addresses are its own."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import attrs
import trio

from gossipreg.errors import BindError
from gossipreg.frontends.serving.listening import explain
from gossipreg.model import Address

#: The first descriptor that a service manager hands over (sd_listen_fds(3)).
_FIRST_HANDED_OVER: Final = 3


async def open_listeners(listen: Address, backlog: int, service: str) -> list[trio.socket.SocketType]:
    """Sockets that listen at ``listen``, with ``backlog`` connections waiting at most. Raises ``BindError``.

    At ``[::]`` one socket listens for IPv4 as well, where the kernel can.
    """
    try:
        if listen.host == "::" and socket.has_dualstack_ipv6():
            opened = socket.create_server(tuple(listen), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
            return [trio.socket.from_stdlib_socket(opened)]
        listeners = await trio.open_tcp_listeners(listen.port, host=listen.host, backlog=backlog)
    except OSError as error:
        reason, remedy = explain(error, flag="--listen")
        raise BindError(f"cannot listen on {listen} for {service}: {reason}: {remedy}") from None
    return [listener.socket for listener in listeners]


def take_handed_over(environ: Mapping[str, str]) -> dict[Address, list[socket.socket]]:
    """The listening TCP sockets that the process was started with, by address: systemd's socket activation.

    Connections wait in such a socket's queue while no process serves it, so a restart refuses none of them.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS", "").isdecimal():
        return {}
    found: dict[Address, list[socket.socket]] = {}
    for descriptor in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + int(environ["LISTEN_FDS"])):
        given = listening_socket(descriptor)
        if given is not None:
            found.setdefault(Address(*given.getsockname()[:2]), []).append(given)
    return found


def listening_socket(descriptor: int) -> socket.socket | None:
    """The TCP socket with that ``descriptor``, if it listens. Another process has opened it; none inherits it from us.

    Raises ``OSError`` if there is no such descriptor, or it is no socket.
    """
    os.set_inheritable(descriptor, False)
    given = socket.socket(fileno=descriptor)
    is_tcp = given.family in (socket.AF_INET, socket.AF_INET6) and given.type == socket.SOCK_STREAM
    if is_tcp and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        given.setblocking(False)
        return given
    given.detach()
    return None


def accept_now(listener: trio.socket.SocketType) -> trio.socket.SocketType | None:
    """A connection that waits in a listener's queue; None if there is none. Raises ``OSError``."""
    opened = socket.socket(fileno=listener.fileno())  # trio's own sockets cannot do without waiting
    try:
        return trio.socket.from_stdlib_socket(opened.accept()[0])
    except BlockingIOError:
        return None
    finally:
        opened.detach()  # it is the listener's


@attrs.define(eq=False, repr=False)
class OwnAddresses:
    """Where the ports of this process listen. A connection there would lead back here, for ever."""

    _listening: Counter[Address] = attrs.field(factory=Counter)  # more than one while one gives way to another
    _observers: list[Callable[[], None]] = attrs.field(factory=list)

    def observe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever these are others, until it is forgotten."""
        self._observers.append(changed)

    def forget(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._observers.remove(changed)

    def add(self, addresses: Iterable[Address]) -> None:
        """A port listens at these."""
        self._listening.update(addresses)
        self._tell()

    def remove(self, addresses: Iterable[Address]) -> None:
        """One that listened at these no longer does."""
        self._listening -= Counter(addresses)
        self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._observers):
            changed()

    def includes(self, host: str, port: int) -> bool:
        """Whether ``host``, an IP address, and ``port`` lead to one of them. False for a host name."""
        at = [each.host for each in self._listening if each.port == port]
        if not at:
            return False
        try:
            wanted = _plain(host)
        except ValueError:
            return False
        for listening in map(_plain, at):
            if wanted == listening:
                return True
            if listening.is_unspecified and wanted.version <= listening.version and _is_of_this_host(wanted):
                return True
        return False

    async def include_name(self, host: str, port: int) -> bool:
        """Whether a host name leads to one of them, at any of its addresses. Raises ``OSError`` if it has none."""
        if not any(each.port == port for each in self._listening):
            return False
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # an empty label, or one of more than 63 characters
            return False
        return any(self.includes(str(place[0]), port) for *_, place in found)


def plain_host(host: str) -> str:
    """``host``, an IP address, in its usual form: one of IPv4 that is written as one of IPv6 (RFC 4291) as it is."""
    return str(_plain(host)) if host.startswith("::ffff:") else host


def _plain(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_of_this_host(address: IPv4Address | IPv6Address) -> bool:
    """Whether the host has ``address``: only then can a socket be bound to it."""
    if address.is_unspecified or address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False
