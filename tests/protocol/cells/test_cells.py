"""What one node knows of other cells: their heads, how old that is, and what it states of its own."""

from __future__ import annotations

from random import Random

import attrs

from gossipreg.model import Status
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.members import Members
from tests.protocol.making import engine, introduce, update


def cells_of(*names: str) -> Cells:
    """The cells of the first of these members of cell ``a``, which knows the others."""
    made = engine(names[0], cell="a")
    introduce(made, *(attrs.evolve(update(name, port=7100 + at), cell="a") for at, name in enumerate(names[1:])))
    assert made.state.cells is not None
    return made.state.cells


def head(cell: str = "b", confirmed: int = 0) -> CellHead:
    return CellHead(cell, 1, 2, 3, (), confirmed)


def test_a_node_states_its_relays_to_another_cell_and_none_to_its_own() -> None:
    cells = cells_of("a0", "a1", "a2")
    relays = cells.relays("b")
    assert len(relays) == 2
    held = [cells.members.get(name) for name in relays]
    assert cells.own_head("b").relays == tuple(each.address for each in held if each is not None)
    assert cells.own_head("").relays == ()
    assert cells.own_head("b").size == 3


def test_a_node_that_does_not_hold_itself_states_nothing_of_its_cell() -> None:
    assert Cells("a", Members(EngineSettings(), Random(1), "a0")).own_head("b") == CellHead("a", 0, 0, 0, ())


def test_a_change_of_a_remote_member_goes_down_the_tree_of_the_first_relay() -> None:
    cells = cells_of("a0", "a1", "a2")
    cells.remote.put(attrs.evolve(update("b1"), cell="b"), 1.0)
    assert cells.root("b1") == cells.relays("b")[0]
    assert cells.root("a1") == "a1"


def test_the_age_of_a_cell_is_the_longer_of_what_two_clocks_measure() -> None:
    cells = cells_of("a0")
    cells.note_head(head(confirmed=500_000), now=10.0, wall=500_000.0)
    assert cells.age("b", now=10.0, wall=510_000.0) == 10.0
    assert cells.age("b", now=30.0, wall=510_000.0) == 20.0


def test_stale_cells_are_looked_for_once_a_second() -> None:
    cells = cells_of("a0")
    assert [cells.take_due_check(at) for at in (5.0, 5.5, 6.0, 6.5)] == [True, False, True, False]


def test_of_a_forgotten_cell_nothing_is_left() -> None:
    cells = cells_of("a0")
    cells.note_head(head(confirmed=500_000), now=10.0, wall=500_000.0)
    cells.partitions.replace("b", None, update("b1"))
    cells.forget("b")
    assert (cells.others, cells.head("b"), cells.partitions.total("b")) == ((), None, 0)


def test_an_update_about_a_remote_member_replaces_the_one_held_and_counts_when_it_failed() -> None:
    remote = cells_of("a0").remote
    alive = attrs.evolve(update("b1"), cell="b")
    failed = attrs.evolve(update("b1", Status.FAILED, age=7), cell="b")
    assert remote.changes("b") == 0
    assert remote.put(alive, 1.0) is None
    assert remote.put(failed, 20.0) == alive
    assert remote.since("b1") == 13.0
    remote.drop("b1")
    assert (remote.since("b1"), remote.get("b1"), list(remote.names("b"))) == (None, None, [])
