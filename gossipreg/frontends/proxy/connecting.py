"""Connecting to an instance: at an IP address, or at any of a host name's."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import Final

import trio

from gossipreg.frontends.proxy.listeners import OwnAddresses
from gossipreg.model import Address

#: Errors that this process or host lacks resources. No instance is at fault, and another would fail likewise.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def connected(to: Address, own: OwnAddresses) -> trio.socket.SocketType:
    """A connection to ``to``. Raises ``OSError``, with ``ELOOP`` if one of our ``own`` ports listens there."""
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


def _loop(to: Address) -> OSError:
    return OSError(errno.ELOOP, f"{to} is a port of this balancer")
