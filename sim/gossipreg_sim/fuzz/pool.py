"""Process pool of a sweep: a worker that dies costs its seed, not the sweep."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import attrs

from gossipreg_sim.fuzz.verdict import PATIENCE, Verdict

Work = Callable[[int], Verdict]

#: Started afresh, not forked: they share nothing with us, whatever threads we have.
_CONTEXT = multiprocessing.get_context("spawn")

#: How much longer than a run's own patience a worker may compute until it is taken to hang (seconds of CPU time).
_GRACE = 10.0

#: How long a worker that was told to go may take (seconds).
_FAREWELL = 5.0


def run_in_pool(
    work: Work, seeds: Iterator[int], jobs: int, patience: float = PATIENCE
) -> Generator[tuple[int, Verdict], None, None]:
    """The verdicts on ``seeds`` by ``jobs`` processes, as they come. Close it to end the processes.

    A process that computes for much longer than ``patience`` (seconds of the processor) at one seed hangs in a single
    step: its kernel ends it. No time of the day counts, so a busy machine ends none.
    ``work`` goes to the processes as it is: it must be a function of a module, or a `partial` of one.
    """
    workers: dict[Connection, _Worker] = {}
    try:
        for _, seed in zip(range(jobs), seeds, strict=False):
            worker = _Worker.begun(work, seed, patience)
            workers[worker.pipe] = worker
        while workers:
            for pipe in wait(list(workers)):
                worker = workers[pipe]  # type: ignore[index]  # what we passed in comes out
                run, verdict = worker.seed, worker.verdict()
                following = next(seeds, None)
                if following is None or not worker.alive:
                    del workers[worker.pipe]
                    worker.end()
                if following is not None:
                    worker = worker.on(following) if worker.alive else _Worker.begun(work, following, patience)
                    workers[worker.pipe] = worker
                yield run, verdict
    finally:
        for worker in workers.values():
            worker.end()


@attrs.define
class _Worker:
    """A process and the seed that it runs."""

    process: BaseProcess
    pipe: Connection
    seed: int
    patience: float
    alive: bool = True

    @classmethod
    def begun(cls, work: Work, seed: int, patience: float) -> _Worker:
        """A new process."""
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, work, patience + _GRACE), daemon=True)
        with _uninterrupted():
            process.start()
        theirs.close()  # theirs alone, so that their death is the end of the pipe
        return cls(process, ours, seed, patience).on(seed)

    def on(self, seed: int) -> _Worker:
        """The same, at its next seed."""
        self.seed = seed
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
            if self.process.exitcode == -signal.SIGPROF:
                return Verdict.too_slow(self.patience)
            return Verdict.without_trace("worker died", f"the worker died, {_how(self.process.exitcode)}")
        return verdict

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


def _serve(pipe: Connection, work: Work, limit: float) -> None:
    """Run seed after seed until nobody asks any more; die of SIGPROF at one that takes longer than ``limit``."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            seed = pipe.recv()
            signal.setitimer(signal.ITIMER_PROF, limit)  # counts this process's time on the processor only
            verdict = work(seed)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send(verdict)
