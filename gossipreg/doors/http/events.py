"""Knows how what happens in the cluster is told as it happens: as server-sent events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing, suppress

import attrs
import trio

from gossipreg.doors.http import limits, render
from gossipreg.doors.http.answers import encode
from gossipreg.doors.http.registry import Registry
from gossipreg.errors import NameConflict, NodeClosed
from gossipreg.model import Event

KEEP_ALIVE = b": keep-alive\n\n"


def frames(batch: Iterable[Event]) -> bytes:
    """A batch of events as it goes over the wire."""
    return b"".join(_frame(event) for event in batch)


def _frame(event: Event) -> bytes:
    name, data = render.event(event)
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), encode(data))


@attrs.define(eq=False)
class _Line:
    """What one client is told: one thing after the other, and a sign of life after a silence."""

    _send: Callable[[bytes], Awaitable[None]]
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _said_at: float = attrs.field(init=False, factory=trio.current_time)

    async def say(self, frame: bytes) -> None:
        async with self._lock:
            await self._send(frame)
            self._said_at = trio.current_time()

    async def keep_alive(self) -> None:
        while True:
            await trio.sleep_until(self._said_at + limits.KEEP_ALIVE_SECONDS)
            if trio.current_time() >= self._said_at + limits.KEEP_ALIVE_SECONDS:
                await self.say(KEEP_ALIVE)


@attrs.frozen(eq=False)
class EventStream:
    """An answer that goes on until the node closes or the client has gone."""

    node: Registry
    service: str | None = None

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send the node's events, and a sign of life when there are none. Sends nothing if the node is closed.

        The next batch is taken from the node only when the last one is sent, so a slow client costs no memory here.
        """
        line = _Line(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.keep_alive)
            with suppress(NodeClosed, NameConflict):
                async with aclosing(self.node.events(self.service)) as batches:
                    async for batch in batches:
                        await line.say(frames(batch))
            nursery.cancel_scope.cancel()
