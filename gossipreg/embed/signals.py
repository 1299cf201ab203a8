"""Signals: makes a node leave before its program handles a signal to end.

A server that is told to end stops listening first and runs its hooks last. A node that leaves in a hook thus sends
callers to a closed port for a while. Here the node leaves first, and then the program gets the signal.
"""

from __future__ import annotations

import os
import signal
import threading
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
    deferred = _DeferredSignal(node._thread, signum, signal.getsignal(signum))  # noqa: SLF001 - it is a node's, as we are
    signal.signal(signum, deferred.handle)


@attrs.define(eq=False, repr=False)
class _DeferredSignal:
    """A signal whose handling is deferred until a node has left."""

    thread: NodeThread
    signum: int
    before: object  # the handler that the program had
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

    def _left(self) -> None:
        if self._waiting and not self.thread.is_forked:
            main = threading.main_thread().ident
            assert main is not None, "the main thread has started"
            signal.pthread_kill(main, self.signum)  # the signal is handled there, whatever that thread waits for

    def _pass_on(self, frame: FrameType | None) -> None:
        if callable(self.before):
            self.before(self.signum, frame)
        elif self.before == signal.SIG_DFL:
            signal.signal(self.signum, signal.SIG_DFL)
            os.kill(os.getpid(), self.signum)
