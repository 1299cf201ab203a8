"""Laws of the choice, and the cases that people ask about."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.proxy.backend import Backend, key_of
from gossipreg.frontends.proxy.balancer import Balance, Balancer
from gossipreg.frontends.proxy.limits import (
    FORGET_SECONDS,
    OVERLOAD_MIN,
    OVERLOAD_TIMES,
    REST_SECONDS,
    REST_SECONDS_MAX,
    TRIAL_SECONDS,
)
from gossipreg.model import Instance
from tests.frontends.proxy.making import instance


def balancer(*instances: Instance, **options: object) -> Balancer:
    made = Balancer(Random(1), **options)  # type: ignore[arg-type]
    made.replace(instances)
    return made


def chosen(made: Balancer, now: float = 0.0) -> Backend:
    backend = made.choose((), now)
    assert backend is not None
    backend.chosen(now)
    return backend


def backend_of(made: Balancer, each: Instance) -> Backend:
    return made.backends[key_of(each)]


names = st.sampled_from("abcdefgh")
clusters = st.dictionaries(names, st.tuples(st.integers(0, 9), st.sampled_from(["north", "south"])), min_size=1)
histories = st.lists(st.tuples(names, st.sampled_from(["choose", "end", "fail", "answer"]), st.floats(0, 2)))


@given(
    clusters,
    histories,
    st.frozensets(names),
    st.frozensets(names),
    st.sampled_from([None, "north"]),
    st.sampled_from(Balance),
)
def test_whatever_happened_an_instance_is_chosen_while_one_with_a_weight_is_left(
    cluster: dict[str, tuple[int, str]],
    history: list[tuple[str, str, float]],
    suspects: frozenset[str],
    tried_names: frozenset[str],
    zone: str | None,
    balance: Balance,
) -> None:
    made = Balancer(Random(0), zone=zone, balance=balance)
    made.replace([instance(name, weight=weight, zone=at) for name, (weight, at) in cluster.items()], suspects)
    now = 0.0
    by_name = {backend.instance.owner: backend for backend in made.backends.values()}
    for name, what, later in history:
        now += later
        backend = by_name.get(name)
        if backend is None:
            continue
        if what == "choose":
            backend.chosen(now)
        elif what == "end" and backend.in_flight:
            backend.ended()
        elif what == "fail":
            backend.failed(now, now)
        elif what == "answer":
            backend.answered()
    tried = {key for key, backend in made.backends.items() if backend.instance.owner in tried_names}
    left = [b for key, b in made.backends.items() if key not in tried and b.instance.weight]
    backend = made.choose(tried, now)
    if not left:
        assert backend is None
        return
    assert backend in left
    rested = [each for each in left if not each.is_resting(now)]
    assert not (rested and backend.is_resting(now)), "one that failed went before one that did not"
    trusted = [each for each in rested if not each.deprioritized]
    assert not (trusted and backend.deprioritized), "a suspect went before an instance that is not suspected"
    near = [each for each in trusted if zone in (None, each.instance.zone)]
    assert not near or backend in near
    if balance is Balance.LEAST_CONNECTIONS and near:
        assert backend.load == min(each.load for each in near), "it was not the least loaded"


weights_of = st.dictionaries(names, st.integers(1, 50), min_size=2)


@given(weights_of, st.integers(1, 300))
def test_least_connections_spreads_those_that_stay_in_proportion_to_the_weights(
    weights: dict[str, int], count: int
) -> None:
    made = balancer(
        *(instance(name, weight=weight) for name, weight in weights.items()), balance=Balance.LEAST_CONNECTIONS
    )
    for _ in range(count):
        chosen(made)
    for backend in made.backends.values():
        others = [other.in_flight / other.instance.weight for other in made.backends.values()]
        assert all(other <= backend.load for other in others), "one more went where there were more for the weight"


def test_least_connections_leaves_an_instance_of_little_weight_out_while_others_hold_few() -> None:
    made = balancer(instance("a", weight=1), instance("b", weight=100), balance=Balance.LEAST_CONNECTIONS)
    assert [chosen(made).instance.owner for _ in range(98)] == ["b"] * 98


@given(weights_of, st.lists(st.booleans(), min_size=1, max_size=300), st.randoms(use_true_random=False))
def test_round_robin_gives_each_its_share_but_for_one_whatever_connections_last(
    weights: dict[str, int], lasting: list[bool], rng: Random
) -> None:
    made = balancer(*(instance(name, weight=weight) for name, weight in weights.items()))
    counts: Counter[str] = Counter()
    under_way: list[Backend] = []
    for number, lasts in enumerate(lasting, 1):
        if len(under_way) >= OVERLOAD_MIN:  # with fewer, none is overloaded
            under_way.pop(rng.randrange(len(under_way))).ended()
        backend = chosen(made)
        counts[backend.instance.owner] += 1
        if lasts:
            under_way.append(backend)
        else:
            backend.ended()
        for name, weight in weights.items():
            assert abs(counts[name] - number * weight / sum(weights.values())) <= len(weights) / 2


def test_round_robin_splits_90_to_10_exactly() -> None:
    made = balancer(instance("a", weight=10), instance("b", weight=90))
    counts = Counter(chosen_at_once(made) for _ in range(10_000))
    assert abs(counts["a"] - 1000) <= 1


def test_round_robin_does_not_begin_with_the_same_instance_at_every_balancer() -> None:
    first = set()
    for seed in range(20):
        made = Balancer(Random(seed))
        made.replace([instance(name) for name in "abc"])
        first.add(chosen(made).instance.owner)
    assert first == {"a", "b", "c"}


def test_round_robin_owes_nothing_to_an_instance_that_was_away() -> None:
    a, b = instance("a"), instance("b")
    made = balancer(a, b)
    backend_of(made, a).failed(0.0, 0.0)
    assert {chosen_at_once(made) for _ in range(100)} == {"b"}
    later = REST_SECONDS_MAX + 1
    backend_of(made, a).answered()
    counts = Counter(chosen_at_once(made, later) for _ in range(100))
    assert abs(counts["a"] - 50) <= 1


def test_round_robin_follows_a_weight_that_changes_at_once() -> None:
    made = balancer(instance("a", weight=1000), instance("b", weight=1000))
    chosen_at_once(made)
    made.replace([instance("a", weight=1), instance("b", weight=1)])
    counts = Counter(chosen_at_once(made) for _ in range(100))
    assert abs(counts["a"] - 50) <= 2


def test_round_robin_passes_over_an_instance_that_ends_no_connection() -> None:
    for others in ("b", "bc"):
        made = balancer(instance("hung"), *(instance(name) for name in others))
        for _ in range(1000):
            backend = chosen(made)
            if backend.instance.owner != "hung":
                backend.ended()
        assert backend_of(made, instance("hung")).in_flight == OVERLOAD_MIN


@pytest.mark.parametrize(("weights", "slower"), [((1, 1), OVERLOAD_TIMES), ((1, 99), OVERLOAD_TIMES), ((3, 5), 1.0)])
def test_round_robin_keeps_the_share_of_an_instance_that_takes_twice_as_long(
    weights: tuple[int, int], slower: float
) -> None:
    made = balancer(instance("slow", weight=weights[0]), instance("b", weight=weights[1]))
    counts: Counter[str] = Counter()
    under_way: dict[str, list[Backend]] = {"slow": [], "b": []}
    for _ in range(3000):
        backend = chosen(made)
        name = backend.instance.owner
        counts[name] += 1
        under_way[name].append(backend)
        lasts = 20 * weights[name != "slow"] / sum(weights) * (slower if name == "slow" else 1)
        while len(under_way[name]) > lasts:
            under_way[name].pop(0).ended()
    assert abs(counts["slow"] - 3000 * weights[0] / sum(weights)) <= 1


def test_random_two_takes_the_less_loaded_of_two() -> None:
    made = balancer(instance("a"), instance("b"), balance=Balance.RANDOM_TWO)
    backend_of(made, instance("a")).chosen(0.0)
    assert {chosen_at_once(made) for _ in range(50)} == {"b"}


def chosen_at_once(made: Balancer, now: float = 0.0) -> str:
    """The owner of the instance that one more connection goes to, which ends at once."""
    backend = chosen(made, now)
    backend.ended()
    return backend.instance.owner


def test_an_instance_with_weight_0_gets_nothing_new_and_keeps_what_it_has() -> None:
    made = balancer(instance("a"))
    backend = chosen(made)
    assert made.replace([instance("a", weight=0)]) == []
    assert made.choose((), 0.0) is None
    assert backend.in_flight == 1


def test_an_instance_that_changes_keeps_its_connections_and_one_that_moves_does_not() -> None:
    made = balancer(instance("a"))
    backend = chosen(made)
    assert made.replace([instance("a", tags=("v2",))]) == []
    assert backend_of(made, instance("a")) is backend
    assert made.replace([instance("a", port=9090)]) == [key_of(instance("a"))]
    assert backend_of(made, instance("a", port=9090)).in_flight == 0


def test_one_that_failed_rests_and_is_then_tried_by_one_caller_only() -> None:
    a, b = instance("a"), instance("b")
    made = balancer(a, b, balance=Balance.LEAST_CONNECTIONS)
    backend_of(made, a).failed(0.0, 0.0)
    backend_of(made, b).chosen(0.0)
    backend_of(made, b).chosen(0.0)
    assert chosen(made, REST_SECONDS / 2).instance == b
    trial = REST_SECONDS + 0.1
    assert chosen(made, trial).instance == a, "the least loaded, and rested"
    assert chosen(made, trial).instance == b, "it has not told yet how the trial went"
    backend_of(made, a).answered()
    assert chosen(made, trial).instance == a


def test_a_trial_that_never_ends_does_not_shut_an_instance_out() -> None:
    made = balancer(instance("a"), instance("b"), balance=Balance.LEAST_CONNECTIONS)
    backend_of(made, instance("a")).failed(0.0, 0.0)
    backend_of(made, instance("a")).chosen(5.0)
    backend_of(made, instance("b")).chosen(5.0)
    backend_of(made, instance("b")).chosen(5.0)
    assert chosen(made, 5.1 + TRIAL_SECONDS).instance.owner == "a"


def test_each_failure_makes_the_next_rest_longer_up_to_a_limit() -> None:
    backend, now, rests = Backend(instance()), 0.0, []
    for _ in range(12):
        backend.failed(now, now)
        rest = next(step / 10 for step in range(1000) if not backend.is_resting(now + step / 10))
        rests.append(rest)
        now += rest
    assert rests[0] == REST_SECONDS
    assert rests[:4] == sorted(set(rests[:4]))
    assert REST_SECONDS_MAX / 2 < rests[-1] <= max(rests) <= REST_SECONDS_MAX


def test_failures_are_forgotten_with_time() -> None:
    backend = Backend(instance())
    for now in range(10):
        backend.failed(now, now)
    later = 10 + 20 * FORGET_SECONDS
    backend.failed(later, later)
    assert not backend.is_resting(later + REST_SECONDS + 0.01)


def test_callers_that_fail_together_count_as_one_failure() -> None:
    backend = Backend(instance())
    for number in range(50):
        backend.failed(0.0, 0.1 + number / 1000)
    assert not backend.is_resting(0.1 + REST_SECONDS + 0.05)


def test_no_more_go_to_an_instance_than_it_may_have() -> None:
    made = balancer(instance("a"), connections_max=2)
    chosen(made)
    chosen(made)
    assert made.choose((), 0.0) is None


def test_without_panic_nothing_is_left_when_nothing_can_serve() -> None:
    made = balancer(instance("a"))
    assert made.replace([]) == [key_of(instance("a"))]
    assert made.choose((), 0.0) is None


def test_in_panic_the_last_that_could_serve_are_used_until_one_can_again() -> None:
    made = balancer(instance("a"), instance("b"), panic=True)
    assert made.replace([]) == []
    assert made.in_panic
    assert chosen(made).instance.owner in "ab"
    assert made.replace([instance("c")]) == [key_of(instance("a")), key_of(instance("b"))]
    assert not made.in_panic


#: What makes an instance the worse choice, the gravest first.
WORSE = ("it rests after a failure", "its owner is suspected", "it warms up", "it is in another zone", "it is loaded")


@pytest.mark.parametrize(("graver", "lesser"), list(pairwise(WORSE)))
@pytest.mark.parametrize("best", ["a", "b"])
def test_a_graver_flaw_outweighs_all_lesser_ones(graver: str, lesser: str, best: str) -> None:
    worst = "b" if best == "a" else "a"
    lesser_ones = WORSE[WORSE.index(lesser) :]
    flaws = {worst: {graver}, best: set(lesser_ones)}
    zone_of = {name: "south" if "it is in another zone" in has else "north" for name, has in flaws.items()}
    made = Balancer(Random(1), zone="north", slow_start=1e9)
    now = 100.0
    made.replace([instance("z", zone="north")], now=0.0)
    for name, has in flaws.items():
        suspects = [each for each, flawed in flaws.items() if "its owner is suspected" in flawed]
        there = [backend.instance for backend in made.backends.values()]
        made.replace([*there, instance(name, zone=zone_of[name])], suspects, now)
        backend = backend_of(made, instance(name, zone=zone_of[name]))
        backend.new_at = now if "it warms up" in has else -math.inf
        for _ in range(5 if "it is loaded" in has else 0):
            backend.chosen(now)
        if "it rests after a failure" in has:
            backend.failed(now, now)
    picked = made.choose({key_of(instance("z", zone="north"))}, now + 0.01)
    assert picked is not None
    assert picked.instance.owner == best


# New instances

LONG_AGO = -1000.0


def warming(slow_start: float = 10.0, *, new: Instance = instance("b"), **options: object) -> Balancer:  # noqa: B008 - immutable
    """A balancer with an old instance ``a``, and a new one that came at 0."""
    made = Balancer(Random(1), slow_start=slow_start, **options)  # type: ignore[arg-type]
    made.replace([instance("a")], now=LONG_AGO)
    made.replace([instance("a"), new], now=0.0)
    return made


def share(made: Balancer, name: str, now: float, *, under_way: bool = False, count: int = 4000) -> float:
    """Which part of short connections goes to an instance, alone or beside one that stays at the other."""
    if under_way:
        backend_of(made, instance("a")).chosen(now)
    counts: Counter[str] = Counter()
    for _ in range(count):
        backend = chosen(made, now)
        counts[backend.instance.owner] += 1
        backend.ended()
    return counts[name] / count


@pytest.mark.parametrize(("now", "part"), [(0.0, 0.0), (1.0, 0.05), (5.0, 0.25), (9.0, 0.45), (10.0, 0.5), (99.0, 0.5)])
def test_the_share_of_a_new_instance_grows_evenly_up_to_its_own(now: float, part: float) -> None:
    assert share(warming(), "b", now) == pytest.approx(part, abs=0.025)


def test_a_new_instance_is_not_flooded_because_it_has_no_connections_yet() -> None:
    made = warming(balance=Balance.LEAST_CONNECTIONS)
    assert share(made, "b", 2.0, under_way=True) == pytest.approx(0.2, abs=0.03)


def test_a_new_instance_serves_everything_where_nothing_else_is_left() -> None:
    made = warming()
    made.replace([instance("b")], now=0.0)
    assert chosen(made, 0.0).instance.owner == "b"


def test_one_in_another_zone_goes_before_a_new_one_next_listener() -> None:
    made = warming(new=instance("b", zone="north"), zone="north")
    assert share(made, "b", 0.0, count=100) == pytest.approx(0.0, abs=0.02)


def test_an_instance_that_comes_while_we_are_still_learning_is_not_new() -> None:
    made = Balancer(Random(1), slow_start=10)
    made.replace([instance("a")], now=0.0)
    made.replace([instance("a"), instance("b")], now=1.0)
    assert share(made, "b", 1.0) == pytest.approx(0.5, abs=0.03)


def test_one_that_comes_back_is_new_and_one_that_changes_is_not() -> None:
    made = warming()
    made.replace([instance("a"), instance("b", tags=("v2",))], now=50.0)
    assert share(made, "b", 50.0) == pytest.approx(0.5, abs=0.03)
    made.replace([instance("a")], now=60.0)
    made.replace([instance("a"), instance("b")], now=61.0)
    assert share(made, "b", 61.0, count=100) < 0.03


# Callers that stick


def homes(made: Balancer, now: float = 0.0, callers: int = 600) -> dict[str, str]:
    """Which instance each of many callers belongs to."""
    found = {}
    for number in range(callers):
        backend = made.choose((), now, f"10.0.{number // 250}.{number % 250}")
        assert backend is not None
        found[f"{number}"] = backend.instance.owner
    return found


def test_a_caller_stays_where_it_is_and_all_balancers_agree() -> None:
    one, other = (Balancer(Random(seed)) for seed in (1, 2))
    for made in (one, other):
        made.replace([instance(name) for name in "abc"])
    before = homes(one)
    backend_of(one, instance("a")).in_flight = 50
    assert homes(one) == before == homes(other)


def test_callers_are_spread_by_weight() -> None:
    counts = Counter(homes(balancer(instance("a", weight=1), instance("b", weight=3)), callers=2000).values())
    assert counts["b"] / counts["a"] == pytest.approx(3, rel=0.2)


def test_when_an_instance_goes_only_its_callers_move_and_they_return_when_it_does() -> None:
    made = balancer(*(instance(name) for name in "abc"))
    before = homes(made)
    made.replace([instance("a"), instance("b")])
    without = homes(made)
    assert all(without[caller] == home for caller, home in before.items() if home != "c")
    assert {without[caller] for caller, home in before.items() if home == "c"} == {"a", "b"}
    made.replace([instance(name) for name in "abc"])
    assert homes(made) == before


def test_a_caller_goes_elsewhere_while_its_instance_rests_is_doubted_full_or_tried() -> None:
    made = balancer(instance("a"), instance("b"), connections_max=1)
    home = made.choose((), 0.0, "10.0.0.1")
    assert home is not None
    key = key_of(home.instance)
    other = next(each for each in made.backends.values() if each is not home)
    assert made.choose({key}, 0.0, "10.0.0.1") is other
    home.chosen(0.0)
    assert made.choose((), 0.0, "10.0.0.1") is other
    home.ended()
    home.failed(0.0, 0.0)
    assert made.choose((), 0.0, "10.0.0.1") is other
    home.answered()
    made.replace([instance("a"), instance("b")], [home.instance.owner])
    assert made.choose((), 0.0, "10.0.0.1") is other
    made.replace([instance("a"), instance("b")])
    assert made.choose((), 0.0, "10.0.0.1") is home


def test_callers_move_to_a_new_instance_one_by_one_and_none_goes_back_and_forth() -> None:
    made = warming()
    moved = [{caller for caller, home in homes(made, now).items() if home == "b"} for now in (0.0, 2.5, 5.0, 10.0)]
    assert all(before <= after for before, after in pairwise(moved))
    assert [len(each) / 600 for each in moved] == [
        pytest.approx(part / (1 + part), abs=0.05) for part in (0.0, 0.25, 0.5, 1.0)
    ]
