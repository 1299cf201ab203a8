"""The oracles of cells report what they are about, and hold in a run where it does not happen."""

from __future__ import annotations

from typing import TypeVar

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.outputs import CellChanged
from gossipreg.protocol.wire.messages import pack, pack_sender
from gossipreg_sim.cluster import Cluster, PacketTrace
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.border_relays import BorderRelays
from gossipreg_sim.oracles.cell_ages import CellAges, SplitCost
from gossipreg_sim.oracles.cell_authority import CellAuthority, CellOrigin
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.oracles.split_cell import SplitCell
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.world import SECOND, World
from tests.sim.oracles.watching import texts

_OracleType = TypeVar("_OracleType", bound=Oracle)

CUT = Fault(kind="cut", nodes="cell:cell-1", at=1, lasts=5)


def watched(oracle: type[_OracleType], *faults: Fault) -> tuple[Cluster, _OracleType]:
    """Six nodes in two cells, which an oracle has observed until they knew each other."""
    scenario = Scenario(title="two cells", nodes=6, cells=2, faults=faults)
    made = Cluster(World(1), scenario.settings)
    watching = oracle(made, RunContext(scenario))
    OracleRunner.of([watching]).watch(made)
    for name in scenario.node_names:
        seeds = [each for each in ("n0", "n1") if each != name]
        made.start(name, seeds=seeds, cell=scenario.cell_of(name))
    made.world.run(6 * SECOND)
    assert watching.violations == []
    return made, watching


def touch(made: Cluster, name: str) -> Process:
    """Have the oracle look at a node."""
    for look in made.touched:
        look(made.processes[name])
    return made.processes[name]


def test_a_status_that_the_members_own_cell_has_not_held_is_reported() -> None:
    made, authority = watched(CellAuthority)
    assert authority.checks
    state = made.processes["n0"].engine.state
    held = state.find("n3")
    assert held is not None
    state.believe_remote(held.graver(Status.FAILED, 1), made.processes["n0"].now, spread=False)
    touch(made, "n0")
    assert texts(authority) == ["holds n3 of the cell cell-1 failed, which no node there has held"]


def test_a_member_of_another_cell_on_the_ring_is_reported() -> None:
    made, authority = watched(CellAuthority)
    state = made.processes["n0"].engine.state
    stray = attrs.evolve(made.processes["n3"].engine.identity.own_update(), name="stray")
    state.believe(stray, made.processes["n0"].now, spread=False)
    touch(made, "n0")
    assert texts(authority) == ["holds stray of the cell cell-1 as a member"]


def test_packets_over_a_border_and_members_of_third_cells_are_reported() -> None:
    made, origin = watched(CellOrigin)
    assert origin.checks
    third = attrs.evolve(made.processes["n2"].engine.identity.own_update(), name="n2")
    origin.context.scenario = attrs.evolve(origin.context.scenario, cells=3)  # n2 is of a third cell
    data = pack_sender(1) + pack(third)
    origin._crossed(PacketTrace("n0", "n1", 0, data, (1,), "", on_stream=True))
    origin._crossed(PacketTrace("n0", "n1", 0, data, (1,), "", on_stream=False))
    assert texts(origin) == ["tells n1 of n2, a member of a third cell", "sends a packet to n1, a node of another cell"]


def test_an_age_that_is_too_low_and_what_is_old_but_fresh_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ages = watched(CellAges)
    assert ages.checks
    cells = made.processes["n0"].engine.state.cells
    assert cells is not None
    monkeypatch.setattr(type(cells), "age", lambda *_: 30.0)
    ages._looked.clear()
    touch(made, "n0")
    assert texts(ages) == ["shows what is 30.00 s old of cell-1 as fresh"]
    monkeypatch.setattr(type(cells), "age", lambda *_: 0.0)
    ages._arrived.clear()
    ages._looked.clear()
    touch(made, "n0")
    assert texts(ages)[1:] == ["states an age of 0.00 s of cell-1, not 6.00 s"]


def test_a_cut_that_is_reported_again_and_again_is_reported() -> None:
    made, cost = watched(SplitCost, CUT)
    for _ in range(3):
        cost.see(made.processes["n0"], CellChanged("cell-1", reachable=False, age=12.0))
        cost.see(made.processes["n0"], CellChanged("cell-1", reachable=True, age=1.0))
    cost.finish()
    assert texts(cost) == ["reports 3 times that cell-1 cannot be reached, not 2"]
    _, idle = watched(SplitCost)
    idle.finish()
    assert not idle.has_applied


def test_nodes_that_elect_different_relays_are_reported() -> None:
    made, relays = watched(BorderRelays)
    relays.finish()
    assert not relays.has_applied
    relays.is_applicable, relays.context.healed_in = True, 1.0
    relays.finish()
    assert relays.checks == 4
    assert texts(relays) == []
    cells = made.processes["n0"].engine.state.cells
    assert cells is not None
    cells._elected["cell-1"] = (cells.members.changes, ("gone",))
    relays.finish()
    assert texts(relays) == [
        "and others of its cell elect different relays to cell-1",
        "elects [] as relays to cell-1",
    ]


def test_a_running_member_of_a_split_cell_that_stays_failed_elsewhere_is_reported() -> None:
    split = Fault(kind="cut", nodes="n1", to=("n3", "n5"), at=1, lasts=5)
    made, oracle = watched(SplitCell, split)
    process = made.processes["n0"]
    held = process.engine.state.find("n3")
    assert held is not None
    process.engine.state.believe_remote(held.graver(Status.FAILED, 1), process.now, spread=False)
    oracle._looked.clear()
    touch(made, "n0")
    assert texts(oracle) == []
    oracle._since = {key: at - 18 * SECOND for key, at in oracle._since.items()}
    oracle._looked.clear()
    touch(made, "n0")
    assert texts(oracle) == ["has held n3, which runs, as failed for 18.0 s"]


@pytest.mark.parametrize("fault", [CUT, Fault(kind="crash", nodes="n1", at=1, lasts=5)])
def test_other_faults_than_splits_within_a_cell_may_keep_a_member_failed(fault: Fault) -> None:
    _, oracle = watched(SplitCell, fault)
    assert not oracle.is_applicable
