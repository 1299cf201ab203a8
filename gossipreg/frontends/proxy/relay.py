"""The relay: copies bytes between two connections, each direction by itself.

Each direction reads a piece, writes it, and only then reads the next, so a slow reader slows its writer down and
nothing piles up here. The end of one direction is passed on, and the other goes on until it ends too. What ends in any
other way is not passed off as an end: both connections are reset, so that half of an answer is not taken for the whole.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from contextlib import suppress
from typing import Final

import attrs
import trio

from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.limits import PIECE_BYTES

#: Close with a reset: linger for no time.
_RESET: Final = struct.pack("ii", 1, 0)


def tune(connection: trio.socket.SocketType) -> None:
    """Send small pieces at once, and find out in time that the other side is no more. Nothing if it is gone already."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset(connection: trio.socket.SocketType) -> None:
    """Close with a reset, so that the other side can tell it from an end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


@attrs.define(eq=False, repr=False)
class Relay:
    """A caller's connection and an instance's. ``idle`` is how long both may be silent (seconds; 0: for ever)."""

    caller: trio.socket.SocketType
    instance: trio.socket.SocketType
    idle: float = 0.0
    counters: Counter[str] = attrs.field(factory=Counter)  # bytes_in from the caller, bytes_out to it
    timed_out: bool = False
    _broken: bool = False
    _patience: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        """Return when both directions have ended, or anything went wrong. Closes both connections, always."""
        whole = False
        try:
            self._moved()
            with self._patience:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._answers)
                    await self._questions()
                whole = not self._broken
            self.timed_out = self._patience.cancelled_caught and not self._broken
        finally:
            for each in (self.caller, self.instance):
                if whole:
                    each.close()
                else:
                    reset(each)

    async def _questions(self) -> None:
        with self._breaking():
            while piece := await self.caller.recv(PIECE_BYTES):
                self._moved()
                self.counters[ForwardCount.BYTES_IN] += len(piece)
                await send_all(self.instance, piece)
            self.instance.shutdown(socket.SHUT_WR)

    async def _answers(self) -> None:
        with self._breaking():
            while piece := await self.instance.recv(PIECE_BYTES):
                self._moved()
                self.counters[ForwardCount.BYTES_OUT] += len(piece)
                await send_all(self.caller, piece)
            self.caller.shutdown(socket.SHUT_WR)

    def _breaking(self) -> _Breaking:
        return _Breaking(self)

    def _moved(self) -> None:
        if self.idle:
            self._patience.deadline = trio.current_time() + self.idle

    def broke(self) -> None:
        """One of the connections failed: that is the end of both."""
        self._broken = True
        self._patience.cancel()


@attrs.frozen
class _Breaking:
    """Ends the relay where a connection fails. A class, because a generator would cost more than the copying."""

    relay: Relay

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, OSError):
            return False
        self.relay.broke()
        return True


async def send_all(connection: trio.socket.SocketType, data: bytes) -> None:
    """Send all of ``data``, however slowly it is taken. Raises ``OSError``."""
    sent = await connection.send(data)
    if sent < len(data):
        rest = memoryview(data)
        while sent < len(data):
            sent += await connection.send(rest[sent:])
