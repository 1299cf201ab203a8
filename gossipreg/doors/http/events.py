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


@attrs.frozen(eq=False)
class EventStream:
    """An answer that goes on until the node closes or the client has gone."""

    node: Registry
    service: str | None = None

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send the node's events, and a sign of life when there are none. Sends nothing if the node is closed.

        The next batch is taken from the node only when the last one is sent, so a slow client costs no memory here.
        """
        outbox, inbox = trio.open_memory_channel[bytes](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, outbox)
            with suppress(trio.EndOfChannel):
                frame = await inbox.receive()
                while True:
                    await send(frame)
                    frame = KEEP_ALIVE
                    # Only the channel may be given up on: a cancelled generator would end for good.
                    with trio.move_on_after(limits.KEEP_ALIVE_SECONDS):
                        frame = await inbox.receive()

    async def _pump(self, outbox: trio.MemorySendChannel[bytes]) -> None:
        async with outbox:
            with suppress(NodeClosed, NameConflict):
                async with aclosing(self.node.events(self.service)) as batches:
                    async for batch in batches:
                        await outbox.send(frames(batch))
