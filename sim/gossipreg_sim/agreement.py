"""Agreement of a cluster: whether all nodes hold the same state.

The *core* must agree: all live nodes except those that a permanent fault separates (`separation`). What the core
believes about the separated nodes is not checked. How soon after the heal it must agree: `heal_bound`.
"""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.policy import Maintenance
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process


@attrs.define
class Agreement:
    """Whether all nodes of the core agree at the present moment."""

    cluster: Cluster
    outside: tuple[str, ...] = ()

    @property
    def core(self) -> list[Process]:
        """The processes that must agree."""
        return [
            process
            for process in self.cluster.alive
            if process.name not in self.outside and not process.engine.identity.left
        ]

    def holds(self) -> bool:
        """Whether all see the core alive and exactly the offered instances healthy, and have equal fingerprints.

        Fingerprints are compared only if no node is separated: beliefs about a separated node may never settle.
        The policies must be equal in any case.
        """
        core = self.core
        if not self.outside and any(len(prints) > 1 for prints in self._fingerprints(core).values()):
            return False
        if self.outside and any(_policy_digests(process) != _policy_digests(core[0]) for process in core):
            return False
        offered = self.cluster.offered()
        truth = sorted(
            (process.name, id, instance.service)
            for process in core
            for id, instance in offered.get(process.name, {}).items()
        )
        return self.is_complete() and all(self._sees(process, truth) for process in core)

    def is_complete(self) -> bool:
        """Whether each core node believes exactly the core nodes alive."""
        cells: dict[str, list[Process]] = {}
        for process in self.core:
            cells.setdefault(process.engine.identity.cell, []).append(process)
        return all(self._is_complete(core) for core in cells.values())

    def _is_complete(self, core: list[Process]) -> bool:
        """Whether each of one cell's core nodes believes exactly these alive."""
        names = sorted(process.name for process in core)
        if len(core) == 1 and not core[0].engine.identity.announced:
            names = []  # it waits for a seed and has not announced itself
        return all(self._believed(process) == names for process in core)

    @staticmethod
    def _fingerprints(core: list[Process]) -> dict[str, set[int]]:
        """Return the fingerprints of each cell's nodes: only those must be equal."""
        found: dict[str, set[int]] = {}
        for process in core:
            found.setdefault(process.engine.identity.cell, set()).add(process.engine.fingerprint)
        return found

    def _believed(self, process: Process) -> list[str]:
        """Return the names that a process believes alive, without the separated nodes."""
        outside = self.outside
        return sorted(
            update.name
            for update in process.engine.members
            if update.status is Status.ALIVE and update.name not in outside
        )

    def _sees(self, process: Process, truth: list[tuple[str, str, str]]) -> bool:
        outside = self.outside
        views = process.engine.view.services.values()
        seen = [(i.owner, i.id, i.service) for view in views for i in view.healthy if i.owner not in outside]
        rule = process.engine.state.policies.rule
        truth = [each for each in truth if rule(f"{Maintenance.kind}:{each[2]}:{each[1]}") is None]
        return sorted(seen) == truth


def _policy_digests(process: Process) -> list[int]:
    """Return the digest of each policy version that the node holds."""
    return [version.digest for version in process.engine.state.policies]
