"""The membership list: which members are present, in which order they are probed, when they are forgotten."""

from __future__ import annotations

from collections import Counter
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.members import Members
from tests.protocol.making import BORN, address, law, many_members, update


def members(count: int = 0, *, seed: int = 1) -> Members:
    """``a`` among ``count`` others."""
    listed = Members(EngineSettings(), Random(seed), "a")
    listed.put(update("a", port=7000), 0.0)
    for other in many_members(count):
        listed.put(other, 0.0)
    return listed


def without(listed: Members, name: str, status: Status = Status.FAILED, now: float = 0.0, age: int = 0) -> None:
    held = listed.get(name)
    assert held is not None
    listed.put(attrs.evolve(held, status=status, age=age), now)


def test_putting_an_update_returns_what_was_believed_before() -> None:
    listed = members()
    assert listed.put(update("b"), 0.0) is None
    assert listed.put(update("b", Status.SUSPECT), 0.0) == update("b")
    assert listed.get("b") == update("b", Status.SUSPECT)
    assert [update.name for update in listed] == ["a", "b"] == [update.name for update in listed.snapshot()]
    assert len(listed) == 2


def test_a_member_is_found_by_the_run_believed_in_and_by_no_other() -> None:
    listed = members()
    old, new = update("b"), update("b", generation=BORN + 5, port=7002)
    listed.put(old, 0.0)
    assert listed.by_run_id(old.run_id) is old
    listed.put(new, 0.0)
    assert listed.by_run_id(old.run_id) is None
    assert listed.by_run_id(new.run_id) is new


def test_we_are_present_but_not_among_the_others() -> None:
    listed = members(2)
    assert list(listed.present) == ["m0", "m1"]
    assert listed.present_count == 3
    assert listed.present_addresses() == {address(7100): "m0", address(7101): "m1"}


def test_the_failed_and_the_departed_are_not_present_until_they_are_back() -> None:
    listed = members(3)
    without(listed, "m0", Status.FAILED)
    without(listed, "m2", Status.LEFT)
    assert list(listed.present) == ["m1"]
    assert [update.name for update in listed.failed()] == ["m0"]
    listed.put(update("m0", incarnation=1, port=7100), 0.0)
    assert set(listed.present) == {"m0", "m1"}
    assert listed.failed() == []


def test_alone_there_is_no_member_to_probe_or_to_sample() -> None:
    assert members().next_target() is None
    assert members().sample(3) == []


@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_every_member_is_probed_within_two_rounds_less_one(count: int) -> None:
    listed = members(count)
    last = dict.fromkeys(listed.present, 0)
    for period in range(1, 40 * count):
        target = listed.next_target()
        assert target is not None
        assert period - last[target.name] <= 2 * count - 1
        last[target.name] = period
    assert min(last.values()) > 36 * count


@law
@given(st.lists(st.sampled_from(["probe", "join", "fail"]), max_size=60), st.integers(0, 99))
def test_whatever_joins_or_leaves_no_member_is_favoured_or_left_out(events: list[str], seed: int) -> None:
    listed = members(4, seed=seed)
    newcomers = iter(many_members(99)[4:])
    periods_without = dict.fromkeys(listed.present, 0)
    peak = len(listed.present)
    between: list[str] = []  # the probed members, in order
    for event in events:
        if event == "join":
            newcomer = next(newcomers)
            listed.put(newcomer, 0.0)
            periods_without[newcomer.name] = 0
        elif event == "fail" and listed.present:
            name = Random(f"{seed} {len(listed)}").choice(list(listed.present))
            without(listed, name)
            del periods_without[name]
        elif event == "probe" and listed.present:
            target = listed.next_target()
            assert target is not None
            if target.name in between:  # since then at most the rest of one round and the start of the next
                since = between[len(between) - between[::-1].index(target.name) :]
                assert max(map(since.count, since), default=0) <= 2
            between.append(target.name)
            periods_without = {name: periods + 1 for name, periods in periods_without.items()} | {target.name: 0}
        peak = max(peak, len(listed.present))
        assert max(periods_without.values(), default=0) <= 2 * peak


