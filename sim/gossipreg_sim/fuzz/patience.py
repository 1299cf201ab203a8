"""When a run has taken too long: in time of the processor, so that a busy machine makes no failures."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process


class TookTooLong(Exception):
    """Patience with a run is at its end."""


@attrs.define
class Patience:
    """Attached to a run, raises `TookTooLong` at the first step after so many seconds of the processor.

    It looks between two steps, in whatever thread that is, and counts the time of that thread alone. A single step that
    never ends has to be ended from outside, with its process (`gossipreg_sim.fuzz.pool`).
    """

    seconds: float
    clock: Callable[[], float] = time.thread_time
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    def attach(self, cluster: Cluster) -> None:
        """Watch the steps of ``cluster``."""
        cluster.touched.append(self._look)

    def _look(self, _: Process) -> None:
        if self.clock() - self._began > self.seconds:
            raise TookTooLong
