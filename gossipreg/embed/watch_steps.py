"""Watch steps: the changes of a trio watch, fetched one at a time by a caller that may give up waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from gossipreg.embed.host_thread import HostThread
from gossipreg.errors import NodeClosed

T = TypeVar("T")


class WatchSteps(Generic[T]):
    """The changes of one watch. A step whose caller gave up waiting is returned by the next call, and not lost."""

    def __init__(self, thread: HostThread, source: AsyncIterator[T]) -> None:
        self._thread = thread
        self._source = source
        self._pending: Future[T | None] | None = None
        self._closed = False

    def next(self) -> Future[T | None]:
        """The future that `result` waits for: the same one until `result` has returned it."""
        if self._pending is None or self._thread.is_forked:
            source = self._source

            async def step() -> T | None:  # holds the source only, so that a watch that is dropped can end it
                return await anext(source, None)

            self._pending = self._thread.submit(step)
            if self._closed:
                self._pending.cancel()
        return self._pending

    def result(self, timeout: float | None) -> T | None:
        """The next change; None when there are no more. Raises ``TimeoutError``, or the error that closed the node."""
        try:
            change = self.next().result(timeout)
        except CancelledError:
            return None
        except NodeClosed:
            if self._thread.is_forked:
                raise
            return None
        self._pending = None
        return change

    def close(self) -> None:
        """Cancel what is awaited, now and from now on. Idempotent; from any thread."""
        self._closed = True
        if self._pending is not None and not self._thread.is_forked:  # a fork may have copied a lock that is held
            self._pending.cancel()

    def __del__(self) -> None:
        self.close()