@pytest.mark.parametrize("change", ["join", "fail", "both"])
@pytest.mark.parametrize("probed", [0, 1, 3, 6, 7])
def test_within_a_round_no_member_is_probed_twice_or_left_out(probed: int, change: str) -> None:
    for number in range(7):
        for seed in range(8):
            listed = members(7, seed=seed)
            done = [target.name for target in (listed.next_target() for _ in range(probed)) if target is not None]
            if change != "join":
                without(listed, f"m{number}")
            newcomers = many_members(9 + number)[7:] if change != "fail" else []
            for newcomer in newcomers:
                listed.put(newcomer, 0.0)
            due = (
                {name for name in listed.present if name.startswith("m")}
                - set(done)
                - {each.name for each in newcomers}
            )
            seen: list[str] = []
            while due - set(seen):
                target = listed.next_target()
                assert target is not None
                assert target.name not in {*done, *seen}, "probed twice"
                seen.append(target.name)


def test_each_round_goes_in_an_order_of_its_own() -> None:
    listed = members(7)
    rounds = {tuple(target.name for target in (listed.next_target() for _ in range(7)) if target) for _ in range(20)}
    assert len(rounds) > 15


@law
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 9))
def test_a_sample_is_of_distinct_present_others(count: int, wanted: int, excluded: int) -> None:
    listed = members(count)
    if count > 2:
        without(listed, "m1")
    name = f"m{excluded}"
    chosen = [update.name for update in listed.sample(wanted, without=name)]
    pool = set(listed.present) - {name}
    assert len(set(chosen)) == len(chosen) == min(wanted, len(pool))
    assert set(chosen) <= pool


@pytest.mark.parametrize("excluded", [None, "m9"])
def test_a_sample_prefers_no_member(excluded: str | None) -> None:
    listed = members(10, seed=7)
    drawn = Counter(update.name for _ in range(3000) for update in listed.sample(3, without=excluded))
    pool = 10 if excluded is None else 9
    expected = 9000 / pool
    assert len(drawn) == pool
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < 27.9  # p = 0.001 at 9 degrees


def test_a_departed_member_is_remembered_longer_than_one_that_was_failed_just_after() -> None:
    listed = members(2)
    without(listed, "m0", Status.FAILED, now=60.0)
    without(listed, "m1", Status.LEFT, now=10.0)
    assert listed.forget(86_459.0) == []
    assert [update.name for update in listed.forget(86_460.0)] == ["m0"]
    assert [update.name for update in listed.forget(90_730.0)] == ["m1"]
    assert len(listed) == 1
    assert listed.by_run_id(update("m0", port=7100).run_id) is None


def test_the_present_are_never_forgotten() -> None:
    assert members(3).forget(1e12) == []


def test_the_time_at_which_a_member_failed_is_known_from_its_update() -> None:
    listed = members(1)
    without(listed, "m0", Status.FAILED, now=100.0, age=40)
    held = listed.get("m0")
    assert held is not None
    assert held.age == 0
    assert listed.since("m0") == 60.0
    assert listed.since("a") is None


def test_hearing_again_that_a_member_failed_does_not_make_it_fail_later() -> None:
    listed = members(1)
    without(listed, "m0", Status.FAILED, now=100.0)
    listed.put(update("m0", Status.FAILED, incarnation=1, port=7100), 500.0)
    assert [listed.since(held.name) for held in listed.failed()] == [100.0]


def test_there_is_room_for_so_many_members_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 3)
    assert members(1).has_room()
    assert not members(2).has_room()


def test_reachable_are_the_others_that_are_alive_among_those_that_have_not_left() -> None:
    members = Members(EngineSettings(), Random(1), "a")
    members.put(update("a", Status.SUSPECT, port=7000), 0.0)
    assert members.reachable == 1.0
    others = many_members(4)
    for other in others:
        members.put(other, 0.0)
    assert members.reachable == 1.0
    members.put(others[0].graver(Status.SUSPECT), 0.0)
    assert members.reachable == 0.75
    members.put(others[0].graver(Status.FAILED), 0.0)
    members.put(others[1].graver(Status.SUSPECT), 0.0)
    assert members.reachable == 0.5
    members.put(others[0].graver(Status.LEFT), 0.0)
    members.put(attrs.evolve(others[1], incarnation=1), 0.0)
    assert members.reachable == 1.0


def test_a_present_other_is_found_at_its_address_and_at_no_other() -> None:
    listed = members(3)
    for other in many_members(3):
        assert listed.at(other.address) == listed.get(other.name)
    assert listed.at(update(port=9).address) is None
    without(listed, many_members(3)[1].name)
    assert listed.at(many_members(3)[1].address) is None


