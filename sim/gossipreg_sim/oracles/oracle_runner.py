"""Oracle runner: passes each output to the oracles that want its kind."""
# ruff: noqa: SLF001 -- oracles see what no node can see

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
    _seers: dict[type[Any], list[_See]] = attrs.field(factory=dict)
    _probes: dict[Process, object] = attrs.field(factory=dict)  # what each node was last seen to probe with

    @classmethod
    def of(cls, oracles: Iterable[Oracle]) -> OracleRunner:
        """These oracles, each for the kinds of output that it wants."""
        oracle_runner = cls(tuple(oracles))
        for oracle in oracle_runner.oracles:
            for kind in oracle.wants:
                oracle_runner._seers.setdefault(kind, []).append(oracle.see)
        return oracle_runner

    def watch(self, cluster: Cluster) -> None:
        """Watch ``cluster`` from now on."""
        cluster.observers.append(self.see)
        cluster.touched += [oracle.after for oracle in self.oracles if type(oracle).after is not Oracle.after]
        if any(type(oracle).probed is not Oracle.probed for oracle in self.oracles):
            cluster.touched.append(self._look_for_probe)

    def see(self, process: Process, output: Output) -> None:
        """Show an output to those that want its kind."""
        for see in self._seers.get(type(output), ()):
            see(process, output)

    def _look_for_probe(self, process: Process) -> None:
        """Look whether a node has another probe under way than when it was last touched."""
        probe = process.engine.detector.prober._current
        if probe is not None and self._probes.get(process) is not probe:
            self._probes[process] = probe
            for oracle in self.oracles:
                oracle.probed(process, probe.target)

    def finish(self) -> None:
        """Let all come to their conclusions."""
        for oracle in self.oracles:
            oracle.finish()

    def stopped(self, events: int) -> None:
        """Tell all that the run was given up: more than ``events`` happened in one second."""
        for oracle in self.oracles:
            oracle.stopped(events)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was wrong, by oracle."""
        return tuple(violation for oracle in self.oracles for violation in oracle.violations)
