"""Node thread: a node on a trio loop in a thread of its own, and calls to it from other threads.

The thread answers pings while the program is busy or blocked, which a task in the program's own loop could not. Three
rules keep a caller from ever hanging: every call is a future that is always settled, every method of a node ends when
the node does, and a process that was forked from the node's process cannot call it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

import attrs
import trio

from gossipreg.config import Config
from gossipreg.errors import ConfigError, GossipregError, NodeClosed
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from gossipreg.runtime.supervision import is_broken_invariant

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Finalizers of a higher priority run first: the node leaves before anything that it offers is taken down.
_BEFORE_OTHERS = 1000

#: How much longer than its drain and its farewell a node may delay the end of its program (seconds): a disk that hangs,
#: a starved thread. With the default settings a program so waits 3.2 s at most.
_LEAVE_PATIENCE = 2.0


@attrs.define(eq=False, repr=False)
class NodeThread:
    """A trio loop with one node on it, from `start` to the end of its thread."""

    config: Config
    pid: int = attrs.field(init=False, factory=os.getpid)
    opened: Future[Node] = attrs.field(init=False, factory=Future)  # or why that failed
    ended: Future[None] = attrs.field(init=False, factory=Future)  # or what ended it
    _node: Node | None = attrs.field(init=False, default=None)
    _token: trio.lowlevel.TrioToken | None = attrs.field(init=False, default=None)
    _nursery: trio.Nursery | None = attrs.field(init=False, default=None)  # where calls run; None: none are accepted
    _stop: trio.Event = attrs.field(init=False, factory=trio.Event)
    _stop_by: float | None = attrs.field(init=False, default=None)  # until when it may leave; None: it is to stay
    _unsettled: set[Future[Any]] = attrs.field(init=False, factory=set)

    @classmethod
    def start(cls, config: Config) -> NodeThread:
        """Open a node in a new thread; ``opened`` is settled when it is there. Raises ``ConfigError``: see below."""
        _check_threads()
        thread = cls(config)
        _open_threads.add(thread)
        _leave_when_a_child_exits()
        # A daemon: a forgotten node must not keep the interpreter from exiting. See `_leave_at_exit`.
        threading.Thread(target=thread._run, name="gossipreg", daemon=True).start()
        return thread

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one in which the node lives."""
        return os.getpid() != self.pid

    def submit(self, verb: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run ``verb`` on the loop. Cancelling the future cancels it there; ``NodeClosed`` after its end."""
        future: Future[T] = Future()
        self._unsettled.add(future)
        future.add_done_callback(self._unsettled.discard)
        if self.is_forked:
            future.set_exception(NodeClosed(forked_message(self.pid)))
            return future
        assert self._token is not None, "verbs come after the opening"
        try:
            self._token.run_sync_soon(self._begin, verb, future)
        except trio.RunFinishedError:
            self._refuse(future)
        return future

    def stop(self) -> None:
        """Make the node leave gracefully; ``ended`` is settled when it has. A signal handler may call this."""
        if self._stop_by is None:
            settings = self.config.protocol
            self._stop_by = time.monotonic() + settings.drain_time + settings.leave_linger + _LEAVE_PATIENCE
        if self._token is not None and not self.is_forked:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._stop.set)

    @property
    def leave_patience(self) -> float:
        """How long a program that has called `stop` still waits for the node to leave (seconds)."""
        assert self._stop_by is not None, "it was stopped"
        return max(0.0, self._stop_by - time.monotonic())

    def wait_left(self) -> None:
        """Return when the node has ended after `stop`, or when it should have: the program ends all the same."""
        wait([self.ended], self.leave_patience)
        self.warn_unless_left()

    def warn_unless_left(self) -> None:
        """Log that the program goes on without waiting for the node any longer, if it does."""
        if not self.ended.done():
            log.warning("the node has not left in time: its program goes on, and its peers will find that it failed")

    def disown(self) -> None:
        """In a fork: close the copies of the node's sockets and locks."""
        if self._node is not None:
            self._node._lifecycle.disown()  # noqa: SLF001 - the thread owns the node

    def failure(self) -> GossipregError | None:
        """What ended the node, if it was not asked to end. Bugs are raised."""
        error = self.ended.exception() if self.ended.done() else None
        if error is not None and not isinstance(error, GossipregError):
            raise error
        return error

    # In the node's thread

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            trio.run(self._live)
        except BaseException as error:  # noqa: BLE001 - it is raised where the node is opened, used or closed
            failure = error
        if not self.opened.done():
            self.opened.set_exception(failure or NodeClosed("the node was stopped before it was open"))
        _settle(self.ended, failure)
        for future in list(self._unsettled):
            self._refuse(future)
        _open_threads.discard(self)

    async def _live(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._stop_by is not None:
            self._stop.set()  # `stop` was called before there was a token
        async with open_node(self.config) as node, trio.open_nursery() as nursery:
            self._nursery, self._node = nursery, node
            self.opened.set_result(node)
            try:
                await self._stop.wait()
                await node.leave()
            finally:
                self._nursery = None  # calls in progress end by themselves, since their node is closed

    def _begin(self, verb: Callable[[], Awaitable[T]], future: Future[T]) -> None:
        if self._nursery is None:
            self._refuse(future)
        else:
            self._nursery.start_soon(self._perform, verb, future)

    async def _perform(self, verb: Callable[[], Awaitable[T]], future: Future[T]) -> None:
        with trio.CancelScope() as scope:
            future.add_done_callback(partial(self._follow, scope))
            try:
                result = await verb()
            except trio.Cancelled:
                self._refuse(future)
                raise
            except Exception as error:
                _settle(future, error)
                if is_broken_invariant(error):
                    raise
            else:
                if future.set_running_or_notify_cancel():
                    future.set_result(result)

    def _follow(self, scope: trio.CancelScope, future: Future[Any]) -> None:
        """Cancel the call whose future the caller has cancelled."""
        if future.cancelled() and self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(scope.cancel)

    def _refuse(self, future: Future[Any]) -> None:
        error = self.ended.exception() if self.ended.done() else None
        if not isinstance(error, GossipregError):
            error = NodeClosed(f"node {self.opened.result().name!r} is closed: open a new one")
        _settle(future, error)


def _settle(future: Future[Any], error: BaseException | None) -> None:
    if not future.done() and future.set_running_or_notify_cancel():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _check_threads() -> None:
    """Raise ``ConfigError`` where a thread is none: a node would run only while all else waits, and trio not at all."""
    for library, module in (("gevent", "gevent.monkey"), ("eventlet", "eventlet.patcher")):
        patcher = sys.modules.get(module)
        is_patched = getattr(patcher, "is_module_patched", None) or getattr(patcher, "is_monkey_patched", None)
        if is_patched is not None and (is_patched("threading") or is_patched("thread")):
            raise ConfigError(
                f"{library} has replaced threads, so no node can run in this process: run `gossipreg agent` beside it"
            )


def forked_message(pid: int) -> str:
    """Why a fork of the process ``pid`` cannot use the node that it opened."""
    return (
        f"the node lives in process {pid}, and {os.getpid()} is a fork of that: open one in each worker, after the fork"
    )


#: The modules with whose finalizers the leave is registered, and in which process: a child begins with none of them.
_child_exits: set[tuple[str, int]] = set()

#: Every node thread of this process that has not ended.
_open_threads: WeakSet[NodeThread] = WeakSet()


def _leave_at_exit() -> None:
    """At exit of the interpreter, make the nodes that are still open leave, in bounded time."""
    threads = list(_open_threads)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.wait_left()


def _leave_when_a_child_exits() -> None:
    """Make the nodes of this process leave also where it is a child that exits without the interpreter's exit.

    The children of multiprocessing, if they are forked, and those of Celery (billiard) end by ``os._exit``, after the
    finalizers of their own that are registered in the child. A recycled worker ends so as well.
    """
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None and (name, os.getpid()) not in _child_exits:
            _child_exits.add((name, os.getpid()))
            module.Finalize(None, _leave_at_exit, exitpriority=_BEFORE_OTHERS)


def _forked() -> None:
    """Detach all nodes in a process that was just forked."""
    for thread in list(_open_threads):
        thread.disown()
    _open_threads.clear()


atexit.register(_leave_at_exit)
os.register_at_fork(after_in_child=_forked)
