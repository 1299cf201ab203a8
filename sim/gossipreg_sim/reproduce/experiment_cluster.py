"""Experiment cluster: a simulated cluster that records only what the papers count, failures and traffic.

It has no trace and no oracles, so that hundreds of runs are affordable. The members know each other from the start: the
experiments measure a cluster in which all members have joined.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.network import Constant
from gossipreg_sim.process import Process
from gossipreg_sim.reproduce.profiles import Profile
from gossipreg_sim.reproduce.ticks import use_ticks
from gossipreg_sim.world import SECOND, World, ns

#: One-way latency between two members (seconds): a loopback interface with a hundred busy agents.
LATENCY = 0.0005


@attrs.frozen
class Failure:
    """``observer`` declared or learned that ``subject`` failed, at ``at``."""

    at: int  # ns
    observer: str
    subject: str


@attrs.define
class ExperimentCluster:
    """Members with one profile, and the failures that they reported."""

    profile: Profile
    world: World
    cluster: Cluster
    names: list[str]
    failures: list[Failure] = attrs.field(factory=list)

    @classmethod
    def of(cls, profile: Profile, members: int, seed: int, *, quiet: float = 2.0) -> ExperimentCluster:
        """Return a cluster of ``members`` that know each other, after ``quiet`` seconds without events."""
        experiment = cls.empty(profile, seed)
        for number in range(members):
            experiment.start(f"n{number}")
        introduce_all(experiment.cluster.processes.values())
        experiment.run_for(quiet)
        return experiment

    @classmethod
    def empty(cls, profile: Profile, seed: int) -> ExperimentCluster:
        """Return a cluster without members."""
        world = World(seed)
        experiment = cls(profile, world, Cluster(world, profile.settings, Constant(LATENCY)), [])
        experiment.cluster.observers.append(experiment._see)
        return experiment

    def start(self, name: str, *, seed: str = "") -> None:
        """Start one more member, which joins through ``seed`` unless that is itself."""
        process = self.cluster.start(name, seeds=[seed] if seed not in ("", name) else [])
        if self.profile.ticks:
            use_ticks(process)
        process.schedule()
        self.names.append(name)

    def run_for(self, seconds: float) -> None:
        """Run for ``seconds``."""
        self.world.run(self.world.now + ns(seconds))

    @property
    def packets(self) -> int:
        """Datagrams sent so far."""
        return self.cluster.counters["packets"]

    @property
    def bytes(self) -> int:
        """Bytes sent so far, in datagrams and on streams."""
        return self.cluster.counters["bytes"]

    def process(self, name: str) -> Process:
        """Return the process of ``name``."""
        return self.cluster.processes[name]

    def seconds(self, duration: int) -> float:
        """Convert ``duration`` (ns) to seconds."""
        return duration / SECOND

    def _see(self, process: Process, output: Output) -> None:
        if not isinstance(output, MemberChanged) or output.after is None or output.after.status is not Status.FAILED:
            return
        if output.before is None or output.before.status.is_present:
            self.failures.append(Failure(self.world.now, process.name, output.after.name))


def introduce_all(processes: Iterable[Process]) -> None:
    """Make all processes know each other, as if all had joined long ago."""
    known = list(processes)
    updates = [process.engine.identity.own_update() for process in known]
    for process in known:
        for update in updates:
            if update.name != process.name:
                process.engine.state.believe(update, process.now, spread=False)
        process.schedule()
