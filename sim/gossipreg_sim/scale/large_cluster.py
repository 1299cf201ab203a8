"""Large cluster: a converged, idle cluster of any size, and the time until its last node sees a change.

The members know each other, and all instances, from the start: letting a thousand nodes join one after another would
take longer than all measurements. Joins are measured separately, one at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

import attrs

from gossipreg.errors import GossipregError
from gossipreg.model import Instance, Status
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.outputs import InstancesChanged, MemberChanged, Output
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.state import ClusterState
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.network import Constant
from gossipreg_sim.process import Process
from gossipreg_sim.scale.copy_on_write import share_state
from gossipreg_sim.world import SECOND, World, ns

#: One-way latency between two nodes (seconds): a rack, or a busy loopback interface.
LATENCY = 0.0005

#: Approximate instances per service; a larger cluster has more services, not larger ones.
SERVICE_SIZE = 20

#: Interval at which a wait checks its condition (ns).
_LOOK = ns(0.001)

_See = Callable[[Process, Output], None]


class NeverHappened(GossipregError):
    """The awaited event did not happen in time."""


@attrs.define
class LargeCluster:
    """An idle cluster of ``nodes`` nodes with ``instances`` instances each."""

    world: World
    cluster: Cluster
    nodes: int
    instances: int  # per node
    cells: int = 1  # 1: it is flat

    @classmethod
    def converged(
        cls, nodes: int, instances: int, seed: int = 0, *, cells: int = 1, quiet: float = 3.0
    ) -> LargeCluster:
        """Return a cluster after ``quiet`` seconds, in which lifelines are opened and timers get out of step."""
        world = World(seed)
        made = Cluster(world, EngineSettings(), Constant(LATENCY), bare=True)
        cluster = cls(world, made, nodes, instances, cells)
        for number in range(nodes):
            made.start(f"n{number}", cell=cluster.cell_of(number))
        cluster._share_state()
        cluster.run_for(quiet)
        return cluster

    def _share_state(self) -> None:
        processes = list(self.cluster.processes.values())
        for number, process in enumerate(processes):
            for which in range(self.instances):
                process.engine.register(self.instance(number, which), process.now)
        source = self._shared_state(processes)
        for process in processes:
            share_state(source, process.engine.state, process.now)
            process.schedule()

    def _shared_state(self, processes: list[Process]) -> ClusterState:
        """Return the state of a node that knows everything; it belongs to no node, so that all can share it."""
        settings = self.cluster.settings
        index = max(process.engine.identity.generation for process in processes)
        state = ClusterState(
            settings, Members(settings, Random(0), ""), Registry(""), View(index), Counter(), Clock("", index)
        )
        if self.cells > 1:  # it is of none of the cells, so that it knows all members as those of others
            state.cells = Cells("", state.members)
        for process in processes:
            update = process.engine.identity.own_update()
            if self.cells > 1:
                state.believe_remote(update, 0.0, spread=False)
            else:
                state.believe(update, 0.0, spread=False)
            for record in process.engine.state.registry.table(process.name) or ():
                state.take(record, 0.0, spread=False)
        state.refresh()
        return state

    def cell_of(self, number: int) -> str:
        """Return the cell of node ``number``: nodes are assigned to cells round-robin."""
        return f"cell-{number % self.cells}" if self.cells > 1 else ""

    def instance(self, number: int, which: int) -> Instance:
        """Return instance ``which`` of node ``number``; services are assigned so that all are equally large."""
        services = max(1, self.nodes * self.instances // SERVICE_SIZE)
        service = (number * max(1, self.instances) + which) % services
        name = f"n{number}"
        return Instance(id=f"{name}-{which}", service=f"service-{service}", host="10.0.0.1", port=1024 + which)

    @property
    def live_names(self) -> list[str]:
        """The live nodes."""
        return [process.name for process in self.cluster.alive]

    @property
    def packets(self) -> int:
        """Datagrams and frames sent so far."""
        return self.cluster.counters["packets"] + self.cluster.counters["frames"]

    @property
    def bytes(self) -> int:
        """Bytes sent so far, in datagrams and on streams."""
        return self.cluster.counters["bytes"]

    def agrees(self) -> bool:
        """Whether all nodes hold the same state."""
        alive = self.cluster.alive
        return all(process.engine.fingerprint == alive[0].engine.fingerprint for process in alive)

    def run_for(self, seconds: float) -> None:
        """Run for ``seconds``."""
        self.world.run(self.world.now + ns(seconds))

    def run_until(self, over: Callable[[], bool], most: float) -> float:
        """Run until ``over`` returns true; return how long that took (seconds, with a resolution of 1 ms).

        Raises `NeverHappened` after ``most`` seconds.
        """
        began = self.world.now
        while not over():
            if self.world.now - began > ns(most):
                raise NeverHappened(f"{self.nodes} nodes: condition not met after {most:g} s")
            self.world.run(self.world.now + _LOOK)
        return (self.world.now - began) / SECOND

    def watch(self, see: _See) -> Callable[[], None]:
        """Pass every output to ``see`` from now on; return a function that stops it."""
        self.cluster.observers.append(see)
        return partial(self.cluster.observers.remove, see)

    def last_to_see(self, begin: Callable[[], None], offers: dict[str, str], most: float = 30.0) -> float:
        """Call ``begin``; return the time until every node sees all of ``offers`` (id -> service), in seconds."""
        missing = {name: dict(offers) for name in self.live_names}

        def see(process: Process, output: Output) -> None:
            still = missing.get(process.name)
            if still and isinstance(output, InstancesChanged):
                for service in output.services:
                    for instance in process.engine.view.service(service).healthy:
                        still.pop(instance.id, None)
                if not still:
                    del missing[process.name]

        return self._watched(see, begin, lambda: not missing, most)

    def last_to_avoid(self, begin: Callable[[], None], owner: str, service: str, most: float = 60.0) -> float:
        """Call ``begin``; return the time until no lookup of ``service`` prefers an instance of ``owner`` (seconds)."""
        missing = dict.fromkeys(name for name in self.live_names if name != owner)

        def see(process: Process, output: Output) -> None:
            if isinstance(output, InstancesChanged) and service in output.services:
                healthy = process.engine.view.service(service).healthy
                if all(instance.owner != owner for instance in healthy):
                    missing.pop(process.name, None)

        return self._watched(see, begin, lambda: not missing, most)

    def last_to_believe(
        self, begin: Callable[[], None], subjects: set[str], status: Status, observers: list[str], most: float = 60.0
    ) -> float:
        """Call ``begin``; return when all ``observers`` believe that all ``subjects`` have ``status`` (seconds)."""
        missing = {
            (observer, subject)
            for observer in observers
            for subject in subjects
            if observer != subject and not self._believes(observer, subject, status)
        }

        def see(process: Process, output: Output) -> None:
            if isinstance(output, MemberChanged) and output.after is not None:
                pair = (process.name, output.after.name)
                if output.after.status is status:
                    missing.discard(pair)
                elif pair[1] in subjects and pair[0] in watching:
                    missing.add(pair)

        watching = frozenset(observers)
        return self._watched(see, begin, lambda: not missing, most)

    def _believes(self, observer: str, subject: str, status: Status) -> bool:
        update = self.cluster.processes[observer].engine.members.get(subject)
        return update is not None and update.status is status

    def _watched(self, see: _See, begin: Callable[[], None], over: Callable[[], bool], most: float) -> float:
        unwatch = self.watch(see)
        try:
            begin()
            return self.run_until(over, most)
        finally:
            unwatch()
