"""Relays as one node knows them: those of its own cell, and where those of others are."""

from __future__ import annotations

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.membership.member_update import MemberUpdate
from tests.protocol.making import engine, introduce, update


def remote(name: str, port: int, status: Status = Status.ALIVE) -> MemberUpdate:
    return attrs.evolve(update(name, status, port=port), cell="b")


def knowing(*members: MemberUpdate) -> Cells:
    cells = engine("a0", cell="a").state.cells
    assert cells is not None
    for member in members:
        cells.remote.put(member, 1.0)
    return cells


def test_a_relay_elsewhere_is_called_where_it_now_is() -> None:
    cells = knowing(remote("b1", 7001))
    assert cells.relays_there("b") == (Address("10.0.0.1", 7001),)
    cells.remote.put(remote("b1", 7009), 2.0)
    assert cells.relays_there("b") == (Address("10.0.0.1", 7009),)


def test_relays_elsewhere_are_elected_anew_when_a_member_there_comes_fails_or_is_forgotten() -> None:
    cells = knowing(remote("b1", 7001))
    cells.relays_there("b")
    cells.remote.put(remote("b2", 7002), 2.0)
    assert len(cells.relays_there("b")) == 2
    cells.remote.put(remote("b1", 7001, Status.FAILED), 3.0)
    assert cells.relays_there("b") == (Address("10.0.0.1", 7002),)
    cells.remote.drop("b2")
    assert cells.relays_there("b") == ()


def test_an_update_that_moves_no_member_elects_no_relay_anew() -> None:
    cells = knowing(remote("b1", 7001))
    before = cells.relays_there("b")
    cells.remote.put(attrs.evolve(remote("b1", 7001), incarnation=4), 2.0)
    assert cells.relays_there("b") is before


def test_relays_of_this_cell_are_elected_anew_when_a_member_comes() -> None:
    made = engine("a0", cell="a")
    cells = made.state.cells
    assert cells is not None
    assert cells.relays("b") == ("a0",)
    introduce(made, attrs.evolve(update("a1", port=7100), cell="a"))
    assert sorted(cells.relays("b")) == ["a0", "a1"]
