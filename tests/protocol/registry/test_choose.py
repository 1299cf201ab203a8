"""How one instance is chosen among those that can serve."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import (
    RoundRobin,
    at_random,
    by_key,
    by_weight,
    by_weight_among,
    claim,
    less_loaded,
    matching,
    nearest,
    select,
    why_none,
)
from gossipreg.protocol.registry.service_view import ServiceView
from tests.protocol.making import instance, law

#: Upper ends of chi-squared at p = 0.001, by degrees of freedom: a fair draw is rejected once in a thousand.
CHI_SQUARED = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}


def weighted(*weights: int) -> tuple[Instance, ...]:
    return tuple(instance(f"x{number}", weight=weight) for number, weight in enumerate(weights))


def view(*weights: int) -> ServiceView:
    instances = weighted(*weights)
    return ServiceView.of(1, instances)


class Loaded(Random):
    """A generator that always draws the same."""

    def __init__(self, falls: float) -> None:
        super().__init__()
        self.falls = falls

    def random(self) -> float:
        return self.falls


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 3), (1, 0, 99, 0), (65_535, 1, 65_535), (0, 0, 5, 5, 5, 1)])
def test_picks_follow_the_weights(weights: tuple[int, ...]) -> None:
    rng = Random(2026)
    draws, seen = 20_000, view(*weights)
    found = Counter(chosen.id for _ in range(draws) if (chosen := by_weight(seen, rng)))
    assert sum(found.values()) == draws
    expected = {f"x{n}": draws * weight / sum(weights) for n, weight in enumerate(weights) if weight}
    assert set(found) <= set(expected)
    squares = sum((found[name] - mean) ** 2 / mean for name, mean in expected.items())
    assert squares < CHI_SQUARED[len(expected) - 1]


def test_picks_among_some_follow_their_weights() -> None:
    rng = Random(7)
    instances = weighted(3, 1)
    found = Counter(chosen.id for _ in range(10_000) if (chosen := by_weight_among(instances, rng)))
    assert sum((found[name] - mean) ** 2 / mean for name, mean in (("x0", 7500), ("x1", 2500))) < CHI_SQUARED[1]


@law
@given(st.lists(st.integers(0, 65_535), max_size=6), st.floats(0, 1, exclude_max=True))
def test_a_drained_instance_is_never_picked_whatever_the_rng_draws(weights: list[int], falls: float) -> None:
    chosen = by_weight(view(*weights), Loaded(falls))
    if sum(weights):
        assert chosen is not None
        assert chosen.weight > 0
    else:
        assert chosen is None


@pytest.mark.parametrize("weights", [(1, 0), (65_535,) * 300, (2**15, 2**15), (3,)])
def test_the_highest_random_number_still_picks_an_instance(weights: tuple[int, ...]) -> None:
    chosen = by_weight(view(*weights), Loaded(1 - 2**-53))
    assert chosen is not None
    assert chosen.weight > 0


def test_from_no_instances_none_is_picked() -> None:
    assert by_weight(view(), Random(1)) is None
    assert by_weight_among((), Random(1)) is None
    assert by_weight_among(weighted(0, 0), Random(1)) is None


def test_only_those_that_match_everything_asked_for_are_left() -> None:
    plain = instance("plain")
    blue = instance("blue", tags=("blue", "canary"))
    east = instance("east", zone="east", tags=("blue",))
    primary = instance("primary", role="primary", zone="east")
    instances = (plain, blue, east, primary)
    assert matching(instances, tag=None, zone=None, role=None) == instances
    assert matching(instances, tag="blue", zone=None, role=None) == (blue, east)
    assert matching(instances, tag="blue", zone="east", role=None) == (east,)
    assert matching(instances, tag=None, zone="east", role="primary") == (primary,)
    assert matching(instances, tag=None, zone="", role=None) == (plain, blue)
    assert matching(instances, tag="red", zone=None, role=None) == ()


# Ways of choosing that would rather give a drained instance than none

Choose = Callable[[Sequence[Instance]], Instance | None]


def randomly() -> Choose:
    rng = Random(2027)
    return lambda instances: at_random(instances, rng)


def idly() -> Choose:
    rng = Random(2028)
    return lambda instances: less_loaded(instances, lambda _: 0, rng)


def keyed() -> Choose:
    keys = (f"customer-{number}" for number in range(10**9))
    return lambda instances: by_key(instances, next(keys))


def nearby() -> Choose:
    rng = Random(2029)
    return lambda instances: at_random(nearest(instances, "here", lambda _: 0.01), rng)


def in_turn() -> Choose:
    return RoundRobin().choose


WAYS = [randomly, idly, keyed, nearby, in_turn]


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 3), (1, 0, 99, 0), (65_535, 655), (0, 0, 5, 5, 5, 1)])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_choosing_follows_the_weights(way: Callable[[], Choose], weights: tuple[int, ...]) -> None:
    choose, instances = way(), weighted(*weights)
    draws = 10_000
    found = Counter(chosen.id for _ in range(draws) if (chosen := choose(instances)))
    assert sum(found.values()) == draws
    expected = {f"x{n}": draws * weight / sum(weights) for n, weight in enumerate(weights) if weight}
    assert set(found) <= set(expected)
    squares = sum((found[name] - mean) ** 2 / mean for name, mean in expected.items())
    assert squares < CHI_SQUARED[len(expected) - 1]


@pytest.mark.parametrize("way", WAYS)
def test_the_drained_are_chosen_in_equal_shares_if_no_other_is_left(way: Callable[[], Choose]) -> None:
    choose, instances = way(), weighted(0, 0, 0)
    found = Counter(chosen.id for _ in range(6_000) if (chosen := choose(instances)))
    assert sum((found[f"x{n}"] - 2_000) ** 2 / 2_000 for n in range(3)) < CHI_SQUARED[2]
    assert sum(found.values()) == 6_000


@pytest.mark.parametrize("way", WAYS)
def test_of_no_instances_none_is_chosen_and_a_single_one_always(way: Callable[[], Choose]) -> None:
    choose, [alone] = way(), weighted(3)
    assert choose(()) is None
    assert choose((alone,)) is alone


@law
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_a_full_round_gives_each_exactly_its_weight_and_the_next_is_the_same(weights: list[int]) -> None:
    turns, instances = RoundRobin(), weighted(*weights)
    length = sum(weights) or len(weights)
    rounds = [[chosen.id for _ in range(length) if (chosen := turns.choose(instances))] for _ in range(2)]
    assert rounds[0] == rounds[1]
    assert Counter(rounds[0]) == {f"x{n}": w or 1 for n, w in enumerate(weights) if w or not sum(weights)}


def test_the_turns_of_the_heavy_are_spread_among_those_of_the_light() -> None:
    turns, instances = RoundRobin(), weighted(5, 1, 1)
    assert [chosen.id for _ in range(7) if (chosen := turns.choose(instances))] == [
        "x0", "x0", "x1", "x0", "x2", "x0", "x0",
    ]  # fmt: skip


def test_an_instance_that_comes_back_has_no_credit_saved_up() -> None:
    turns, (heavy, light) = RoundRobin(), weighted(9, 1)
    turns.choose((heavy, light))
    assert [turns.choose((heavy,)) for _ in range(3)] == [heavy] * 3
    assert [turns.choose((heavy, light)) for _ in range(10)].count(light) == 1


def test_one_that_was_about_to_have_its_turn_when_it_went_waits_anew_when_it_is_back() -> None:
    turns, (heavy, light) = RoundRobin(), weighted(9, 1)
    assert [turns.choose((heavy, light)) for _ in range(4)] == [heavy] * 4
    assert turns.choose((heavy,)) == heavy
    assert [turns.choose((heavy, light)) for _ in range(4)] == [heavy, heavy, heavy, light]


def test_of_two_the_one_with_less_to_do_for_its_weight_is_chosen() -> None:
    light, heavy = weighted(1, 4)
    rng = Random(1)
    busy = {light.id: 1, heavy.id: 3}
    assert {less_loaded((light, heavy), lambda each: busy[each.id], rng) for _ in range(50)} == {heavy}
    busy = {light.id: 1, heavy.id: 5}
    assert {less_loaded((light, heavy), lambda each: busy[each.id], rng) for _ in range(50)} == {light}


@law
@given(st.lists(st.integers(0, 20), min_size=2, max_size=8), st.text(), st.data())
def test_a_key_moves_only_when_its_own_instance_goes(weights: list[int], key: str, data: st.DataObject) -> None:
    instances = weighted(*weights)
    chosen = by_key(instances, key)
    assert by_key(data.draw(st.permutations(instances)), key) == chosen
    gone = data.draw(st.sampled_from(instances))
    left = [each for each in instances if each != gone]
    if gone != chosen and any(each.weight for each in left) == any(weights):
        assert by_key(left, key) == chosen


def test_keys_belong_to_the_same_instance_in_every_process_for_ever() -> None:
    instances = weighted(1, 2, 3)
    owners = [chosen.id for key in ("a", "b", "c", "d") if (chosen := by_key(instances, key))]
    assert owners == ["x2", "x1", "x1", "x1"]


def test_near_is_ones_own_zone_then_the_zone_that_answers_soonest_then_anywhere() -> None:
    east, west, north = (instance(f"in-{zone}", zone=zone) for zone in ("east", "west", "north"))
    instances = (east, west, north)
    times = {"in-east": 0.050, "in-west": 0.002}
    assert nearest(instances, "east") == [east]
    assert nearest(instances, "south") == list(instances)
    assert nearest(instances, "") == list(instances)
    assert nearest(instances, "south", lambda each: times.get(each.id)) == [west]
    assert nearest(instances, "south", lambda _: None) == list(instances)
    assert nearest((), "south", lambda _: 1.0) == ()


def test_traffic_crosses_zones_before_it_goes_to_the_drained() -> None:
    drained, far = instance("drained", zone="here", weight=0), instance("far", zone="there")
    assert nearest((drained, far), "here") == [far]
    assert nearest((drained,), "here") == [drained]


def test_the_next_call_goes_where_zone_key_turn_and_load_say() -> None:
    here, there = instance("here", zone="north"), instance("there", zone="south")
    both, rng, turns = (here, there), Random(1), RoundRobin()
    assert select((), "random", rng) is None
    assert {select(both, "random", rng) for _ in range(40)} == set(both)
    assert {select(both, "random", rng, zone="north") for _ in range(40)} == {here}
    assert {select(both, "random", rng, zone="west", round_trip=lambda each: len(each.id)) for _ in range(40)} == {here}
    assert {select(both, "round-robin", rng, key="k") for _ in range(40)} == {by_key(both, "k")}
    assert [select(both, "round-robin", rng, turns=turns) for _ in range(4)] == [here, there, here, there]
    assert {select(both, "round-robin", rng) for _ in range(40)} == set(both), "without turns it is at random"
    assert {select(both, "least-loaded", rng, load=lambda each: each is here) for _ in range(40)} == {there}
    assert {select(both, "least-loaded", rng) for _ in range(40)} == set(both)


def test_a_claim_is_a_number_whatever_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def digest(self) -> bytes:
            return bytes([255] * 8)

    monkeypatch.setattr(hashlib, "blake2b", Highest)
    assert claim(instance("x"), "key", 2.0) > 2.0**53


@pytest.mark.parametrize(
    ("registered", "healthy", "filters", "sentence"),
    [
        ((), (), {}, "no instance of 'orders' is registered"),
        (weighted(1, 1), (), {}, "none of the 2 instances of 'orders' can serve now"),
        (
            (instance("a", port=0),),
            (instance("a", port=0),),
            {},
            "no healthy instance of 'orders' has a port to call it at",
        ),
        (
            weighted(1),
            weighted(1),
            {"tag": "v2", "zone": "north"},
            "the only healthy instance of 'orders' does not have tag=v2, zone=north",
        ),
        (weighted(0), weighted(0), {}, "every healthy instance of 'orders' is drained (weight 0)"),
        (
            (instance("a", weight=0, tags=("v2",)),),
            (instance("a", weight=0, tags=("v2",)),),
            {"tag": "v2"},
            "every healthy instance of 'orders' is drained (weight 0)",
        ),
    ],
)
def test_why_there_is_none_to_call_is_a_sentence(
    registered: tuple[Instance, ...], healthy: tuple[Instance, ...], filters: dict[str, str], sentence: str
) -> None:
    found = ServiceView.of(1, registered, healthy)
    assert why_none("orders", found, **{"tag": None, "zone": None, "role": None} | filters) == sentence
