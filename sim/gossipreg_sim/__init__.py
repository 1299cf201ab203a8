"""Deterministic simulator: clusters of the production protocol on a virtual clock and network, reproducible by seed.

Describe the faults of a cluster as a scenario, run it, and inspect the outcome:

>>> from gossipreg_sim import Fault, Scenario, run_scenario
>>> split = Scenario(
...     title="Two and three nodes lose sight of each other for half a minute",
...     nodes=5,
...     duration=30,
...     faults=[Fault(kind="cut", nodes=["n0", "n1"])],
... )
>>> outcome = run_scenario(split, seed=7)
>>> outcome.is_good, outcome.violations
(True, ())
>>> outcome.marks["revived"] > 0
True

Or drive a cluster by hand:

>>> from gossipreg_sim import Cluster, World, ns
>>> cluster = Cluster(World(seed=1))
>>> for name in ("a", "b", "c"):
...     _ = cluster.start(name, seeds=["a"] if name != "a" else [])
>>> cluster.world.run(until=ns(2.0))
>>> [str(member.name) for member in cluster.processes["a"].engine.members]
['a', 'b', 'c']

A scenario can also be a TOML file, which `load` reads. docs/simulator.md is the reference.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gossipreg_sim.cluster import Cluster
    from gossipreg_sim.fault import Fault
    from gossipreg_sim.runner import Outcome, run_scenario
    from gossipreg_sim.scenario import Scenario, ScenarioError, Wiring, Workload
    from gossipreg_sim.scenario_file import load, shipped
    from gossipreg_sim.world import World, ns

__all__ = [
    "Cluster",
    "Fault",
    "Outcome",
    "Scenario",
    "ScenarioError",
    "Wiring",
    "Workload",
    "World",
    "load",
    "ns",
    "run_scenario",
    "shipped",
]

_HOMES: Final = {
    "Cluster": "gossipreg_sim.cluster",
    "Fault": "gossipreg_sim.fault",
    "Outcome": "gossipreg_sim.runner",
    "World": "gossipreg_sim.world",
    "load": "gossipreg_sim.scenario_file",
    "ns": "gossipreg_sim.world",
    "run_scenario": "gossipreg_sim.runner",
    "shipped": "gossipreg_sim.scenario_file",
}


def __getattr__(name: str) -> Any:
    """Import each name on first use: pytest imports this package even in projects that do not use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "gossipreg_sim.scenario")), name)
