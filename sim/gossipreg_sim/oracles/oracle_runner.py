"""Oracle runner: passes each output to the oracles that want its kind."""
# ruff: noqa: SLF001 -- oracles see the private state of nodes

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from gossipreg.protocol.outputs import Output
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.oracle import Oracle, Violation
from gossipreg_sim.process import Process

_See = Callable[[Process, Output], None]


@attrs.define
class OracleRunner:
    """The oracles of one run."""

    oracles: tuple[Oracle, ...]
    _by_output: dict[type[Any], list[_See]] = attrs.field(factory=dict)
    _probes: dict[Process, object] = attrs.field(factory=dict)  # the last probe seen of each node

    @classmethod
    def of(cls, oracles: Iterable[Oracle]) -> OracleRunner:
        """Return a runner of these oracles, each with the kinds of output that it wants."""
        oracle_runner = cls(tuple(oracles))
        for oracle in oracle_runner.oracles:
            for kind in oracle.wants:
                oracle_runner._by_output.setdefault(kind, []).append(oracle.see)
        return oracle_runner

    def watch(self, cluster: Cluster) -> None:
        """Observe ``cluster`` from now on."""
        cluster.observers.append(self.see)
        cluster.touched += [oracle.after for oracle in self.oracles if type(oracle).after is not Oracle.after]
        if any(type(oracle).probed is not Oracle.probed for oracle in self.oracles):
            cluster.touched.append(self._look_for_probe)

    def see(self, process: Process, output: Output) -> None:
        """Pass an output to the oracles that want its kind."""
        for see in self._by_output.get(type(output), ()):
            see(process, output)

    def _look_for_probe(self, process: Process) -> None:
        """Check whether a node has another probe in progress than after its last step."""
        probe = process.engine.detector.prober._current
        if probe is not None and self._probes.get(process) is not probe:
            self._probes[process] = probe
            for oracle in self.oracles:
                oracle.probed(process, probe.target)

    def finish(self) -> None:
        """Finish all oracles."""
        for oracle in self.oracles:
            oracle.finish()

    def stopped(self, events: int) -> None:
        """Tell all oracles that the run was stopped: more than ``events`` events in one second."""
        for oracle in self.oracles:
            oracle.stopped(events)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The violations, by oracle."""
        return tuple(violation for oracle in self.oracles for violation in oracle.violations)
