"""A plan copies originals only, gives way to what has moved, and is done when it has been carried out."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.migrate.plan import plan
from gossipreg.migrate.registry import ListedInstance, origin_of
from tests.migrate.fake_registry import original


def copied(instance: ListedInstance, origin: str) -> ListedInstance:
    side, digest = origin_of(instance.mark(origin))
    return attrs.evolve(instance, origin=side, copied_digest=digest)


def test_an_original_without_a_copy_is_written() -> None:
    assert plan([original("a")], [], "consul:dc1").write == (original("a"),)


def test_a_copy_that_is_up_to_date_is_kept_and_an_old_one_written_anew() -> None:
    one = original("a")
    assert plan([one], [copied(one, "consul:dc1")], "consul:dc1").keep == (one,)
    changed = original("a", meta={"version": "2"})
    assert plan([changed], [copied(one, "consul:dc1")], "consul:dc1").write == (changed,)


def test_a_copy_without_an_original_is_removed_but_not_one_of_another_side() -> None:
    one, two = copied(original("a"), "consul:dc1"), copied(original("b"), "consul:dc2")
    assert plan([], [one, two, original("c")], "consul:dc1").remove == (one,)


def test_a_copy_is_never_copied_wherever_it_is_from() -> None:
    for origin in ("consul:dc1", "consul:dc2", "gossipreg:main"):
        assert plan([copied(original("a"), origin)], [], "consul:dc1").write == ()


def test_an_original_that_is_registered_there_itself_has_moved_and_its_copy_gives_way() -> None:
    one = original("a")
    copy = copied(one, "consul:dc1")
    moved = plan([one], [copy, attrs.evolve(one, id="a", service="orders", node="n2")], "consul:dc1")
    assert (moved.write, moved.keep, moved.moved) == ((), (), (one,))
    elsewhere = attrs.evolve(one, id="another-id")
    by_place = plan([one], [copy, elsewhere], "consul:dc1")
    assert (by_place.remove, by_place.moved) == ((copy,), (one,))


def test_an_id_that_has_a_copy_of_another_side_is_left_alone() -> None:
    one = original("a")
    assert plan([one], [copied(original("a", host="10.9.9.9"), "eureka")], "consul:dc1").foreign == (one,)


def test_a_mark_is_read_as_it_was_written() -> None:
    for origin in ("consul:dc1", "a#b", "x"):
        assert origin_of(original("a").mark(origin)) == (origin, original("a").digest)
    assert origin_of(None) == origin_of("") == ("", "")
    assert origin_of("written by hand") == ("written by hand", "")


_SIDES = st.lists(st.builds(original, st.sampled_from("abcdef"), port=st.integers(1, 3)), max_size=6)


def carried_out(source: list[ListedInstance], target: list[ListedInstance], origin: str) -> list[ListedInstance]:
    """The target after a plan."""
    made = plan(source, target, origin)
    gone = {id(each) for each in made.remove}
    written = {each.key for each in made.write}
    left = [each for each in target if id(each) not in gone and not (each.origin and each.key in written)]
    return left + [copied(each, origin) for each in made.write]


@given(_SIDES, _SIDES, st.integers(1, 5))
def test_both_ways_come_to_rest_and_no_original_is_lost_or_doubled(
    one: list[ListedInstance], two: list[ListedInstance], rounds: int
) -> None:
    one = [*{each.key: each for each in one}.values()]
    two = [*{each.key: each for each in two}.values()]
    here, there = list(one), list(two)
    for _ in range(rounds + 3):
        here, there = carried_out(there, here, "there"), carried_out(here, there, "here")
    settled = carried_out(there, here, "there"), carried_out(here, there, "here")
    assert [{each.key for each in side} for side in settled] == [{each.key for each in side} for side in (here, there)]
    for side, own in ((here, one), (there, two)):
        assert {each.key for each in own} <= {each.key for each in side if not each.origin}
        assert len({(each.key, each.origin) for each in side}) == len(side)
        assert {each.origin for each in side} <= {"", "here", "there"}
    assert not [each for each in here if each.origin == "here"], "nothing comes back"
    assert not [each for each in there if each.origin == "there"], "nothing comes back"
