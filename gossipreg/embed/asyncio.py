"""Node for asyncio programs: FastAPI, aiohttp, scripts. Its methods are coroutines; reads are plain calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

from gossipreg.config import Config
from gossipreg.embed.asyncio_calls import AsyncioWatch, wait_done, wait_left
from gossipreg.embed.asyncio_node import AsyncioNode
from gossipreg.embed.host_thread import HostThread
from gossipreg.embed.signals import ENDING_SIGNALS, DeferredSignals, leave_first
from gossipreg.embed.starting import start_thread

__all__ = ["AsyncioNode", "AsyncioWatch", "leave_first", "lifespan", "open_node", "stop_signals"]


@asynccontextmanager
async def open_node(config: Config | None = None) -> AsyncIterator[AsyncioNode]:
    """Start a node: bind, join in the background, answer at once. On leaving the block the node leaves the cluster.

    Raises ``ConfigError``, ``InsecureError``, ``BindError`` or ``StorageError`` when it cannot start. If the node has
    to stop in the middle because its name is held by another, the block is cancelled and ``NameConflict`` raised.
    """
    thread = start_thread(config)
    thread.answer_in(asyncio.get_running_loop().call_soon_threadsafe)
    try:
        await wait_done(thread.opened)
        node = AsyncioNode(thread)
        with _TaskCancellation(thread.ended):
            yield node
    finally:
        await _leave(thread)
        failure = thread.failure()
        if failure is not None:
            raise failure


def lifespan(
    config: Config | None, service: str, *, port: int, signals: Sequence[int] = ENDING_SIGNALS, **fields: Any
) -> Callable[[object], AbstractAsyncContextManager[dict[str, Any]]]:
    """An ASGI application's lifespan that offers it as an instance of ``service`` for as long as it serves.

    For ``FastAPI(lifespan=lifespan(...))`` and Starlette; handlers find the node as ``request.state.node``. ``fields``
    are those of `AsyncioNode.register`. When the server ends the lifespan the node drains and leaves. By then the
    server has stopped listening, so ``signals`` are deferred until the node has left, as `leave_first` has it; ``()``
    defers none.
    """

    @asynccontextmanager
    async def living(app: object) -> AsyncIterator[dict[str, Any]]:  # noqa: ARG001 - whatever application it is
        deferred = DeferredSignals.hold(signals) if signals else None
        try:
            async with open_node(config) as node:
                await node.register(service, port=port, **fields)
                if deferred is not None:
                    deferred.attach(node)
                yield {"node": node}
        finally:
            if deferred is not None:
                deferred.release()  # if it failed before, else there is nothing to release

    return living


@contextmanager
def stop_signals(*signums: int) -> Iterator[asyncio.Event]:
    """An event of the running loop that is set when the program is told to end: by SIGTERM, SIGINT or SIGQUIT.

    For programs without a server that has handlers of its own; asyncio's loop or uvloop, in the main thread. Wait for
    the event inside of `open_node`: at the end of that block the node leaves. ``signums``: other signals. When one has
    come they have their default effect again, so a second one ends the program at once.
    """
    loop, stopped, waiting = asyncio.get_running_loop(), asyncio.Event(), list(signums or ENDING_SIGNALS)

    def end() -> None:
        while waiting:
            loop.remove_signal_handler(waiting.pop())

    def stop() -> None:
        stopped.set()
        end()

    for each in waiting:
        loop.add_signal_handler(each, stop)
    try:
        yield stopped
    finally:
        end()


class _TaskCancellation:
    """Cancels the task that is inside of the block when the node is ended by an error; takes that back at its end."""

    def __init__(self, ended: Future[None]) -> None:
        self._ended = ended
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._inside = False
        self._cancelled = False

    def __enter__(self) -> None:
        self._inside = True
        self._ended.add_done_callback(self._tell)

    def __exit__(self, *_: object) -> None:
        self._inside = False
        if self._cancelled and self._task is not None:
            self._task.uncancel()

    def _tell(self, ended: Future[None]) -> None:
        if ended.exception() is not None:
            with suppress(RuntimeError):  # the loop is closed, so the block has ended
                self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._inside and self._task is not None:
            self._cancelled = self._task.cancel()


async def _leave(thread: HostThread) -> None:
    """Leave, even when cancelled; it takes a second or two. Then the cancellation goes on."""
    if thread.is_forked:
        return  # it is not here, and the process that has it goes on
    thread.stop()
    cancelled: asyncio.CancelledError | None = None
    while not thread.ended.done() and thread.leave_patience:
        try:
            await wait_left(thread)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and thread.failure() is None:
        raise cancelled
