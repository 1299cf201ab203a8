"""Members of this cell that only another cell holds as present: they are asked to join, and fail if that is in vain."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol import remote_handler
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import OpenStream
from tests.protocol.cells.peers import head, node, of_cell, opened, says
from tests.protocol.making import introduce


def test_a_ghost_is_not_failed_where_members_have_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made = node()
    monkeypatch.setattr(limits, "MEMBERS_MAX", 1)
    for now in (1.0, 14.0, 27.0, 40.0):
        says(made, head(), of_cell("a7", "a"), now=now)
    assert made.members.get("a7") is None
    assert made.counters["cells_ghosts_failed"] == 1


def test_only_a_node_that_has_joined_looks_for_members_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    newcomer = node(has_seeds=True)
    assert not any(isinstance(each, OpenStream) for each in says(newcomer, head(), of_cell("a7", "a")))
    made = node()
    assert not any(isinstance(each, OpenStream) for each in says(made, head(), of_cell("a7", "a", Status.FAILED)))
    monkeypatch.setattr(remote_handler, "_UNKNOWN_MAX", 0)
    for now in (1.0, 100.0):
        assert not any(isinstance(each, OpenStream) for each in says(made, of_cell("a7", "a"), now=now))
    assert made.counters["cells_ghosts_failed"] == 0


def test_a_member_that_has_died_since_it_refuted_its_failure_elsewhere_is_failed_again_ever_more_seldom() -> None:
    made = node()
    made.state.believe(of_cell("a7", "a", Status.FAILED), 0.5, spread=False)

    def failed_at(refutation: MemberUpdate, begin: float) -> float:
        """When it is failed in the incarnation that another cell holds, and says every 2 s (seconds later)."""
        for number in range(1, 100):
            says(made, head(), refutation, stream=-1000 - int(begin) - number, now=begin + 2.0 * number)
            held = made.members.get("a7")
            assert held is not None
            if held.incarnation == refutation.incarnation:
                assert held.status is Status.FAILED
                return 2.0 * number
        raise AssertionError("it is never failed")

    assert failed_at(of_cell("a7", "a", incarnation=1), 1000.0) == 32.0
    assert failed_at(of_cell("a7", "a", incarnation=2), 1033.0) == 60.0
    assert made.counters["cells_ghosts_failed"] == 2


def test_what_was_told_of_a_member_long_ago_does_not_shorten_the_wait_until_it_is_failed() -> None:
    made = node()
    says(made, head(), of_cell("a7", "a"), now=1.0)  # this node has yet to hear of it
    made.state.believe(of_cell("a7", "a", Status.FAILED), 20.0, spread=False)
    for number in range(10):
        says(made, head(), of_cell("a7", "a", incarnation=1), stream=-10 - number, now=24.0 + 2.0 * number)
    assert made.counters["cells_ghosts_failed"] == 0
    for number in range(10, 20):
        says(made, head(), of_cell("a7", "a", incarnation=1), stream=-10 - number, now=24.0 + 2.0 * number)
    assert made.counters["cells_ghosts_failed"] == 1


def test_members_made_up_by_one_cell_do_not_keep_those_of_another_from_being_decided_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_handler, "_UNKNOWN_MAX", 3)
    made = node()
    ghosts = [of_cell(f"a{number}", "a") for number in range(10, 20)]
    for number, now in enumerate((1.0, 14.0, 27.0, 40.0)):
        says(made, head("b"), *ghosts, stream=-10 - number, now=now)
        says(made, head("c"), of_cell("a7", "a"), stream=-20 - number, now=now)
    assert made.counters["cells_ghosts_failed"] == 4
    held = made.members.get("a7")
    assert held is not None
    assert held.status is Status.FAILED
    for stream in range(1, 10):
        made.stream_ended(stream, 50.0)
    for number, now in enumerate((1000.0, 1013.0, 1026.0, 1039.0)):  # those of before are forgotten
        says(made, head("b"), of_cell("a9", "a"), stream=-31 - number, now=now)
    assert made.members.get("a9") is not None


def test_a_failed_member_that_another_cell_holds_in_the_same_incarnation_is_not_decided_on_again() -> None:
    made = node()
    made.state.believe(of_cell("a7", "a", Status.FAILED, incarnation=1), 0.5, spread=False)
    for now in range(1, 100):
        says(made, head(), of_cell("a7", "a", incarnation=1), stream=-now, now=now)
    assert made.counters["cells_ghosts_failed"] == 0


def test_each_unknown_member_is_asked_before_it_is_declared_failed() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"))
    unknown = [of_cell(f"a{number}", "a") for number in range(2, 8)]
    first = opened(says(made, head(), *unknown))
    assert [each.to for each in first] == [each.address for each in unknown[:4]]
    for each in first:
        made.stream_ended(each.stream, 9.0)
    for now in (14.0, 27.0):
        for each in opened(says(made, *unknown, now=now)):
            made.stream_ended(each.stream, now + 1.0)
    later = opened(says(made, *unknown, now=40.0))
    assert [each.to for each in later] == [each.address for each in unknown[4:]]
    assert made.counters["cells_ghosts_failed"] == 4
    says(made, *unknown, now=41.0)
    assert made.counters["cells_ghosts_failed"] == 6


def test_one_that_was_known_meanwhile_is_asked_again_before_it_is_declared_failed() -> None:
    made = node()
    introduce(made, of_cell("a1", "a"))
    [asked] = opened(says(made, head(), of_cell("a2", "a")))
    made.stream_ended(asked.stream, 2.0)
    introduce(made, of_cell("a2", "a"), now=3.0)
    says(made, of_cell("a2", "a"), now=4.0)
    made.state.forget("a2")
    others = [of_cell(f"a{number}", "a") for number in range(3, 7)]
    assert [each.to for each in opened(says(made, *others, of_cell("a2", "a"), now=50.0))] == [
        each.address for each in others
    ]
    says(made, of_cell("a2", "a"), now=85.0)
    assert made.counters["cells_ghosts_failed"] == 0
