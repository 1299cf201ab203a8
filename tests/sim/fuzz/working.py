"""Work for the processes of a sweep: functions of a module, for they are sent by name."""

from __future__ import annotations

import os
import select
import signal

from gossipreg_sim.fuzz.verdict import Verdict, judged
from gossipreg_sim.scenario import Scenario


def plain(seed: int) -> Verdict:
    """All is well."""
    return Verdict(digest=f"digest of {seed}", marks={"alive": seed}, seconds=1.0, took=0.1)


def deadly(seed: int) -> Verdict:
    """Seed 2 kills its process outright, as want of memory would."""
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(seed)


def endless(seed: int) -> Verdict:
    """Seed 2 hangs in a single step."""
    while seed == 2:
        pass
    return plain(seed)


def stopped_for_a_while(seed: int) -> Verdict:
    """As on a busy machine: much more time goes by than is spent here."""
    select.select([], [], [], 0.3)
    return plain(seed)


def brief(seed: int) -> Verdict:
    """A short run with real nodes."""
    return judged(Scenario(name="brief", title="Brief", nodes=3, warmup=1.0, duration=1.0), seed)
