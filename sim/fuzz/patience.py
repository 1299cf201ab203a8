"""Knows when a play has taken too long."""

from __future__ import annotations

import time

import attrs

from sim.cluster import Cluster
from sim.process import Process


class TookTooLong(Exception):
    """Patience with a play is at its end."""


@attrs.define
class Patience:
    """Attached to a play, raises `TookTooLong` at the first step after so many seconds of real time.

    It looks between two steps, in whatever thread that is. A single step that never ends has to be ended from outside,
    with its process (`sim.fuzz.pool`).
    """

    seconds: float
    _began: float = attrs.field(factory=time.monotonic)

    def attach(self, cluster: Cluster) -> None:
        """Watch the steps of ``cluster``."""
        cluster.touched.append(self._look)

    def _look(self, _: Process) -> None:
        if time.monotonic() - self._began > self.seconds:
            raise TookTooLong
