"""Mutation: a planted mistake, with the scenario that reveals it and the oracles that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from gossipreg_sim.scenario import Scenario


@attrs.frozen
class Mutation:
    """One planted mistake, the scenario that reveals it, and the oracles that must catch it within ``seeds`` seeds.

    The seeds are tried from ``first`` on, and then those before it. The first one revealed the mistake when this was
    written, so that most mutations cost one run.
    """

    name: str
    plant: Callable[[pytest.MonkeyPatch], None] = attrs.field(repr=False)
    shown_by: Scenario = attrs.field(repr=False)
    caught_by: tuple[str, ...]  # any of these oracles; "raised" for an exception of the protocol
    seeds: int = 3
    first: int = 0

    @property
    def tries(self) -> tuple[int, ...]:
        """The seeds, in the order of the attempts."""
        return (*range(self.first, self.seeds), *range(self.first))


MUTATIONS: list[Mutation] = []


def mutation(shown_by: Scenario, *caught_by: str, seeds: int = 3, first: int = 0) -> Callable[[Any], Any]:
    def register(plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
        MUTATIONS.append(Mutation(plant.__name__, plant, shown_by, caught_by, seeds, first))
        return plant

    return register
