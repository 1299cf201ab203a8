"""Each oracle receives the kinds of output that it wants, and each node after a step."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.protocol.outputs import MemberChanged, Output, Transmit
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.process import Process
from tests.sim.making import cluster, run_for, scenario


@attrs.define
class Listener(Oracle):
    """Counts the outputs that it receives."""

    wants: ClassVar[tuple[type[Any], ...]] = (Transmit,)
    seen: list[type[Any]] = attrs.field(factory=list)

    def see(self, process: Process, output: Output) -> None:
        self.seen.append(type(output))


@attrs.define
class Onlooker(Oracle):
    """Wants no outputs, and counts the steps of all nodes."""

    def after(self, process: Process) -> None:
        self.check(process, process.alive, "is dead")

    def see(self, process: Process, output: Output) -> None:
        raise AssertionError


def test_an_oracle_sees_only_what_it_wants() -> None:
    made = cluster()
    context = RunContext(scenario())
    oracle_runner = OracleRunner.of([Listener(made, context), Onlooker(made, context)])
    oracle_runner.watch(made)
    made.crash("n2")
    run_for(made, 3)
    own = made.processes["n0"].engine.identity.own_update()
    oracle_runner.see(made.processes["n0"], MemberChanged(None, own))
    listener, onlooker = oracle_runner.oracles
    assert isinstance(listener, Listener)
    assert dict.fromkeys(listener.seen) == {Transmit: None}
    assert onlooker.checks > 0
    assert oracle_runner.violations == ()
