"""Time limit of a run, in CPU time, so that a busy machine causes no failures."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process


class TookTooLong(Exception):
    """The run has exceeded its time limit."""


@attrs.define
class Patience:
    """Attached to a run, raises `TookTooLong` at the first step after ``seconds`` of CPU time.

    The limit is checked between steps, in any thread, against the CPU time of that thread alone. A single step that
    never ends must be terminated from outside, with its process (`gossipreg_sim.fuzz.pool`).
    """

    seconds: float
    clock: Callable[[], float] = time.thread_time
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    def attach(self, cluster: Cluster) -> None:
        """Check the limit after each step of ``cluster``."""
        cluster.touched.append(self._check)

    def _check(self, _: Process) -> None:
        if self.clock() - self._began > self.seconds:
            raise TookTooLong
