"""Work for the processes of a sweep: module-level functions, because they are pickled by name."""

from __future__ import annotations

import os
import select
import signal

from gossipreg_sim.fuzz.run_result import RunResult, run_and_check
from gossipreg_sim.scenario import Scenario


def plain(seed: int) -> RunResult:
    """Return a good result."""
    return RunResult(digest=f"digest of {seed}", marks={"alive": seed}, seconds=1.0, took=0.1)


def deadly(seed: int) -> RunResult:
    """Seed 2 kills its process outright, as the kernel does when memory runs out."""
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(seed)


def endless(seed: int) -> RunResult:
    """Seed 2 hangs in a single step."""
    while seed == 2:
        pass
    return plain(seed)


def stopped_for_a_while(seed: int) -> RunResult:
    """Like on a busy machine: much more real time passes than CPU time."""
    select.select([], [], [], 0.3)
    return plain(seed)


def brief(seed: int) -> RunResult:
    """A short run with real nodes."""
    return run_and_check(Scenario(name="brief", title="Brief", nodes=3, warmup=1.0, duration=1.0), seed)
