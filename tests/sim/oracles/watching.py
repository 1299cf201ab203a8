"""A small cluster observed by one oracle."""

from __future__ import annotations

from typing import Any, TypeVar

from gossipreg.model import Instance
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.run_context import RunContext
from tests.sim.making import cluster, run_for, scenario

_OracleType = TypeVar("_OracleType", bound=Oracle)


def offer(name: str = "a") -> Instance:
    """An instance of the service s."""
    return Instance(id=name, service="s", host="198.18.0.1", port=80)


def watched(
    oracle: type[_OracleType], *faults: Fault, nodes: int = 3, settings: EngineSettings | None = None, **parts: Any
) -> tuple[Cluster, _OracleType]:
    """A cluster that an oracle has observed while instances were registered, spread and withdrawn.

    ``faults`` and ``parts`` are those of the scenario that the oracle receives.
    """
    made = cluster(nodes, settings=settings)
    context = RunContext(scenario(*faults, nodes=nodes, settings=settings or EngineSettings(), **parts))
    watching = oracle(made, context)
    OracleRunner.of([watching]).watch(made)
    made.register("n1", offer("a"))
    made.register("n1", offer("b"))
    run_for(made, 1)
    made.deregister("n1", "b")
    run_for(made, 1)
    assert watching.violations == []
    return made, watching


def texts(oracle: Oracle) -> list[str]:
    """The texts of the oracle's violations."""
    return [violation.text for violation in oracle.violations]
