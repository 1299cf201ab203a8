"""Advertised address: detects that it is no longer this host's, and finds the one that is.

A host may be renumbered under a running agent: DHCP assigns another address, an interface goes and comes. Then nothing
arrives at the old address. A socket that is bound to all addresses stays as it is; the advertised address must change.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable

import attrs
import trio

from gossipreg.model import Address
from gossipreg.runtime.sockets import outgoing_host

log = logging.getLogger(__name__)

#: Time between two looks at whether the address is still this host's (seconds). A look costs some 20 us.
LOOK_SECONDS = 3.0


def is_assigned(host: str) -> bool:
    """Whether a socket can be bound to the IP address ``host``: it is one of this host's.

    True where no socket can be had (EMFILE).
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


@attrs.define(eq=False, repr=False)
class AdvertisedAddress:
    """The address that this node advertises.

    ``bound`` is what the sockets are bound to; ``follows``: whether another address may take its place, because
    the sockets are bound to all addresses and none was configured. ``move`` is awaited with the new one.
    """

    bound: str
    address: Address
    follows: bool
    move: Callable[[Address], Awaitable[None]]
    is_assigned: Callable[[str], bool] = is_assigned
    outgoing_host: Callable[[str], str | None] = outgoing_host
    is_gone: bool = False

    @property
    def problem(self) -> str | None:
        """What is wrong with the address, in a sentence."""
        if not self.is_gone:
            return None
        remedy = "waiting for another" if self.follows else "give it back, or restart with another --bind"
        return f"the address {self.address.host} is no longer this host's, and others cannot reach this node: {remedy}"

    async def run(self) -> None:
        """Check the address until cancelled; not at all if it cannot go away, or was never this host's."""
        is_here: bool = self.is_assigned(self.address.host)
        is_watched = is_here and not ipaddress.ip_address(self.address.host).is_loopback
        while is_watched:
            await trio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Check once: log if the address has gone or come back, and move to the one that has replaced it."""
        was_gone = self.is_gone
        is_here = self.is_assigned(self.address.host)
        self.is_gone = not is_here
        if is_here:
            if was_gone:
                log.warning("the address %s is this host's again", self.address.host)
            return
        host = self.outgoing_host(self.bound) if self.follows else None
        if host is None:
            if not was_gone:
                log.warning("%s", self.problem)
            return
        old, self.address = self.address, Address(host, self.address.port)
        self.is_gone = False
        log.warning("this host was renumbered: %s is no longer its address; this node is at %s now", old, self.address)
        await self.move(self.address)
