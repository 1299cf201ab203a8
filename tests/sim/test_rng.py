"""Random streams are reproducible, independent and uniform."""

from __future__ import annotations

from collections import Counter
from statistics import fmean, pstdev

from gossipreg_sim.rng import Rng


def test_equal_purposes_give_equal_streams() -> None:
    one, other = Rng.of(7, "loss", "n1", "n2"), Rng.of(7, "loss", "n1", "n2")
    assert [one.bits() for _ in range(50)] == [other.bits() for _ in range(50)]


def test_other_seeds_and_purposes_give_other_streams() -> None:
    streams = [Rng.of(seed, *purpose) for seed in (1, 2) for purpose in (("a", "b"), ("b", "a"), ("a",))]
    assert len({stream.bits() for stream in streams}) == len(streams)


def test_the_first_bits_of_a_stream_never_change() -> None:
    rng = Rng.of(1, "node", "n0", 1)
    assert [rng.bits() for _ in range(3)] == [12545985540354574469, 7759637268287470031, 18061419874771855521]


def test_a_fork_costs_one_draw_however_much_is_drawn_from_it() -> None:
    one, other = Rng.of("x"), Rng.of("x")
    forked = one.fork()
    for _ in range(100):
        forked.bits()
    other.fork()
    assert one.bits() == other.bits()


def test_numbers_are_uniform_from_0_to_1() -> None:
    rng = Rng.of("even")
    numbers = [rng.random() for _ in range(20_000)]
    assert min(numbers) >= 0
    assert max(numbers) < 1
    tenths = Counter(int(10 * number) for number in numbers)
    assert all(1_800 < count < 2_200 for count in tenths.values())


def test_below_draws_every_number_and_no_other() -> None:
    rng = Rng.of("below")
    assert {rng.below(7) for _ in range(500)} == set(range(7))


def test_waiting_times_have_their_mean_and_normal_numbers_their_spread() -> None:
    rng = Rng.of("shapes")
    assert abs(fmean(rng.exponential(3.0) for _ in range(20_000)) - 3.0) < 0.1
    normal = [rng.normal() for _ in range(20_000)]
    assert abs(fmean(normal)) < 0.03
    assert abs(pstdev(normal) - 1) < 0.03


def test_a_sample_has_each_name_at_most_once() -> None:
    rng = Rng.of("sample")
    names = [f"n{number}" for number in range(6)]
    for _ in range(50):
        generated = rng.sample(names, 3)
        assert len(generated) == len(set(generated)) == 3
    assert sorted(rng.sample(names, 99)) == names
