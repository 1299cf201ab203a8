"""Several cells in a scenario; and that a flat cluster has nothing of them."""

from __future__ import annotations

import msgpack
import pytest

from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.wire.messages import SENDER_BYTES, message_of
from gossipreg_sim.cluster import Cluster, PacketTrace
from gossipreg_sim.fault import Fault
from gossipreg_sim.fuzz import generation
from gossipreg_sim.fuzz.templates import ScenarioTemplate
from gossipreg_sim.runner import CELL_ORACLES, oracles_of, run_scenario
from gossipreg_sim.scenario import Scenario, ScenarioError, Workload

#: Fields of a member update and of a comparison in a flat cluster without identity, their kinds included.
_FIELDS = {5: 12, 10: 2, 11: 3, 12: 3}


def test_no_message_of_a_flat_cluster_says_anything_of_cells() -> None:
    seen = 0

    def look(trace: PacketTrace) -> None:
        nonlocal seen
        unpacker = msgpack.Unpacker()
        unpacker.feed(trace.data[SENDER_BYTES:])
        for fields in unpacker:
            seen += 1
            message = message_of(msgpack.packb(fields))
            assert not isinstance(message, CellHead)
            assert not isinstance(message, MemberUpdate) or message.cell == ""
            assert len(fields) == _FIELDS.get(fields[0], len(fields))

    def attach(cluster: Cluster) -> None:
        cluster.packet_taps.append(look)

    split = Fault(kind="cut", nodes="first:2", at=1, lasts=8)
    flat = Scenario(
        title="flat", nodes=5, warmup=2, duration=12, workload=Workload(churn=1, policies=1), faults=[split]
    )
    outcome = run_scenario(flat, 1, attach=attach)
    assert outcome.is_good
    assert seen > 1000
    assert not any(name.startswith("cells_") and count for name, count in outcome.marks.items())
    assert not any(oracle in oracles_of(flat) for oracle in CELL_ORACLES)


def test_cells_are_assigned_round_robin_and_can_be_named_in_faults() -> None:
    made = Scenario(title="x", nodes=5, cells=2, faults=[Fault(kind="freeze", nodes="cell:cell-1", lasts=1)])
    assert [made.cell_of(name) for name in made.node_names] == [f"cell-{number % 2}" for number in range(5)]
    assert Scenario(title="x", nodes=5).cell_of("n3") == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cells": 6}, "cells: 6 is not a number from 1 to 5"),
        ({"cells": 2, "seeds": 3}, "seeds: 3 is not a number from 1 to 2"),
        ({"cells": 2, "identity": "require"}, "cells: 2: nodes of several cells have no identity"),
        ({"cells": 2, "faults": [Fault(kind="upgrade", seconds=1, identity="require")]}, "cells: 2: nodes of several"),
        (
            {"faults": [Fault(kind="cut", nodes="cell:cell-0")]},
            "fault cut-1: 'cell:cell-0' names no node: write n0 to n4",
        ),
        ({"cells": 2, "faults": [Fault(kind="cut", nodes="cell:x")]}, "fault cut-1: 'cell:x' names no node"),
    ],
)
def test_a_mistake_about_cells_is_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        Scenario(title="x", nodes=5, **wrong)  # type: ignore[arg-type]  # what the test is about
    assert str(raised.value).startswith(said)


def test_some_seeds_have_cells_and_cut_borders() -> None:
    drawn = [generation.generated(seed).scenario for seed in range(700)]
    divided = [each for each in drawn if each.cells > 1]
    assert len(divided) >= 3
    assert all(each.nodes >= 2 * each.cells and each.identity == "off" for each in divided)
    assert any(fault.name.startswith("border-") for each in divided for fault in each.faults)


def test_a_sweep_of_cells_divides_every_scenario_and_splits_some_cells() -> None:
    drawn = [generation.generated(seed, (4, 12), cells=True).scenario for seed in range(40)]
    assert all(each.cells > 1 and each.identity == "off" for each in drawn)
    splits = [(each, fault) for each in drawn for fault in each.faults if fault.name == "split-1"]
    assert splits
    for scenario, fault in splits:
        assert len({scenario.cell_of(name) for name in (*fault.nodes, *fault.to)}) == 1
        assert not set(fault.nodes) & set(fault.to)


def test_clocks_that_are_set_back_do_not_make_a_cell_stale_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of other cells were of the future, and so no later one counted."""
    monkeypatch.setattr(generation, "_CELLS_SHARE", 1.0)
    monkeypatch.setattr(generation, "template_of", lambda _: ScenarioTemplate())
    scenario = generation.generated(200116).scenario
    assert any(fault.kind == "clock-skew-at-start" for fault in scenario.faults)
    assert run_scenario(scenario, 200116).is_good
