"""The event stream: what happens in the cluster, as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress

import attrs
import trio

from gossipreg.errors import NameConflict, NodeClosed
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import EventBatches, NodeApi
from gossipreg.frontends.serving.response import ByteChunks, Headers, Send, StreamingResponse
from gossipreg.values import frozen

KEEP_ALIVE = b": keep-alive\n\n"


@attrs.define(eq=False, repr=False)
class _ClientStream:
    """One client's stream: sends one part after the other, and a keep-alive after a silence."""

    _send: Send
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _sent_at: float = attrs.field(init=False, factory=trio.current_time)

    async def send(self, frame: bytes | ByteChunks) -> None:
        try:
            self._lock.acquire_nowait()  # without giving up a turn: it is nearly always free
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            await self._send(frame)
            self._sent_at = trio.current_time()
        finally:
            self._lock.release()

    async def keep_alive(self) -> None:
        while True:
            await trio.sleep_until(self._sent_at + limits.KEEP_ALIVE_SECONDS)
            if trio.current_time() >= self._sent_at + limits.KEEP_ALIVE_SECONDS:
                await self.send(KEEP_ALIVE)


@frozen(eq=False)
class EventStream(StreamingResponse):
    """An answer that goes on until the node closes or the client has gone."""

    node: NodeApi
    service: str | None = None
    panic: float = 0.0
    healthy: bool = True
    event_encoder: EventEncoder = attrs.field(factory=EventEncoder)  # shared by all streams of a listener
    headers: Headers = ()
    batches: EventBatches | None = None  # those of another region, in place of the node's
    is_admitted: Callable[[], bool] = lambda: True  # whether the client may go on: its token may be revoked, or expire

    def with_headers(self, headers: Headers) -> EventStream:
        """The same stream with these headers."""
        return attrs.evolve(self, headers=headers)

    def _batches(self) -> EventBatches:
        if self.batches is not None:
            return self.batches
        return self.node.events(self.service, panic=self.panic, healthy=self.healthy)

    def _while_admitted(self, send: Send, stream: trio.CancelScope) -> Send:
        """``send``, which ends the stream once the client may not go on."""

        async def send_if_admitted(data: bytes | ByteChunks) -> None:
            if not self.is_admitted():
                stream.cancel()
                await trio.lowlevel.checkpoint()
            await send(data)

        return send_if_admitted

    async def run(self, send: Send) -> None:
        """Send the node's events, and a keep-alive when there are none. Sends nothing if the node is closed.

        The next batch is taken from the node only when the last one is sent, so a slow client costs no memory here.
        """
        async with trio.open_nursery() as nursery:
            client = _ClientStream(self._while_admitted(send, nursery.cancel_scope))
            nursery.start_soon(client.keep_alive)
            with suppress(NodeClosed, NameConflict):
                async with aclosing(self._batches()) as batches:
                    async for batch in batches:
                        frames = await self.event_encoder.of(batch)
                        del batch  # so that a slow client does not keep a list of all instances in memory
                        await client.send(frames)
            nursery.cancel_scope.cancel()
