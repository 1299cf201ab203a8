"""Several cells share what their members own, and declare only their own members failed."""

from __future__ import annotations

import pytest

from gossipreg.errors import UnknownMember
from gossipreg.model import Status
from gossipreg.policy import Maintenance
from gossipreg.protocol.cells.cells import STALE_SECONDS
from tests.protocol.cells.net import Net
from tests.protocol.making import BORN

NAMES = ("a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1")


def region(*names: str) -> Net:
    net = Net()
    net.region(*(names or NAMES))
    return net


def test_each_cell_is_a_ring_of_its_own_and_knows_the_members_of_the_others() -> None:
    net = region()
    for name in NAMES:
        node, cells = net.engines[name], net.cells(name)
        assert sorted((name, *node.members.present)) == [each for each in NAMES if each[0] == name[0]]
        assert list(cells.others) == sorted({*"abc"} - {name[0]})
        for cell in cells.others:
            assert sorted(each.name for each in cells.remote.present(cell)) == [e for e in NAMES if e[0] == cell]
            age = cells.age(cell, net.now, node.state.clock.wall(net.now))
            assert age is not None
            assert 0 <= age < STALE_SECONDS
        assert node.fingerprint == net.engines["a0"].fingerprint


def test_what_is_registered_in_one_cell_is_called_and_withdrawn_in_all() -> None:
    net = region()
    net.register("b1")
    net.run(0.5)
    assert net.everywhere("o1")
    net.act("b1", net.engines["b1"].deregister("o1", net.now))
    net.run(1.0)
    assert net.everywhere()


def test_many_records_at_once_cross_too() -> None:
    net = region("a0", "a1", "b0", "b1")
    for number in range(150):
        net.register("a0", f"o{number:03}")
    net.run(8.0)
    assert len(net.seen("b0")) == len(net.seen("b1")) == 150


def test_policies_are_those_of_the_region() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.register("a0")
    net.act("b1", net.engines["b1"].set_policy(Maintenance("orders", "o1", "work"), net.now))
    net.run(1.0)
    assert net.everywhere()


def test_a_member_that_fails_in_its_cell_has_failed_for_all() -> None:
    net = region()
    net.register("b2")
    net.run(0.5)
    net.kill("b2")
    net.run(15.0)
    assert net.everywhere()
    assert all(net.engines[name].state.find("b2").status is Status.FAILED for name in net.alive)  # type: ignore[union-attr]


def test_a_cut_border_is_one_report_and_removes_nothing_and_heals() -> None:
    net = region()
    net.register("b0", "there")
    net.register("a0", "here")
    net.run(1.0)
    net.cut += [frozenset("ab"), frozenset("cb")]
    net.run(STALE_SECONDS + 6)
    net.register("b1", "meanwhile")
    net.run(1.0)
    reports = [(name, said.cell) for name, said in net.reported if not said.reachable]
    assert sorted(reports) == sorted(
        [(n, "b") for n in NAMES if n[0] != "b"] + [(n, c) for n in NAMES[3:6] for c in "ac"]
    )
    stale = net.engines["a1"].view.service("orders")
    assert [(each.id, each.stale) for each in stale.instances] == [("here", False), ("there", True)]
    assert [each.id for each in stale.healthy] == ["here"]  # what is stale is called when there is nothing else
    assert "nothing was heard of its cell b since" in stale.instances[1].reason
    assert all(held.status is Status.ALIVE for held in net.cells("a1").remote)
    net.cut.clear()
    net.run(6.0)
    assert net.everywhere("here", "meanwhile", "there")
    assert sorted(name for name, said in net.reported if said.reachable) == sorted(
        (*NAMES[:3], *NAMES[3:6] * 2, "c0", "c1")
    )


def test_stale_instances_are_called_where_there_is_nothing_else() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.register("b0")
    net.run(1.0)
    net.cut.append(frozenset("ab"))
    net.run(STALE_SECONDS + 6)
    assert net.seen("a0") == ["o1"]
    assert net.engines["a0"].view.service("orders").healthy[0].stale


def test_another_relay_takes_the_place_of_one_that_dies() -> None:
    net = region("a0", "a1", "a2", "a3", "b0", "b1")
    for relay in net.cells("a0").relays("b"):
        net.kill(relay)
    left = net.alive[0]
    net.run(15.0)
    net.register(left)
    net.run(1.5)
    assert net.everywhere("o1")
    assert all(net.seen(name) == ["o1"] for name in ("b0", "b1"))


