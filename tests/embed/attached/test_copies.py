"""Copies: after any changes, however they are cut into frames, a copy is what the agent's node answers."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.attach.frames import FrameReader
from gossipreg.attach.values import ext_hook
from gossipreg.changes import InstanceDiff
from gossipreg.embed.attached import copies
from gossipreg.embed.attached.copies import EventsCopy, ServiceCopy
from gossipreg.events import InstanceEvent, Snapshot
from gossipreg.frontends.attach.feed import Followed, ServiceFeed
from gossipreg.model import Health, Instance
from gossipreg.protocol.registry.rows import key_of
from gossipreg.protocol.registry.service_view import ServiceView


@attrs.define
class Fake:
    """A service of a node, and what tells of it."""

    position: int = 1
    listed: tuple[Instance, ...] = ()
    called: tuple[Instance, ...] = ()
    feed: ServiceFeed = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Tell of it by another agent."""
        self.feed = ServiceFeed("s", lambda: ServiceView.of(self.position, self.listed, self.called))


def instances() -> st.SearchStrategy[dict[tuple[str, str], tuple[Instance, bool, bool]]]:
    """Instances by id and owner, whether each can serve, and whether it is called by another weight than is listed."""
    key = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))
    one = st.builds(
        Instance,
        id=st.just(""),
        service=st.just("s"),
        host=st.just("10.0.0.1"),
        port=st.sampled_from((0, 80)),
        weight=st.integers(0, 2),
        tags=st.sampled_from(((), ("t",))),
        meta=st.sampled_from(({}, {"k": "v"})),
        health=st.sampled_from(Health),
    )
    return st.dictionaries(key, st.tuples(one, st.booleans(), st.booleans()), max_size=5)


def set_to(fake: Fake, state: dict[tuple[str, str], tuple[Instance, bool, bool]], *, step: int = 1) -> None:
    listed, called = [], []
    for (id_, owner), (each, can_serve, is_split) in sorted(state.items()):
        instance = attrs.evolve(each, id=id_, owner=owner)
        listed.append(instance)
        if can_serve:
            called.append(attrs.evolve(instance, reason="split") if is_split else instance)
    fake.listed, fake.called, fake.position = tuple(listed), tuple(called), fake.position + step


def tell(followed: Followed, copy: ServiceCopy, *, holds: bool = False) -> None:
    reader = FrameReader(2**24, ext_hook)
    for data in followed.step(1):
        for frame in reader.feed(data):
            _, _, index, whole, last, removed, put = frame
            copy.apply(index, removed, put, is_whole=whole, is_last=last, holds=holds)


def seen(copy: ServiceCopy) -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    return copy.view.instances, copy.view.healthy


@settings(max_examples=25)
@given(states=st.lists(st.tuples(instances(), st.sampled_from(("tell", "skip", "same", "new"))), max_size=8))
def test_a_copy_is_what_the_node_answers_after_any_changes_and_interruptions(
    states: list[tuple[dict[tuple[str, str], tuple[Instance, bool, bool]], str]],
) -> None:
    size, limits.ATTACH_INSTANCES_PER_FRAME = limits.ATTACH_INSTANCES_PER_FRAME, 2  # type: ignore[misc]
    try:
        fake, copy = Fake(), ServiceCopy("s")
        followed = Followed.of(fake.feed, 0)
        tell(followed, copy)
        watched, last = copy.view.watched, 0
        for state, what in states:
            set_to(fake, state)
            if what == "skip":
                continue  # a slow reader is told of the next one only
            if what in ("same", "new"):
                copy.agent_lost()
                assert all(each.stale for each in copy.view.instances)
                known = copy.told_index
                if what == "new":  # another agent begins with an index of its own, which may be lower
                    fake.position, known = fake.position // 2, 0
                    fake.begin()
                followed = Followed.of(fake.feed, known)
            before = watched
            tell(followed, copy)
            watched = copy.view.watched
            assert seen(copy) == (fake.listed, fake.called)
            assert watched == fake.called
            assert copy.view.index >= last, "it never falls"
            last = copy.view.index
            diff = copy.view.changes_since(before)
            expected = InstanceDiff.between(before, watched)
            for name in ("added", "changed", "removed", "before"):
                assert sorted(getattr(diff, name), key=key_of) == sorted(getattr(expected, name), key=key_of)
            kept = {(each.id, each.owner): each for each in before}
            for each in diff.removed:
                del kept[each.id, each.owner]
            kept |= {(each.id, each.owner): each for each in (*diff.added, *diff.changed)}
            assert tuple(kept[key] for key in sorted(kept)) == fake.called, "the differences yield the whole"
    finally:
        limits.ATTACH_INSTANCES_PER_FRAME = size  # type: ignore[misc]


