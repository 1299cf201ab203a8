"""The relay: copies bytes between two connections, each direction by itself.

Each direction reads a piece, writes it, and only then reads the next, so a slow reader slows its writer down and
nothing piles up here. The end of one direction is passed on, and the other goes on until it ends too. What ends in any
other way is not passed off as an end: both connections are reset, so that half of an answer is not taken for the whole.
"""

from __future__ import annotations

import array
import fcntl
import math
import os
import socket
import struct
import termios
from collections import Counter
from contextlib import suppress
from typing import Final

import attrs
import trio

from gossipreg.frontends.proxy.counters import ForwardCount
from gossipreg.frontends.proxy.limits import PIECE_BYTES
from gossipreg.values import frozen

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
    _moved_at: float = -math.inf  # when a byte was last received or handed to the kernel
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        """Return when both directions have ended, or anything went wrong. Closes both connections, always."""
        whole = False
        try:
            with self._scope:
                await (self._watched() if self.idle else self._both())
                whole = not self._broken
        finally:
            for each in (self.caller, self.instance):
                if whole:
                    each.close()
                else:
                    reset(each)

    async def _both(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, self.instance, self.caller, ForwardCount.BYTES_OUT)
            await self._copy(self.caller, self.instance, ForwardCount.BYTES_IN)

    async def _watched(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_when_idle)
            await self._both()
            nursery.cancel_scope.cancel()

    async def _cut_when_idle(self) -> None:
        """End the relay when nothing has moved for the idle time, in either direction.

        What the kernel still sends counts: a reader may be so slow that it takes longer than that to make room for
        another piece.
        """
        self._moved_at = trio.current_time()
        unsent = self._unsent()
        while True:
            await trio.sleep_until(self._moved_at + self.idle)
            if trio.current_time() < self._moved_at + self.idle:
                continue
            before, unsent = unsent, self._unsent()
            if before == unsent:
                self.timed_out = not self._broken
                self._scope.cancel()
                return
            self._moved_at = trio.current_time()

    def _unsent(self) -> tuple[int, int]:
        return _unsent(self.caller), _unsent(self.instance)

    async def _copy(self, source: trio.socket.SocketType, to: trio.socket.SocketType, counter: ForwardCount) -> None:
        """Copy until ``source`` ends, and pass the end on.

        It waits, and reads then, by system calls of its own: a `recv` of trio first tries, in vain at most times, and
        each of its calls lets all other tasks run. Here they run once for each piece.
        """
        reading, writing = source.fileno(), to.fileno()
        is_full = False
        with self._breaking():
            while True:
                if is_full:  # most likely there is more; the other tasks have their turn all the same
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(reading)
                try:
                    piece = os.read(reading, PIECE_BYTES)
                except BlockingIOError:
                    is_full = False
                    continue
                if not piece:
                    break
                is_full = len(piece) == PIECE_BYTES
                self.counters[counter] += len(piece)
                self._moved_at = trio.current_time()
                try:
                    sent = os.write(writing, piece)
                except BlockingIOError:
                    sent = 0
                if sent < len(piece):
                    await self._send_rest(to, memoryview(piece)[sent:])
            to.shutdown(socket.SHUT_WR)

    async def _send_rest(self, to: trio.socket.SocketType, rest: memoryview) -> None:
        while rest:
            self._moved_at = trio.current_time()
            rest = rest[await to.send(rest) :]

    def _breaking(self) -> _Breaking:
        return _Breaking(self)

    def broke(self) -> None:
        """One of the connections failed: that is the end of both."""
        self._broken = True
        self._scope.cancel()


@frozen
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


def _unsent(connection: trio.socket.SocketType) -> int:
    """Bytes that the kernel has not sent yet, or that the other side has not acknowledged; 0 where it does not say."""
    size = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, size)
    return size[0]


async def send_all(connection: trio.socket.SocketType, data: bytes) -> None:
    """Send all of ``data``, however slowly it is taken. Raises ``OSError``."""
    sent = await connection.send(data)
    if sent < len(data):
        rest = memoryview(data)
        while sent < len(data):
            sent += await connection.send(rest[sent:])
