"""Steps: a coroutine that waits for futures only, run without an event loop.

Each step runs in whatever thread has settled the future before it, the first one in the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from gossipreg.embed.host_thread import settle

T = TypeVar("T")


class Settled(Awaitable[T]):
    """Waits for ``future`` in such a coroutine, and returns or raises what it was settled with."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self._future.done():
            yield self._future
        return self._future.result()


class Steps(Generic[T]):
    """Runs ``coroutine``, and settles ``result`` by what it returns or raises."""

    def __init__(self, coroutine: Coroutine[Future[Any], None, T], result: Future[T]) -> None:
        self._coroutine = coroutine
        self._result = result
        self._awaited: Future[Any] | None = None

    def begin(self) -> None:
        """Run it to the first future that it waits for."""
        self._step(None)
        self._result.add_done_callback(self._follow)

    def _step(self, _: Future[Any] | None) -> None:
        try:
            self._awaited = self._coroutine.send(None)
        except StopIteration as returned:
            settle(self._result, None, returned.value)
        except CancelledError:
            self._result.cancel()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            settle(self._result, error)
        else:
            self._awaited.add_done_callback(self._step)
            self._follow(self._result)

    def _follow(self, result: Future[T]) -> None:
        """Cancel what is awaited, if the caller has cancelled the call."""
        if result.cancelled() and self._awaited is not None:
            self._awaited.cancel()
