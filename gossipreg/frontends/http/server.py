"""Knows how the door opens: where it listens, and whom it lets in."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.errors import InsecureError
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.capacity import Capacity
from gossipreg.frontends.serving.connection import Connection, RequestHandler
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.listening import listen, listen_at_file
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prompt_stream import PromptStream
from gossipreg.frontends.serving.response import HttpError
from gossipreg.hosts import source_of
from gossipreg.model import Address, SocketFile
from gossipreg.runtime.accepting import serve
from gossipreg.runtime.supervision import run_contained
from gossipreg.targets import is_loopback

if TYPE_CHECKING:
    from gossipreg.frontends.serving.compatibility_api import CompatibilityApi

log = logging.getLogger(__name__)


async def serve_http(
    node: NodeApi,
    address: Address | SocketFile,
    *,
    leave: Callable[[], None],
    access: Access | None = None,
    insecure: bool = False,
    compatibility_apis: tuple[CompatibilityApi, ...] = (),
    counters: Counter[str] | None = None,
    task_status: trio.TaskStatus[Address | SocketFile] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer HTTP at ``address`` until cancelled; port 0 takes any free one. Start it with ``nursery.start``.

    Starts with the address that it really listens on. ``leave`` is called, and must return at once, whenever a client
    asks the node to leave. ``access`` says who may do what; by default all may. ``compatibility_apis`` answer at
    paths of their own. What the listener counts goes into ``counters``. Raises ``BindError`` if the address cannot be
    had, and ``InsecureError`` if all may come from beyond this machine, unless it is ``insecure``.
    """
    access = Access() if access is None else access
    counters = Counter() if counters is None else counters
    server = ServerContext(node, leave, LookupCache(node), access, compatibility_apis)
    if isinstance(address, SocketFile):
        with listen_at_file(address) as listener:
            await _serve(
                Dispatcher(server, Guard(asked=address, bound=address)), [listener], address, counters, task_status
            )
        return
    listeners = await listen(address)
    bound = [Address(*listener.socket.getsockname()[:2]) for listener in listeners]
    access.is_exposed = not all(is_loopback(each.host) for each in bound)
    try:
        for each in bound:
            check_safety(each, access, asked=address, insecure=insecure)
    except InsecureError:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    await _serve(Dispatcher(server, Guard(asked=address, bound=bound[0])), listeners, bound[0], counters, task_status)


def check_safety(
    address: Address | SocketFile, access: Access, *, asked: Address | SocketFile | None = None, insecure: bool
) -> None:
    """Raise ``InsecureError`` where all may come from beyond this machine, unless that is wanted.

    Of a host that is a name, nothing is known until it is listened at: it passes.
    """
    if insecure or not access.is_open or isinstance(address, SocketFile):
        return
    try:
        is_local = ip_address(address.host.partition("%")[0]).is_loopback
    except ValueError:
        return
    if not is_local:
        raise InsecureError(
            f"cannot answer HTTP at {asked or address} to whoever asks: pass --tokens-file FILE with the tokens of "
            "those who may, or --insecure on a trusted network"
        )


async def _serve(
    handler: Dispatcher,
    listeners: list[trio.SocketListener],
    bound: Address | SocketFile,
    counters: Counter[str],
    task_status: trio.TaskStatus[Address | SocketFile],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_contained, counters, "the wait for the node's end", handler.close_with_node)
        task_status.started(bound)
        acceptor = Acceptor(handler, counters)
        waiting = acceptor.waiting_to_be_served
        await serve(acceptor.accept, listeners, counters, Count.HTTP_NOT_ACCEPTED, waiting)


@attrs.define(eq=False, repr=False)
class Acceptor:
    """Accepts connections while there is room; of those beyond, some are told why not."""

    handler: RequestHandler
    counters: Counter[str] = attrs.field(factory=Counter)
    _capacity: Capacity = attrs.field(init=False, factory=Capacity.now)
    _refusing: int = attrs.field(init=False, default=0)

    @property
    def waiting_to_be_served(self) -> int:
        """How many accepted connections may wait to be served."""
        return self._capacity.waiting_to_be_served

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve a client of the kernel's."""
        try:
            peer = stream.socket.getpeername()
        except OSError:  # it is gone
            await trio.aclose_forcefully(stream)
            return
        await self.admit(PromptStream(stream), source_of(peer[0]) if isinstance(peer, tuple) else "")

    async def admit(self, stream: trio.abc.HalfCloseableStream, source: str = "") -> None:
        """Serve one connection to its end, or turn it away. ``source`` is what it shares room with."""
        connection = Connection(stream, self.handler, self._capacity, source, self.counters)
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
