"""Agreement of a cluster: whether all nodes hold the same state."""

from __future__ import annotations

from gossipreg.policy import Maintenance
from gossipreg_sim.agreement import Agreement
from tests.sim.making import cluster, run_for
from tests.sim.oracles.watching import offer


def test_a_cluster_agrees_when_all_nodes_see_all_offers() -> None:
    made = cluster()
    assert Agreement(made).holds()
    made.register("n1", offer())
    assert not Agreement(made).holds()
    run_for(made, 1)
    assert Agreement(made).holds()


def test_beliefs_about_separated_nodes_do_not_matter() -> None:
    made = cluster(4)
    made.processes["n3"].freeze()
    run_for(made, 60)
    assert not Agreement(made).holds()
    assert Agreement(made, ("n3",)).holds()
    made.crash("n2", host=True)
    assert not Agreement(made, ("n3",)).holds()


def test_all_agree_on_an_instance_under_maintenance() -> None:
    made = cluster()
    made.register("n1", offer())
    run_for(made, 1)
    made.set_policy("n2", Maintenance("s", "a", "new disk"))
    assert not Agreement(made).holds()
    assert not Agreement(made, ("n1",)).holds()
    run_for(made, 1)
    assert Agreement(made).holds()
    assert Agreement(made, ("n1",)).holds()
    assert made.processes["n0"].engine.view.service("s").healthy == ()
