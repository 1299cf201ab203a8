"""Knows how seeds are worked off by processes of their own: one that dies costs its seed, not the sweep."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import attrs

from sim.fuzz.verdict import PATIENCE, Verdict

Work = Callable[[int], Verdict]

#: Started afresh, not forked: they share nothing with us, whatever threads we have.
_CONTEXT = multiprocessing.get_context("spawn")

#: How much later than a play's own patience ends a worker is taken to hang (seconds). It may just have started.
_GRACE = 10.0

#: How long a worker that was told to go may take (seconds).
_FAREWELL = 5.0


def pooled(
    work: Work, seeds: Iterator[int], jobs: int, patience: float = PATIENCE
) -> Generator[tuple[int, Verdict], None, None]:
    """The verdicts on ``seeds`` by ``jobs`` processes, as they come. Close it to end the processes.

    A process that has not answered long after ``patience`` (seconds) is killed: it hangs in a single step.
    ``work`` goes to the processes as it is: it must be a function of a module, or a `partial` of one.
    """
    workers: dict[Connection, _Worker] = {}
    try:
        for _, seed in zip(range(jobs), seeds, strict=False):
            worker = _Worker.begun(work, seed)
            workers[worker.pipe] = worker
        while workers:
            for pipe in wait(list(workers), timeout=_GRACE / 4):
                worker = workers[pipe]  # type: ignore[index]  # what we passed in comes out
                played, verdict = worker.seed, worker.verdict()
                following = next(seeds, None)
                if following is None or not worker.alive:
                    del workers[worker.pipe]
                    worker.end()
                if following is not None:
                    worker = worker.on(following) if worker.alive else _Worker.begun(work, following)
                    workers[worker.pipe] = worker
                yield played, verdict
            for worker in workers.values():
                worker.end_if_longer_than(patience)
    finally:
        for worker in workers.values():
            worker.end()


@attrs.define
class _Worker:
    """A process and the seed that it plays."""

    process: BaseProcess
    pipe: Connection
    seed: int
    began: float = 0.0  # monotonic seconds
    alive: bool = True
    too_slow: Verdict | None = None

    @classmethod
    def begun(cls, work: Work, seed: int) -> _Worker:
        """A new process."""
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, work), daemon=True)
        with _uninterrupted():
            process.start()
        theirs.close()  # theirs alone, so that their death is the end of the pipe
        return cls(process, ours, seed).on(seed)

    def on(self, seed: int) -> _Worker:
        """The same, at its next seed."""
        self.seed, self.began = seed, time.monotonic()
        with suppress(BrokenPipeError):  # died meanwhile: its answer will say so
            self.pipe.send(seed)
        return self

    def verdict(self) -> Verdict:
        """Its answer, which has come; or its end."""
        try:
            verdict: Verdict = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.alive = False
            self.process.join()
            return self.too_slow or Verdict.without_trace(
                "worker died", f"the worker died, {_how(self.process.exitcode)}"
            )
        return verdict

    def end_if_longer_than(self, patience: float) -> None:
        """End the process if it should have lost its own patience a while ago."""
        if time.monotonic() - self.began > patience + _GRACE:
            self.too_slow = Verdict.too_slow(patience)
            self.process.kill()

    def end(self) -> None:
        """End the process, whatever it does."""
        self.alive = False
        self.pipe.close()
        self.process.terminate()
        self.process.join(_FAREWELL)


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"exit status {exitcode}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold an interrupt back. A process begun meanwhile never hears of one: that is the sweep's to handle."""
    resource_tracker.ensure_running()  # or it would, and lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, work: Work) -> None:
    """Play seed after seed until nobody asks any more."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(work(pipe.recv()))
