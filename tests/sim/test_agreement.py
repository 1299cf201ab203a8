"""Agreement of a cluster: which nodes must agree, and how soon."""

from __future__ import annotations

import pytest

from gossipreg.policy import Maintenance
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.agreement import Agreement, heal_bound, separated_nodes
from gossipreg_sim.fault import Fault
from gossipreg_sim.world import World
from tests.sim.making import cluster, run_for, scenario
from tests.sim.oracles.watching import offer


def test_the_bound_grows_with_its_terms() -> None:
    usual = heal_bound(scenario())
    assert heal_bound(scenario(settings=EngineSettings(reconnect_interval=60.0))) > usual
    assert heal_bound(scenario(settings=EngineSettings(stream_patience=9.0))) > usual
    assert heal_bound(scenario(settings=EngineSettings(gossip_transmissions=12))) > usual
    assert heal_bound(scenario(Fault(kind="crash", lasts=1.0))) == usual
    assert heal_bound(scenario(Fault(kind="crash", nodes=("n1",), permanent=True))) == pytest.approx(usual + 19.0)


@pytest.mark.parametrize(
    ("fault", "apart"),
    [
        (Fault(kind="cut", nodes=("n1",), permanent=True), ("n1",)),
        (Fault(kind="cut", nodes=("n1",)), ()),
        (Fault(kind="cut", nodes=("first:3",), to=("last:1",), permanent=True), ("n3",)),
        (Fault(kind="loss", probability=0.1, permanent=True), ()),
        (Fault(kind="crash", nodes=("n1",), permanent=True), ()),
    ],
)
def test_a_permanent_fault_separates_the_smaller_side(fault: Fault, apart: tuple[str, ...]) -> None:
    assert separated_nodes(scenario(fault), World(1)) == apart


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
