"""A node reports that it is isolated soon after it is cut off, and never in a healthy cluster."""

from __future__ import annotations

import pytest

from tests.scenes.testbed import EngineTestbed


def cluster(count: int, *, seed: int = 1) -> EngineTestbed:
    """Return a testbed with ``count`` converged nodes."""
    testbed = EngineTestbed(seed=seed)
    testbed.start("n0")
    for number in range(1, count):
        testbed.start(f"n{number}", seeds=["n0"])
    testbed.advance(5.0)
    return testbed


def isolated(testbed: EngineTestbed) -> list[str]:
    return [node.handle for node in testbed.alive if node.engine.isolation.is_isolated(testbed.now)]


@pytest.mark.parametrize("count", [2, 3, 12])
def test_idle_nodes_are_never_isolated_at_any_local_health(count: int) -> None:
    testbed = cluster(count)
    for _ in range(120):
        for node in testbed.alive:
            node.engine.detector.health.worse(8)  # as after a split: a probe every 9 s
        testbed.advance(0.5)
        said = isolated(testbed)
        assert said == []


@pytest.mark.parametrize("count", [2, 6])
def test_a_node_that_is_cut_off_is_isolated_within_five_seconds_at_any_local_health(count: int) -> None:
    testbed = cluster(count)
    [lost, *others] = [node.handle for node in testbed.alive]
    for _ in range(2):
        testbed.cut([lost], others)
        testbed.advance(5.0)
        said = isolated(testbed)
        assert said == ([lost, *others] if count == 2 else [lost])
        testbed.advance(60.0)
        testbed.heal()
        testbed.advance(6.0)  # until a member that declared it failed reconnects
        for _ in range(60):
            said = isolated(testbed)
            assert said == []
            testbed.advance(0.5)
