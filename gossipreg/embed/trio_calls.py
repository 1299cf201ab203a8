"""Calls of a trio program to a node that lives in a thread: coroutines that wait for futures, and watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import attrs
import trio

from gossipreg.embed.host_thread import HostThread, forked_message
from gossipreg.embed.node_reads import NodeReads
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.errors import NodeClosed

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class TrioCalls(NodeReads):
    """What the methods of an `AttachedNode` are made of."""

    async def _call(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Run ``verb`` where the node lives, and wait for what it returns."""
        future = self._thread.submit(verb)
        try:
            await wait_done(future)
        finally:
            future.cancel()  # when this task is; what is done stays done
        return future.result()

    async def _leave(self) -> None:
        if not self._thread.is_forked:  # else it is not here, and the process that has it goes on
            self._thread.stop()
            await wait_left(self._thread)

    async def _wait_closed(self) -> None:
        if self._thread.is_forked:
            raise NodeClosed(forked_message(self._thread.pid))
        await wait_done(self._thread.ended)
        self._thread.ended.result()


class TrioWatch(Generic[T]):
    """What changes, over time: ``async for change in node.watch("orders")``, in one task at a time.

    Ends when the node closes. A timeout or a cancellation loses nothing: the next step gives what came meanwhile.
    """

    def __init__(self, steps: WatchSteps[T]) -> None:
        self._steps = steps

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await wait_done(self._steps.next())
        change = self._steps.result(0)
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """Stop watching: a waiting task sees the end of the watch."""
        self._steps.close()


async def wait_done(future: Future[Any]) -> None:
    """Return when ``future`` is settled. A cancellation cancels the waiting, not the future."""
    if future.done():
        await trio.lowlevel.checkpoint()
        return
    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_: Future[Any]) -> None:
        with suppress(trio.RunFinishedError):  # no task waits
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    await done.wait()


async def wait_left(thread: HostThread) -> None:
    """Return when the node has ended after ``stop``, or when it should have: the program ends all the same."""
    with trio.move_on_after(thread.leave_patience):
        await wait_done(thread.ended)
    thread.warn_unless_left()