def test_a_relay_that_is_cut_off_tries_others_and_the_second_one_crosses() -> None:
    net = region("a0", "a1", "a2", "b0", "b1", "b2")
    first, second = net.cells("a0").relays("b")
    net.cut += [frozenset((first, "b"))]
    net.opened.clear()
    net.register(first)
    net.run(3.0)
    assert net.everywhere("o1")
    assert any(opener == second for opener, accepter in net.opened if accepter[0] == "b")


def test_a_cell_that_was_replaced_while_it_was_cut_off_fails_the_members_that_it_does_not_know() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.register("b1", "ghost")
    net.run(1.0)
    for name in ("b0", "b1"):
        net.kill(name)
    net.start("b7", "a0")
    net.run(12.0)
    assert net.engines["b7"].identity.announced
    net.start("b8", "b7")
    assert "ghost" in net.seen("a0")
    net.run(40.0)
    assert [net.seen(name) for name in ("a0", "a1", "b7", "b8")] == [[]] * 4
    assert net.engines["b7"].members.get("b1").status is Status.FAILED  # type: ignore[union-attr]
    assert len({net.engines[name].fingerprint for name in net.alive}) == 1


def test_two_first_members_of_one_cell_find_each_other_through_another_cell() -> None:
    net = Net()
    net.start("a0")
    net.run(1.0)
    net.cut.append(frozenset(("b0", "b1")))
    net.start("b0", "a0")
    net.start("b1", "a0")
    net.run(15.0)
    assert not net.engines["b0"].members.present
    net.cut.clear()
    net.run(6.0)
    assert list(net.engines["b0"].members.present) == ["b1"]


def test_a_newcomer_is_told_by_another_cell_where_its_own_is() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.start("b2", "a1")
    net.run(3.0)
    assert sorted(net.engines["b2"].members.present) == ["b0", "b1"]


def test_cells_that_know_only_a_third_one_find_each_other() -> None:
    net = Net()
    for name, seeds in (
        ("a0", ()),
        ("a1", ("a0",)),
        ("b0", ("a0",)),
        ("b1", ("b0",)),
        ("c0", ("a1",)),
        ("c1", ("c0",)),
    ):
        net.start(name, *seeds)
        net.run(2.0)
    net.run(4.0)
    net.register("c1")
    net.run(1.0)
    assert net.everywhere("o1")


def test_a_member_that_moves_to_another_cell_is_held_there_and_can_come_back() -> None:
    net = region("a0", "a1", "a2", "b0", "b1", "c0")
    net.kill("a2")
    net.run(12.0)
    net.start("a2", "b0", cell="b")
    net.run(4.0)
    assert net.engines["a0"].members.get("a2") is None
    assert net.cells("a0").remote.get("a2").cell == net.cells("c0").remote.get("a2").cell == "b"  # type: ignore[union-attr]
    net.kill("a2")
    net.run(12.0)
    net.start("a2", "a0", cell="a")
    net.run(4.0)
    assert net.engines["a0"].members.get("a2").status is Status.ALIVE  # type: ignore[union-attr]
    assert net.cells("c0").remote.get("a2").cell == "a"  # type: ignore[union-attr]


def test_one_name_in_two_cells_stays_with_each_of_them() -> None:
    net = region("a0", "a1", "b0", "b1")
    twin = net.start("b2", "a0", cell="a")
    net.run(2.0)
    net.kill("b2")  # the twin is unreachable, but not failed yet
    other = net.start("b2", "b0")
    net.run(4.0)
    assert twin is not other
    assert net.engines["b0"].members.get("b2").cell == "b"  # type: ignore[union-attr]
    assert net.engines["a0"].counters["cells_names_taken"] + net.engines["a1"].counters["cells_names_taken"] > 0
    assert net.engines["b0"].members.get("b2").status is Status.ALIVE  # type: ignore[union-attr]


def test_nodes_with_a_cell_and_without_refuse_each_other() -> None:
    net = region("a0", "a1")
    flat = net.start("f0", "a0", cell="")
    net.run(3.0)
    assert not flat.members.present
    assert net.engines["a0"].counters["cells_mismatched"] > 0
    assert "f0" not in net.engines["a0"].members.present
    net.start("a2", "f0")
    net.run(3.0)
    assert flat.counters["cells_mismatched"] > 0
    assert not flat.members.present


