"""Signals: makes a node leave before its program handles a signal to end.

A server that is told to end stops listening first and runs its hooks last. A node that leaves in a hook thus sends
callers to a closed port for a while. Here the node leaves first, and then the program gets the signal.

Theory of operation. A handler that was set by ``signal.signal`` is replaced by one of ours, which passes the signal on.
Event loops (asyncio's, uvloop) call theirs in another way: the interpreter writes the number of every signal to a
descriptor (``signal.set_wakeup_fd``), which the loop reads. So where there is such a descriptor it gets ours instead,
and a thread copies from one to the other, but for the signals' numbers. Our handler writes those when it passes them
on.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from types import FrameType
from typing import Final

import attrs

from gossipreg.embed.embedded_node import EmbeddedNode
from gossipreg.embed.host_thread import HostThread
from gossipreg.errors import ConfigError

#: The signals by which a terminal, a supervisor or a container runtime tells a program to end.
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def leave_first(node: EmbeddedNode, *signums: int) -> None:
    """Make ``node`` leave when one of ``signums`` comes, and only then call the program's present handler.

    Without any, these are SIGTERM, SIGINT and SIGQUIT. For servers that have set their own handlers when this is
    called: in a lifespan, or in a hook that runs in the worker. The program goes on serving meanwhile; that takes a
    second or two, and never longer than the node's `drain_time` and `leave_linger` and two seconds. A second signal, of
    whichever kind, ends the wait: each that came is passed on once, in the order in which they came. A signal that the
    program ignores stays ignored. Raises ``ConfigError`` outside of the main thread, where signals cannot be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("leave_first: signals are handled in the main thread: call it there")
    deferred = DeferredSignals.hold(signums)
    if deferred is not None:
        deferred.attach(node)


def _handler(signum: int) -> object:
    """The program's handler; None if it is not of Python. One of ours, of a node that is closed, is seen through."""
    handler = signal.getsignal(signum)
    ours = getattr(handler, "__self__", None)
    while isinstance(ours, DeferredSignals) and ours.passes:
        handler = ours.before[signum]  # type: ignore[assignment]  # it was one
        ours = getattr(handler, "__self__", None)
    return handler