@settings(max_examples=25)
@given(before=instances(), after=instances(), later=instances())
def test_what_a_new_agent_lacks_is_held_until_it_has_settled(
    before: dict[tuple[str, str], tuple[Instance, bool, bool]],
    after: dict[tuple[str, str], tuple[Instance, bool, bool]],
    later: dict[tuple[str, str], tuple[Instance, bool, bool]],
) -> None:
    fake, copy = Fake(), ServiceCopy("s")
    set_to(fake, before)
    tell(Followed.of(fake.feed, 0), copy)
    copy.agent_lost()
    followed = Followed.of(fake.feed, 0)
    for state in (after, later):
        set_to(fake, state)
        tell(followed, copy, holds=True)
        assert {(each.id, each.owner) for each in copy.view.instances} >= before.keys() | state.keys()
        fresh = tuple(each for each in copy.view.instances if not each.stale)
        assert fresh == fake.listed
    index = copy.view.index
    copy.settled()
    assert seen(copy) == (fake.listed, fake.called)
    assert copy.view.index >= index


def test_a_difference_looks_at_the_instances_that_it_tells_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordered = [Instance(id=f"{number:04}", service="s", host="h", port=1, owner="x") for number in range(2000)]
    copy = ServiceCopy("s")
    copy.apply(1, [], ordered, is_whole=True, is_last=True, holds=False)
    looked_at: list[Instance] = []

    def key_of(each: Instance) -> tuple[str, str]:
        looked_at.append(each)
        return each.id, each.owner

    monkeypatch.setattr(copies, "_key_of", key_of)
    monkeypatch.setattr(ServiceCopy, "_refresh", lambda *_: pytest.fail("it looks at all instances"))
    changed, added = attrs.evolve(ordered[7], weight=3), attrs.evolve(ordered[7], id="0007b")
    copy.apply(2, [("1500", "x")], [changed, (added, None)], is_whole=False, is_last=True, holds=False)
    listed = (*ordered[:7], changed, added, *ordered[8:1500], *ordered[1501:])
    assert seen(copy) == (listed, tuple(each for each in listed if each is not added))
    assert copy.view.watched == copy.view.healthy
    assert copy.view.shares[-1] == sum(each.weight for each in copy.view.healthy)
    assert len(looked_at) <= 6 * 13, "six searches by halves"


def test_the_index_grows_when_the_agent_goes_away_and_comes_back() -> None:
    fake, copy = Fake(), ServiceCopy("s")
    set_to(fake, {("a", "x"): (Instance(id="", service="s", host="h", port=1), True, False)})
    tell(Followed.of(fake.feed, 0), copy)
    indexes = [copy.view.index]
    copy.agent_lost()
    indexes.append(copy.view.index)
    copy.agent_lost()
    assert copy.view.index == indexes[-1]
    tell(Followed.of(fake.feed, copy.told_index), copy)
    indexes.append(copy.view.index)
    assert indexes == sorted(set(indexes))


def test_events_that_a_new_agent_lacks_are_held() -> None:
    def one(id_: str) -> Instance:
        return Instance(id=id_, service="s", host="h", port=1, owner="x")

    copy = EventsCopy()
    copy.apply([Snapshot((), (one("a"), one("b")))], is_last=True, holds=False)
    copy.apply([InstanceEvent("added", one("d"))], is_last=False, holds=False)
    copy.agent_lost()
    copy.apply([Snapshot((), (one("c"),))], is_last=True, holds=True)
    copy.apply([InstanceEvent("added", one("b"))], is_last=True, holds=True)
    assert sorted(each.id for each in copy.instances.values()) == ["a", "b", "c"]
    copy.settled()
    assert sorted(each.id for each in copy.instances.values()) == ["b", "c"]
