"""A cluster of which only what the papers count is recorded, failures and traffic.

No trace and no oracles, so that hundreds of runs are affordable. The members know each other from the start: what
the experiments measure begins when everybody has joined.
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
from gossipreg_sim.reproduce.ticks import tick
from gossipreg_sim.world import SECOND, World, ns

#: One way between two members (seconds): a loopback with a hundred busy agents on it.
LATENCY = 0.0005


@attrs.frozen
class Failure:
    """The moment at which ``observer`` came to believe that ``subject`` failed."""

    at: int  # ns
    observer: str
    subject: str


@attrs.define
class ExperimentCluster:
    """Members of one profile, and the failures that they reported."""

    profile: Profile
    world: World
    cluster: Cluster
    names: list[str]
    failures: list[Failure] = attrs.field(factory=list)

    @classmethod
    def of(cls, profile: Profile, members: int, seed: int, *, quiet: float = 2.0) -> ExperimentCluster:
        """``members`` that know each other and have had ``quiet`` seconds of peace."""
        experiment = cls.empty(profile, seed)
        for number in range(members):
            experiment.start(f"n{number}")
        acquaint(experiment.cluster.processes.values())
        experiment.rest(quiet)
        return experiment

    @classmethod
    def empty(cls, profile: Profile, seed: int) -> ExperimentCluster:
        """No members yet."""
        world = World(seed)
        experiment = cls(profile, world, Cluster(world, profile.settings, Constant(LATENCY)), [])
        experiment.cluster.observers.append(experiment._see)
        return experiment

    def start(self, name: str, *, seed: str = "") -> None:
        """One more member, which joins through ``seed`` unless that is itself."""
        process = self.cluster.start(name, seeds=[seed] if seed not in ("", name) else [])
        if self.profile.ticks:
            tick(process)
        process.schedule()
        self.names.append(name)

    def rest(self, seconds: float) -> None:
        """Let ``seconds`` go by."""
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
        """The process of ``name``."""
        return self.cluster.processes[name]

    def seconds(self, duration: int) -> float:
        """``duration`` (ns) in seconds."""
        return duration / SECOND

    def _see(self, process: Process, output: Output) -> None:
        if not isinstance(output, MemberChanged) or output.after is None or output.after.status is not Status.FAILED:
            return
        if output.before is None or output.before.status.is_present:
            self.failures.append(Failure(self.world.now, process.name, output.after.name))


def acquaint(processes: Iterable[Process]) -> None:
    """Let everybody know everybody, as if all had joined long ago."""
    known = list(processes)
    updates = [process.engine.identity.own_update() for process in known]
    for process in known:
        for update in updates:
            if update.name != process.name:
                process.engine.state.believe(update, process.now, spread=False)
        process.schedule()
