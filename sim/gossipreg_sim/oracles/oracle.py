"""Oracle: an invariant that is checked at every step of every node."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import Output
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND


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
    """One law. `see` is shown each output that it ``wants`` before it is performed, `after` each node after a step.

    A law that the run gives no occasion to judge says so in ``note``; so does one that measures, with what it found.
    """

    law: ClassVar[str] = ""
    wants: ClassVar[tuple[type[Any], ...]] = ()  # kinds of output

    cluster: Cluster
    context: RunContext
    checks: int = 0
    violations: list[Violation] = attrs.field(factory=list)
    note: str = ""
    is_applicable: bool = True

    @property
    def has_judged(self) -> bool:
        """Whether the run gave it occasion to judge."""
        return self.checks > 0 and self.is_applicable

    def see(self, process: Process, output: Output) -> None:
        """``process`` is about to do ``output``."""

    def after(self, process: Process) -> None:
        """``process`` has done a step."""

    def probed(self, process: Process, target: MemberUpdate) -> None:
        """``process`` has begun to probe ``target``."""

    def finish(self) -> None:
        """The run is over, and was not stopped."""

    def stopped(self, events: int) -> None:
        """The run was given up: more than ``events`` happened in one second."""

    def check(self, process: Process, holds: bool, text: str) -> None:
        """Count a check; note what is wrong if it does not hold. For texts that are dear to make, see `wrong`."""
        self.checks += 1
        if not holds:
            self.wrong(process.name, text)

    def wrong(self, node: str, text: str) -> None:
        """Something is wrong at ``node``."""
        self.violations.append(Violation(self.cluster.world.now, type(self).__name__, node, text))

    def not_applicable(self, why: str) -> None:
        """The run gave no occasion to judge."""
        self.is_applicable = False
        self.note = f"not applicable here: {why}"