def test_what_is_stale_for_as_long_as_the_dead_are_remembered_is_forgotten() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.register("b0")
    net.run(1.0)
    node = net.engines["a0"]
    node.handle_timeout(net.now + node.settings.remember_departed + 10, late=0)
    assert not net.cells("a0").others
    assert net.seen("a0") == []


def test_the_dead_of_other_cells_are_forgotten_in_their_time() -> None:
    net = region("a0", "a1", "b0", "b1", "b2")
    net.kill("b2")
    net.run(12.0)
    node, remembered = net.engines["a0"], net.engines["a0"].settings.remember_departed
    assert net.cells("a0").remote.get("b2").status is Status.FAILED  # type: ignore[union-attr]
    cells = net.cells("a0")
    head = cells.head("b")
    assert head is not None
    wall = node.state.clock.wall(net.now) + 1000 * remembered
    cells.note_head(head.__class__("b", 2, 0, 0, (), int(wall)), net.now + remembered, wall)
    node.state.sweep(net.now + remembered)
    assert cells.remote.get("b2") is None
    assert cells.remote.get("b1") is not None


def status_of(net: Net, name: str, at: str) -> Status:
    held = net.engines[at].state.find(name)
    assert held is not None
    return held.status


def test_the_parts_of_a_split_cell_do_not_stay_failed_for_other_cells() -> None:
    net = region("a0", "a1", "a2", "a3", "a4", "b0", "b1", "c0")
    for name in ("a0", "a2", "a4"):
        net.register(name, f"of-{name}")
    net.cut += [frozenset((one, other)) for one in ("a0", "a1", "a2") for other in ("a3", "a4")]
    net.run(20.0)
    assert status_of(net, "a4", at="a0") is status_of(net, "a0", at="a4") is Status.FAILED
    for name in ("b0", "b1", "c0"):
        assert net.seen(name) == ["of-a0", "of-a2", "of-a4"]
        assert all(status_of(net, f"a{number}", at=name) is Status.ALIVE for number in range(5))
    net.cut.clear()
    net.run(40.0)
    assert net.everywhere("of-a0", "of-a2", "of-a4")
    assert len({net.engines[name].fingerprint for name in net.alive}) == 1


def test_the_only_one_left_of_a_cell_declares_the_others_failed_and_connects_it_again() -> None:
    net = region("a0", "a1", "a2", "a3", "b0", "b1", "c0")
    for name in ("a0", "a2"):
        net.register(name, f"of-{name}")
    for name in ("a0", "a1", "a3"):
        net.kill(name)
    net.run(5.0)
    net.register("a2", "later")
    net.run(STALE_SECONDS + 25)
    for name in net.alive:
        assert net.seen(name) == ["later", "of-a2"]
        assert all(status_of(net, dead, at=name) is Status.FAILED for dead in ("a0", "a1", "a3"))
    assert not net.cells("b0").stale
    assert not net.cells("c0").stale


def test_one_that_is_cut_off_from_its_cell_only_declares_no_failure_and_still_registers() -> None:
    net = region("a0", "a1", "a2", "a3", "b0", "b1", "c0")
    net.cut += [frozenset(("a2", other)) for other in ("a0", "a1", "a3")]
    net.run(6.0)
    net.register("a2", "later")
    net.register("b0", "there")
    net.run(3.0)
    assert net.seen("b0") == net.seen("c0") == net.seen("a2") == ["later", "there"]
    net.run(STALE_SECONDS + 30)
    assert all(status_of(net, other, at="a2") is not Status.FAILED for other in ("a0", "a1", "a3"))
    assert all(status_of(net, other, at="b0") is Status.ALIVE for other in ("a0", "a1", "a3"))
    assert not net.cells("b0").stale
    assert not net.cells("a2").stale
    net.cut.clear()
    net.run(20.0)
    assert net.everywhere("later", "there")


