"""Measurements of cost and speed as clusters grow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gossipreg.protocol.answer_pacing import ENTRY_SECONDS
from gossipreg.protocol.dissemination.broadcast_queue import BroadcastQueue
from gossipreg.protocol.state import ClusterState
from gossipreg_sim.scale import large_cluster
from gossipreg_sim.scale.large_cluster import LargeCluster, NeverHappened
from gossipreg_sim.scale.measures import (
    IdleCost,
    burst,
    crash,
    join,
    measure_idle,
    registration,
    silence,
    split_and_heal,
)
from gossipreg_sim.scale.memory_use import measure_memory
from gossipreg_sim.scale.one_node import NEWCOMERS, measure_one_node
from gossipreg_sim.scale.region_of_cells import measure_region
from gossipreg_sim.trace import Trace
from tests.cli.conftest import Ran


@pytest.fixture
def eight() -> LargeCluster:
    return LargeCluster.converged(8, 2)


def region() -> LargeCluster:
    return LargeCluster.converged(7, 2, cells=3, quiet=4.0)


def teach(source: ClusterState, target: ClusterState, now: float) -> None:
    """Do the same as `share_state`, row by row, without sharing."""
    own = target.members.own_name
    for update in source.members if source.cells is None else source.cells.remote:
        if update.cell != ("" if target.cells is None else target.cells.own):
            target.believe_remote(update, now, spread=False)
        elif update.name != own:
            target.believe(update, now, spread=False)
    for table in source.registry.owners:
        for record in table if table.owner != own else ():
            target.take(record, now, spread=False)
    target.refresh()
    target.broadcaster.queue = BroadcastQueue(target.settings)


def eventful(quiet: float) -> str:
    """Return the trace of a cluster with several events."""
    made = LargeCluster.converged(8, 2, quiet=quiet)
    trace = Trace()
    made.cluster.observers.append(trace.see)
    rest = measure_idle(made, 1.0)
    registration(made, rest, 1)
    burst(made, rest, 5)
    crash(made, 1)
    silence(made, 4)
    made.cluster.deregister("n0", "n0-0")
    made.run_for(3.0)
    split_and_heal(made)
    return trace.digest


def test_shared_tables_give_the_same_trace_as_separate_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = eventful(3.0)
    monkeypatch.setattr(large_cluster, "share_state", teach)
    assert eventful(3.0) == shared


def crossed(made: LargeCluster) -> str:
    """Return the trace of a region in which a change crosses, and a member of one cell is failed."""
    trace = Trace()
    made.cluster.observers.append(trace.see)
    made.cluster.register("n1", made.instance(1, 2))
    made.cluster.deregister("n0", "n0-0")
    made.run_for(2.0)
    made.cluster.crash("n5")
    made.run_for(3.0)
    return trace.digest


def test_shared_tables_of_a_region_give_the_same_trace_as_separate_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = crossed(region())
    monkeypatch.setattr(large_cluster, "share_state", teach)
    assert crossed(region()) == shared


def test_a_region_is_measured_within_and_across_its_cells() -> None:
    found = measure_region(6, 3, 1, seconds=1.0, quiet=4.0)
    assert 0 < found.own_cell < found.region <= found.slowest < 1.0
    assert found.idle.bytes > 68
    assert sum(found.duties) == 6
    assert sum(count * nodes for count, nodes in enumerate(found.duties)) == 3 * 2 * 2, "two a side and border"
    assert (found.memory.members, found.memory.instances) == (4, 1)


def test_all_nodes_of_a_region_agree_from_the_start() -> None:
    made = region()
    assert made.agrees()
    for process in made.cluster.alive:
        cells = process.engine.state.cells
        assert cells is not None
        assert len(cells.others) == 2
        assert not cells.stale


def test_a_write_to_a_shared_table_is_not_visible_to_other_nodes(eight: LargeCluster) -> None:
    eight.cluster.register("n1", eight.instance(1, 2))
    tables = [process.engine.state.registry.table("n1") for process in eight.cluster.alive]
    assert [table and len(table) for table in tables] == [2, 3, 2, 2, 2, 2, 2, 2]


def test_a_large_cluster_agrees_from_the_start_and_is_idle(eight: LargeCluster) -> None:
    assert eight.agrees()
    rest = measure_idle(eight, 5.0)
    assert rest.packets == pytest.approx(2.0, abs=0.1)
    assert rest.bytes < 100


def test_a_large_cluster_agrees_again_after_all_measurements(eight: LargeCluster) -> None:
    rest = IdleCost(1.0, 2.0, 68.0)
    assert registration(eight, rest, 1).seconds < 0.1
    assert burst(eight, rest, 10).seconds < 0.5
    assert join(eight, rest).bytes > 0
    assert crash(eight, 1) < 1.0
    avoided, failed = silence(eight, 4)
    assert 0 < avoided < failed
    split, healed = split_and_heal(eight)
    assert split > healed > 0
    assert eight.agrees()
    assert len(eight.live_names) == 7


def test_a_wait_has_a_time_limit(eight: LargeCluster) -> None:
    with pytest.raises(NeverHappened, match="8 nodes: condition not met"):
        eight.run_until(lambda: False, 0.1)


@pytest.mark.slow
def test_one_more_member_or_instance_costs_about_a_kilobyte() -> None:
    memory = measure_memory(50, 4)
    assert 300 < memory.member_bytes < 3_000
    assert 300 < memory.instance_bytes < 3_000


@pytest.mark.slow
def test_the_command_prints_tables_and_writes_curves(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("scale", "--nodes", "12", "--instances", "1", "--plots", str(tmp_path), "--json")
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    assert document["command"] == "gossipreg sim scale --nodes 12 --instances 1"
    assert [table["rows"][0].get("nodes", 12) for table in document["tables"]] == [12, 12, 12, 12, 12]
    generated = sorted(path.name for path in tmp_path.iterdir())
    assert generated == ["scale-deaths.svg", "scale-news.svg", "scale-rest.svg"]
    for name in generated:
        ET.fromstring((tmp_path / name).read_bytes())


def test_one_node_is_measured_whose_peers_are_not_there() -> None:
    found = measure_one_node(2100)
    assert found.members == 2100
    assert found.told_bytes > 2100 * 16
    assert found.all_told == pytest.approx(2101 * ENTRY_SECONDS * (NEWCOMERS - 1)), "each in its turn"
    assert measure_one_node(100).all_told == 0.0, "a small state has no turns"


@pytest.mark.slow
def test_what_is_too_large_to_simulate_is_measured_by_one_node(run: Callable[..., Ran]) -> None:
    ran = run("scale", "--nodes", "2001", "--instances", "1", "--json")
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    assert [table["title"] for table in document["tables"]] == ["Memory of one real node", "Work of one real node"]
    assert [table["rows"][0]["members"] for table in document["tables"]] == [2000, 2000]


@pytest.mark.slow
def test_a_region_has_tables_of_its_own(run: Callable[..., Ran]) -> None:
    ran = run("scale", "--cells", "2", "--nodes", "12", "--instances", "1", "--json")
    assert ran.status == 0, ran.err
    document = json.loads(ran.out)
    assert document["command"] == "gossipreg sim scale --nodes 12 --instances 1 --cells 2"
    assert [table["rows"][0]["cells"] for table in document["tables"]] == [2, 2, 1]


@pytest.mark.parametrize(
    "bad",
    [
        ["--cells", "7", "--nodes", "13"],
        ["--cells", "2", "--plots", "x"],
        ["--nodes", "11"],
        ["--instances", "0"],
        ["--plots", "no/such/folder"],
        ["64"],
    ],
)
def test_an_unmeasurable_size_is_one_line_and_status_2(run: Callable[..., Ran], bad: list[str]) -> None:
    ran = run("scale", *bad)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("gossipreg: ")
    assert ran.err.count("\n") == 1
