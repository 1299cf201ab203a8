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
    unresolved: dict[str, str] = attrs.field(factory=dict)  # names that have no address now, and why
    _labels: dict[Address, str] = attrs.field(factory=dict)  # what the addresses that were found last are called

    def __bool__(self) -> bool:
        return bool(self.names or self.remembered)

    async def resolve(self, *, ipv6: bool) -> list[Address]:
        """Every address that the seeds have now and that a socket of our family can reach."""
        found: dict[Address, None] = {}
        labels: dict[Address, str] = {address: str(address) for address in self.remembered}
        for name in self.names:
            addresses = list(await self._addresses(name))
            found.update(dict.fromkeys(addresses))
            labels |= {address: name if len(addresses) == 1 else f"{name} ({address})" for address in addresses}
        found.update(dict.fromkeys(self.remembered))
        self._labels = labels
        return [address for address in found if (":" in address.host) == ipv6]

    def label(self, address: Address) -> str | None:
        """What the seed at ``address`` is called, as the user named it; None for what is no seed."""
        return self._labels.get(address)

    async def _addresses(self, name: str) -> Iterable[Address]:
        wanted = Address.parse(name, default_port=DEFAULT_PORT)
        try:
            answers = await trio.socket.getaddrinfo(wanted.host, wanted.port, type=trio.socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            reason = str(error.strerror) if isinstance(error, OSError) else "not a host name"
            known, self.unresolved[name] = self.unresolved.get(name), reason
            if known is None:
                log.warning("cannot resolve the seed %s: %s; it is tried again", name, reason)
            return ()
        self.unresolved.pop(name, None)
        return [Address(str(answer[4][0]), wanted.port) for answer in answers]
