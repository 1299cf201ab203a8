"""A restarted node must be believed alive."""

from __future__ import annotations

from gossipreg.model import Status
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.oracles.restarts import Restarts
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched


def restarted() -> tuple[Cluster, Restarts]:
    """A cluster in which n1 was restarted, with seeds that it contacted in both runs."""
    made, restarts = watched(Restarts)
    run_for(made, 7)
    made.crash("n1")
    run_for(made, 0.5)
    made.start("n1")
    run_for(made, 3)
    restarts.context.healed_in = 0.0
    return made, restarts


def test_a_node_that_is_back_on_all_nodes_passes() -> None:
    _made, restarts = restarted()
    restarts.finish()
    assert restarts.checks == 3
    assert texts(restarts) == []


def test_a_restarted_node_believed_dead_is_reported() -> None:
    made, restarts = restarted()
    n0, n1 = made.processes["n0"], made.processes["n1"].engine.identity
    n0.engine.members.put(n1.own_update().graver(Status.FAILED), n0.now)
    restarts.finish()
    expected = f"believes failed in generation {n1.generation} of n1, which is back in generation {n1.generation}"
    assert texts(restarts) == [expected]


def test_without_a_restart_or_an_agreement_the_oracle_does_not_apply() -> None:
    _made, restarts = watched(Restarts)
    restarts.finish()
    assert restarts.note == "not applicable here: no node restarted"
    _made, restarts = restarted()
    restarts.context.healed_in = None
    restarts.finish()
    assert restarts.note == "not applicable here: the nodes did not come to agree"


def test_the_oracle_does_not_apply_to_a_node_that_waits_alone_for_its_seeds() -> None:
    made, restarts = restarted()
    for name in ("n0", "n1", "n2"):
        made.crash(name)
    made.start("n1")
    run_for(made, 3)
    restarts.finish()
    assert restarts.note == "not applicable here: the restarted node is alone and waits for a seed"
