"""Accepting connections: sources take turns, even while the process or the host is short of descriptors.

Theory of operation. A host that connects faster than it can be served fills the kernel's queue, and then the first
packets of all other hosts are dropped: their clients try again after one second, three, seven. So connections are
accepted faster than they are served. Those that wait are kept by source, and the sources are served in turn (fair
queueing, Nagle, RFC 970). When too many wait, the last one of the source with most is closed.

``trio.serve_listeners`` does none of this, and logs an error with a traceback ten times a second when it finds no
descriptor.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.hosts import source_of
from gossipreg.runtime.supervision import run_contained

StreamT = TypeVar("StreamT", bound=trio.abc.AsyncResource)

log = logging.getLogger(__name__)

#: Connections accepted in one turn of the loop: some 4 ms of system calls where all of them are closed again.
ACCEPTED_AT_ONCE: Final = 128

#: Connections whose service begins in one turn of the loop. To begin one costs up to half a millisecond.
BEGUN_AT_ONCE: Final = 16

#: Connections that are accepted and wait to be served, unless the caller says otherwise. Each costs a descriptor, and
#: more wait in the kernel's queue.
WAITING_MAX: Final = 64

#: Errors of a kernel without room for another connection: the next one may find some.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: How long nothing is accepted after that (seconds): long enough that it costs nothing, short for a waiting client.
RETRY_SECONDS: Final = 0.1

#: From one log line about it to the next (seconds).
COMPLAINT_SECONDS: Final = 60.0


async def serve(
    handler: Callable[[StreamT], Awaitable[object]],
    listeners: Sequence[trio.abc.Listener[StreamT]],
    counters: Counter[str],
    short: Count,
    waiting: int = WAITING_MAX,
) -> None:
    """Give every connection to ``handler``, each in a task of its own, until cancelled; close it afterwards.

    The listeners are closed in the end. A connection that cannot be accepted for want of descriptors, or that is closed
    because too many wait, is counted in ``counters`` as ``short``; what is open is served on. What a handler raises
    ends its own connection. At most ``waiting`` connections of a listener wait to be served, beside those in the
    kernel's queue. Any other ``OSError`` of a listener is raised.
    """
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_Acceptor(listener, handler, nursery, counters, short, waiting).run)


@attrs.define(eq=False, repr=False)
class Arrivals:
    """Connections that wait to be served, by source; the sources are served in turn."""

    most: int
    _waiting: OrderedDict[str, deque[socket.socket]] = attrs.field(init=False, factory=OrderedDict)
    _count: int = attrs.field(init=False, default=0)

    def __len__(self) -> int:
        return self._count

    def add(self, source: str, arrived: socket.socket) -> socket.socket | None:
        """Have a connection wait. Returns the connection to close, maybe the same one, if too many wait."""
        victim = None
        if self._count >= self.most:
            richest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting[richest]) <= len(self._waiting.get(source, ())):
                return arrived
            victim = self._waiting[richest].pop()
            self._count -= 1
        self._waiting.setdefault(source, deque()).append(arrived)
        self._count += 1
        return victim

    def take(self) -> socket.socket:
        """The next connection to be served: the first of the source whose turn it is. There must be one."""
        source, waiting = next(iter(self._waiting.items()))
        taken = waiting.popleft()
        self._count -= 1
        if waiting:
            self._waiting.move_to_end(source)
        else:
            del self._waiting[source]
        return taken

    def close(self) -> None:
        """Close all that wait."""
        while self._count:
            self.take().close()


@attrs.define(eq=False, repr=False)
class _Acceptor:
    """Accepts the connections of one listener and begins to serve them."""

    _listener: trio.abc.Listener[Any]
    _handler: Callable[[Any], Awaitable[object]]
    _nursery: trio.Nursery
    _counters: Counter[str]
    _short: Count
    _waiting_max: int
    _complained_at: float = attrs.field(init=False, default=-math.inf)

    async def run(self) -> None:
        """Accept until cancelled."""
        async with self._listener:
            while True:
                try:
                    stream = await self._listener.accept()
                except OSError as error:
                    if error.errno not in _EXHAUSTED:
                        raise
                    self._refused(f"{error.strerror}; it is tried again")
                    await trio.sleep(RETRY_SECONDS)
                else:
                    self._begin(stream)
                    if isinstance(self._listener, trio.SocketListener):
                        await self._empty_queue(self._listener)

    async def _empty_queue(self, listener: trio.SocketListener) -> None:
        """Serve what waits in the kernel's queue, and what comes meanwhile, until nothing waits."""
        arrivals = Arrivals(self._waiting_max)
        try:
            while True:
                for source, arrived in _waiting(listener):
                    victim = arrivals.add(source, arrived)
                    if victim is not None:
                        victim.close()
                        self._refused(f"{arrivals.most} wait to be served; the last of the source with most is closed")
                for _ in range(min(BEGUN_AT_ONCE, len(arrivals))):
                    self._begin(trio.SocketStream(trio.socket.from_stdlib_socket(arrivals.take())))
                if not arrivals:
                    return
                await trio.lowlevel.checkpoint()
        finally:
            arrivals.close()

    def _begin(self, stream: trio.abc.AsyncResource) -> None:
        self._nursery.start_soon(_handle, stream, self._handler, self._counters)

    def _refused(self, reason: str) -> None:
        self._counters[self._short] += 1
        if trio.current_time() - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = trio.current_time()
            log.warning("cannot accept a connection%s: %s", _where(self._listener), reason)


def _waiting(listener: trio.SocketListener) -> Iterator[tuple[str, socket.socket]]:
    """Connections that can be accepted at once, and their sources. An error ends it, and recurs."""
    opened = socket.socket(fileno=listener.socket.fileno())
    try:
        for _ in range(ACCEPTED_AT_ONCE):
            accepted, address = opened.accept()
            accepted.setblocking(False)
            yield source_of(address[0]) if isinstance(address, tuple) else "", accepted
    except OSError:
        return
    finally:
        opened.detach()  # it is the listener's


async def _handle(stream: StreamT, handler: Callable[[StreamT], Awaitable[object]], counters: Counter[str]) -> None:
    try:
        await run_contained(counters, "a connection", partial(handler, stream))
    finally:
        await trio.aclose_forcefully(stream)


def _where(listener: object) -> str:
    """The listener's address, for the log."""
    if not isinstance(listener, trio.SocketListener):
        return ""
    name = listener.socket.getsockname()
    return f" at {name}" if isinstance(name, str) else f" at {name[0]}:{name[1]}"
