"""Knows how a check reaches its target: names are looked up where they can hold up nobody else."""

from __future__ import annotations

import functools
import socket
import ssl
from typing import Any, Final

import trio

#: Names looked up at once. A resolver that hangs keeps its thread, even when nobody waits for it any more.
_LOOKUPS_MAX: Final = 16

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("check_lookups")


async def dial(host: str, port: int) -> trio.SocketStream:
    """A connection to the first address of ``host`` that takes one. Raises ``OSError``."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await _addresses(host, port):
        connecting = trio.socket.socket(family, kind, protocol)
        try:
            await connecting.connect(address)
        except OSError as error:
            failure = error
            connecting.close()
        except BaseException:
            connecting.close()
            raise
        else:
            return trio.SocketStream(connecting)
    raise failure


async def _addresses(host: str, port: int) -> list[Any]:
    """What ``getaddrinfo`` says, from a thread of our own unless there is nothing to look up."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await trio.to_thread.run_sync(
            functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=_limit(),
        )


def _limit() -> trio.CapacityLimiter:
    """One limit for all checks of a trio run."""
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_LOOKUPS_MAX)
        _limiter.set(limiter)
        return limiter


async def dial_tls(host: str, port: int, *, verify: bool, protocol: str) -> trio.SSLStream[trio.SocketStream]:
    """A connection under TLS that speaks ``protocol`` (its ALPN name). Raises ``OSError`` and trio's errors."""
    context = _context(verify=verify, protocol=protocol)
    plain = await dial(host, port)
    stream = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return stream


@functools.cache
def _context(*, verify: bool, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols([protocol])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
