"""Listening on many streams: what each says and when, with one epoll, one task and one clock.

An observer of 64 agents that runs on the agents' own cores must cost next to nothing and must not let what one says
wait while it thinks about what another said. So everything that is there is read and stamped first, and understood
afterwards, one piece at a time with another look at the streams in between.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable

import attrs
import trio

#: Takes the moment something was said (``time.perf_counter``, seconds) and what; nothing means that the stream ended.
Hear = Callable[[float, bytes], None]

_READ_BYTES = 262_144


@attrs.define(eq=False)
class Ears:
    """Streams by file descriptor, each with its parser."""

    _epoll: select.epoll = attrs.field(factory=select.epoll)
    _hear: dict[int, Hear] = attrs.field(factory=dict)
    _heard: deque[tuple[float, Hear, bytes]] = attrs.field(factory=deque)

    def follow(self, fd: int, hear: Hear) -> None:
        """Hand what comes out of ``fd`` to ``hear``, until it ends or is forgotten. It is made non-blocking."""
        os.set_blocking(fd, False)
        self._hear[fd] = hear
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Stop listening to ``fd``, if it has not ended yet. To be called before it is closed."""
        if self._hear.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def listen(self) -> None:
        """Listen until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._take()
            while self._heard:
                at, hear, said = self._heard.popleft()
                hear(at, said)
                self._take()

    def _take(self) -> None:
        ready = self._epoll.poll(0)
        at = time.perf_counter()
        for fd, _ in ready:
            hear = self._hear[fd]
            try:
                said = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                continue
            except ConnectionResetError:  # its process was killed
                said = b""
            if not said:
                self.forget(fd)
            self._heard.append((at, hear, said))


def listen_first() -> bool:
    """Have this process run before all others whenever it has something to do; whether that is allowed (it needs root).

    Otherwise 64 agents that are busy with a piece of news keep the observer off the CPU for longer than the news takes.
    The agents that it starts are not preferred.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        return False
    return True


@attrs.define
class Lines:
    """Cuts a stream of bytes into lines."""

    _rest: bytes = b""

    def feed(self, said: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        *whole, self._rest = (self._rest + said).split(b"\n")
        return whole


@attrs.define
class Lateness:
    """How late this process woke up at worst (seconds) while it mattered: what its stamps may be off by."""

    _worst: float = 0.0

    async def watch(self, every: float = 0.005) -> None:
        """Wake up every few milliseconds, and see when that really was."""
        while True:
            due = time.perf_counter() + every
            await trio.sleep(every)
            self._worst = max(self._worst, time.perf_counter() - due)

    def take(self) -> float:
        """The worst since it was last taken."""
        worst, self._worst = self._worst, 0.0
        return worst
