"""Node thread: a node on a trio loop in a thread of its own, and calls to it from other threads.

The thread answers pings while the program is busy or blocked, which a task in the program's own loop could not. Three
rules keep a caller from ever hanging: every call is a future that is always settled, every method of a node ends when
the node does, and a process that was forked from the node's process cannot call it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from gossipreg.config import Config
from gossipreg.embed.host_thread import HostThread, check_threads, dismiss, enroll, forked_message, settle
from gossipreg.errors import GossipregError, NodeClosed
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from gossipreg.runtime.supervision import is_broken_invariant

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class NodeThread(HostThread):
    """A trio loop with one member on it, from `start` to the end of its thread."""

    _node: Node | None = attrs.field(init=False, default=None)
    _token: trio.lowlevel.TrioToken | None = attrs.field(init=False, default=None)
    _nursery: trio.Nursery | None = attrs.field(init=False, default=None)  # where calls run; None: none are accepted
    _stop: trio.Event = attrs.field(init=False, factory=trio.Event)

    @classmethod
    def start(cls, config: Config) -> NodeThread:
        """Open a node in a new thread; ``opened`` is settled when it is there. Raises ``ConfigError``: see below."""
        check_threads()
        thread = cls(config)
        enroll(thread)
        # A daemon: a forgotten node must not keep the interpreter from exiting. See `enroll`.
        threading.Thread(target=thread._run, name="gossipreg", daemon=True).start()
        return thread

    def submit(self, verb: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run ``verb`` on the loop. Cancelling the future cancels it there; ``NodeClosed`` after its end."""
        future: Future[T] = self.new_call()
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
        self.set_leave_patience()
        if self._token is not None and not self.is_forked:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._stop.set)

    def answer_in(self, loop: Callable[[Callable[[], object]], object]) -> None:
        """See `HostThread.answer_in`. A member is asked by its peers, and its own thread answers them."""

    def disown(self) -> None:
        """In a fork: close the copies of the node's sockets and locks."""
        if self._node is not None:
            self._node._lifecycle.disown()  # noqa: SLF001 - the thread owns the node

    # In the node's thread

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            trio.run(self._live)
        except BaseException as error:  # noqa: BLE001 - it is raised where the node is opened, used or closed
            failure = error
        if not self.opened.done():
            self.opened.set_exception(failure or NodeClosed("the node was stopped before it was open"))
        settle(self.ended, failure)
        for future in list(self._unsettled):
            self._refuse(future)
        dismiss(self)

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
                settle(future, error)
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
        settle(future, error)
