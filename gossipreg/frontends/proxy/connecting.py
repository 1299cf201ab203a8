"""Connecting to an instance: at an IP address, or at any of a host name's."""

from __future__ import annotations

import contextlib
import errno
import socket
from ipaddress import ip_address
from typing import Final, TypeGuard

import trio

from gossipreg.frontends.proxy.listeners import OwnAddresses
from gossipreg.model import Address

#: Errors that this process or host lacks resources. No instance is at fault, and another would fail likewise.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class PortsExhausted(OSError):
    """All local ports for connections to one instance are in use. It is not at fault; another has ports of its own."""


async def connected(to: Address, own: OwnAddresses) -> trio.socket.SocketType:
    """A connection to ``to``.

    Raises ``OSError``: with an ``errno`` of `EXHAUSTED` or as `PortsExhausted` if it fails for a lack on this side, and
    with ``ELOOP`` if one of our ``own`` ports listens there.
    """
    try:
        return await _connected(to, own)
    except OSError as error:
        lack = await _lack(error, to)
        if lack is None:
            raise
        raise lack from None


async def _connected(to: Address, own: OwnAddresses) -> trio.socket.SocketType:
    try:
        version = ip_address(to.host.partition("%")[0]).version
    except ValueError:
        if await own.include_name(to.host, to.port):
            raise _loop(to) from None
        try:
            return (await trio.open_tcp_stream(to.host, to.port)).socket
        except UnicodeError:  # an empty label, or one of more than 63 characters
            raise OSError(errno.EINVAL, f"{to.host!r} is no host name") from None
    if own.includes(to.host, to.port):
        raise _loop(to)
    made = trio.socket.socket(trio.socket.AF_INET6 if version == 6 else trio.socket.AF_INET, socket.SOCK_STREAM)
    try:
        await made.connect(tuple(to))
    except BaseException:
        made.close()
        raise
    return made


async def _lack(error: OSError, to: Address) -> OSError | None:
    """What this process or host lacked, if that is why connecting to ``to`` failed with ``error``.

    An error about a host name has no ``errno``: its causes are those of the tries of its addresses.
    """
    group = error.__cause__
    causes = [each for each in group.exceptions if isinstance(each, OSError)] if _is_group(group) else [error]
    for cause in causes:
        if cause.errno in EXHAUSTED:
            return cause
    if isinstance(error, socket.gaierror):  # it does not tell that its own files and sockets could not be had
        try:
            socket.socket().close()
        except OSError as lack:
            return lack if lack.errno in EXHAUSTED else None
    if all(cause.errno == errno.EADDRNOTAVAIL for cause in causes) and await _has_address_for(to):
        return PortsExhausted(errno.EADDRNOTAVAIL, f"all local ports for connections to {to} are in use")
    return None


def _is_group(error: BaseException | None) -> TypeGuard[ExceptionGroup[Exception]]:
    return isinstance(error, ExceptionGroup)


async def _has_address_for(to: Address) -> bool:
    """Whether this host has an address from which it reaches ``to``. A datagram socket has ports of its own."""
    try:
        for family, _, _, _, place in await trio.socket.getaddrinfo(to.host, to.port, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(place)
                return True
    except OSError:
        pass
    return False


def _loop(to: Address) -> OSError:
    return OSError(errno.ELOOP, f"{to} is a port of this balancer")
