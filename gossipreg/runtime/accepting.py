"""Accepting connections, also while the process or the host is short of descriptors or memory.

In place of ``trio.serve_listeners``, which logs an error with a traceback ten times a second then.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import trio

from gossipreg.counters import Count
from gossipreg.runtime.supervision import run_contained

StreamT = TypeVar("StreamT", bound=trio.abc.AsyncResource)

log = logging.getLogger(__name__)

#: Connections accepted in one turn of the loop. Were it one, those that come while a busy node's turns are long would
#: overflow the kernel's queue, and their clients would try again after a second, three, seven.
ACCEPTED_AT_ONCE: Final = 16

#: What the kernel says when it has no room for another connection: the next one may find some.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: How long nothing is accepted after that (seconds): long enough that it costs nothing, short for who waits.
RETRY_SECONDS: Final = 0.1

#: From one log line about it to the next (seconds).
COMPLAINT_SECONDS: Final = 60.0


async def serve(
    handler: Callable[[StreamT], Awaitable[object]],
    listeners: Sequence[trio.abc.Listener[StreamT]],
    counters: Counter[str],
    short: Count,
) -> None:
    """Give every connection to ``handler``, each in a task of its own, until cancelled; close it afterwards.

    The listeners are closed in the end. While a connection cannot be accepted for want of descriptors, those that are
    open are served on, and each try is counted in ``counters`` as ``short``. What a handler raises ends its own
    connection. Any other ``OSError`` of a listener is
    raised.
    """
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_accept, listener, handler, nursery, counters, short)


async def _accept(
    listener: trio.abc.Listener[StreamT],
    handler: Callable[[StreamT], Awaitable[object]],
    nursery: trio.Nursery,
    counters: Counter[str],
    short: Count,
) -> None:
    complained_at = -math.inf
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                counters[short] += 1
                if trio.current_time() - complained_at >= COMPLAINT_SECONDS:
                    complained_at = trio.current_time()
                    log.warning("cannot accept a connection%s: %s; it is tried again", _where(listener), error.strerror)
                await trio.sleep(RETRY_SECONDS)
            else:
                nursery.start_soon(_handle, stream, handler, counters)
                if isinstance(listener, trio.SocketListener):
                    for further in _waiting(listener):
                        nursery.start_soon(_handle, further, handler, counters)


def _waiting(listener: trio.SocketListener) -> Iterator[Any]:
    """Connections that can be accepted at once, some at most. What goes wrong will go wrong at the next one, too."""
    opened = socket.socket(fileno=listener.socket.fileno())
    try:
        for _ in range(ACCEPTED_AT_ONCE - 1):
            accepted, _ = opened.accept()
            accepted.setblocking(False)
            yield trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
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
