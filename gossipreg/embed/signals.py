"""Signals: makes a node leave before its program handles a signal to end.

A server that is told to end stops listening first and runs its hooks last. A node that leaves in a hook thus sends
callers to a closed port for a while. Here the node leaves first, and then the program gets the signal.

Theory of operation. A handler that was set by ``signal.signal`` is replaced by one of ours, which passes the signal on.
Event loops (asyncio's, uvloop) call theirs in another way: the interpreter writes the number of every signal to a
descriptor (``signal.set_wakeup_fd``), which the loop reads. So where there is such a descriptor it gets ours instead,
and a thread copies from one to the other, but for the signal's number. Our handler writes that when it passes it on.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from types import FrameType

import attrs

from gossipreg.embed.embedded_node import EmbeddedNode
from gossipreg.embed.node_thread import NodeThread
from gossipreg.errors import ConfigError


def leave_first(node: EmbeddedNode, signum: int = signal.SIGTERM) -> None:
    """Make ``node`` leave when ``signum`` comes, and only then call the program's present handler.

    For servers that have set their own handlers when this is called: in a lifespan, or in a hook that runs in the
    worker. The program goes on serving meanwhile; that takes a second or two. A second signal is
    passed on at once. Raises ``ConfigError`` outside of the main thread, where signals cannot be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("leave_first: signals are handled in the main thread: call it there")
    thread = node._thread  # noqa: SLF001 - it is a node's, as we are
    loop = signal.set_wakeup_fd(-1)
    if loop != -1:
        loop = os.dup(loop)
        signal.set_wakeup_fd(_WakeupFilter.start(loop, signum), warn_on_full_buffer=False)
    deferred = _DeferredSignal(thread, signum, signal.getsignal(signum), None if loop == -1 else loop)
    signal.signal(signum, deferred.handle)


@attrs.define(eq=False, repr=False)
class _DeferredSignal:
    """A signal whose handling is deferred until a node has left."""

    thread: NodeThread
    signum: int
    before: object  # the handler that the program had
    loop: int | None  # the descriptor from which an event loop reads the numbers of signals
    _waiting: bool = False

    def handle(self, _: int, frame: FrameType | None) -> None:
        """Handle the signal: the first one, a second one, or our own one when the node has left."""
        if self._waiting or self.thread.is_forked or self.thread.ended.done():
            self._waiting = False
            self._pass_on(frame)
        else:
            self._waiting = True
            self.thread.ended.add_done_callback(lambda _: self._left())
            self.thread.stop()

    @property
    def _is_asyncios(self) -> bool:
        return getattr(self.before, "__module__", None) == "asyncio.unix_events"

    def _left(self) -> None:
        if self._waiting and not self.thread.is_forked:
            main = threading.main_thread().ident
            assert main is not None, "the main thread has started"
            signal.pthread_kill(main, self.signum)  # the signal is handled there, whatever that thread waits for

    def _pass_on(self, frame: FrameType | None) -> None:
        if self.loop is not None and self.thread.is_forked:
            # The descriptor leads to the parent's loop, which the signal is not for. Where that loop was to act on it,
            # the child has no handler at all.
            if self._is_asyncios:
                signal.signal(self.signum, signal.SIG_DFL)
                os.kill(os.getpid(), self.signum)
        elif self.loop is not None:
            # asyncio's own handler does nothing, and its loop acts on the number; uvloop's handler acts by itself.
            _write(self.loop, bytes([self.signum if self._is_asyncios else 0]))
        if callable(self.before):
            self.before(self.signum, frame)
        elif self.before == signal.SIG_DFL:
            signal.signal(self.signum, signal.SIG_DFL)
            os.kill(os.getpid(), self.signum)


@attrs.define(eq=False, repr=False)
class _WakeupFilter:
    """Copies the numbers of signals to an event loop, but one of them as 0, which only wakes it."""

    loop: int  # the descriptor that the event loop reads from
    signum: int
    reader: socket.socket

    @classmethod
    def start(cls, loop: int, signum: int) -> int:
        """Start to copy; returns the descriptor that the numbers are to be written to."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        copier = cls(loop, signum, reader)
        threading.Thread(target=copier._run, name="gossipreg-signals", daemon=True).start()
        return writer.detach()  # the interpreter writes to it for as long as the program lives

    def _run(self) -> None:
        while numbers := self.reader.recv(4096):
            _write(self.loop, numbers.replace(bytes([self.signum]), b"\0"))


def _write(loop: int, numbers: bytes) -> None:
    with suppress(OSError):  # the loop is closed, or has more to read than it can
        os.write(loop, numbers)
