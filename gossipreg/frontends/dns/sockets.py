"""Sockets: binds UDP and TCP on the same port, or says why it cannot."""

from __future__ import annotations

import errno
import socket

import trio

from gossipreg.errors import BindError
from gossipreg.frontends.dns import limits
from gossipreg.model import Address
from gossipreg.values import frozen

#: Tries to find a port that is free for both.
_PORT_TRIES = 20

_BACKLOG = 64


@frozen
class Sockets:
    """A bound pair."""

    udp: socket.socket  # non-blocking
    tcp: trio.SocketListener
    address: Address


async def open_sockets(asked: Address) -> Sockets:
    """Bind both; port 0 takes any that is free. Raises ``BindError``."""
    try:
        [found, *_] = await trio.socket.getaddrinfo(asked.host, None, type=socket.SOCK_DGRAM)
        host = str(found[4][0])
        tries = 1 if asked.port else _PORT_TRIES
        return _pair(found[0], host, asked.port, tries)
    except (OSError, UnicodeError) as error:  # UnicodeError: what cannot be a host name
        reason, remedy = _explain(error)
        raise BindError(f"cannot listen on {asked} for DNS: {reason}: {remedy}, or --dns off to do without") from None


async def open_tls_socket(asked: Address) -> trio.SocketListener:
    """Bind TCP alone, for DNS over TLS; port 0 takes any that is free. Raises ``BindError``."""
    try:
        [found, *_] = await trio.socket.getaddrinfo(asked.host, None, type=socket.SOCK_STREAM)
        bound = _bound(found[0], socket.SOCK_STREAM, str(found[4][0]), asked.port)
    except (OSError, UnicodeError) as error:
        reason, remedy = _explain(error)
        raise BindError(
            f"cannot listen on {asked} for DNS over TLS: {reason}: {remedy}, or --dns-tls off to do without"
        ) from None
    bound.listen(_BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def _pair(family: int, host: str, port: int, tries: int) -> Sockets:
    udp = _bound(family, socket.SOCK_DGRAM, host, port)
    address = Address(host, int(udp.getsockname()[1]))
    try:
        tcp = _bound(family, socket.SOCK_STREAM, *address)
    except OSError as error:
        udp.close()
        if error.errno == errno.EADDRINUSE and tries > 1:
            return _pair(family, host, port, tries - 1)
        raise
    tcp.listen(_BACKLOG)
    return Sockets(udp, trio.SocketListener(trio.socket.from_stdlib_socket(tcp)), address)


def _bound(family: int, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    made = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart must not wait for TIME_WAIT
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.RECEIVE_BUFFER_BYTES)
        made.setblocking(False)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def _explain(error: OSError | UnicodeError) -> tuple[str, str]:
    """Why an address cannot be had, and what to do about it."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return "no such host name", "pass --dns HOST:PORT with an address of this machine"
    match error.errno:
        case errno.EADDRINUSE:
            return "address already in use", "stop the other program or pass --dns HOST:PORT"
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine", "pass --dns HOST:PORT with one that is"
        case errno.EACCES:
            return "permission denied", "pass --dns HOST:PORT with a port above 1023"
        case _:
            return (error.strerror or str(error)).lower(), "pass --dns HOST:PORT"
