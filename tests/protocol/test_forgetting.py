"""A failed member is forgotten everywhere at once, a live one never, and stale state brings none back."""

from __future__ import annotations

from itertools import permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.errors import MemberPresent, NodeClosed, UnknownMember
from gossipreg.model import Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import InstancesChanged
from gossipreg.protocol.registry.records import Record
from tests.protocol.delivering import believed, deliver, receive_over_stream
from tests.protocol.making import engine, instance, law, said_to, updates
from tests.protocol.test_engine import A, B, C, among, changes

FAILED = B.graver(Status.FAILED, B.run_id)  # conceded, so it needs no verifying
FORGOTTEN = attrs.evolve(B, status=Status.LEFT, accuser=A.run_id)


def record() -> Record:
    owner = engine("b", address=B.address)
    owner.register(instance("x"), 0.0)
    table = owner.state.registry.table("b")
    assert table is not None
    [made] = table
    return made


def with_failed() -> Engine:
    """``a``, which has seen ``b`` fail that offered an instance."""
    node = among(B, C)
    deliver(node, B, record())
    deliver(node, C, FAILED)
    node.handle_timeout(6.0)
    assert [str(each.health) for each in node.view.service("orders").instances] == ["critical"]
    return node


def test_a_member_that_failed_is_forgotten_with_what_it_offered_and_all_are_told() -> None:
    node = with_failed()
    outputs = node.forget("b", 7.0)
    assert changes(outputs) == [("b", "left")]
    assert InstancesChanged(("orders",)) in outputs
    assert node.view.service("orders").instances == ()
    assert node.state.registry.table("b") is None
    assert FORGOTTEN in said_to(node.handle_timeout(7.1), C.address)
    assert node.members.failed() == []


def test_nodes_that_receive_it_forget_as_well_and_all_states_are_equal() -> None:
    first, second = with_failed(), with_failed()
    first.forget("b", 7.0)
    assert changes(deliver(second, C, FORGOTTEN, now=7.1)) == [("b", "left")]
    assert first.fingerprint == second.fingerprint
    assert second.state.registry.table("b") is None


@pytest.mark.parametrize("held", [B, B.graver(Status.SUSPECT, C.run_id)])
def test_a_member_that_is_present_is_not_forgotten(held: MemberUpdate) -> None:
    node = among(held, C)
    with pytest.raises(MemberPresent, match=f"'b' is {held.status}: only a member that failed can be forgotten"):
        node.forget("b", 7.0)
    assert believed(node, "b").status.is_present


def test_who_is_not_there_or_gone_or_this_node_itself_is_told_apart() -> None:
    node = among(attrs.evolve(B, status=Status.LEFT))
    with pytest.raises(UnknownMember, match="no member 'missing' is remembered"):
        node.forget("missing", 7.0)
    for itself in (node, engine("a", has_seeds=True)):
        with pytest.raises(MemberPresent, match="'a' is this node itself"):
            itself.forget("a", 7.0)
    assert node.forget("b", 7.0) == []
    assert not believed(node, "b").is_forgotten, "it has said goodbye itself"
    node.leave(8.0)
    with pytest.raises(NodeClosed):
        node.forget("b", 9.0)


def test_updates_of_a_stale_peer_bring_no_member_back() -> None:
    node = with_failed()
    node.forget("b", 7.0)
    node.handle_timeout(7.5)
    for stale in (B, B.graver(Status.SUSPECT, C.run_id), FAILED, record()):
        assert changes(deliver(node, C, stale, now=8.0)) == []
        assert changes(receive_over_stream(node, C, stale, now=8.0)) == []
    assert believed(node, "b").is_forgotten
    assert node.view.service("orders").instances == ()


def test_a_later_run_of_the_name_is_a_new_member() -> None:
    node = with_failed()
    node.forget("b", 7.0)
    assert changes(deliver(node, C, attrs.evolve(B, generation=B.generation + 1), now=8.0)) == [("b", "alive")]


def test_it_is_remembered_as_long_as_one_that_left_and_then_not_at_all() -> None:
    node = with_failed()
    node.forget("b", 7.0)
    node.handle_timeout(7.0 + 1.04 * 86_400)
    assert believed(node, "b").is_forgotten
    node.handle_timeout(7.0 + 1.06 * 86_400)
    assert node.members.get("b") is None


@pytest.mark.parametrize("hears", [deliver, receive_over_stream])
def test_where_the_member_is_alive_that_it_is_forgotten_is_an_accusation(hears: object) -> None:
    node = among(B, C)
    deliver(node, B, record())
    assert changes(hears(node, C, FORGOTTEN, now=7.0)) == [("b", "suspect")]  # type: ignore[operator]
    node.handle_timeout(7.0)
    assert node.view.service("orders").healthy != ()
    assert changes(hears(node, C, FORGOTTEN, now=7.1)) == []  # type: ignore[operator]
    assert changes(deliver(node, B, attrs.evolve(B, incarnation=1), now=7.2)) == [("b", "alive")]


def test_a_member_that_is_forgotten_and_runs_is_told_so_and_is_back_at_once() -> None:
    node = with_failed()
    node.forget("b", 7.0)
    told = said_to(deliver(node, B, now=8.0), B.address)
    assert told == [FORGOTTEN]
    lost = engine("b", address=B.address)
    deliver(lost, A, FORGOTTEN)
    mine = lost.identity.own_update()
    assert mine.incarnation == 1
    assert changes(deliver(node, B, mine, now=8.1)) == [("b", "alive")]


def test_a_member_that_said_goodbye_itself_is_told_nothing() -> None:
    node = among(B, C)
    deliver(node, B, attrs.evolve(B, status=Status.LEFT))
    assert said_to(deliver(node, B, now=8.0), B.address) == []


@law
@given(st.lists(updates(), min_size=1, max_size=4))
def test_a_failure_and_that_it_is_forgotten_come_to_the_same_end_in_any_order(others: list[MemberUpdate]) -> None:
    claims = [FAILED, FORGOTTEN, *(attrs.evolve(each, generation=B.generation - each.generation) for each in others)]
    ends = set()
    for order in list(permutations(claims))[:24]:
        held = order[0]
        for claim in order[1:]:
            held = claim if claim.supersedes(held) else held
        ends.add(held)
    assert ends == {FORGOTTEN}