@attrs.define(eq=False, repr=False)
class DeferredSignals:
    """Signals whose handling is deferred until a node has left: one that is open, or one that is about to be."""

    before: dict[int, object]  # the handlers that the program had
    loop: int | None  # the descriptor from which an event loop reads the numbers of signals
    _thread: HostThread | None = None  # None: the node is not open yet, so the signals wait for that
    _pid: int = attrs.field(factory=os.getpid)
    _waiting: list[int] = attrs.field(factory=list)  # those that came, in order
    _is_over: bool = False  # whether one was passed on, so that no other waits
    _woken_by: int | None = None  # the signal that was sent to the main thread when the node had left
    _first: SimpleQueue[None] = attrs.field(factory=SimpleQueue)  # may be filled by a handler, unlike what has a lock

    @classmethod
    def hold(cls, signums: Sequence[int]) -> DeferredSignals | None:
        """Hold back ``signums`` (without any, `ENDING_SIGNALS`) until `attach`; None outside of the main thread.

        So a signal that comes while a node is opened finds it open, and it leaves.
        """
        if threading.current_thread() is not threading.main_thread():
            return None
        before = {each: _handler(each) for each in signums or ENDING_SIGNALS}
        handled = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        deferred = cls(handled, _WakeupFilter.keep_back(handled))
        for each in handled:
            signal.signal(each, deferred.handle)
        return deferred

    def attach(self, node: EmbeddedNode) -> None:
        """Have ``node`` leave when a signal comes, or has come."""
        self._thread = node._thread  # noqa: SLF001 - it is a node's, as we are
        self._thread.ended.add_done_callback(lambda _: self._first.put(None))
        threading.Thread(target=self._wait, name="gossipreg-leaving", daemon=True).start()
        if self._waiting:
            self._begin()

    def release(self) -> None:
        """Pass on what came and what comes: there is no node. In the main thread."""
        self._pass_on(sys._getframe())  # noqa: SLF001 - what is interrupted, as handlers are told

    @property
    def passes(self) -> bool:
        """Whether signals are passed on at once."""
        is_closed = self._thread is not None and self._thread.ended.done()
        return self._is_over or self._is_forked or is_closed

    @property
    def _is_forked(self) -> bool:
        return os.getpid() != self._pid

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal: the first one, a second one, or our own one when the node has left."""
        if signum == self._woken_by:
            self._woken_by = None
        elif signum not in self._waiting:
            self._waiting.append(signum)
            if len(self._waiting) == 1 and not self.passes:
                self._begin()
                return
        self._pass_on(frame)

    def _begin(self) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._first.put(None)

    def _wait(self) -> None:
        """Interrupt the main thread when the node has left, or should have."""
        assert self._thread is not None, "a node was attached"
        self._first.get()
        waiting = self._waiting[:1]
        if waiting:
            self._thread.wait_left()
        if waiting and not self._is_over:
            [self._woken_by] = waiting
            main = threading.main_thread().ident
            assert main is not None, "the main thread has started"
            signal.pthread_kill(main, waiting[0])  # it is handled there, whatever that thread waits for

    def _pass_on(self, frame: FrameType | None) -> None:
        """Call the program's handlers of what waits, each once and in order, even if one of them raises."""
        waiting, self._waiting, self._is_over = self._waiting, [], True
        with ExitStack() as calls:
            for signum in reversed(waiting):
                calls.callback(self._call, signum, frame)

    def _is_asyncios(self, signum: int) -> bool:
        return getattr(self.before[signum], "__module__", None) == "asyncio.unix_events"

    def _call(self, signum: int, frame: FrameType | None) -> None:
        before = self.before[signum]
        if self.loop is not None and self._is_forked:
            # The descriptor leads to the parent's loop, which the signal is not for. Where that loop was to act on it,
            # the child has no handler at all.
            if self._is_asyncios(signum):
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
        elif self.loop is not None:
            # asyncio's own handler does nothing, and its loop acts on the number; uvloop's handler acts by itself.
            _write(self.loop, bytes([signum if self._is_asyncios(signum) else 0]))
        if callable(before):
            before(signum, frame)
        elif before == signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)


@attrs.define(eq=False, repr=False)
class _WakeupFilter:
    """Copies the numbers of signals to an event loop, but some of them as 0, which only wakes it."""

    loop: int  # the descriptor that the event loop reads from
    kept_back: set[int]
    reader: socket.socket
    writer: int  # the descriptor that the interpreter writes to
    pid: int = attrs.field(factory=os.getpid)

    @classmethod
    def keep_back(cls, signums: dict[int, object]) -> int | None:
        """Keep the numbers of ``signums`` from the present event loop; returns its descriptor, or None."""
        global _filter  # noqa: PLW0603 - as there is one such descriptor in a process
        loop = signal.set_wakeup_fd(-1)
        if loop == -1:
            return None
        if _filter is not None and _filter.writer == loop:
            if _filter.pid != os.getpid():
                return None  # it leads to the loop of the process that forked this one
            _filter.kept_back |= signums.keys()
        else:
            reader, writer = socket.socketpair()
            writer.setblocking(False)
            # The interpreter writes to it for as long as the program lives.
            _filter = cls(os.dup(loop), set(signums), reader, writer.detach())
            threading.Thread(target=_filter._run, name="gossipreg-signals", daemon=True).start()
        signal.set_wakeup_fd(_filter.writer, warn_on_full_buffer=False)
        return _filter.loop

    def _run(self) -> None:
        while numbers := self.reader.recv(4096):
            _write(self.loop, bytes(0 if each in self.kept_back else each for each in numbers))


_filter: _WakeupFilter | None = None


def _write(loop: int, numbers: bytes) -> None:
    with suppress(OSError):  # the loop is closed, or has more to read than it can
        os.write(loop, numbers)
