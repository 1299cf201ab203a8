"""Knows how the door opens: where it listens, and whom it lets in."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

import attrs
import trio

from gossipreg.doors.http import limits
from gossipreg.doors.http.answers import Refusal
from gossipreg.doors.http.call import Room
from gossipreg.doors.http.connection import Answering, Connection
from gossipreg.doors.http.door import Door
from gossipreg.doors.http.guard import Guard
from gossipreg.doors.http.lookups import Lookups
from gossipreg.doors.http.registry import Registry
from gossipreg.errors import BindError
from gossipreg.model import Address

log = logging.getLogger(__name__)


async def serve_http(
    node: Registry,
    address: Address,
    *,
    leave: Callable[[], None],
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP at ``address`` until cancelled; port 0 takes any free one. Start it with ``nursery.start``.

    Starts with the address that it really listens on. ``leave`` is called, and must return at once, whenever a client
    asks the node to leave. Raises ``BindError`` if the address cannot be had.
    """
    listeners = await _listen(address)
    bound = Address(*listeners[0].socket.getsockname()[:2])
    door = Door(Room(node, leave, Lookups(node)), Guard(asked=address, bound=bound))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.close_with_node)
        task_status.started(bound)
        await trio.serve_listeners(Reception(door).admit, listeners)


async def _listen(address: Address) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        reason, remedy = explain(error)
        raise BindError(f"cannot listen on {address} for HTTP: {reason}: {remedy}") from None


def explain(error: OSError, *, flag: str = "--http") -> tuple[str, str]:
    """Why an address cannot be had, and what to do about it, which is to pass another one with ``flag``."""
    if isinstance(error, socket.gaierror):
        return "no such host name", f"pass {flag} HOST:PORT with an address of this machine"
    match error.errno:
        case errno.EADDRINUSE:
            return "address already in use", f"stop the other program or pass {flag} HOST:PORT"
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine", f"pass {flag} HOST:PORT with one that is"
        case errno.EACCES:
            return "permission denied", f"pass {flag} HOST:PORT with a port above 1023"
        case _:
            return (error.strerror or str(error)).lower(), f"pass {flag} HOST:PORT"


@attrs.define(eq=False)
class Reception:
    """Lets connections in, up to a limit; says why to some beyond it."""

    door: Answering
    _event_streams: trio.Semaphore = attrs.field(
        init=False, factory=lambda: trio.Semaphore(limits.EVENT_STREAMS_MAX, max_value=limits.EVENT_STREAMS_MAX)
    )
    _open: int = attrs.field(init=False, default=0)

    async def admit(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection to its end, or turn it away."""
        self._open += 1
        try:
            connection = Connection(stream, self.door, self._event_streams)
            if self._open <= limits.CONNECTIONS_MAX:
                await connection.run()
            elif self._open <= limits.CONNECTIONS_MAX + limits.REFUSALS_MAX:
                await connection.turn_away(_too_many())
            else:
                await trio.aclose_forcefully(stream)
        finally:
            self._open -= 1


def _too_many() -> Refusal:
    return Refusal(503, f"{limits.CONNECTIONS_MAX} connections are open, which is the limit: close one or try later")
