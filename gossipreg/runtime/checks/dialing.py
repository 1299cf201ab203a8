"""Dialing: connects a check to its target, where the node's rules allow it.

Names are resolved in threads, so that a slow resolver blocks no other task. The rules are applied to the very addresses
that are connected to, and nothing is resolved after that: a name that had another address when the check was registered
gains nothing (DNS rebinding).
"""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any, Final

import attrs
import trio

from gossipreg.targets import CheckRules, IPAddress, TargetRefused, literal
from gossipreg.values import frozen

#: Names looked up at once. A resolver that hangs keeps its thread, even when the check has given up.
_LOOKUPS_MAX: Final = 16

_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("check_lookups")


@frozen
class AllowedTargets:
    """The rules of a node, and the hosts that are its own for an instance: names or addresses."""

    rules: CheckRules = attrs.field(factory=CheckRules)
    own: tuple[str, ...] = ()

    def allows(self, host: str, address: IPAddress, own: Collection[IPAddress]) -> bool:
        """Whether a check of ``host`` may connect to ``address``; ``own`` are the addresses of `own`."""
        return self.rules.targets.allows(host, address, own)


async def dial(host: str, port: int, allowed: AllowedTargets) -> trio.SocketStream:
    """A connection to the first address of ``host`` that takes one. Raises ``OSError``, ``TargetRefused``."""
    failure = OSError(f"{host} has no address")
    for found in await _admitted(host, port, allowed):
        try:
            return await _connected(found)
        except OSError as error:
            failure = error
    raise failure


async def _connected(found: Any) -> trio.SocketStream:
    """A connection to one address, as ``getaddrinfo`` gives it. Raises ``OSError``."""
    family, kind, protocol, _, address = found
    connecting = trio.socket.socket(family, kind, protocol)
    try:
        await connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)


async def _admitted(host: str, port: int, allowed: AllowedTargets) -> list[Any]:
    """Of the addresses of ``host``, as ``getaddrinfo`` gives them, those that may be contacted."""
    found = await _addresses(host, port)
    if not found:
        return []
    own = [address for each in allowed.own if (address := literal(each)) is not None]
    admitted = _allowed(host, found, allowed, own)
    if not admitted:  # unless a host of its own, whose name is looked up only where that matters, is there too
        own += await _resolved([each for each in allowed.own if literal(each) is None])
        admitted = _allowed(host, found, allowed, own)
    if not admitted:
        where = ", ".join(dict.fromkeys(str(address[0]) for *_, address in found))
        what = "may not be contacted" if literal(host) is not None else "leads to no address that may be contacted"
        raise TargetRefused(f"{host} {what} by checks of this node: see check_targets\nits addresses are {where}")
    return admitted


def _allowed(host: str, found: Iterable[Any], allowed: AllowedTargets, own: Collection[IPAddress]) -> list[Any]:
    return [each for each in found if (address := literal(each[4][0])) and allowed.allows(host, address, own)]


async def _resolved(names: Iterable[str]) -> list[IPAddress]:
    """The addresses of ``names``, of those that have any."""
    addresses: list[IPAddress | None] = []
    for name in names:
        with suppress(OSError):
            addresses += [literal(each[4][0]) for each in await _addresses(name, 0)]
    return [address for address in addresses if address is not None]


async def _addresses(host: str, port: int) -> list[Any]:
    """The result of ``getaddrinfo``, from a thread unless there is nothing to resolve."""
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


async def dial_tls(
    host: str, port: int, allowed: AllowedTargets, *, verify: bool, protocol: str
) -> trio.SSLStream[trio.SocketStream]:
    """A connection under TLS that speaks ``protocol`` (its ALPN name).

    Raises ``OSError``, ``TargetRefused`` and trio's errors.
    """
    context = _context(verify=verify, protocol=protocol)
    plain = await dial(host, port, allowed)
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
