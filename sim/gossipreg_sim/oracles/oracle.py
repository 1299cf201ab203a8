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
    """One breach of an oracle's law."""

    at: int  # ns
    oracle: str
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.at / SECOND:.3f} s  {self.oracle}  {self.node}: {self.text}"


@attrs.define
class Oracle:
    """One law. `see` receives the outputs in ``wants`` before they are performed; `after`, each node after a step.

    An oracle to which a run does not apply says why in ``note``; one that measures puts its result there.
    """

    law: ClassVar[str] = ""
    wants: ClassVar[tuple[type[Any], ...]] = ()  # kinds of output that it receives

    cluster: Cluster
    context: RunContext
    checks: int = 0
    violations: list[Violation] = attrs.field(factory=list)
    note: str = ""
    is_applicable: bool = True

    @property
    def has_applied(self) -> bool:
        """Whether the law could be checked in this run."""
        return self.checks > 0 and self.is_applicable

    def see(self, process: Process, output: Output) -> None:
        """``process`` is about to perform ``output``."""

    def after(self, process: Process) -> None:
        """``process`` has finished a step."""

    def probed(self, process: Process, target: MemberUpdate) -> None:
        """``process`` has started to probe ``target``."""

    def finish(self) -> None:
        """The run has ended, and was not stopped."""

    def stopped(self, events: int) -> None:
        """The run was stopped: more than ``events`` events in one second."""

    def check(self, process: Process, holds: bool, text: str) -> None:
        """Count a check, and report ``text`` if it does not hold. If the text is costly to build, use `wrong`."""
        self.checks += 1
        if not holds:
            self.wrong(process.name, text)

    def wrong(self, node: str, text: str) -> None:
        """Report a violation at ``node``."""
        self.violations.append(Violation(self.cluster.world.now, type(self).__name__, node, text))

    def not_applicable(self, why: str) -> None:
        """Note why the law could not be checked in this run."""
        self.is_applicable = False
        self.note = f"not applicable here: {why}"
