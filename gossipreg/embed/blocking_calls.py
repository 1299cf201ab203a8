"""Calls of a threaded program to its node's thread: functions that block, with a timeout, and watches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

import attrs

from gossipreg.embed.host_thread import forked_message
from gossipreg.embed.node_reads import NodeReads
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.errors import GossipregError, NodeClosed

log = logging.getLogger(__name__)

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class BlockingCalls(NodeReads):
    """What the methods of a `BlockingNode` are made of."""

    def check_failure(self) -> None:
        """Raise what closed the node, if it was closed by an error."""
        failure = self._thread.failure()
        if failure is not None:
            raise failure

    def _call(self, verb: Callable[[], Awaitable[T]], timeout: float | None) -> T:
        """Run ``verb`` in the node's thread, and wait for what it returns."""
        future = self._thread.submit(verb)
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # after a timeout or Ctrl-C; what is done stays done

    def _read(self, read: Callable[[], T]) -> T:
        """Call a read in the node's thread that may be called there only."""

        async def verb() -> T:
            return read()

        return self._call(verb, None)

    def _leave(self, timeout: float | None) -> None:
        if self._thread.is_forked:
            return  # it is not here, and the process that has it goes on
        self._thread.stop()
        if timeout is None:
            self._thread.wait_left()
        else:
            self._thread.ended.exception(timeout)

    def _wait_closed(self, timeout: float | None) -> None:
        if self._thread.is_forked:
            raise NodeClosed(forked_message(self._thread.pid))
        self._thread.ended.result(timeout)


class BlockingWatch(Generic[T]):
    """What changes, over time: ``for change in node.watch("orders")``, in one thread at a time.

    Ends when the node closes; raises what closed it, if that was an error. A timeout loses nothing: the next call
    gives what came meanwhile.
    """

    def __init__(self, steps: WatchSteps[T]) -> None:
        self._steps = steps

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        change = self._steps.result(None)
        if change is None:
            raise StopIteration
        return change

    def get(self, timeout: float | None = None) -> T:
        """The next change. Raises ``TimeoutError`` after ``timeout`` seconds, ``NodeClosed`` when there are no more."""
        change = self._steps.result(timeout)
        if change is None:
            raise NodeClosed("nothing more will change: the node is closed, or the watch")
        return change

    def each(self, callback: Callable[[T], object]) -> Self:
        """Call ``callback`` with every change from now on, in a thread of its own, until the watch or node is closed.

        What it raises is logged, and it is called again. It may use the node as any other thread may.
        """
        threading.Thread(target=self._tell, args=(callback,), name="gossipreg watch", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop watching: a waiting call ends as if there were no more changes. From any thread."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, callback: Callable[[T], object]) -> None:
        try:
            for change in self:
                try:
                    callback(change)
                except Exception:
                    log.exception("a watch called back, and that failed")
        except GossipregError as error:
            log.error("a watch ends: %s", error)  # noqa: TRY400 - a sentence for users
