"""The acceptor: serves accepted connections while there is capacity for them, and turns others away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.frontends.serving import audit_log, limits
from gossipreg.frontends.serving.capacity import Capacity
from gossipreg.frontends.serving.connection import Connection, RequestHandler
from gossipreg.frontends.serving.prompt_stream import PromptStream
from gossipreg.frontends.serving.response import HttpError
from gossipreg.hosts import source_of
from gossipreg.model import Address

if TYPE_CHECKING:
    from gossipreg.frontends.serving.tls import ServerTls


@attrs.define(eq=False, repr=False)
class Acceptor:
    """Accepts connections while there is capacity; of those beyond, some are answered with 503."""

    handler: RequestHandler
    counters: Counter[str] = attrs.field(factory=Counter)
    tls: ServerTls | None = None
    _capacity: Capacity = attrs.field(init=False, factory=Capacity.now)
    _refusing: int = attrs.field(init=False, default=0)

    @property
    def waiting_to_be_served(self) -> int:
        """How many accepted connections may wait to be served."""
        return self._capacity.waiting_to_be_served

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve an accepted connection."""
        try:
            peer = stream.socket.getpeername()
        except OSError:  # it is gone
            await trio.aclose_forcefully(stream)
            return
        source = source_of(peer[0]) if isinstance(peer, tuple) else ""
        if isinstance(peer, tuple):
            audit_log.caller.set(audit_log.Caller(str(Address(peer[0], peer[1]))))
        if self.tls is None:
            await self.admit(PromptStream(stream), source)
        else:
            secure = self.tls.serve(stream, self.counters)
            await self.admit(secure, source, lambda: secure.client)

    async def admit(
        self, stream: trio.abc.HalfCloseableStream, source: str = "", client: Callable[[], str | None] | None = None
    ) -> None:
        """Serve one connection to its end, or turn it away. Connections of one ``source`` share capacity.

        ``client`` gives the name in the client's certificate.
        """
        connection = Connection(stream, self.handler, self._capacity, source, self.counters, client)
        try:
            await self._admit(connection, stream)
        finally:
            connection.slot.free()

    async def _admit(self, connection: Connection, stream: trio.abc.HalfCloseableStream) -> None:
        if self._capacity.connections.take(connection.slot):
            try:
                await connection.run()
            finally:
                self._capacity.connections.leave(connection.slot)
        elif self._refusing < limits.REFUSALS_MAX:
            self._refusing += 1
            try:
                await connection.reject(_too_many(self._capacity.connections.most))
            finally:
                self._refusing -= 1
        else:
            await trio.aclose_forcefully(stream)


def _too_many(limit: int) -> HttpError:
    return HttpError(503, f"{limit} connections are open, which is the limit: close one or try later")
