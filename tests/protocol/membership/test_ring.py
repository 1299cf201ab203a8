"""The ring: each member watches the next few, so that as many watch it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.ring import Ring, tree_fanout
from tests.protocol.making import law

names = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, unique=True)


def ring(seated: list[str]) -> Ring:
    made = Ring()
    for name in seated:
        made.seat(name)
    return made


@law
@given(names, st.integers(0, 5))
def test_each_is_watched_by_those_that_it_does_not_watch_back_unless_all_do(seated: list[str], count: int) -> None:
    one = ring(seated)
    for name in seated:
        watched = one.after(name, count)
        assert len(set(watched)) == len(watched) == min(count, len(seated) - 1)
        assert name not in watched
        assert all(name in one.before(other, count) for other in watched)


@law
@given(names, st.randoms())
def test_the_order_in_which_they_came_does_not_matter(seated: list[str], rng: object) -> None:
    other = sorted(seated)
    assert ring(seated).after(seated[0], 3) == ring(other).after(seated[0], 3)


@law
@given(names)
def test_who_goes_is_watched_no_more_and_every_change_is_counted(seated: list[str]) -> None:
    one = ring(seated)
    gone = seated[-1]
    one.unseat(gone)
    assert len(one) == len(seated) - 1
    assert one.changes == len(seated) + 1
    assert all(gone not in one.after(name, 9) for name in seated[:-1])


@law
@given(names, st.integers(1, 4))
def test_the_tree_of_each_member_reaches_all_others_once_and_all_agree_on_parents(
    seated: list[str], fanout: int
) -> None:
    one = ring(seated)
    for root in seated[:3]:
        told = [name for teller in seated for name in one.children(teller, root, fanout)]
        assert sorted(told) == sorted(set(seated) - {root})
        assert one.parent(root, root, fanout) is None
        for teller in seated:
            assert len(one.children(teller, root, fanout)) <= fanout
            assert all(one.parent(name, root, fanout) == teller for name in one.children(teller, root, fanout))


@pytest.mark.parametrize(
    ("members", "least", "fanout"),
    [(1, 3, 3), (64, 3, 3), (121, 3, 3), (122, 3, 4), (341, 3, 4), (1000, 3, 6), (6, 1, 2), (1000, 9, 9)],
)
def test_the_larger_the_cluster_the_more_children_so_that_no_leaf_is_farther_than_four_hops(
    members: int, least: int, fanout: int
) -> None:
    assert tree_fanout(members, least) == fanout


def test_the_places_are_part_of_the_protocol_nodes_of_all_versions_must_agree_on_them() -> None:
    assert ring(["a", "b", "c", "d", "e", "n0", "n1"]).after("a", 6) == ["b", "e", "c", "n0", "d", "n1"]
