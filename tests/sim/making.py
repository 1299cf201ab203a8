"""Small clusters and scenarios for tests."""

from __future__ import annotations

from typing import Any

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, Workload
from gossipreg_sim.world import World, ns

#: Seconds in which a small cluster converges.
TOGETHER = 3.0


def scenario(*faults: Fault, **parts: Any) -> Scenario:
    """A short run of four nodes with these faults."""
    defaults: dict[str, Any] = {
        "name": "test",
        "title": "A test",
        "nodes": 4,
        "warmup": 3.0,
        "duration": 8.0,
        "workload": Workload(churn=1.0),
    }
    return Scenario(**(defaults | parts), faults=faults)


def cluster(nodes: int = 3, *, seed: int = 1, settings: EngineSettings | None = None) -> Cluster:
    """A converged cluster of n0, n1, and so on."""
    made = Cluster(World(seed), settings or EngineSettings())
    for number in range(nodes):
        made.start(f"n{number}", seeds=["n0"] if number else [])
    made.world.run(ns(TOGETHER))
    return made


def run_for(made: Cluster, seconds: float) -> None:
    """Run for ``seconds``."""
    made.world.run(made.world.now + ns(seconds))


def believed(made: Cluster, observer: str, subject: str) -> Status | None:
    """Return what ``observer`` believes of ``subject``."""
    update = made.processes[observer].engine.members.get(subject)
    return None if update is None else update.status
