"""When a node calls itself isolated: soon after it is cut off, and never while all is well."""

from __future__ import annotations

import pytest

from tests.scenes.stage import Stage


def cluster(count: int, *, seed: int = 1) -> Stage:
    """A stage on which ``count`` nodes know each other."""
    stage = Stage(seed=seed)
    stage.start("n0")
    for number in range(1, count):
        stage.start(f"n{number}", seeds=["n0"])
    stage.advance(5.0)
    return stage


def isolated(stage: Stage) -> list[str]:
    return [actor.handle for actor in stage.alive if actor.engine.is_isolated(stage.now)]


@pytest.mark.parametrize("count", [2, 3, 12])
def test_nodes_at_rest_are_never_isolated_however_badly_they_think_of_themselves(count: int) -> None:
    stage = cluster(count)
    for _ in range(120):
        for actor in stage.alive:
            actor.engine.detector.health.worse(8)  # a split has just healed, say: probes are every 9 s
        stage.advance(0.5)
        said = isolated(stage)
        assert said == []


@pytest.mark.parametrize("count", [2, 6])
def test_a_node_that_is_cut_off_says_so_within_five_seconds_whatever_its_health_and_stops_at_once(count: int) -> None:
    stage = cluster(count)
    [lost, *others] = [actor.handle for actor in stage.alive]
    for _ in range(2):
        stage.cut([lost], others)
        stage.advance(5.0)
        said = isolated(stage)
        assert said == ([lost, *others] if count == 2 else [lost])
        stage.advance(60.0)
        stage.heal()
        stage.advance(6.0)  # until a member that failed it tries it again
        for _ in range(60):
            said = isolated(stage)
            assert said == []
            stage.advance(0.5)
