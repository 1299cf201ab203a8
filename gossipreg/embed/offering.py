"""Offer: this program as an instance of a service, from when it serves until it is told to end.

One object serves every kind of program. A process that starts it opens a node of its own, so a server that forks starts
it in each worker. The order at the end is always the same: the instance takes no more work, the node leaves, and then
the program hears of the signal and stops serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import trio

from gossipreg.config import Config
from gossipreg.embed.blocking_node import BlockingNode
from gossipreg.embed.signals import ENDING_SIGNALS, DeferredSignals
from gossipreg.embed.threads import start_node
from gossipreg.errors import NodeClosed

T = TypeVar("T")


class Offer:
    """This program as an instance of ``service``: ``with offer:`` while it serves, also ``async with``.

    Adapters for servers with hooks are in `gossipreg.embed.asgi`, `gossipreg.embed.server_hooks`
    and `gossipreg.embed.celery`. The program's code finds the node as ``offer.node``.

    ``config`` is that of the node, or a function that returns it in the process that starts the offer (for a name that
    differs in each worker). ``port`` and ``fields`` are those of `BlockingNode.register`; 0 stands for a worker that
    listens on no port. ``signals`` are deferred until the node has left, as `leave_first` has it: SIGTERM, SIGINT and
    SIGQUIT unless others are given, ``()`` for none.
    """

    def __init__(
        self,
        config: Config | Callable[[], Config] | None,
        service: str,
        *,
        port: int,
        signals: Sequence[int] = ENDING_SIGNALS,
        **fields: Any,
    ) -> None:
        self._config = config
        self._service = service
        self._fields = {"port": port, **fields}
        self._signals = tuple(signals)
        self._node: BlockingNode | None = None

    @property
    def node(self) -> BlockingNode:
        """The node of this process. Raises ``NodeClosed`` before the start, after the end, and in a fork."""
        if self._node is None:
            raise NodeClosed(f"{self._service!r} is not offered by this process: start the offer first")
        return self._node

    def start(self) -> BlockingNode:
        """Open this process's node and register, or return the node that is open; defer the signals to end.

        They are deferred only in the main thread, as no other can handle them. Call this when the program has set its
        own handlers. Raises what `gossipreg.embed.threads.open_node` and `BlockingNode.register` raise.
        """
        if self._is_open:
            return self.node
        deferred = self._hold_signals()
        with _released_on_failure(deferred):
            node = self._open()
        if deferred is not None:
            deferred.attach(node)
        return node

    def stop(self) -> None:
        """Leave the cluster; return when that is done. In a fork, and after the node has left, nothing is done."""
        if self._node is not None:
            self._node.leave()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.node.check_failure()

    async def __aenter__(self) -> Self:
        """Start, without blocking the event loop: asyncio's or trio's."""
        if not self._is_open:
            deferred = self._hold_signals()
            with _released_on_failure(deferred):
                try:
                    node = await in_thread(self._open)
                except BaseException:
                    await in_thread(self.stop)  # cancelled when it was open
                    raise
            if deferred is not None:
                deferred.attach(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_thread(self.stop)
        self.node.check_failure()

    @property
    def _is_open(self) -> bool:
        return self._node is not None and not self._node.is_closed

    def _open(self) -> BlockingNode:
        self._node = start_node(self._config() if callable(self._config) else self._config)
        try:
            self._node.register(self._service, **self._fields)
        except BaseException:
            self._node.leave()
            raise
        return self._node

    def _hold_signals(self) -> DeferredSignals | None:
        return DeferredSignals.hold(self._signals) if self._signals else None


@contextmanager
def _released_on_failure(deferred: DeferredSignals | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if deferred is not None:
            deferred.release()
        raise


async def in_thread(function: Callable[[], T]) -> T:
    """Call ``function`` in a thread, and wait for that on the event loop that runs: asyncio's or trio's.

    It is waited for to its end even when the caller is cancelled: it opens a node, or lets it leave.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with trio.CancelScope(shield=True):
            return await trio.to_thread.run_sync(function)
    task = asyncio.ensure_future(asyncio.to_thread(function))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
