"""What users do: each kind by its own rng, now and then two at the same moment, and only where somebody listens."""

from __future__ import annotations

from collections import Counter

import pytest

from gossipreg.model import Instance
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Scenario, Workload
from gossipreg_sim.users import Users
from gossipreg_sim.world import ns
from tests.sim.making import cluster, scenario

BUSY = Workload(churn=2.0, policies=4.0, primaries=2.0)


def busy(made: Cluster, workload: Workload = BUSY) -> Scenario:
    """Let the users of a cluster be busy for some seconds."""
    busily = scenario(workload=workload, nodes=3)
    Users(busily, made).plan(made.world.now, made.world.now + ns(8.0))
    made.world.run(made.world.now + ns(10.0))
    return busily


def test_unless_told_otherwise_nobody_sets_policies_or_claims_to_be_a_primary() -> None:
    marks = run_scenario(scenario(), 0).marks
    assert not {"policy", "policy removed", "primary", "fenced"} & marks.keys()


def test_policies_are_set_and_removed_and_primaries_succeed_each_other() -> None:
    outcome = run_scenario(scenario(workload=BUSY), 0)
    assert outcome.is_good, outcome.violations
    assert {"policy", "policy removed", "primary", "fenced"} <= outcome.marks.keys()


def test_instances_come_and_go_alike_whether_policies_are_set_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[tuple[str, str]] = []
    honest = Cluster.register

    def register(self: Cluster, name: str, instance: Instance) -> None:
        offered.append((name, instance.id))
        honest(self, name, instance)

    monkeypatch.setattr(Cluster, "register", register)
    busy(cluster(), Workload(churn=2.0))
    alone = list(offered)
    offered.clear()
    busy(cluster(), Workload(churn=2.0, policies=4.0))
    assert offered == alone


def test_some_set_a_policy_at_the_same_moment_at_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    said: Counter[int] = Counter()
    monkeypatch.setattr(Cluster, "set_policy", lambda self, *_: said.update([self.world.now]))
    busy(cluster(), Workload(policies=4.0))
    assert {1, 2} == set(said.values())


def test_who_is_stopped_or_dead_is_asked_nothing() -> None:
    made = cluster()
    made.processes["n0"].freeze()
    made.crash("n1")
    made.crash("n2")
    busy(made)
    made.processes["n0"].thaw()
    assert list(made.processes["n0"].engine.state.policies) == []
    assert made.offered() == {}