def test_what_another_cell_heard_long_ago_does_not_keep_the_last_one_from_declaring_failures() -> None:
    net = region("a0", "a1", "a2", "b0", "c0")
    apart = [frozenset((one, other)) for one in ("a2", "b") for other in ("a0", "a1")]
    net.cut += apart
    net.run(STALE_SECONDS + 30)
    assert status_of(net, "a0", at="a2") is Status.SUSPECT  # the cell c says that it hears it
    net.cut.append(frozenset("ac"))
    net.run(50.0)
    assert status_of(net, "a0", at="a2") is not Status.FAILED  # some members of c may not be reached, others be
    net.run(45.0)
    assert status_of(net, "a0", at="a2") is status_of(net, "a1", at="a2") is Status.FAILED


def test_a_cell_that_is_cut_off_from_its_last_member_too_is_no_witness_to_another() -> None:
    """The relay that is asked hears none of its own cell, so it does not know what that cell still hears."""
    net = region("a0", "a1", "a2", "b0", "b1", "b2")
    net.cut += [frozenset((one, other)) for one in ("a2", "b2") for other in ("a0", "a1", "b0", "b1")]
    net.run(60.0)
    assert all(status_of(net, other, at="a2") is not Status.FAILED for other in ("a0", "a1"))
    assert all(status_of(net, other, at="b2") is not Status.FAILED for other in ("b0", "b1"))
    assert net.engines["a0"].counters["cells_cut_off"] == 0


def test_users_are_told_of_members_of_other_cells_that_change() -> None:
    net = region("a0", "a1", "b0", "b1")
    net.remote_changes.clear()
    net.act("b1", net.engines["b1"].drain(net.now))
    net.run(1.0)
    assert sorted(set(net.remote_changes)) == [("a0", "b1"), ("a1", "b1")]
    net.remote_changes.clear()
    net.cut.append(frozenset("ab"))
    net.run(STALE_SECONDS + 6)
    told = {(name, each) for name, each in net.remote_changes if name[0] == "a"}
    assert told == {(name, each) for name in ("a0", "a1") for each in ("b0", "b1")}


def test_a_member_of_another_cell_cannot_be_forgotten_here() -> None:
    net = region("a0", "a1", "b0", "b1")
    with pytest.raises(UnknownMember, match="'b1' is a member of the cell 'b'"):
        net.engines["a0"].forget("b1", net.now)
    with pytest.raises(UnknownMember, match="no member 'c1' is remembered"):
        net.engines["a0"].forget("c1", net.now)


def moved(net: Net, name: str, cell: str, seed: str, *, ahead: float = 0.0) -> None:
    """Start a node anew in another cell, at an address of its own; its clock is ``ahead`` by so many seconds."""
    net.start(name, seed, cell=cell, generation=BORN + int(1000 * (net.now + ahead)))


def test_a_member_that_comes_to_another_cell_with_an_earlier_generation_takes_a_later_one() -> None:
    net = region("a0", "a1", "b0", "b1")
    moved(net, "x1", "b", "b0", ahead=3600.0)
    net.run(5.0)
    net.act("x1", net.engines["x1"].leave(net.now))
    net.run(1.0)
    net.kill("x1")
    net.run(5.0)
    moved(net, "x1", "a", "a0")
    net.run(6.0)
    net.register("x1", "of-x")
    net.run(3.0)
    assert net.everywhere("of-x")
    assert net.cells("b0").remote.get("x1").cell == "a"  # type: ignore[union-attr]


def test_what_a_third_cell_holds_of_a_member_that_has_moved_is_not_taken_for_a_member_of_this_one() -> None:
    net = region("a0", "a1", "a2", "b0", "b1", "c0")
    net.cut.append(frozenset("bc"))
    moved(net, "x1", "a", "a0")
    net.run(3.0)
    net.register("x1", "of-x")
    net.run(3.0)
    net.cut.append(frozenset("ac"))
    net.kill("x1")
    net.run(0.2)
    net.cut.append(frozenset(("x1", "c")))
    moved(net, "x1", "b", "b0")
    net.run(1.0)
    net.register("x1", "of-x")
    net.run(30.0)
    net.cut.remove(frozenset("ac"))
    net.run(60.0)
    for name in ("a0", "a1", "a2"):
        assert net.engines[name].members.get("x1") is None
        assert net.seen(name) == ["of-x"]
    assert net.engines["a0"].counters["cells_ghosts_failed"] == 0
    assert status_of(net, "x1", at="c0") is Status.FAILED  # the run that it knows has ended
