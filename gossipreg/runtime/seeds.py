"""Knows where the seeds are now: names are resolved afresh each time, and every address of a name counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import attrs
import trio

from gossipreg.config import DEFAULT_PORT
from gossipreg.model import Address

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class Seeds:
    """The seeds that a user named, and the peers remembered from before a restart."""

    names: tuple[str, ...]
    remembered: tuple[Address, ...] = ()
    _unresolved: set[str] = attrs.field(factory=set)

    def __bool__(self) -> bool:
        return bool(self.names or self.remembered)

    async def resolve(self, *, ipv6: bool) -> list[Address]:
        """Every address that the seeds have now and that a socket of our family can reach."""
        found: dict[Address, None] = {}
        for name in self.names:
            found.update(dict.fromkeys(await self._addresses(name)))
        found.update(dict.fromkeys(self.remembered))
        return [address for address in found if (":" in address.host) == ipv6]

    async def _addresses(self, name: str) -> Iterable[Address]:
        wanted = Address.parse(name, default_port=DEFAULT_PORT)
        try:
            answers = await trio.socket.getaddrinfo(wanted.host, wanted.port, type=trio.socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            if name not in self._unresolved:
                self._unresolved.add(name)
                reason = error.strerror if isinstance(error, OSError) else "not a host name"
                log.warning("cannot resolve the seed %s: %s; it is tried again", name, reason)
            return ()
        self._unresolved.discard(name)
        return [Address(str(answer[4][0]), wanted.port) for answer in answers]
