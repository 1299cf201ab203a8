"""How one instance is drawn among those that can serve."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import by_weight, by_weight_among, matching
from gossipreg.protocol.registry.view import ServiceView
from tests.protocol.making import instance, law

#: Upper ends of chi-squared at p = 0.001, by degrees of freedom: a fair draw is rejected once in a thousand.
CHI_SQUARED = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52}


def weighted(*weights: int) -> tuple[Instance, ...]:
    return tuple(instance(f"x{number}", weight=weight) for number, weight in enumerate(weights))


def view(*weights: int) -> ServiceView:
    instances = weighted(*weights)
    return ServiceView(1, instances, instances, tuple(accumulate(weights)))


class Loaded(Random):
    """Dice that always fall the same way."""

    def __init__(self, falls: float) -> None:
        super().__init__()
        self.falls = falls

    def random(self) -> float:
        return self.falls


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 3), (1, 0, 99, 0), (65_535, 1, 65_535), (0, 0, 5, 5, 5, 1)])
def test_picks_follow_the_weights(weights: tuple[int, ...]) -> None:
    dice = Random(2026)
    draws = 20_000
    found = Counter(chosen.id for _ in range(draws) if (chosen := by_weight(view(*weights), dice)))
    assert sum(found.values()) == draws
    expected = {f"x{n}": draws * weight / sum(weights) for n, weight in enumerate(weights) if weight}
    assert set(found) <= set(expected)
    squares = sum((found[name] - mean) ** 2 / mean for name, mean in expected.items())
    assert squares < CHI_SQUARED[len(expected) - 1]


def test_picks_among_some_follow_their_weights() -> None:
    dice = Random(7)
    found = Counter(chosen.id for _ in range(10_000) if (chosen := by_weight_among(weighted(3, 1), dice)))
    assert sum((found[name] - mean) ** 2 / mean for name, mean in (("x0", 7500), ("x1", 2500))) < CHI_SQUARED[1]


@law
@given(st.lists(st.integers(0, 65_535), max_size=6), st.floats(0, 1, exclude_max=True))
def test_a_drained_instance_is_never_picked_however_the_dice_fall(weights: list[int], falls: float) -> None:
    chosen = by_weight(view(*weights), Loaded(falls))
    if sum(weights):
        assert chosen is not None
        assert chosen.weight > 0
    else:
        assert chosen is None


@pytest.mark.parametrize("weights", [(1, 0), (65_535,) * 300, (2**15, 2**15), (3,)])
def test_the_highest_fall_of_the_dice_still_picks_somebody(weights: tuple[int, ...]) -> None:
    chosen = by_weight(view(*weights), Loaded(1 - 2**-53))
    assert chosen is not None
    assert chosen.weight > 0


def test_from_nobody_nobody_is_picked() -> None:
    assert by_weight(view(), Random(1)) is None
    assert by_weight_among((), Random(1)) is None
    assert by_weight_among(weighted(0, 0), Random(1)) is None


def test_only_those_that_match_everything_asked_for_are_left() -> None:
    plain = instance("plain")
    blue = instance("blue", tags=("blue", "canary"))
    east = instance("east", zone="east", tags=("blue",))
    primary = instance("primary", role="primary", zone="east")
    everybody = (plain, blue, east, primary)
    assert matching(everybody, tag=None, zone=None, role=None) == everybody
    assert matching(everybody, tag="blue", zone=None, role=None) == (blue, east)
    assert matching(everybody, tag="blue", zone="east", role=None) == (east,)
    assert matching(everybody, tag=None, zone="east", role="primary") == (primary,)
    assert matching(everybody, tag=None, zone="", role=None) == (plain, blue)
    assert matching(everybody, tag="red", zone=None, role=None) == ()
