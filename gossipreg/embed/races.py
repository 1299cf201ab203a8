"""Races: a slow attempt and a second one beside it, of which the first good answer wins.

What the other one comes to is discarded: it counts as neither success nor failure, unless it broke before. Under
asyncio and trio it is cancelled. A thread cannot be: there the other answer is closed as soon as it begins.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import attrs

from gossipreg.embed.service_calls import Attempt

R = TypeVar("R")


@attrs.define(eq=False, repr=False)
class Race(Generic[R]):
    """A race in threads. ``once`` makes an attempt, and returns its error; ``discard`` disposes of what lost."""

    _once: Callable[[Attempt], R | Exception]
    _discard: Callable[[Attempt, R | Exception], None]
    _results: SimpleQueue[tuple[Attempt, R | Exception]] = attrs.field(init=False, factory=SimpleQueue)
    _is_over: bool = attrs.field(init=False, default=False)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def run(self, first: Attempt, after: float) -> tuple[Attempt, R | Exception]:
        """Make the attempt, and one beside it after ``after`` seconds. Returns the first good answer, or the last."""
        try:
            self._start(first)
            try:
                return self._results.get(timeout=after)
            except Empty:
                second = first.call.hedge()
            if second is not None:
                self._start(second)
            result = self._results.get()
            if second is not None and not is_good(*result):
                self._discard(*result)
                result = self._results.get()
            return result
        finally:
            with self._lock:
                self._is_over = True
            while not self._results.empty():
                self._discard(*self._results.get())

    def _start(self, attempt: Attempt) -> None:
        # A thread of its own: a pool's threads would hold up the exit of the interpreter.
        name = f"gossipreg call to {attempt.call.service}"
        threading.Thread(target=copy_context().run, args=(self._attempt, attempt), name=name, daemon=True).start()

    def _attempt(self, attempt: Attempt) -> None:
        outcome = self._once(attempt)
        with self._lock:
            if not self._is_over:
                self._results.put((attempt, outcome))
                return
        self._discard(attempt, outcome)


async def race(
    first: Attempt,
    after: float,
    once: Callable[[Attempt], Awaitable[R | Exception]],
    discard: Callable[[Attempt, R | Exception], Awaitable[None]],
) -> tuple[Attempt, R | Exception]:
    """`Race.run` with tasks of asyncio or trio: what has lost is cancelled."""
    import anyio

    results: list[tuple[Attempt, R | Exception]] = []
    arrived = anyio.Event()

    async def attempt_once(attempt: Attempt) -> None:
        results.append((attempt, await once(attempt)))
        arrived.set()

    winner: tuple[Attempt, R | Exception] | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt_once, first)
            with anyio.move_on_after(after):
                await arrived.wait()
            attempts = 1
            if not results and (second := first.call.hedge()) is not None:
                tasks.start_soon(attempt_once, second)
                attempts = 2
            while not any(is_good(*each) for each in results) and len(results) < attempts:
                arrived = anyio.Event()
                await arrived.wait()
            tasks.cancel_scope.cancel()
        winner = next((each for each in results if is_good(*each)), results[-1])
        return winner
    finally:
        with anyio.CancelScope(shield=True):
            for each in results:
                if each is not winner:
                    await discard(*each)


def is_good(attempt: Attempt, outcome: object) -> bool:
    """Whether the caller should have that outcome, and wait for no other."""
    return not isinstance(outcome, Exception) and not attempt.has_failed
