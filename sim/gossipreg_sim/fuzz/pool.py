"""Process pool of a sweep: if a worker dies, only its seed fails, not the sweep."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import attrs

from gossipreg_sim.fuzz.run_result import PATIENCE, RunResult

Work = Callable[[int], RunResult]

#: New processes rather than forks: they share no state with this process, whatever threads it has.
_CONTEXT = multiprocessing.get_context("spawn")

#: How much longer than a run's own time limit a worker may compute before it counts as hung (seconds of CPU time).
_GRACE = 10.0

#: Time limit for the exit of a worker that was terminated (seconds).
_FAREWELL = 5.0


def run_in_pool(
    work: Work, seeds: Iterator[int], jobs: int, patience: float = PATIENCE
) -> Generator[tuple[int, RunResult], None, None]:
    """Yield the results of ``seeds``, run by ``jobs`` processes, as they arrive. Closing the generator ends all.

    A worker that spends much more than ``patience`` (seconds of CPU time) on one seed hangs in a single step, and its
    kernel terminates it. Only CPU time counts, so a busy machine terminates no worker. ``work`` is pickled: it must be
    a function of a module, or a `partial` of one.
    """
    workers: dict[Connection, _Worker] = {}
    try:
        for _, seed in zip(range(jobs), seeds, strict=False):
            worker = _Worker.begun(work, seed, patience)
            workers[worker.pipe] = worker
        while workers:
            for pipe in wait(list(workers)):
                worker = workers[pipe]  # type: ignore[index]  # `wait` returns the objects passed to it
                run, result = worker.seed, worker.result()
                following = next(seeds, None)
                if following is None or not worker.alive:
                    del workers[worker.pipe]
                    worker.end()
                if following is not None:
                    worker = worker.on(following) if worker.alive else _Worker.begun(work, following, patience)
                    workers[worker.pipe] = worker
                yield run, result
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
        """Start a new process."""
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, work, patience + _GRACE), daemon=True)
        with _uninterrupted():
            process.start()
        theirs.close()  # only the worker holds its end, so that its death closes the pipe
        return cls(process, ours, seed, patience).on(seed)

    def on(self, seed: int) -> _Worker:
        """Start the next seed in the same process."""
        self.seed = seed
        with suppress(BrokenPipeError):  # the worker died; `result` will report that
            self.pipe.send(seed)
        return self

    def result(self) -> RunResult:
        """Return the worker's result, which has arrived, or a failure if it died."""
        try:
            result: RunResult = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.alive = False
            self.process.join()
            if self.process.exitcode == -signal.SIGPROF:
                return RunResult.too_slow(self.patience)
            return RunResult.without_trace("worker died", f"the worker died, {_how(self.process.exitcode)}")
        return result

    def end(self) -> None:
        """Terminate the process, whatever its state."""
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
    """Block SIGINT. A process started in this block never receives it: only the sweep handles interrupts."""
    resource_tracker.ensure_running()  # otherwise the first process start would start it, and unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, work: Work, limit: float) -> None:
    """Run seeds until the pipe closes; die of SIGPROF if one takes longer than ``limit`` (seconds of CPU time)."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            seed = pipe.recv()
            signal.setitimer(signal.ITIMER_PROF, limit)  # counts this process's CPU time only
            result = work(seed)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send(result)
