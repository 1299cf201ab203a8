"""Knows what an oracle is: it watches every step of every node and says what was wrong."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg.protocol.outputs import Output
from sim.cluster import Cluster
from sim.process import Process
from sim.world import SECOND


@attrs.frozen
class Violation:
    """One thing that must not be."""

    at: int  # ns
    oracle: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.at / SECOND:.3f} s  {self.oracle}  {self.node}: {self.text}"


@attrs.define
class Oracle:
    """One law. `see` is shown each output before it is performed, `after` each node after it has done a step."""

    law: ClassVar[str] = ""

    cluster: Cluster
    checks: int = 0
    violations: list[Violation] = attrs.field(factory=list)

    def see(self, process: Process, output: Output) -> None:
        """``process`` is about to do ``output``."""

    def after(self, process: Process) -> None:
        """``process`` has done a step."""

    def finish(self) -> None:
        """The play is over."""

    def check(self, process: Process, holds: bool, text: str) -> None:
        """Count a check; note what is wrong if it does not hold."""
        self.checks += 1
        if not holds:
            world = self.cluster.world
            self.violations.append(Violation(world.now, type(self).__name__, process.name, text))
