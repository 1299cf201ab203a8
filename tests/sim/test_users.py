"""Simulated users: each kind has its own rng, two may act at the same moment, and only live nodes are called."""

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
    """Run the users of a cluster for some seconds."""
    busily = scenario(workload=workload, nodes=3)
    Users(busily, made).plan(made.world.now, made.world.now + ns(8.0))
    made.world.run(made.world.now + ns(10.0))
    return busily


def test_by_default_users_set_no_policies_and_claim_no_primaries() -> None:
    marks = run_scenario(scenario(), 0).marks
    assert not {"policy", "policy removed", "primary", "fenced"} & marks.keys()


def test_users_set_and_remove_policies_and_change_primaries() -> None:
    outcome = run_scenario(scenario(workload=BUSY), 0)
    assert outcome.is_good, outcome.violations
    assert {"policy", "policy removed", "primary", "fenced"} <= outcome.marks.keys()


def test_policy_changes_do_not_affect_instance_churn(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_some_policies_are_set_at_two_nodes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: Counter[int] = Counter()
    monkeypatch.setattr(Cluster, "set_policy", lambda self, *_: said.update([self.world.now]))
    busy(cluster(), Workload(policies=4.0))
    assert {1, 2} == set(said.values())


def test_stopped_and_dead_nodes_get_no_user_calls() -> None:
    made = cluster()
    made.processes["n0"].freeze()
    made.crash("n1")
    made.crash("n2")
    busy(made)
    made.processes["n0"].thaw()
    assert list(made.processes["n0"].engine.state.policies) == []
    assert made.offered() == {}
