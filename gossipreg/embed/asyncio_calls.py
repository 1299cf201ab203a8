"""Calls of an asyncio program to its node's thread: coroutines that wait for futures, and watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

import attrs

from gossipreg.embed.host_thread import HostThread, forked_message
from gossipreg.embed.node_reads import NodeReads
from gossipreg.embed.watch_steps import WatchSteps
from gossipreg.errors import NodeClosed

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class AsyncioCalls(NodeReads):
    """What the methods of an `AsyncioNode` are made of."""

    async def _call(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Run ``verb`` in the node's thread, and wait for what it returns."""
        future = self._thread.submit(verb)
        try:
            await wait_done(future)
        finally:
            future.cancel()  # when this task is; what is done stays done
        return future.result()

    async def _read(self, read: Callable[[], T]) -> T:
        """Call a read in the node's thread that may be called there only."""

        async def verb() -> T:
            return read()

        return await self._call(verb)

    async def _leave(self) -> None:
        if not self._thread.is_forked:  # else it is not here, and the process that has it goes on
            self._thread.stop()
            await wait_left(self._thread)

    async def _wait_closed(self) -> None:
        if self._thread.is_forked:
            raise NodeClosed(forked_message(self._thread.pid))
        await wait_done(self._thread.ended)
        self._thread.ended.result()


class AsyncioWatch(Generic[T]):
    """What changes, over time: ``async for change in node.watch("orders")``, in one task at a time, of any event loop.

    Ends when the node closes; raises what closed it, if that was an error. A timeout or a cancellation loses nothing:
    the next ``anext`` gives what came meanwhile.
    """

    def __init__(self, steps: WatchSteps[T]) -> None:
        self._steps = steps
        self._wakeup: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # whose event that is

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        future = self._steps.next()
        if not future.done():
            loop = asyncio.get_running_loop()
            if self._wakeup is None or self._loop is not loop:
                self._wakeup, self._loop = _wakeup_of(future), loop
            await self._wakeup.wait()
        self._wakeup = None
        change = self._steps.result(0)
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """Stop watching: a waiting task sees the end of the watch."""
        self._steps.close()


async def wait_done(future: Future[Any]) -> None:
    """Return when ``future`` is settled. A cancellation cancels the waiting, not the future."""
    if not future.done():
        await _wakeup_of(future).wait()


async def wait_left(thread: HostThread) -> None:
    """Return when the node has ended after ``stop``, or when it should have: the program ends all the same."""
    with suppress(TimeoutError):
        async with asyncio.timeout(thread.leave_patience):
            await wait_done(thread.ended)
    thread.warn_unless_left()


def _wakeup_of(future: Future[Any]) -> asyncio.Event:
    """An event of the running loop that is set when ``future`` is settled."""
    loop = asyncio.get_running_loop()
    wakeup = asyncio.Event()

    def wake(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so no task waits
            loop.call_soon_threadsafe(wakeup.set)

    future.add_done_callback(wake)
    return wakeup