def test_failed_members_are_told_from_departed_ones_with_their_times() -> None:
    listed = members(3)
    one, other, *_ = (each.name for each in many_members(3))
    assert (listed.has_failed, listed.since(one)) == (False, None)
    without(listed, one, Status.LEFT, now=4.0)
    assert (listed.has_failed, listed.since(one)) == (False, 4.0)
    without(listed, other, now=5.0)
    assert (listed.has_failed, listed.since(other)) == (True, 5.0)


def test_only_the_parent_in_the_tree_is_above_and_no_member_is_if_the_origin_has_gone() -> None:
    listed = members(3)
    names = [each.name for each in many_members(3)]
    assert [listed.is_parent(name, names[0], 1) for name in names].count(True) == 1
    assert not listed.is_parent(None, names[0], 1)
    assert not listed.is_parent(names[0], "z", 1)
    assert listed.children("z", 1) == []
    assert not listed.has_seat("z")


def test_in_a_large_cluster_each_has_more_children_in_the_tree() -> None:
    for count, fanout in ((121, 3), (122, 4)):
        listed = members(count - 1)
        names = [each.name for each in listed]
        told = [child.name for name in names for child in listed.children_of(name, "a", 3)]
        assert sorted(told) == sorted(set(names) - {"a"})
        assert len(listed.children("a", 3)) == fanout
        [first, *_] = listed.children("a", 3)
        assert listed.ring.parent(first.name, "a", fanout) == "a"


def test_the_present_are_remembered_without_end() -> None:
    assert members().memory(Status.ALIVE) == members().memory(Status.SUSPECT) == float("inf")


def test_it_remembers_for_a_while_which_members_were_failed_and_are_back_in_the_same_run() -> None:
    listed = members(3)
    failed = update("m0", port=7100).graver(Status.FAILED)
    listed.put(failed, 10.0)
    assert listed.was_failed("m0", 60.0, 500.0), "it still is"
    listed.put(attrs.evolve(failed, incarnation=1, status=Status.ALIVE), 500.0)
    assert listed.was_failed("m0", 60.0, 559.0)
    assert not listed.was_failed("m0", 60.0, 560.0)
    assert not listed.was_failed("m1", 60.0, 10.0)
    listed.put(attrs.evolve(failed, generation=BORN + 1, status=Status.ALIVE), 501.0)
    assert not listed.was_failed("m0", 60.0, 502.0), "another run was not cut off"


def test_the_share_that_failed_lately_counts_those_that_are_back_and_not_those_long_dead() -> None:
    listed = members(3)
    assert listed.failed_share(60.0, 0.0) == 0.0
    failed = [update(name, port=7100 + number).graver(Status.FAILED) for number, name in enumerate(("m0", "m1"))]
    for each in failed:
        listed.put(each, 10.0)
    assert listed.failed_share(60.0, 20.0) == 0.5
    listed.put(attrs.evolve(failed[0], incarnation=1, status=Status.ALIVE), 60.0)
    assert listed.failed_share(60.0, 69.0) == 0.5
    assert listed.failed_share(60.0, 70.0) == 0.25
    listed.put(attrs.evolve(failed[0], incarnation=1), 80.0)
    assert listed.failed_share(60.0, 100.0) == 0.25, "one that failed again counts once"


def test_reachability_is_tested_with_each_member_in_turn() -> None:
    listed = members(3)
    asked = [listed.next_reachability_target().name for _ in range(6)]
    assert sorted(asked[:3]) == ["m0", "m1", "m2"]
    assert asked[3:] == asked[:3]


def test_of_a_member_that_is_dropped_nothing_is_remembered() -> None:
    listed = members(1)
    without(listed, "m0", now=1.0)
    [back] = many_members(1)
    listed.put(attrs.evolve(back, incarnation=1), 2.0)
    assert listed.was_failed("m0", 5.0, 3.0)
    listed.drop("m0")
    assert not listed.was_failed("m0", 5.0, 3.0)


def test_of_two_members_at_one_address_the_later_one_is_found_there() -> None:
    members = Members(EngineSettings(), Random(1), "a")
    for name in ("b", "c"):
        members.put(update(name, port=7001), 0.0)
    members.drop("b")
    assert members.held_at(address(7001)) == update("c", port=7001)
    members.put(update("c", port=7005, generation=BORN + 1), 0.0)
    assert members.held_at(address(7001)) is None
    members.drop("c")
    assert members.held_at(address(7005)) is None
