"""The heat map: keyframes and changes, compared with the true beliefs."""

from __future__ import annotations

import pytest

from gossipreg.model import Status
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.report import heat_map as heat_module
from gossipreg_sim.report import packing
from gossipreg_sim.report.curves import curves_of, sides_of, worst_moment
from gossipreg_sim.report.heat_map import Cell, HeatMap, heat_map_of
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.runner import run_scenario
from tests.sim.report.conftest import STORMY


def moments() -> range:
    """Return about four times per second over the whole run (µs), none of them round."""
    return range(1_234, 17_000_000, 243_211)


def seen(cluster: Cluster) -> bytes:
    """Return the map computed from the members' own tables."""
    cells = []
    for observer in STORMY.node_names:
        watching = cluster.running(observer)
        for subject in STORMY.node_names:
            update = None if watching is None else watching.engine.members.get(subject)
            runs = cluster.running(subject)
            if watching is None:
                cells.append(Cell.DOWN)
            elif update is None:
                cells.append(Cell.UNKNOWN)
            elif update.status is Status.ALIVE and (
                runs is None or runs.engine.identity.left or update.generation < runs.engine.identity.generation
            ):
                cells.append(Cell.STALE)
            else:
                cells.append(Cell[update.status.name])
    return bytes(cells)


def test_the_map_at_any_moment_shows_the_members_beliefs(stormy: Recording) -> None:
    truth: dict[int, bytes] = {}

    def watch(cluster: Cluster) -> None:
        for moment in moments():
            cluster.world.at(moment * 1000, lambda at=moment: truth.update({at: seen(cluster)}))  # type: ignore[misc]

    run_scenario(STORMY, 3, attach=watch)
    heat = heat_map_of(stormy)
    assert {moment: heat.at(moment) for moment in truth} == truth
    assert {Cell(cell) for cells in truth.values() for cell in cells} >= {
        Cell.ALIVE,
        Cell.SUSPECT,
        Cell.FAILED,
        Cell.LEFT,
        Cell.STALE,
        Cell.DOWN,
    }


def unpacked(heat: HeatMap, moment: int) -> bytes:
    """Decode the columns like the page's script: the nearest keyframe, then the changes since."""
    columns = {name: packing.decompressed(text) for name, text in heat.packed().items()}
    at = packing.unrising(columns["at"])
    cells = packing.unvarints(columns["cell"])
    wanted = sum(when <= moment for when in at)
    size = len(heat.names) ** 2
    keyframe = min(wanted // heat.spacing, len(columns["keyframes"]) // size - 1)
    shown = bytearray(columns["keyframes"][keyframe * size : (keyframe + 1) * size])
    for place in range(keyframe * heat.spacing, wanted):
        shown[cells[place]] = columns["state"][place]
    return bytes(shown)


def test_keyframes_and_changes_reproduce_the_map(stormy: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_module, "CHANGES_PER_KEYFRAME", 16)
    heat = heat_map_of(stormy)
    assert len(heat.changes) > 4 * heat.spacing
    for moment in moments():
        assert unpacked(heat, moment) == heat.at(moment)


def test_the_sides_of_a_split_are_found(split: Recording) -> None:
    heat = heat_map_of(split)
    curves = curves_of(split, heat)
    assert sides_of(heat, worst_moment(curves, 3_000_000)) == [["n0", "n1"], ["n2", "n3", "n4"]]


def test_the_figures_of_a_split_follow_from_its_sides(split: Recording) -> None:
    curves = curves_of(split, heat_map_of(split))
    late = 32_500_000 // curves.step
    assert curves.right[late] == 40.0  # each of 2 + 3 nodes is right about its own side: 2 x 1 + 3 x 2 of 20 pairs
    assert curves.sizes[32] == (2, 2, 3, 3, 3)
    assert curves.right[-1] == 100.0
    assert curves.agreeing[-1] == 100.0
    assert sum(curves.messages) == len(split.passages)
    assert sum(curves.lost) == sum(bool(passage.culprit) for passage in split.passages)
